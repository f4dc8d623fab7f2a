//! Conversations in which somebody stands in: a backup, kept speech, the responder that needs no service.

use crate::support::services::Place;
use crate::support::{Client, Got, Rig, kinds};
use crate::{APOLOGY, TURN, count, heard, packets_of_sentences, sentences};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

fn speak(client: &mut Client) -> Vec<Got> {
    client.utterance(300);
    client.until("tts:stop")
}

fn ask(client: &mut Client, words: &str) -> Vec<Got> {
    client.detect(words);
    client.until("tts:stop")
}

/// Whatever is wrong with the first of each stage, the second answers, and the user hears no difference but the words.
#[test]
fn every_stage_has_somebody_behind_it() {
    for fault in ["!fail", "!refuse", "!garbage", "!cut"] {
        let rig = Rig::with(&[
            ("asr.script", &format!("[{fault:?}]")),
            ("asr.backups", r#"["scripted script=Hello."]"#),
            ("llm.script", &format!("[{:?}]", if fault == "!cut" { "!fail" } else { fault })),
            ("llm.backups", r#"["scripted script=Backup."]"#),
            ("tts.script", &format!("[{:?}]", if fault == "!cut" { "!empty" } else { fault })),
            ("tts.backups", r#"["scripted"]"#),
        ]);
        let mut client = rig.device();
        client.listen("start", "auto");
        let turn = speak(&mut client);
        assert_eq!((kinds(&turn), heard(&turn)), (TURN.map(String::from).to_vec(), "Hello"), "{fault}");
        assert_eq!((sentences(&turn), packets_of_sentences(&turn)), (vec!["Backup."], vec![7]), "{fault}");
        for stage in ["asr", "llm", "tts"] {
            let labels = format!(r#"stage="{stage}",rung="backup""#);
            assert_eq!(rig.metric("voxlane_answers_total", &labels), 1.0, "{fault}, {stage}");
            assert_eq!(rig.metric("voxlane_degraded", stage), 1.0);
        }
    }
}

#[test]
fn who_keeps_failing_is_not_asked_any_more() {
    let rig = Rig::with(&[("llm.script", r#"["!fail"]"#), ("llm.backups", r#"["scripted script=Ok."]"#)]);
    let mut client = rig.device();
    for _ in 0..8 {
        assert_eq!(sentences(&ask(&mut client, "tell me")), ["Ok."]);
    }
    let calls =
        |result: &str| rig.metric("voxlane_provider_calls_total", &format!(r#"provider="scripted",result="{result}""#));
    assert_eq!(calls("failed"), 5.0, "then its breaker opens");
    assert_eq!(rig.metric("voxlane_provider_state", r#"stage="llm",provider="scripted""#), 2.0);
    assert_eq!(rig.metric("voxlane_turns_total", r#"event="complete""#), 8.0);
}

#[test]
fn without_any_model_simple_things_are_answered_and_the_user_is_told_once() {
    let place = Place::new();
    let url = format!("{:?}", place.url());
    let rig = Rig::with(&[("llm.provider", r#""openai""#), ("llm.base_url", &url), ("llm.model", r#""m-1""#)]);
    let mut client = rig.device();
    let said: Vec<String> = ["what is 3 plus 5", "what is 2 plus 2", "why is the sky blue"]
        .map(|words| {
            let turn = ask(&mut client, words);
            assert_eq!((count(&turn, "tts:start"), count(&turn, "tts:stop")), (1, 1));
            assert!(packets_of_sentences(&turn).iter().all(|&packets| packets > 0), "all of it is spoken");
            sentences(&turn).join(" ")
        })
        .to_vec();
    assert!(said[0].starts_with("I can't reach my language model") && said[0].ends_with("3 plus 5 is 8."), "{said:?}");
    assert_eq!(said[1], "2 plus 2 is 4.");
    assert!(said[2].contains("try again later"), "{said:?}");
    // Another device is told too.
    let turn = ask(&mut rig.device(), "what is 1 plus 1");
    assert!(sentences(&turn)[0].starts_with("I can't reach"), "{:?}", sentences(&turn));
    assert_eq!(rig.metric("voxlane_degraded", "llm"), 4.0);
    assert_eq!(rig.metric("voxlane_turns_total", r#"event="failed""#), 0.0);
}

#[test]
fn one_answer_is_spoken_in_one_voice() {
    const PHRASES: usize = 8; // four, in two languages
    let voice = [&["ok"; PHRASES][..], &["!fail"]].concat();
    let rig = Rig::with(&[
        ("llm.script", r#"["One is here. Two is here. Three is here. Four is here."]"#),
        ("tts.script", &format!("{voice:?}")),
        ("tts.workers", "1"),
        ("tts.backups", r#"["scripted"]"#),
    ]);
    let mut client = rig.device();
    let turn = ask(&mut client, "tell me");
    assert_eq!(packets_of_sentences(&turn), [12, 12, 14, 13]);
    assert_eq!(rig.metric("voxlane_answers_total", r#"stage="tts",rung="backup""#), 4.0, "the first is well again");
    assert_eq!(rig.metric("voxlane_provider_calls_total", r#"stage="tts",provider="scripted",result="good""#), 0.0);
    ask(&mut client, "tell me more");
    assert_eq!(rig.metric("voxlane_answers_total", r#"stage="tts",rung="primary""#), 4.0, "the next answer returns");
}

#[test]
fn when_no_place_is_free_in_time_the_user_is_told_so() {
    let rig = Rig::with(&[
        ("llm.script", r#"["!hang"]"#),
        ("llm.concurrency", "1"),
        ("session.turn_s", "2"),
        ("phrases.busy_en", r#""Busy.""#),
        ("phrases.apology_en", &format!("{APOLOGY:?}")),
    ]);
    let (mut first, mut second) = (rig.device(), rig.device());
    first.detect("tell me");
    rig.metric_becomes("voxlane_provider_calls", r#"stage="llm",provider="scripted""#, |calls| calls == 1.0);
    // One call holds the only place for the whole budget.
    let turn = ask(&mut second, "tell me");
    let said = *sentences(&turn).last().unwrap();
    assert!([APOLOGY, "Busy."].contains(&said), "{said}");
    assert_eq!((count(&turn, "tts:start"), count(&turn, "tts:stop")), (1, 1));
    first.until("tts:stop");
}

/// A language model that answers every request with these bytes, and counts them.
struct Sour {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sour {
    fn new(answer: &'static str) -> Sour {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked, over) = (listener.local_addr().unwrap(), Arc::default(), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (asked, over): (Arc<AtomicUsize>, _) = (Arc::clone(&asked), over.clone());
            std::thread::spawn(move || {
                for mut stream in listener.incoming().map_while(Result::ok) {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    let mut request = Vec::new();
                    let mut some = [0; 4_096];
                    // A question of a test fits into one packet or two; its JSON ends it. The list of models is asked for too.
                    while !request.ends_with(b"}") && !request.starts_with(b"GET") {
                        match stream.read(&mut some) {
                            Ok(read) if read > 0 => request.extend_from_slice(&some[..read]),
                            _ => break,
                        }
                    }
                    asked.fetch_add(usize::from(request.starts_with(b"POST")), Ordering::SeqCst);
                    let _ = stream.write_all(answer.as_bytes());
                }
            })
        };
        Sour { address, asked, over, thread: Some(thread) }
    }

    /// A rig that has it as its language model.
    fn rig(&self, more: &[(&str, &str)]) -> Rig {
        rig_at(self.address, more)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Sour {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn rig_at(address: SocketAddr, more: &[(&str, &str)]) -> Rig {
    let url = format!("\"http://{address}/v1\"");
    let own = [
        ("llm.provider", r#""openai""#),
        ("llm.base_url", url.as_str()),
        ("llm.model", r#""m""#),
        ("services.offline", "false"),
        ("phrases.apology_en", r#""Sorry.""#),
        ("phrases.busy_en", r#""Busy.""#),
    ];
    Rig::with(&[&own[..], more].concat())
}

/// Row 10 of the fault matrix.
#[test]
fn a_model_that_answers_500_is_asked_once_more_and_then_spared() {
    let sour = Sour::new("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let rig = sour.rig(&[]);
    let mut client = rig.device();
    assert_eq!(sentences(&ask(&mut client, "tell me")), ["Sorry."]);
    assert_eq!(sour.asked(), 2, "the budget begins with one repetition");
    for _ in 0..10 {
        assert_eq!(sentences(&ask(&mut client, "tell me")), ["Sorry."]);
    }
    assert_eq!(sour.asked(), 5, "five failures, and its breaker is open");
}

/// The session gives up at the same instant as the provider should, and whoever is first, it is a failure of the provider.
#[test]
fn a_model_that_hangs_is_spared_after_five_times_too() {
    let rig = Rig::with(&[
        ("llm.script", r#"["!hang", "!hang", "!hang", "!hang", "!hang", "Never said."]"#),
        ("session.turn_s", "2"),
        ("phrases.apology_en", r#""Sorry.""#),
    ]);
    let mut client = rig.device();
    for _ in 0..7 {
        assert_eq!(sentences(&ask(&mut client, "tell me")), ["Sorry."]);
    }
    let calls = |result: &str| {
        rig.metric("voxlane_provider_calls_total", &format!(r#"stage="llm",provider="scripted",result="{result}""#))
    };
    assert_eq!((calls("failed"), calls("held_back"), calls("void")), (5.0, 2.0, 0.0));
}

/// Row 11.
#[test]
fn a_model_that_says_retry_after_is_not_asked_within_that_time() {
    let sour = Sour::new("HTTP/1.1 429 Slow\r\nRetry-After: 600\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let rig = sour.rig(&[("llm.backups", r#"["scripted script=Ok."]"#)]);
    let mut client = rig.device();
    for _ in 0..6 {
        assert_eq!(sentences(&ask(&mut client, "tell me")), ["Ok."]);
    }
    assert_eq!(sour.asked(), 1);
    assert_eq!(rig.metric("voxlane_provider_calls_total", r#"provider="openai",result="left_alone""#), 5.0);
    assert_eq!(rig.metric("voxlane_provider_state", r#"provider="openai""#), 0.0);
    // Without anybody behind it, it is the busy phrase that is said.
    let sour = Sour::new("HTTP/1.1 503 Slow\r\nRetry-After: 600\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let rig = sour.rig(&[]);
    assert_eq!(sentences(&ask(&mut rig.device(), "tell me")), ["Busy."]);
    assert_eq!(sour.asked(), 1);
}

/// Row 12: a port whose backlog is full answers nothing, not even that it is closed.
#[test]
fn a_model_in_a_black_hole_costs_its_connect_deadline_five_times_and_then_nothing() {
    let hole = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    hole.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    hole.listen(0).unwrap();
    let address = hole.local_addr().unwrap().as_socket().unwrap();
    // These wait to be accepted, and nobody after them is heard.
    let _plugs: Vec<Socket> = (0..4)
        .map(|_| {
            let plug = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            plug.set_nonblocking(true).unwrap();
            let _ = plug.connect(&address.into());
            plug
        })
        .collect();
    let rig = rig_at(address, &[("llm.backups", r#"["scripted script=Ok."]"#)]);
    let mut client = rig.device();
    for _ in 0..8 {
        assert_eq!(sentences(&ask(&mut client, "tell me")), ["Ok."]);
    }
    let calls =
        |result: &str| rig.metric("voxlane_provider_calls_total", &format!(r#"provider="openai",result="{result}""#));
    assert_eq!((calls("failed"), calls("good")), (5.0, 0.0));
}

#[test]
fn a_model_that_has_recovered_is_returned_to_by_single_calls() {
    let script = [vec!["!fail"; 5], vec!["Mine."; 200]].concat();
    let rig = Rig::with(&[
        ("llm.script", &format!("{script:?}")),
        ("llm.backups", r#"["scripted script=Other."]"#),
        ("services.breaker_open_s", "1"),
    ]);
    let mut client = rig.device();
    let mut said = Vec::new();
    let state = || rig.metric("voxlane_provider_state", r#"stage="llm",provider="scripted""#);
    while said.len() < 5 || state() > 0.0 {
        said.push(sentences(&ask(&mut client, "tell me"))[0].to_owned());
        assert!(said.len() < 150, "it is never closed");
    }
    assert!(said.iter().take(5).all(|words| words == "Other."), "{said:?}");
    let probes = said.iter().filter(|words| *words == "Mine.").count();
    assert_eq!(probes, 3, "three good ones in a row close it: {said:?}");
    assert_eq!(sentences(&ask(&mut client, "tell me")), ["Mine."]);
    assert_eq!(rig.metric("voxlane_provider_opened_total", r#"stage="llm",provider="scripted""#), 1.0);
}
