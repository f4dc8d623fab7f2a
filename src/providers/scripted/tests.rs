use super::*;
use crate::audio::block::Speech;
use crate::format::ReplyFormat;
use crate::job::{Cancel, Said};
use crate::time::{Clock, Instant};

fn call(ms: u64) -> Call {
    let clock = Clock::start();
    Call { clock, deadline: clock.now() + Duration::from_millis(ms), cancel: Cancel::new(), ticket: Default::default() }
}

fn script(lines: &[&str]) -> Script {
    Script::new(&lines.iter().map(|&l| l.to_owned()).collect::<Vec<_>>()).unwrap()
}

fn hear(lines: &[&str], samples: usize, times: usize) -> Vec<Result<String, Cause>> {
    let mut asr = ScriptedAsr::new(script(lines), Duration::ZERO);
    let how = Recognise { language: None, hint: Lang::EN };
    (0..times)
        .map(|_| {
            asr.recognise(Speech::Samples(&vec![0; samples]), &how, &call(250)).map(|t| t.text).map_err(|f| f.cause)
        })
        .collect()
}

fn ask(text: &str) -> Converse {
    let said = Said { role: Role::User, text: text.to_owned() };
    Converse { dialogue: vec![said], language: Lang::EN, first_token_by: Instant::NEVER }
}

fn answer(lines: &[&str], text: &str) -> (String, Result<ReplyEnd, Cause>) {
    let mut llm = ScriptedLlm::new(script(lines), Duration::ZERO, Duration::ZERO);
    let mut out = String::new();
    let end = llm.converse(&ask(text), &call(250), &mut |piece| {
        out.push_str(piece);
        Flow::Continue
    });
    (out, end.map_err(|f| f.cause))
}

fn sentence(text: &str) -> Speak {
    Speak {
        sentence: 0,
        text: text.to_owned(),
        language: Lang::EN,
        format: ReplyFormat::DEFAULT,
        first_byte_by: Instant::NEVER,
    }
}

fn speak(lines: &[&str], text: &str) -> (u64, Result<(), Cause>) {
    let mut tts = ScriptedTts::new(script(lines), Duration::ZERO, 24_000);
    let mut samples = 0;
    let end = tts.speak(&sentence(text), &call(250), &mut |sound| {
        assert_eq!(sound.rate, 24_000);
        samples += sound.pcm.len() as u64;
        Flow::Continue
    });
    (samples / 24, end.map_err(|f| f.cause))
}

#[test]
fn a_recogniser_follows_its_script_in_turn() {
    let heard = hear(&["hello", "!empty", "!fail", "!refuse", "!garbage", "!hang", "!cut", "!slow 1 late"], 160, 9);
    let expected = [
        Ok("hello".to_owned()),
        Ok(String::new()),
        Err(Cause::Unavailable),
        Err(Cause::Refused),
        Err(Cause::Malformed),
        Err(Cause::Timeout),
        Err(Cause::Unavailable),
        Ok("late".to_owned()),
        Ok("hello".to_owned()),
    ];
    assert_eq!(heard, expected);
    assert_eq!(hear(&[], 16 * 1_250, 1), [Ok("utterance of 1250 ms".to_owned())]);
    assert_eq!(hear(&[], 0, 1), [Ok(String::new())]);
    assert_eq!(hear(&["!long 5000"], 1, 1)[0].as_ref().unwrap().len(), 5_000);
}

#[test]
fn a_model_follows_its_script() {
    let cases: [(&[&str], &str, Result<ReplyEnd, Cause>); 8] = [
        (&[], "You said: how are you", Ok(ReplyEnd::Complete)),
        (&["Fine, thank you."], "Fine, thank you.", Ok(ReplyEnd::Complete)),
        (&["!cut one two three four"], "one two t", Ok(ReplyEnd::Cut)),
        (&["!empty"], "", Ok(ReplyEnd::Complete)),
        (&["!hang"], "", Err(Cause::Timeout)),
        (&["!refuse"], "", Err(Cause::Refused)),
        (&["!slow 2"], "You said: how are you", Ok(ReplyEnd::Complete)),
        (&["!slow 5000 never"], "", Err(Cause::Timeout)),
    ];
    for (lines, text, end) in cases {
        assert_eq!(answer(lines, "how are you"), (text.to_owned(), end), "{lines:?}");
    }
}

#[test]
fn delays_end_at_the_deadlines() {
    let call = call(10_000);
    let mut late = ask("x");
    late.first_token_by = call.clock.now() + Duration::from_millis(5);
    let mut llm = ScriptedLlm::new(Script::default(), Duration::from_secs(5), Duration::ZERO);
    let end = llm.converse(&late, &call, &mut |_| Flow::Continue);
    assert_eq!(end, Err(Fault::timeout("first token")));

    // Past the deadline with half of the answer said: the half stands.
    let short = super::tests::call(1_000);
    let mut llm = ScriptedLlm::new(Script::default(), Duration::ZERO, Duration::from_secs(5));
    let mut said = String::new();
    let end = llm.converse(&ask("x"), &short, &mut |t| {
        said.push_str(t);
        Flow::Continue
    });
    assert_eq!((end, said.as_str()), (Ok(ReplyEnd::Cut), "You"));
}

#[test]
fn a_cancel_wakes_a_call_that_hangs() {
    let call = call(60_000);
    let cancel = call.cancel.clone();
    let mut asr = ScriptedAsr::new(script(&["!hang"]), Duration::ZERO);
    let worker = std::thread::spawn(move || {
        asr.recognise(Speech::Samples(&[0; 16]), &Recognise { language: None, hint: Lang::EN }, &call)
            .map_err(|f| f.cause)
    });
    cancel.cancel();
    assert_eq!(worker.join().unwrap(), Err(Cause::Cancelled));
}

#[test]
fn the_hum_is_as_long_as_the_text() {
    assert_eq!(speak(&[], "hi"), (300, Ok(())));
    assert_eq!(speak(&[], "twenty characters ok"), (1_200, Ok(())));
    assert_eq!(speak(&["!cut"], "twenty characters ok"), (600, Err(Cause::Unavailable)));
    assert_eq!(speak(&["!empty"], "hi"), (0, Ok(())));
    assert_eq!(speak(&["!long 2000"], "hi"), (2_000, Ok(())));
    assert_eq!(speak(&["!garbage"], "hi"), (0, Err(Cause::Malformed)));
}

#[test]
fn workers_that_share_a_script_take_turns_in_it() {
    let script = script(&["a", "b"]);
    let how = Recognise { language: Some(Lang::ZH), hint: Lang::EN };
    let mut one = ScriptedAsr::new(script.clone(), Duration::ZERO);
    let mut two = ScriptedAsr::new(script, Duration::ZERO);
    let hear = |asr: &mut ScriptedAsr| asr.recognise(Speech::Samples(&[1]), &how, &call(250)).unwrap().text;
    assert_eq!([hear(&mut one), hear(&mut two), hear(&mut two)], ["a", "b", "a"]);
}

#[test]
fn a_misspelt_entry_is_refused_by_name() {
    let fault = Script::new(&["!hagn".to_owned()]).unwrap_err();
    assert_eq!(&*fault.detail, "script: unknown entry !hagn");
    assert!(Script::new(&["!slow soon".to_owned()]).is_err());
}

#[test]
fn pieces_put_together_are_the_text() {
    for text in ["", " ", "one two", "  two spaces", "你好 world", "a你", "three, four."] {
        assert_eq!(pieces(text).collect::<String>(), text);
    }
    assert_eq!(pieces("one two 你好").collect::<Vec<_>>(), ["one", " two", " ", "你", "好"]);
}
