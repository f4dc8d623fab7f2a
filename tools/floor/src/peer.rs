//! The other side: devices and services, on another core; what they cost is not counted. They write by the schedule of the duty
//! and read what comes, waiting in epoll as a load tool would, because waking the reader is part of what a write costs.

use crate::bare::Sockets;
use crate::duty::*;
use crate::{clock, frames, sound};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How the other side did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Punctuality {
    /// How late the other side wrote, 99th percentile.
    pub lag_p99: Duration,
    /// Share of its core, 0 to 1.
    pub busy: f64,
}

/// Devices and services of all conversations.
pub struct Peer {
    duty: Duty,
    /// Bytes of the request for a transcript.
    asr_ask: usize,
    ends: Vec<End>,
    poll: Poll,
    /// What is to be written when: nanoseconds since the beginning, whose, what.
    agenda: BinaryHeap<Reverse<(u64, u32, Act)>>,
    uplink: Vec<Vec<u8>>,
    listen: Vec<u8>,
    reply: Vec<Vec<u8>>,
    buffer: Vec<u8>,
    lags: Vec<u32>,
}

struct End {
    sockets: Sockets,
    /// Bytes of requests that have come to each service in this turn, and how many sentences it has.
    asked: usize,
    ordered: usize,
    sentence: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    /// The device begins a turn.
    Listen,
    /// It sends a packet.
    Packet(u32),
    /// The transcript.
    Transcript,
    /// A token of the answer.
    Token(u32),
    /// A piece of the reply's audio.
    Piece(u32),
}

/// Two sides of so many conversations, over loopback.
pub fn connect(count: usize, duty: Duty) -> io::Result<(Vec<Sockets>, Vec<Sockets>)> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let pair = |send_bytes: usize| -> io::Result<(TcpStream, TcpStream)> {
        let far = std::net::TcpStream::connect(address)?;
        let (near, _) = listener.accept()?;
        for socket in [&near, &far] {
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
        }
        socket2::SockRef::from(&near).set_send_buffer_size(send_bytes)?;
        Ok((TcpStream::from_std(near), TcpStream::from_std(far)))
    };
    let (mut near, mut far) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for _ in 0..count {
        // As the server has it for devices; for a request, that it goes in one write.
        let (device, ask, voice) = (pair(8_192)?, pair(2 * duty.asr_ask(false))?, pair(8_192)?);
        near.push(Sockets { device: device.0, ask: ask.0, voice: voice.0 });
        far.push(Sockets { device: device.1, ask: ask.1, voice: voice.1 });
    }
    Ok((near, far))
}

impl Peer {
    pub fn new(sockets: Vec<Sockets>, duty: Duty, pass_through: bool) -> Result<Peer, String> {
        let poll = Poll::new().map_err(|e| e.to_string())?;
        let mut ends = Vec::with_capacity(sockets.len());
        for (n, mut sockets) in sockets.into_iter().enumerate() {
            let all = [&mut sockets.device, &mut sockets.ask, &mut sockets.voice];
            for (which, socket) in all.into_iter().enumerate() {
                poll.registry()
                    .register(socket, Token(n * 3 + which), Interest::READABLE)
                    .map_err(|e| format!("epoll: {e}"))?;
            }
            ends.push(End { sockets, asked: 0, ordered: 0, sentence: 0 });
        }
        let listen = br#"{"session_id":"","type":"listen","state":"start","mode":"auto"}"#;
        Ok(Peer {
            duty,
            asr_ask: duty.asr_ask(pass_through),
            ends,
            poll,
            agenda: BinaryHeap::new(),
            uplink: sound::uplink(duty)?,
            listen: frames::masked(1, listen),
            reply: sound::reply(duty, pass_through)?,
            buffer: vec![0; 1 << 18],
            lags: Vec::new(),
        })
    }

    /// Plays until told that it is over.
    pub fn play(mut self, over: Arc<AtomicBool>) -> io::Result<Punctuality> {
        let (began, cpu) = (Instant::now(), clock::thread_cpu());
        match self.converse(began, &over) {
            // The measured side has hung up after its work.
            Err(_) if over.load(Ordering::Acquire) => {}
            other => other?,
        }
        self.lags.sort_unstable();
        let p99 = self.lags.get(self.lags.len() * 99 / 100).copied().unwrap_or(0);
        let busy = (clock::thread_cpu() - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
        Ok(Punctuality { lag_p99: Duration::from_micros(u64::from(p99)), busy })
    }

    fn converse(&mut self, began: Instant, over: &AtomicBool) -> io::Result<()> {
        let count = self.ends.len() as u64;
        for n in 0..count {
            // Spread over a turn.
            self.agenda.push(Reverse((self.duty.turn_ms() * 1_000_000 * n / count, n as u32, Act::Listen)));
        }
        let mut events = Events::with_capacity(1_024);
        while !over.load(Ordering::Acquire) {
            let now = began.elapsed().as_nanos() as u64;
            while let Some(Reverse((due, n, act))) = self.agenda.peek().copied().filter(|next| next.0.0 <= now) {
                self.agenda.pop();
                self.lags.push(((now - due) / 1_000) as u32);
                self.act(due, n, act)?;
            }
            let next =
                self.agenda.peek().map_or(1_000_000, |next| next.0.0.saturating_sub(began.elapsed().as_nanos() as u64));
            self.poll.poll(&mut events, Some(Duration::from_nanos(next.min(50_000_000))))?;
            for event in &events {
                self.read(began, event.token().0)?;
            }
        }
        Ok(())
    }

    fn act(&mut self, due: u64, n: u32, act: Act) -> io::Result<()> {
        let (duty, frame) = (self.duty, FRAME_MS * 1_000_000);
        let end = &mut self.ends[n as usize];
        let mut next = |after: u64, act: Act| self.agenda.push(Reverse((due + after, n, act)));
        match act {
            Act::Listen => {
                (end.asked, end.ordered, end.sentence) = (0, 0, 0);
                next(duty.turn_ms() * 1_000_000, Act::Listen);
                next(0, Act::Packet(0));
                end.sockets.device.write_all(&self.listen)
            }
            Act::Packet(p) => {
                if p + 1 < duty.listening + duty.waiting {
                    next(frame, Act::Packet(p + 1));
                }
                end.sockets.device.write_all(&self.uplink[p as usize])
            }
            Act::Transcript => end.sockets.ask.write_all(&self.buffer[..ASR_ANSWER]),
            Act::Token(t) => {
                if t + 1 < TOKENS {
                    next(TOKEN_EVERY.as_nanos() as u64, Act::Token(t + 1));
                }
                let head = if t == 0 { LLM_HEAD } else { 0 };
                end.sockets.ask.write_all(&self.buffer[..head + LLM_EVENT])
            }
            Act::Piece(p) => {
                if (p + 1) % (duty.sentence() / BURST) != 0 {
                    next(PIECE_EVERY.as_nanos() as u64, Act::Piece(p + 1));
                }
                let piece = &self.reply[p as usize];
                if p % (duty.sentence() / BURST) != 0 {
                    return end.sockets.voice.write_all(piece);
                }
                self.buffer[TTS_HEAD..TTS_HEAD + piece.len()].copy_from_slice(piece);
                end.sockets.voice.write_all(&self.buffer[..TTS_HEAD + piece.len()])
            }
        }
    }

    /// Takes what has come; a request that is complete is answered later.
    fn read(&mut self, began: Instant, token: usize) -> io::Result<()> {
        let (n, which, asr_ask) = (token / 3, token % 3, self.asr_ask);
        let end = &mut self.ends[n];
        let socket = match which {
            0 => &mut end.sockets.device,
            1 => &mut end.sockets.ask,
            _ => &mut end.sockets.voice,
        };
        let mut bytes = 0;
        loop {
            match socket.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(len) => bytes += len,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        let now = began.elapsed().as_nanos() as u64;
        let mut later =
            |after: Duration, act| self.agenda.push(Reverse((now + after.as_nanos() as u64, n as u32, act)));
        match which {
            0 => {}
            1 => {
                let before = end.asked;
                end.asked += bytes;
                let completes = |bytes: usize| before < bytes && end.asked >= bytes;
                if completes(asr_ask) {
                    later(ASR_AFTER, Act::Transcript);
                }
                if completes(asr_ask + LLM_ASK) {
                    later(LLM_AFTER, Act::Token(0));
                }
            }
            _ => {
                end.ordered += bytes;
                while end.ordered >= TTS_ASK {
                    end.ordered -= TTS_ASK;
                    later(TTS_AFTER, Act::Piece(end.sentence * self.duty.sentence() / BURST));
                    end.sentence += 1;
                }
            }
        }
        Ok(())
    }
}
