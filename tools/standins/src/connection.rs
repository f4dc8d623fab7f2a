//! One client's connection: request, answer, request, as long as both like.

use crate::answer::Answer;
use crate::http::{self, Framing, Head};
use crate::upload::Upload;
use crate::voice::Piece;
use mio::net::TcpStream;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

/// Bytes of answer that wait for a slow reader; then the answer is made no further until it has read.
pub const OUT_BYTES: usize = 256 * 1024;
/// Bytes that may wait behind the request in hand: another head and a little body.
const INPUT_BYTES: usize = 64 * 1024;
/// Longest JSON body, bytes: a long dialogue.
const JSON_BYTES: usize = 1 << 20;
/// Pieces handed to the system at a time.
const SLICES: usize = 64;

/// A connection.
pub struct Connection {
    pub stream: TcpStream,
    /// Which of all that had this place.
    pub serial: u64,
    /// Came behind what is being dealt with.
    pub input: Vec<u8>,
    pub phase: Phase,
    out: VecDeque<Piece>,
    pub out_bytes: usize,
    /// Closes once all has been sent.
    pub closing: bool,
}

/// What a connection is at.
pub enum Phase {
    /// Waits for a head.
    Head,
    /// Takes a body.
    Body(Head, Framing, Box<Body>),
    /// Answers.
    Answer(Box<Answer>),
}

/// A body as it is taken.
pub enum Body {
    /// A form with an utterance.
    Form(Upload),
    /// JSON, bounded; whether it was longer.
    Json(Vec<u8>, bool),
    /// Nobody's business.
    Ignored,
}

impl Connection {
    pub fn new(stream: TcpStream, serial: u64) -> Connection {
        let out = VecDeque::new();
        Connection { stream, serial, input: Vec::new(), phase: Phase::Head, out, out_bytes: 0, closing: false }
    }

    /// Takes bytes as far as the request in hand goes; what is behind it stays in `input`. Returns the request when it is
    /// complete.
    ///
    /// # Errors
    /// It is no HTTP; the connection cannot go on.
    pub fn take(
        &mut self,
        mut bytes: &[u8],
        samples: &mut Vec<i16>,
    ) -> Result<Option<(Head, Box<Body>)>, &'static str> {
        if matches!(self.phase, Phase::Head) {
            self.input.extend_from_slice(bytes);
            let Some((head, framing, len)) = http::parse(&self.input)? else { return Ok(None) };
            if head.expects {
                self.push(Piece::of(&b"HTTP/1.1 100 Continue\r\n\r\n"[..]));
            }
            let body = match head.path.as_str() {
                "/v1/audio/transcriptions" => Body::Form(Upload::new()),
                _ if head.method == "POST" => Body::Json(Vec::new(), false),
                _ => Body::Ignored,
            };
            self.phase = Phase::Body(head, framing, Box::new(body));
            let all = std::mem::take(&mut self.input);
            return self.take(&all[len..], samples);
        }
        if let Phase::Body(_, framing, body) = &mut self.phase {
            let taken = framing.take(bytes, &mut |content| body.take(content, samples))?;
            bytes = &bytes[taken..];
            let is_whole = *framing == Framing::Done;
            self.keep_input(bytes)?;
            if is_whole && let Phase::Body(head, _, body) = std::mem::replace(&mut self.phase, Phase::Head) {
                return Ok(Some((head, body)));
            }
            return Ok(None);
        }
        self.keep_input(bytes)?;
        Ok(None)
    }

    fn keep_input(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        if self.input.len() + bytes.len() > INPUT_BYTES {
            return Err("too much behind a request");
        }
        self.input.extend_from_slice(bytes);
        Ok(())
    }

    /// Puts a piece behind what waits to be sent.
    pub fn push(&mut self, piece: Piece) {
        self.out_bytes += piece.bytes().len();
        self.out.push_back(piece);
    }

    /// Sends what the client takes. True when all is sent.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(&mut self) -> io::Result<bool> {
        while !self.out.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.out) {
                *slice = IoSlice::new(piece.bytes());
                count += 1;
            }
            match self.stream.write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => self.sent(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn sent(&mut self, mut len: usize) {
        self.out_bytes -= len;
        while let Some(piece) = self.out.front_mut() {
            let here = piece.bytes().len();
            if here > len {
                piece.advance(len);
                return;
            }
            len -= here;
            self.out.pop_front();
        }
    }
}

impl Body {
    fn take(&mut self, content: &[u8], samples: &mut Vec<i16>) {
        match self {
            Body::Form(upload) => upload.take(content, samples),
            Body::Json(bytes, is_over) => {
                let len = content.len().min(JSON_BYTES - bytes.len());
                bytes.extend_from_slice(&content[..len]);
                *is_over |= len < content.len();
            }
            Body::Ignored => {}
        }
    }
}
