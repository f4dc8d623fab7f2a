//! The three services as the OpenAI protocol has them, in one thread: a recogniser, a language model and a voice that do what a
//! test tells them, and remember what they were asked.

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The last part of the path: `transcriptions`, `completions`, `speech`, `models`.
    pub what: String,
    /// The head, in lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// What the recogniser hears and the model answers, in turn. When the model's list is over it repeats what it was told.
#[derive(Default)]
struct Words {
    heard: VecDeque<String>,
    answers: VecDeque<String>,
}

/// The place of services that are not there yet: the port is taken, and who knocks is refused.
pub struct Place(Socket);

/// Services that answer until they are dropped.
pub struct Services {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Place {
    pub fn new() -> Place {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Place(socket)
    }

    /// What goes into `base_url`.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address())
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    /// Opens the door.
    pub fn open(self, heard: &[&str], answers: &[&str]) -> Services {
        self.0.listen(64).unwrap();
        let (address, listener) = (self.address(), TcpListener::from(self.0));
        let (asked, over) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let list = |words: &[&str]| words.iter().map(|word| word.to_string()).collect();
        let mut words = Words { heard: list(heard), answers: list(answers) };
        let thread = {
            let (asked, over) = (asked.clone(), over.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    serve(stream, &asked, &mut words);
                }
            })
        };
        Services { address, asked, over, thread: Some(thread) }
    }
}

impl Services {
    /// What was asked of one of them so far.
    pub fn asked(&self, what: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.what == what).cloned().collect()
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// One request for each connection: nobody who keeps his connection keeps the others waiting.
fn serve(mut stream: TcpStream, asked: &Mutex<Vec<Asked>>, words: &mut Words) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let Some(request) = read_request(&mut stream) else { return };
    asked.lock().unwrap().push(request.clone());
    let (kind, body) = match request.what.as_str() {
        "transcriptions" => {
            let heard = words.heard.pop_front().unwrap_or_else(|| "nothing more".to_owned());
            ("application/json", json!({"text": heard}).to_string().into_bytes())
        }
        "completions" => ("text/event-stream", events(&answer(&request.json(), words))),
        "speech" => {
            let text = request.json()["input"].as_str().unwrap_or_default().to_owned();
            ("audio/wav", wav(text.chars().count() * 60))
        }
        "models" => ("application/json", json!({"object": "list", "data": [{"id": "m-1"}]}).to_string().into_bytes()),
        _ => return answer_with(&mut stream, 404, "text/plain", b"no such service"),
    };
    answer_with(&mut stream, 200, kind, &body);
}

fn answer(question: &Value, words: &mut Words) -> String {
    let last =
        question["messages"].as_array().and_then(|all| all.last()).map_or("", |m| m["content"].as_str().unwrap());
    words.answers.pop_front().unwrap_or_else(|| format!("You said: {last}"))
}

/// The answer word by word, as models send it.
fn events(text: &str) -> Vec<u8> {
    let piece = |delta: Value, finish: Value| {
        format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}))
    };
    let mut out = piece(json!({"role": "assistant", "content": ""}), Value::Null);
    text.split_inclusive(' ').for_each(|word| out.push_str(&piece(json!({"content": word}), Value::Null)));
    out.push_str(&piece(json!({}), json!("stop")));
    out.push_str("data: [DONE]\n\n");
    out.into_bytes()
}

/// A tone of so many milliseconds, 16 kHz mono.
fn wav(ms: usize) -> Vec<u8> {
    let pcm: Vec<u8> = super::sound::tone(ms).iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let len = pcm.len() as u32;
    let mut out = Vec::new();
    for part in [&b"RIFF"[..], &(36 + len).to_le_bytes(), b"WAVEfmt ", &16u32.to_le_bytes()] {
        out.extend_from_slice(part);
    }
    for part in [&1u16.to_le_bytes()[..], &1u16.to_le_bytes(), &16_000u32.to_le_bytes(), &32_000u32.to_le_bytes()] {
        out.extend_from_slice(part);
    }
    for part in [&2u16.to_le_bytes()[..], &16u16.to_le_bytes(), b"data", &len.to_le_bytes(), &pcm] {
        out.extend_from_slice(part);
    }
    out
}

fn answer_with(stream: &mut TcpStream, status: u16, kind: &str, body: &[u8]) {
    let len = body.len();
    let head =
        format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}

fn read_request(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let head_end = loop {
        match bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            Some(at) => break at + 4,
            None => more(stream, &mut bytes)?,
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_lowercase();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let mut body = bytes.split_off(head_end);
    if let Some(len) = header("content-length:").and_then(|len| len.parse::<usize>().ok()) {
        while body.len() < len {
            more(stream, &mut body)?;
        }
    } else if header("transfer-encoding:").is_some() {
        // Chunks of a form: its last bytes are the last chunk.
        while !body.ends_with(b"0\r\n\r\n") {
            more(stream, &mut body)?;
        }
    }
    let what = head.split(' ').nth(1)?.rsplit('/').next()?.to_owned();
    Some(Asked { what, head, body })
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut some = [0; 16_384];
    match stream.read(&mut some) {
        Ok(n) if n > 0 => bytes.extend_from_slice(&some[..n]),
        _ => return None,
    }
    Some(())
}
