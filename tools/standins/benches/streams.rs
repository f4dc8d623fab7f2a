//! What do the stand-ins cost? So many conversations at the duty of the targets (3 s of speech up, a reply of 5 s in three
//! sentences, a turn each 8.5 s), or so many open streams at once, from one client thread; processor time is that of the
//! stand-ins' thread alone.
//!
//!     cargo bench -p voxlane-standins --bench streams -- 5000 20          # conversations, for so many seconds, pcm
//!     cargo bench -p voxlane-standins --bench streams -- 5000 20 opus
//!     cargo bench -p voxlane-standins --bench streams -- 5000 20 tokens   # language model streams without a pause

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};
use voxlane_standins::profile::Profile;
use voxlane_standins::{Config, Standins, allow_files, identity};

/// A turn: 3 s of speech, 0.5 s of waiting, 5 s of reply.
const TURN: Duration = Duration::from_millis(8_500);
/// Different utterances.
const VOICES: u16 = 64;

struct Talk {
    stream: TcpStream,
    /// Requests of a turn, and which is next.
    step: usize,
    sending: Vec<u8>,
    sent: usize,
    /// The last bytes that came, and whether the answer's length is known from its head.
    tail: Vec<u8>,
    next_turn: Instant,
    is_idle: bool,
}

fn main() {
    // cargo bench passes --bench.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let count = words.first().and_then(|word| word.parse().ok()).unwrap_or(1_000);
    let seconds = words.get(1).and_then(|word| word.parse().ok()).unwrap_or(10);
    let mode = words.get(2).map_or("pcm", String::as_str);
    let files = allow_files();
    assert!(files > 2 * count as u64 + 64, "{files} open files are allowed, {} are needed", 2 * count + 64);
    let handle = Standins::start(Config::new(Profile::R2)).expect("a free port");
    let turns: Vec<Vec<Vec<u8>>> = (0..VOICES).map(|id| requests(id, mode)).collect();
    let begin = Instant::now();
    let turn = if mode == "tokens" { Duration::ZERO } else { TURN };
    let done = talk(handle.address(), count, Duration::from_secs(seconds), turn, &turns);
    let lag = handle.stop();
    println!("{count} {mode}: {done} turns in {:.1} s", begin.elapsed().as_secs_f64());
    println!("{}", lag.line());
    println!("{:.0} us of processor time per turn", lag.cpu_s * 1e6 / done.max(1) as f64);
}

fn requests(id: u16, mode: &str) -> Vec<Vec<u8>> {
    let word = identity::words(id);
    let post = |path: &str, kind: &str, body: &[u8]| {
        let head = format!(
            "POST /v1/{path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let question = format!(r#"{{"stream":true,"messages":[{{"role":"user","content":"This is {word}."}}]}}"#);
    let question = post("chat/completions", "application/json", question.as_bytes());
    if mode == "tokens" {
        return vec![question];
    }
    let mut samples = identity::tone(id, 16_000);
    samples.resize(48_000, 0);
    let mut form = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF".to_vec();
    form.extend_from_slice(&96_036_u32.to_le_bytes());
    form.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data");
    form.extend_from_slice(&96_000_u32.to_le_bytes());
    samples.iter().for_each(|sample| form.extend_from_slice(&sample.to_le_bytes()));
    form.extend_from_slice(b"\r\n--x--\r\n");
    let order = format!(r#"{{"input":"{word} hears the river under an.","response_format":"{mode}"}}"#);
    let order = post("audio/speech", "application/json", order.as_bytes());
    let form = post("audio/transcriptions", "multipart/form-data; boundary=x", &form);
    vec![form, question, order.clone(), order.clone(), order]
}

/// Turns that were completed.
fn talk(to: std::net::SocketAddr, count: usize, time: Duration, turn: Duration, turns: &[Vec<Vec<u8>>]) -> u64 {
    let mut poll = Poll::new().expect("epoll");
    let mut starts = BinaryHeap::new();
    let begin = Instant::now();
    let mut talks: Vec<Talk> = (0..count)
        .map(|at| {
            let stream = std::net::TcpStream::connect(to).expect("the stand-ins listen");
            stream.set_nonblocking(true).expect("a socket");
            let mut stream = TcpStream::from_std(stream);
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(at), both).expect("epoll");
            let next_turn = begin + turn.mul_f64(at as f64 / count as f64);
            starts.push(Reverse((next_turn, at)));
            Talk { stream, step: 0, sending: Vec::new(), sent: 0, tail: Vec::new(), next_turn, is_idle: true }
        })
        .collect();
    let mut events = Events::with_capacity(1_024);
    let mut buffer = vec![0; 65_536];
    let mut done = 0;
    while begin.elapsed() < time {
        let wait = starts
            .peek()
            .map_or(Duration::from_millis(100), |Reverse((at, _))| at.saturating_duration_since(Instant::now()));
        poll.poll(&mut events, Some(wait.min(Duration::from_millis(100)))).expect("epoll");
        let ready: Vec<usize> = events.iter().map(|event| event.token().0).collect();
        for at in ready {
            done += drive(&mut talks[at], at, turn, turns, &mut buffer, &mut starts);
        }
        while let Some(&Reverse((due, at))) = starts.peek() {
            if due > Instant::now() {
                break;
            }
            starts.pop();
            let talk = &mut talks[at];
            talk.next_turn = due + turn;
            (talk.is_idle, talk.step, talk.sent) = (false, 0, 0);
            talk.sending.clone_from(&turns[at % turns.len()][0]);
            done += drive(talk, at, turn, turns, &mut buffer, &mut starts);
        }
    }
    done
}

fn drive(
    talk: &mut Talk,
    at: usize,
    turn: Duration,
    turns: &[Vec<Vec<u8>>],
    buffer: &mut [u8],
    starts: &mut BinaryHeap<Reverse<(Instant, usize)>>,
) -> u64 {
    let mut done = 0;
    loop {
        while talk.sent < talk.sending.len() {
            match talk.stream.write(&talk.sending[talk.sent..]) {
                Ok(len) => talk.sent += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("cut off: {error}"),
            }
        }
        match talk.stream.read(buffer) {
            Ok(0) => panic!("cut off"),
            Ok(len) => {
                talk.tail.extend_from_slice(&buffer[..len]);
                let is_whole = talk.tail.ends_with(b"0\r\n\r\n")
                    || (turns[0].len() > 1 && talk.step == 0 && talk.tail.ends_with(b"}"));
                let keep = talk.tail.len().saturating_sub(8);
                talk.tail.drain(..keep);
                if !is_whole || talk.is_idle {
                    continue;
                }
                talk.tail.clear();
                talk.step += 1;
                talk.sent = 0;
                match turns[at % turns.len()].get(talk.step) {
                    Some(request) => talk.sending.clone_from(request),
                    None => {
                        done += 1;
                        talk.sending.clear();
                        talk.is_idle = true;
                        let next = if turn.is_zero() { Instant::now() } else { talk.next_turn };
                        starts.push(Reverse((next, at)));
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return done,
            Err(error) => panic!("cut off: {error}"),
        }
    }
}
