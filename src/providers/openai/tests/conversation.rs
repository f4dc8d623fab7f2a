use super::*;
use crate::format::Lang;
use crate::job::{Converse, ReplyEnd, Role, Said};
use crate::limits;
use crate::providers::openai::llm::{LlmConfig, OpenAiLlm};
use crate::providers::stub::{Step, answer, answer_with, chunk, chunked};
use crate::providers::{Flow, LanguageModel};
use crate::resilience::fault::{Cause, Fault};
use crate::time::Instant;

fn llm(service: Service, next_ms: u64) -> OpenAiLlm {
    let next_token = Duration::from_millis(next_ms);
    OpenAiLlm::new(LlmConfig { service, temperature: Some(0.5), max_tokens: Some(99), next_token }).unwrap()
}

fn question() -> Converse {
    let said = |role, text: &str| Said { role, text: text.to_owned() };
    let dialogue = vec![said(Role::System, "Be brief."), said(Role::User, "hi \"there\"")];
    Converse { dialogue, language: Lang::EN, first_token_by: Instant::NEVER }
}

/// What came of one conversation.
fn talk(stub: &Stub, call: &Call, next_ms: u64) -> (String, Result<ReplyEnd, Fault>) {
    let mut text = String::new();
    let end = llm(service(stub), next_ms).converse(&question(), call, &mut |piece| {
        text.push_str(piece);
        Flow::Continue
    });
    (text, end)
}

fn token(text: &str) -> Vec<u8> {
    let json = serde_json::json!({ "id": "x", "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] });
    format!("data: {json}\n\n").into_bytes()
}

const STOP: &[u8] = b"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &[u8] = b"data: [DONE]\n\n";

/// A stream of these tokens, ended as it should be.
fn stream(tokens: &[&str]) -> Vec<Step> {
    let mut steps = vec![chunked("text/event-stream")];
    steps.extend(tokens.iter().map(|text| chunk(&token(text))));
    steps.extend([chunk(STOP), chunk(DONE), chunk(b"")]);
    steps
}

/// A stream that begins so and then does these steps.
fn begun(steps: Vec<Step>) -> Vec<Step> {
    let mut all = vec![chunked("text/event-stream"), chunk(&token("One ")), chunk(&token("two"))];
    all.extend(steps);
    all
}

#[test]
fn an_answer_streams_and_the_question_is_as_the_interface_wants_it() {
    let stub = Stub::new(vec![stream(&["Hel", "lo ", "你", "好"])]);
    assert_eq!(talk(&stub, &call(LONG), LONG), ("Hello 你好".to_owned(), Ok(ReplyEnd::Complete)));
    let asked = stub.asked().remove(0);
    assert_eq!(asked.line, "POST /v1/chat/completions");
    for line in ["authorization: bearer canary-key", "content-type: application/json", "user-agent: voxlane/"] {
        assert!(asked.head.contains(line), "{line} in {}", asked.head);
    }
    assert!(!asked.head.contains("accept-encoding"), "{}", asked.head);
    let body: serde_json::Value = serde_json::from_slice(&asked.body).unwrap();
    let expected = serde_json::json!({
        "model": "m-1",
        "stream": true,
        "temperature": 0.5,
        "max_tokens": 99,
        "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": "hi \"there\"" }],
    });
    assert_eq!(body, expected);
}

#[test]
fn every_split_of_the_stream_gives_the_same_text() {
    let mut body = [b": ping\r\n\r\n".to_vec(), token("你好, "), token("\u{1f600} wörld")].concat();
    body.extend_from_slice(STOP);
    body.extend_from_slice(DONE);
    let splits: Vec<usize> = (1..body.len()).step_by(5).collect();
    let steps = |at: &usize| vec![chunked("text/event-stream"), chunk(&body[..*at]), chunk(&body[*at..]), chunk(b"")];
    let stub = Stub::new(splits.iter().map(steps).collect());
    let mut model = llm(service(&stub), LONG);
    for at in splits {
        let mut text = String::new();
        let end = model.converse(&question(), &call(LONG), &mut |piece| {
            text.push_str(piece);
            Flow::Continue
        });
        assert_eq!((text.as_str(), end), ("你好, \u{1f600} wörld", Ok(ReplyEnd::Complete)), "split at {at}");
    }
}

#[test]
fn each_status_has_its_cause() {
    let cases = [
        (400, Cause::Refused),
        (401, Cause::Refused),
        (403, Cause::Refused),
        (404, Cause::Refused),
        (302, Cause::Refused),
        (429, Cause::Overload),
        (500, Cause::Unavailable),
        (502, Cause::Unavailable),
        (503, Cause::Unavailable),
        (504, Cause::Timeout),
    ];
    let body = br#"{"error":{"message":"key canary-key said hi there","type":"some_type","code":null}}"#;
    let stub = Stub::new(cases.iter().map(|&(status, _)| vec![answer(status, "application/json", body)]).collect());
    for (status, cause) in cases {
        let (text, end) = talk(&stub, &call(LONG), LONG);
        let fault = end.unwrap_err();
        assert_eq!((text.as_str(), fault.cause), ("", cause), "{status}");
        assert_eq!(&*fault.detail, format!("HTTP {status} some_type"), "nothing of the message");
    }
    let full = |status| vec![answer_with(status, "text/plain", "retry-after: 7\r\n", b"busy")];
    let stub = Stub::new(vec![full(429), full(503)]);
    for status in [429, 503] {
        let fault = talk(&stub, &call(LONG), LONG).1.unwrap_err();
        let expected = Fault::new(Cause::Overload, format!("HTTP {status}, retry after 7 s"));
        assert_eq!(fault, expected.wait(Some(Duration::from_secs(7))));
    }
}

#[test]
fn an_answer_that_does_not_stream_is_taken_too() {
    let whole = |finish: &str| {
        let json = serde_json::json!({ "choices": [{ "message": { "role": "assistant", "content": " <think>so</think>\nYes. " },
            "finish_reason": finish }] });
        vec![answer(200, "application/json", json.to_string().as_bytes())]
    };
    let stub = Stub::new(vec![whole("stop"), whole("length")]);
    assert_eq!(talk(&stub, &call(LONG), LONG), ("Yes. ".to_owned(), Ok(ReplyEnd::Complete)));
    assert_eq!(talk(&stub, &call(LONG), LONG), ("Yes. ".to_owned(), Ok(ReplyEnd::Length)));
}

#[test]
fn what_goes_wrong_before_the_first_word_is_a_fault() {
    let sse = |body: &[u8]| vec![answer(200, "text/event-stream", body)];
    let json = |body: &[u8]| vec![answer(200, "application/json", body)];
    let cases: Vec<(Vec<Step>, Cause)> = vec![
        (sse(b"data: {\"error\":{\"message\":\"x\",\"code\":503}}\n\n"), Cause::Unavailable),
        (sse(b"data: {\"error\":{\"message\":\"x\",\"code\":429}}\n\n"), Cause::Overload),
        (sse(b"data: {\"error\":{\"type\":\"rate_limit_exceeded\"}}\n\n"), Cause::Overload),
        (json(b"{\"error\":{\"type\":\"invalid_request_error\"}}"), Cause::Refused),
        (sse(b"data: {\"choi\n\n"), Cause::Malformed),
        (sse(b"data: {\"choices\": 5}\n\n"), Cause::Malformed),
        (vec![answer(200, "text/html", b"<html>hello</html>")], Cause::Malformed),
        (json(b"{\"choices\":[]}"), Cause::Unavailable),
        (sse(DONE), Cause::Malformed),
        (sse(b""), Cause::Unavailable),
        (sse(&[b'x'; 70_000]), Cause::Malformed),
        (vec![Step::Send(b"SSH-2.0-server\r\n\r\n".to_vec()), Step::Close], Cause::Malformed),
        (vec![Step::Close], Cause::Unavailable),
        (vec![Step::Reset], Cause::Unavailable),
    ];
    let (steps, causes): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
    let stub = Stub::new(steps);
    for (i, cause) in causes.into_iter().enumerate() {
        let (text, end) = talk(&stub, &call(LONG), LONG);
        assert_eq!((text.as_str(), end.map_err(|f| f.cause)), ("", Err(cause)), "case {i}");
    }
}

#[test]
fn what_goes_wrong_after_the_first_word_cuts_the_answer() {
    let error = b"data: {\"error\":{\"code\":500}}\n\n";
    let cases = vec![
        begun(vec![Step::Reset]),
        begun(vec![Step::Close]),
        begun(vec![chunk(b"")]),
        begun(vec![chunk(error)]),
        begun(vec![chunk(b"data: garbage\n\n")]),
    ];
    let count = cases.len();
    let stub = Stub::new(cases);
    for i in 0..count {
        assert_eq!(talk(&stub, &call(LONG), LONG), ("One two".to_owned(), Ok(ReplyEnd::Cut)), "case {i}");
    }
}

#[test]
fn deadlines_end_what_stalls() {
    // Nothing at all; a head only; comments that keep the line warm but say nothing.
    let warm = vec![chunked("text/event-stream"), Step::Drip(b"3\r\n:\n\n\r\n".to_vec(), Duration::from_millis(5))];
    let stub = Stub::new(vec![vec![Step::Hang], vec![chunked("text/event-stream"), Step::Hang], warm]);
    for i in 0..3 {
        let mut ask = question();
        let call = call(LONG);
        ask.first_token_by = call.clock.now() + Duration::from_millis(SHORT);
        let end = llm(service(&stub), LONG).converse(&ask, &call, &mut |_| Flow::Continue);
        assert_eq!(end, Err(Fault::timeout("first token")), "case {i}");
    }
    // Words, then silence, or single bytes that never make a word.
    let drip = Step::Drip(b"1\r\nx\r\n".to_vec(), Duration::from_millis(5));
    let stub = Stub::new(vec![begun(vec![Step::Hang]), begun(vec![drip])]);
    for i in 0..2 {
        assert_eq!(talk(&stub, &call(LONG), SHORT), ("One two".to_owned(), Ok(ReplyEnd::Cut)), "case {i}");
    }
    // Words without end, slowly: the whole answer has a deadline too.
    let slow =
        Step::Drip([b"b9\r\n".as_slice(), &pad(&token(" on"), 0xb9), b"\r\n"].concat(), Duration::from_millis(10));
    let stub = Stub::new(vec![begun(vec![slow])]);
    let (text, end) = talk(&stub, &call(4 * SHORT), LONG);
    assert!(text.starts_with("One two") && end == Ok(ReplyEnd::Cut), "{text} {end:?}");
}

/// The event made `len` bytes long by a comment.
fn pad(event: &[u8], len: usize) -> Vec<u8> {
    let mut out = b":".to_vec();
    out.resize(len - event.len() - 1, b'.');
    out.push(b'\n');
    out.extend_from_slice(event);
    out
}

#[test]
fn an_endless_answer_is_cut_at_our_cap() {
    let event = token(&"endless ".repeat(64));
    let piece = [format!("{:x}\r\n", event.len()).as_bytes(), &event, b"\r\n"].concat();
    let flood = Step::Drip(piece, Duration::from_micros(1));
    let stub = Stub::new(vec![vec![chunked("text/event-stream"), flood]]);
    let (text, end) = talk(&stub, &call(LONG), LONG);
    assert_eq!((text.len(), end), (limits::REPLY_BYTES, Ok(ReplyEnd::Length)));
}

#[test]
fn the_caller_may_stop_and_the_model_may_run_out() {
    let length = b"data: {\"choices\":[{\"delta\":{\"content\":\".\"},\"finish_reason\":\"length\"}]}\n\n";
    let stub = Stub::new(vec![begun(vec![Step::Hang]), begun(vec![chunk(length), chunk(DONE), chunk(b"")])]);
    let end = llm(service(&stub), LONG).converse(&question(), &call(LONG), &mut |_| Flow::Stop);
    assert_eq!(end, Ok(ReplyEnd::Length));
    assert_eq!(talk(&stub, &call(LONG), LONG), ("One two.".to_owned(), Ok(ReplyEnd::Length)));
}

#[test]
fn a_probe_tells_what_is_there() {
    let models = |body: &str| vec![answer(200, "application/json", body.as_bytes())];
    let stub = Stub::new(vec![
        models(r#"{"object":"list","data":[{"id":"m-0"},{"id":"m-1"}]}"#),
        models(r#"{"data":[{"id":"other"}]}"#),
        vec![answer(404, "text/plain", b"no such page")],
        stream(&["Hi"]),
        vec![answer(401, "application/json", br#"{"error":{"code":"invalid_api_key"}}"#)],
    ]);
    let mut model = llm(service(&stub), LONG);
    let mut probe = || model.probe(&call(LONG));
    assert_eq!(probe().unwrap(), "answers; m-1 is one of its 2 models");
    assert_eq!(probe().unwrap(), "answers; m-1 is not among its 1 models");
    assert_eq!(probe().unwrap(), "answers");
    assert_eq!(probe(), Err(Fault::new(Cause::Refused, "HTTP 401 invalid_api_key")));
    assert_eq!(stub.asked()[0].line, "GET /v1/models");
}
