use super::*;
use crate::audio::block::Speech;
use crate::format::Lang;
use crate::job::Recognise;
use crate::limits;
use crate::providers::Recogniser;
use crate::providers::openai::asr::{AsrConfig, OpenAiAsr};
use crate::providers::stub::{Step, answer, answer_with, chunk, chunked};
use crate::resilience::fault::{Cause, Fault};
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;

fn asr(service: Service) -> OpenAiAsr {
    OpenAiAsr::new(AsrConfig { service, language: None, language_unknown: None, verbose: false }).unwrap()
}

fn hear(asr: &mut OpenAiAsr, call: &Call) -> Result<String, Fault> {
    asr.recognise(Speech::Samples(&[100; 4_800]), &Recognise { language: None, hint: Lang::EN }, call).map(|t| t.text)
}

fn text(text: &str) -> Vec<Step> {
    vec![answer(200, "application/json", serde_json::json!({ "text": text }).to_string().as_bytes())]
}

fn then(first: Step, rest: Vec<Step>) -> Vec<Step> {
    std::iter::once(first).chain(rest).collect()
}

#[test]
fn a_connection_is_used_again() {
    let refused = vec![answer(400, "application/json", b"{}")];
    let stub = Stub::new(vec![text("a"), text("b"), refused, text("c")]);
    let mut asr = asr(service(&stub));
    assert_eq!(hear(&mut asr, &call(LONG)), Ok("a".to_owned()));
    assert_eq!(hear(&mut asr, &call(LONG)), Ok("b".to_owned()));
    assert_eq!(hear(&mut asr, &call(LONG)).map_err(|f| f.cause), Err(Cause::Refused));
    assert_eq!(hear(&mut asr, &call(LONG)), Ok("c".to_owned()));
    assert_eq!(stub.connections(), 1, "a refusal that was read leaves its connection whole");
}

/// Row 10 of the fault matrix: what is asked once more is asked on another connection.
#[test]
fn a_server_in_trouble_loses_its_connection() {
    let failed = |status| vec![answer(status, "application/json", b"{}")];
    let stub = Stub::new(vec![text("a"), failed(500), text("b"), failed(503), text("c")]);
    let mut asr = asr(service(&stub));
    let said: Vec<_> = (0..5).map(|_| hear(&mut asr, &call(LONG)).ok()).collect();
    assert_eq!(said, ["a", "", "b", "", "c"].map(|word| Some(word.to_owned()).filter(|word| !word.is_empty())));
    assert_eq!((stub.connections(), stub.asked().len()), (3, 5));
}

#[test]
fn clones_of_a_client_share_their_connections() {
    let stub = Stub::new(vec![text("a"), text("b")]);
    let service = service(&stub);
    assert_eq!(hear(&mut asr(service.clone()), &call(LONG)), Ok("a".to_owned()));
    assert_eq!(hear(&mut asr(service), &call(LONG)), Ok("b".to_owned()));
    assert_eq!(stub.connections(), 1);
}

#[test]
fn a_kept_connection_that_died_is_replaced_once() {
    // The server drops the kept connection when the second request comes: it is sent again on a new one.
    let stub = Stub::new(vec![text("a"), vec![Step::Close], text("b"), vec![Step::Reset], text("c")]);
    let mut asr = asr(service(&stub));
    for word in ["a", "b", "c"] {
        assert_eq!(hear(&mut asr, &call(LONG)), Ok(word.to_owned()));
    }
    assert_eq!((stub.connections(), stub.asked().len()), (3, 5));
}

#[test]
fn a_request_is_not_sent_again_on_a_new_connection_or_after_a_byte_of_answer() {
    let half = Step::Send(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec());
    let stub = Stub::new(vec![vec![Step::Close], text("a"), vec![half, Step::Close], text("b")]);
    let mut asr = asr(service(&stub));
    assert_eq!(hear(&mut asr, &call(LONG)).map_err(|f| f.cause), Err(Cause::Unavailable));
    assert_eq!(stub.asked().len(), 1);
    assert_eq!(hear(&mut asr, &call(LONG)), Ok("a".to_owned()));
    assert_eq!(hear(&mut asr, &call(LONG)).map_err(|f| f.cause), Err(Cause::Unavailable));
    assert_eq!(stub.asked().len(), 3);
}

#[test]
fn a_cancel_frees_the_worker_wherever_it_waits() {
    let stop = || {
        let call = call(LONG);
        (call.cancel.clone(), call)
    };
    // Before the head, in a body with a length, in chunks, and in a body that ends with its connection, where a shut socket
    // looks like its end.
    let before_head = |cancel| vec![Step::Cancel(cancel), Step::Hang];
    let counted = |cancel| {
        vec![Step::Send(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_vec()), Step::Cancel(cancel), Step::Hang]
    };
    let in_chunks = |cancel| vec![chunked("application/json"), chunk(b"{"), Step::Cancel(cancel), Step::Hang];
    let to_close = |cancel| {
        let all = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"text\":\"whole\"}".to_vec();
        vec![Step::Send(all), Step::Cancel(cancel), Step::Hang]
    };
    let makers: [&dyn Fn(Cancel) -> Vec<Step>; 4] = [&before_head, &counted, &in_chunks, &to_close];
    for (i, make) in makers.into_iter().enumerate() {
        let (cancel, call) = stop();
        let stub = Stub::new(vec![make(cancel), text("next")]);
        let mut asr = asr(service(&stub));
        assert_eq!(hear(&mut asr, &call), Err(Fault::cancelled()), "case {i}");
        assert!(call.clock.now() < call.deadline, "case {i} came back by its deadline");
        assert_eq!(hear(&mut asr, &super::call(LONG)), Ok("next".to_owned()), "the client is still good");
    }
    let (cancel, call) = stop();
    let stub = Stub::new(vec![]);
    cancel.cancel();
    assert_eq!(hear(&mut asr(service(&stub)), &call), Err(Fault::cancelled()));
    assert!(stub.asked().is_empty());
}

#[test]
fn a_late_cancel_leaves_the_connection_to_the_next_call() {
    let stub = Stub::new(vec![text("a"), text("b")]);
    let mut asr = asr(service(&stub));
    let first = call(LONG);
    assert_eq!(hear(&mut asr, &first), Ok("a".to_owned()));
    first.cancel.cancel();
    assert_eq!(hear(&mut asr, &call(LONG)), Ok("b".to_owned()));
    assert_eq!(stub.connections(), 1);
}

#[test]
fn a_cancel_shuts_its_own_call_only() {
    let (mine, other) = (call(LONG), call(LONG));
    // The second request's arrival takes the first call back, and only then is the second answered.
    let stub = Stub::new(vec![vec![Step::Hang], then(Step::Cancel(mine.cancel.clone()), text("other"))]);
    let shared = service(&stub);
    let mut first = asr(shared.clone());
    let cancelled = std::thread::spawn(move || hear(&mut first, &mine));
    while stub.asked().is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(hear(&mut asr(shared), &other), Ok("other".to_owned()));
    assert_eq!(cancelled.join().unwrap(), Err(Fault::cancelled()));
}

#[test]
fn a_service_that_never_answers_ends_at_the_deadline() {
    let stub = Stub::new(vec![vec![Step::Hang], vec![chunked("application/json"), Step::Hang]]);
    let mut asr = asr(service(&stub));
    for _ in 0..2 {
        assert_eq!(hear(&mut asr, &call(SHORT)), Err(Fault::timeout("recognition")));
    }
}

/// A listener whose queue is full: further connections are neither taken nor refused.
fn black_hole() -> (SocketAddr, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    let mut kept = vec![listener];
    for _ in 0..4 {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        filler.set_nonblocking(true).unwrap();
        let _ = filler.connect(&addr.into());
        kept.push(filler);
    }
    (addr, kept)
}

#[test]
fn a_connection_that_does_not_come_about_ends_too() {
    let (addr, _kept) = black_hole();
    let away = |base_url| Service { client: client(), base_url, model: String::new(), api_key: None };
    let mut hole = asr(away(format!("http://{addr}/v1")));
    assert_eq!(hear(&mut hole, &call(SHORT)), Err(Fault::timeout("connect")));
    // Whenever the cancel comes, before the connection is begun or while it is waited for, it ends the call.
    let call = call(LONG);
    let cancel = call.cancel.clone();
    let worker = std::thread::spawn(move || hear(&mut hole, &call));
    cancel.cancel();
    assert_eq!(worker.join().unwrap(), Err(Fault::cancelled()));

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = hear(&mut asr(away(format!("http://{closed}/v1"))), &super::call(LONG)).unwrap_err();
    assert_eq!(refused.cause, Cause::Unavailable);
}

#[test]
fn a_name_is_looked_up() {
    let stub = Stub::new(vec![text("a"), text("b")]);
    let mut named = service(&stub);
    named.base_url = format!("http://localhost:{}/v1/", stub.port());
    let mut asr = asr(named);
    assert_eq!(hear(&mut asr, &call(LONG)), Ok("a".to_owned()));
    assert_eq!(hear(&mut asr, &call(LONG)), Ok("b".to_owned()));
    assert_eq!(stub.asked()[0].line, "POST /v1/audio/transcriptions");
}

#[test]
fn an_address_that_is_none_is_refused_at_once() {
    for base_url in ["", "localhost:8080/v1", "ftp://host/v1", "http://", "http://ho st/v1"] {
        let service = Service { client: client(), base_url: base_url.to_owned(), model: String::new(), api_key: None };
        let config = AsrConfig { service, language: None, language_unknown: None, verbose: false };
        assert_eq!(OpenAiAsr::new(config).map_err(|f| f.cause).err(), Some(Cause::Refused), "{base_url:?}");
    }
}

#[test]
fn neither_key_nor_password_shows() {
    let mut secret = service(&Stub::new(vec![]));
    secret.base_url = "https://user:canary-word@host:1/v1?key=canary-query".to_owned();
    let asr = asr(secret);
    let shown = format!("{asr:?} {:?}", asr.about());
    assert!(shown.contains("m-1 at https://host:1/v1") && !shown.contains("canary"), "{shown}");
}

#[test]
fn the_stack_of_a_pool_thread_is_enough() {
    let stub = Stub::new(vec![text("a")]);
    let mut asr = asr(service(&stub));
    let worker = std::thread::Builder::new().stack_size(limits::POOL_STACK_BYTES);
    let worker = worker.spawn(move || hear(&mut asr, &call(LONG))).unwrap();
    assert_eq!(worker.join().unwrap(), Ok("a".to_owned()));
}

#[test]
fn a_redirect_is_not_followed() {
    let away = answer_with(307, "text/plain", "location: http://127.0.0.1:1/\r\n", b"");
    let stub = Stub::new(vec![vec![away]]);
    let fault = hear(&mut asr(service(&stub)), &call(LONG)).unwrap_err();
    assert_eq!((fault.cause, stub.asked().len()), (Cause::Refused, 1));
}
