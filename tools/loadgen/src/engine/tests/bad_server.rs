//! A server that does one thing wrong: every judgement must fire, and no other.

use super::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use voxlane::audio::opus::Encoder;
use voxlane_standins::identity;

/// What it sends after the device has said its words.
#[derive(Clone, Copy)]
enum Part {
    Text(&'static str),
    /// A sentence with somebody's word: the device's own number plus this.
    Sentence(u16),
    /// So many packets of silence at once.
    Packets(usize),
    /// So many ms later.
    Later(u64),
    /// Hangs up.
    Close,
    /// A frame that no device understands.
    Garbage,
}

use Part::{Close, Garbage, Later, Packets, Sentence, Text};

const START: Part = Text(r#"{"type":"tts","state":"start"}"#);
const STOP: Part = Text(r#"{"type":"tts","state":"stop"}"#);
const STT: Part = Text(r#"{"type":"stt","text":"hello"}"#);

/// At least once: the device comes back and meets it again.
const AGAIN: u64 = u64::MAX;

/// One device, one turn in manual mode, against a server that answers so: the classes of failures and their counts.
fn check(answer: &'static [Part], expected: &[(&str, u64)]) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}/", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(stream, answer));
        }
    });
    let flags =
        [("devices", "1"), ("ramp", "0"), ("duration", "4"), ("turns", "1"), ("mode", "manual"), ("pause", "0")];
    let flags: Vec<_> = flags.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let scenario = Scenario::read(None, &flags).expect("scenario");
    let word = Utterance {
        name: "x".into(),
        text: String::new(),
        packets: vec![Box::new([0]); 2],
        pcm: vec![0; 2 * PACKET],
        speech_end_ms: 480.0,
    };
    let plan = Plan::new(Target::parse(&url, false).expect("target"), scenario, &[word], "bad".into()).expect("plan");
    let outcome = plan.run(&mut Watch::default(), &Live::default(), &mut |_| {}).expect("run");
    // On a machine so busy that the tool does not believe its clock, no tail is judged.
    let is_told = |class: &str| class != "tail_cut" || outcome.unmeasured.is_none();
    let expected: Vec<_> = expected.iter().filter(|(class, _)| is_told(class)).collect();
    let found: Vec<(&str, u64)> = outcome.failures.iter().map(|(class, f)| (class.as_str(), f.count)).collect();
    let is_as_expected = |(found, expected): (&(&str, u64), &&(&str, u64))| {
        found.0 == expected.0 && (found.1 == expected.1 || expected.1 == AGAIN)
    };
    let all = found.len() == expected.len() && found.iter().zip(&expected).all(is_as_expected);
    assert!(all, "{found:?}, not {expected:?}: {:#?}", outcome.failures);
}

fn serve(mut stream: TcpStream, answer: &[Part]) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n").ok()?;
    loop {
        let text = String::from_utf8_lossy(&read_frame(&mut stream)?).into_owned();
        if text.contains("\"hello\"") {
            let hello =
                r#"{"type":"hello","transport":"websocket","audio_params":{"sample_rate":24000,"frame_duration":60}}"#;
            send(&mut stream, 1, hello.as_bytes())?;
        }
        if text.contains("\"stop\"") {
            break;
        }
    }
    let mut encoder = Encoder::new(24_000, 0).ok()?;
    let mut packet = vec![0; 2_000];
    let len = encoder.encode(&[0; 1_440], &mut packet).ok()?;
    for part in answer {
        match part {
            Text(text) => send(&mut stream, 1, text.as_bytes())?,
            Sentence(offset) => {
                let own = crate::engine::device::Device::new(0, Behaviour::Talk, 0).id;
                let text = format!(
                    "{{\"type\":\"tts\",\"state\":\"sentence_start\",\"text\":\"I am {}.\"}}",
                    identity::words(own + offset)
                );
                send(&mut stream, 1, text.as_bytes())?;
            }
            Packets(n) => (0..*n).try_for_each(|_| send(&mut stream, 2, &packet[..len]))?,
            Later(ms) => std::thread::sleep(Duration::from_millis(*ms)),
            Close => return None,
            Garbage => stream.write_all(&[0x01, 0x85, 1, 2, 3, 4, 5]).ok()?,
        }
    }
    while read_frame(&mut stream).is_some() {}
    Some(())
}

fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    let len = match head[1] & 127 {
        126 => {
            let mut long = [0; 2];
            stream.read_exact(&mut long).ok()?;
            usize::from(u16::from_be_bytes(long))
        }
        short => usize::from(short),
    };
    let mut key = [0; 4];
    stream.read_exact(&mut key).ok()?;
    let mut content = vec![0; len];
    stream.read_exact(&mut content).ok()?;
    content.iter_mut().enumerate().for_each(|(i, byte)| *byte ^= key[i % 4]);
    Some(content)
}

fn send(stream: &mut TcpStream, opcode: u8, content: &[u8]) -> Option<()> {
    let mut frame = vec![0x80 | opcode];
    match content.len() {
        len @ 0..126 => frame.push(len as u8),
        len => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(content);
    stream.write_all(&frame).ok()
}

#[test]
fn a_good_reply_is_no_failure() {
    check(&[STT, START, Sentence(0), Packets(3), Later(260), STOP], &[]);
}

#[test]
fn a_stop_before_the_playout_ends_cuts_the_tail() {
    check(&[START, Sentence(0), Packets(10), Later(50), STOP], &[("tail_cut", 1)]);
}

#[test]
fn the_words_of_another_are_crosstalk() {
    check(&[START, Sentence(0), Sentence(7), Packets(1), Later(100), STOP], &[("crosstalk", 1)]);
}

#[test]
fn a_reply_without_sound_is_silence() {
    check(&[START, Sentence(0), STOP], &[("silence", 1)]);
}

#[test]
fn packets_and_sentences_outside_a_reply_are_out_of_order() {
    check(&[Packets(1), Sentence(0), START, Packets(1), Later(100), STOP], &[("wrong_order", 2)]);
    check(&[START, START, Packets(1), Later(100), STOP], &[("wrong_order", 1)]);
}

#[test]
fn a_server_that_hangs_up_or_sends_nonsense_has_failed() {
    check(&[START, Packets(1), Later(20), Close, STOP], &[("closed", AGAIN)]);
    check(&[Garbage], &[("malformed", AGAIN)]);
}
