//! A small blocking HTTP server on loopback for the tests of those who call services: it answers as its script says, as badly as
//! it says, and remembers what it was asked.

use crate::job::Cancel;
use crate::time::Duration;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What the server does once a request has come.
pub enum Step {
    /// Writes these bytes.
    Send(Vec<u8>),
    /// Writes the bytes again and again with this pause in between, until the client goes.
    Drip(Vec<u8>, Duration),
    /// Takes the client's call back.
    Cancel(Cancel),
    /// Says nothing more; waits until the client goes.
    Hang,
    /// Closes the connection.
    Close,
    /// Breaks the connection.
    Reset,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Method and path.
    pub line: String,
    /// The header lines, in lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

/// The server. Each request takes the next list of steps; without one it answers 500.
pub struct Stub {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    steps: Mutex<VecDeque<Vec<Step>>>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    over: AtomicBool,
}

impl Stub {
    /// A server that does `steps`, one list for each request.
    pub fn new(steps: Vec<Vec<Step>>) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            steps: Mutex::new(steps.into()),
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let ours = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ours.over.load(Ordering::SeqCst) {
                    return;
                }
                ours.connections.fetch_add(1, Ordering::SeqCst);
                let ours = ours.clone();
                std::thread::spawn(move || serve(stream, &ours));
            }
        });
        Stub { addr, shared }
    }

    /// Its address as a base URL.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().clone()
    }

    /// The connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    while let Some(asked) = read_request(&mut stream) {
        shared.asked.lock().push(asked);
        let steps = shared.steps.lock().pop_front().unwrap_or_else(|| vec![answer(500, "text/plain", b"no script")]);
        for step in steps {
            match step {
                Step::Send(bytes) => {
                    if stream.write_all(&bytes).is_err() {
                        return;
                    }
                }
                Step::Drip(bytes, pause) => {
                    while stream.write_all(&bytes).is_ok() && !is_gone(&mut stream, Some(pause)) {}
                    return;
                }
                Step::Cancel(cancel) => cancel.cancel(),
                Step::Hang => {
                    is_gone(&mut stream, None);
                    return;
                }
                Step::Close => return,
                Step::Reset => {
                    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                    return;
                }
            }
        }
    }
}

/// Waits until the client has gone, at most for `pause`.
fn is_gone(stream: &mut TcpStream, pause: Option<Duration>) -> bool {
    let _ = stream.set_read_timeout(Some(pause.unwrap_or(Duration::from_secs(30))));
    match stream.read(&mut [0; 64]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
    }
}

fn read_request(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let mut piece = [0; 8_192];
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        match stream.read(&mut piece) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&piece[..n]),
            _ => return None,
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let (line, head) = head.split_once("\r\n").unwrap_or((&head, ""));
    let head = head.to_ascii_lowercase();
    let length = |line: &str| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok();
    let length = head.lines().find_map(length).unwrap_or(0);
    let mut body = bytes[head_end + 4..].to_vec();
    while body.len() < length {
        match stream.read(&mut piece) {
            Ok(n) if n > 0 => body.extend_from_slice(&piece[..n]),
            _ => return None,
        }
    }
    let line = line.rsplit_once(' ').map_or(line, |(line, _)| line).to_owned();
    Some(Asked { line, head, body })
}

/// A whole answer with its length.
pub fn answer(status: u16, kind: &str, body: &[u8]) -> Step {
    answer_with(status, kind, "", body)
}

/// A whole answer with further header lines.
pub fn answer_with(status: u16, kind: &str, lines: &str, body: &[u8]) -> Step {
    let len = body.len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len}\r\n{lines}\r\n");
    Step::Send([head.as_bytes(), body].concat())
}

/// The head of an answer that comes in chunks.
pub fn chunked(kind: &str) -> Step {
    Step::Send(format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n").into_bytes())
}

/// One chunk; an empty one ends the answer.
pub fn chunk(bytes: &[u8]) -> Step {
    Step::Send([format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
}
