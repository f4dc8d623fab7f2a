//! Frames written by hand: what a WebSocket library would refuse to send, and what devices send byte for byte.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Opcodes of RFC 6455.
pub mod opcode {
    pub const CONTINUATION: u8 = 0;
    pub const TEXT: u8 = 1;
    pub const BINARY: u8 = 2;
    pub const CLOSE: u8 = 8;
    pub const PING: u8 = 9;
    pub const PONG: u8 = 10;
}

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked frame with FIN.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    piece(true, opcode, payload)
}

/// A masked frame, the last of its message or not.
pub fn piece(is_last: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = head(is_last, opcode, payload.len() as u64);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// The head of a masked frame that announces so many bytes.
pub fn head(is_last: bool, opcode: u8, len: u64) -> Vec<u8> {
    let mut out = vec![u8::from(is_last) << 7 | opcode];
    match len {
        0..126 => out.push(0x80 | len as u8),
        126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out
}

/// The request of the firmware, as NET `web_socket.cc` writes it: sorted by name, Host without the port. `more` are further
/// header lines, each with its line end.
pub fn request(device_id: &str, version: u8, more: &str) -> String {
    format!(
        "GET /xiaozhi/v1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}Client-Id: 7b6b1f0e-6a39-4b1b-8d4b-0a52b6c0d001\r\n\
         Connection: Upgrade\r\nDevice-Id: {device_id}\r\nProtocol-Version: {version}\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"
    )
}

/// A server's frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The code of a close frame.
    pub fn close_code(&self) -> Option<u16> {
        let code = self.payload.first_chunk::<2>().filter(|_| self.opcode == opcode::CLOSE)?;
        Some(u16::from_be_bytes(*code))
    }
}

/// Takes a whole server frame from the front of `bytes`. A server's frame is never masked, cut or reserved.
pub fn take_frame(bytes: &mut Vec<u8>) -> Option<Frame> {
    let [first, second, ..] = **bytes else { return None };
    assert_eq!((first & 0xf0, second & 0x80), (0x80, 0), "FIN, no reserved bit, no mask: {first:02x} {second:02x}");
    let (len, head) = match second {
        126 => (usize::from(u16::from_be_bytes(*bytes.get(2..4)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..10)?.first_chunk()?) as usize, 10),
        len => (usize::from(len), 2),
    };
    if bytes.len() < head + len {
        return None;
    }
    let payload = bytes.drain(..head + len).skip(head).collect();
    Some(Frame { opcode: first & 0x0f, payload })
}

/// A connection to which any bytes may be written.
pub struct Raw {
    pub stream: TcpStream,
    bytes: Vec<u8>,
}

impl Raw {
    /// Connected, nothing said.
    pub fn connect(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Raw { stream, bytes: Vec::new() }
    }

    /// An open WebSocket.
    pub fn upgraded(address: SocketAddr, device_id: &str, version: u8) -> Raw {
        let mut raw = Raw::connect(address);
        raw.send(request(device_id, version, "").as_bytes());
        let head = raw.http_head(super::PATIENCE);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw
    }

    /// Writes; a server that has hung up is no error here.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// An HTTP head up to its empty line, or what there was of it at the end of the connection.
    pub fn http_head(&mut self, wait: Duration) -> String {
        let until = Instant::now() + wait;
        loop {
            if let Some(at) = self.bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                return String::from_utf8_lossy(&self.bytes.drain(..at + 4).collect::<Vec<_>>()).into_owned();
            }
            if !self.fill(until) {
                return String::from_utf8_lossy(&std::mem::take(&mut self.bytes)).into_owned();
            }
        }
    }

    /// The next frame; `None` when the connection ends or nothing comes within `wait`.
    pub fn frame(&mut self, wait: Duration) -> Option<Frame> {
        let until = Instant::now() + wait;
        loop {
            if let Some(frame) = take_frame(&mut self.bytes) {
                return Some(frame);
            }
            if !self.fill(until) {
                return None;
            }
        }
    }

    /// The code of the close frame that comes next but for other frames; `None` if the connection ends without.
    pub fn closed_with(&mut self) -> Option<u16> {
        let until = Instant::now() + super::PATIENCE;
        while let Some(frame) = self.frame(until.saturating_duration_since(Instant::now())) {
            if let Some(code) = frame.close_code() {
                return Some(code);
            }
        }
        None
    }

    /// Waits for the end of the connection; `false` if it is still open after `wait`.
    pub fn ends(&mut self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        while self.fill(until) {}
        Instant::now() < until
    }

    fn fill(&mut self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        self.stream.set_read_timeout(Some(left)).unwrap();
        let mut some = [0; 4_096];
        match self.stream.read(&mut some) {
            Ok(0) => false,
            Ok(n) => {
                self.bytes.extend_from_slice(&some[..n]);
                true
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => true,
            Err(_) => false,
        }
    }
}
