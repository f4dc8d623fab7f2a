//! A server that understands nothing: it takes a WebSocket, answers hello, throws away what it reads, and when the device has
//! been quiet for a while after having been loud it sends a reply that was made beforehand, packet by packet at the pace of
//! playing. No codec, no detector, no session: what a load tool measures here is the price of sockets, its own included.

use crate::clock::Beat;
use crate::duty::{FRAME_MS, LEAD, OPUS_PACKET};
use crate::frames;
use crate::options::NullOptions;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::time::Duration;

/// A packet is quiet when it has less than a third of the bytes of the utterance's largest; so many in a row end it.
const QUIET_PACKETS: u32 = 8;
const LOUD_PACKETS: u32 = 10;
/// Bytes kept of what came in part: a request head, a cut frame.
const PART_BYTES: usize = 8_192;
const LISTENER: Token = Token(usize::MAX);

const HELLO: &[u8] = br#"{"type":"hello","version":1,"transport":"websocket","session_id":"null","audio_params":{"format":"opus","sample_rate":24000,"channels":1,"frame_duration":60}}"#;
const START: [&[u8]; 3] = [
    br#"{"type":"stt","text":"something","session_id":"null"}"#,
    br#"{"type":"tts","state":"start","session_id":"null"}"#,
    br#"{"type":"tts","state":"sentence_start","text":"Nothing.","session_id":"null"}"#,
];
const STOP: &[u8] = br#"{"type":"tts","state":"stop","session_id":"null"}"#;

/// Serves until the process is ended.
pub fn serve(options: NullOptions) -> io::Result<()> {
    let mut listener = TcpListener::bind(options.listen)?;
    println!("null server: ws://{}/xiaozhi/v1/", listener.local_addr()?);
    let mut server = Server::new(options, &mut listener)?;
    loop {
        server.pass(&listener)?;
    }
}

struct Server {
    options: NullOptions,
    poll: Poll,
    events: Events,
    beat: Beat,
    now: u64,
    next: usize,
    devices: HashMap<usize, Device>,
    /// Devices that are spoken to, by the beat within a frame.
    wheel: Vec<Vec<usize>>,
    packet: Vec<u8>,
    buffer: Vec<u8>,
}

struct Device {
    socket: TcpStream,
    is_open: bool,
    part: Vec<u8>,
    ear: Ear,
    /// What is sent next of a reply, and when: 0 is `tts start`.
    reply: Option<(u32, u64)>,
}

/// Hears by the length of packets.
#[derive(Clone, Copy, Debug, Default)]
struct Ear {
    packets: u32,
    largest: usize,
    loud: u32,
    quiet: u32,
}

impl Ear {
    /// Whether the utterance is over with this packet.
    fn hear(&mut self, bytes: usize, after: u32) -> bool {
        self.packets += 1;
        self.largest = self.largest.max(bytes);
        if bytes * 3 >= self.largest {
            self.loud += 1;
            self.quiet = 0;
        } else {
            self.quiet += 1;
        }
        (self.loud >= LOUD_PACKETS && self.quiet >= QUIET_PACKETS) || self.packets >= after
    }
}

impl Server {
    fn new(options: NullOptions, listener: &mut TcpListener) -> io::Result<Server> {
        let poll = Poll::new()?;
        poll.registry().register(listener, LISTENER, Interest::READABLE)?;
        let mut packet = Vec::new();
        // The body of a packet that decoders take: 60 ms of SILK, and bytes that sound like nothing in particular.
        let mut body = vec![0; OPUS_PACKET];
        body[0] = 0x58;
        frames::plain(2, &body, &mut packet);
        Ok(Server {
            options,
            poll,
            events: Events::with_capacity(1_024),
            beat: Beat::start()?,
            now: 0,
            next: 0,
            devices: HashMap::new(),
            wheel: vec![Vec::new(); FRAME_MS as usize],
            packet,
            buffer: vec![0; 65_536],
        })
    }

    /// One beat: what is due leaves, what has come is read.
    fn pass(&mut self, listener: &TcpListener) -> io::Result<()> {
        for _ in 0..self.beat.wait()? {
            self.now += 1;
            self.speak();
        }
        self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            if event.token() == LISTENER {
                self.accept(listener)?;
            } else if self.read(event.token().0).is_err() {
                self.devices.remove(&event.token().0);
            }
        }
        self.events = events;
        Ok(())
    }

    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let mut socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Whoever came is gone again, or has to wait for a descriptor.
                Err(_) => return Ok(()),
            };
            socket.set_nodelay(true)?;
            self.poll.registry().register(&mut socket, Token(self.next), Interest::READABLE)?;
            let device = Device { socket, is_open: false, part: Vec::new(), ear: Ear::default(), reply: None };
            self.devices.insert(self.next, device);
            self.next += 1;
        }
    }

    /// Reads all that is there. An error ends the device.
    fn read(&mut self, key: usize) -> io::Result<()> {
        let Some(device) = self.devices.get_mut(&key) else { return Ok(()) };
        loop {
            match device.socket.read(&mut self.buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => device.part.extend_from_slice(&self.buffer[..len]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
            let was_speaking = device.reply.is_some();
            device.take_in(self.options.after)?;
            if !was_speaking && device.reply.is_some() {
                device.reply = Some((0, self.now));
                self.wheel[(self.now % FRAME_MS) as usize].push(key);
            }
        }
    }

    fn speak(&mut self) {
        let slot = (self.now % FRAME_MS) as usize;
        let mut keys = std::mem::take(&mut self.wheel[slot]);
        keys.retain(|key| {
            let Some(device) = self.devices.get_mut(key) else { return false };
            device.step(self.now, self.options.packets, &self.packet)
        });
        self.wheel[slot] = keys;
    }
}

impl Device {
    /// Takes what is there as a whole.
    fn take_in(&mut self, after: u32) -> io::Result<()> {
        let mut at = 0;
        if !self.is_open {
            at = self.upgrade()?;
        }
        let mut part = std::mem::take(&mut self.part);
        while self.is_open {
            let Some((opcode, payload)) = frames::next(&mut part, &mut at) else { break };
            match opcode {
                1 if has(payload, b"\"hello\"") => self.send(1, HELLO)?,
                1 if has(payload, b"\"start\"") => self.ear = Ear::default(),
                2 if self.reply.is_none() && self.ear.hear(payload.len(), after) => self.reply = Some((0, 0)),
                8 => return Err(io::ErrorKind::UnexpectedEof.into()),
                9 => {
                    let payload = payload.to_vec();
                    self.send(10, &payload)?;
                }
                _ => {}
            }
        }
        part.drain(..at);
        self.part = part;
        if self.part.len() > PART_BYTES { Err(io::Error::other("a frame that is not small")) } else { Ok(()) }
    }

    /// Answers the request if it is there as a whole; how many bytes it had.
    fn upgrade(&mut self) -> io::Result<usize> {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(&self.part).map_err(io::Error::other)?;
        let httparse::Status::Complete(len) = parsed else { return Ok(0) };
        let key = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-key"));
        let Some(key) = key else {
            let refusal = b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            self.socket.write_all(refusal)?;
            return Err(io::Error::other("no WebSocket"));
        };
        let accept = tungstenite::handshake::derive_accept_key(key.value);
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        self.socket.write_all(answer.as_bytes())?;
        self.is_open = true;
        Ok(len)
    }

    /// One step of the reply; whether there is another. Messages, a frame later the first packets at once, then one in each
    /// frame, and when all has been played the end.
    fn step(&mut self, now: u64, packets: u32, packet: &[u8]) -> bool {
        let Some((step, due)) = self.reply else { return false };
        if now < due {
            return true;
        }
        let lead = LEAD.min(packets);
        let last = 1 + packets - lead;
        let done = match step {
            0 => START.into_iter().try_for_each(|message| self.send(1, message)),
            1 => (0..lead).try_for_each(|_| self.socket.write_all(packet)),
            _ if step <= last => self.socket.write_all(packet),
            _ if step < last + lead => Ok(()),
            _ => {
                self.reply = None;
                self.ear = Ear::default();
                let _ = self.send(1, STOP);
                return false;
            }
        };
        self.reply = done.is_ok().then_some((step + 1, due + FRAME_MS));
        self.reply.is_some()
    }

    fn send(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(payload.len() + 4);
        frames::plain(opcode, payload, &mut frame);
        self.socket.write_all(&frame)
    }
}

fn has(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_after_loud_packets_ends_an_utterance_and_so_does_patience() {
        let heard = |packets: &[usize], after| {
            let mut ear = Ear::default();
            packets.iter().position(|bytes| ear.hear(*bytes, after))
        };
        let speech = [vec![180; 20], vec![12; 20]].concat();
        assert_eq!(heard(&speech, 1_000), Some(27), "the eighth quiet packet");
        assert_eq!(heard(&[180; 50], 1_000), None);
        assert_eq!(heard(&[180; 50], 40), Some(39));
        assert_eq!(heard(&[[180; 5], [12; 5]].concat(), 1_000), None, "too short to be speech");
    }

    #[test]
    fn a_device_is_greeted_heard_and_answered() {
        let mut listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let options = NullOptions { listen: address, after: 1_000, packets: 5 };
        let mut server = Server::new(options, &mut listener).unwrap();
        let mut device = std::net::TcpStream::connect(address).unwrap();
        device.set_nonblocking(true).unwrap();
        let request = "GET /xiaozhi/v1/ HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        device.write_all(request.as_bytes()).unwrap();
        device.write_all(&frames::masked(1, br#"{"type":"hello"}"#)).unwrap();
        device.write_all(&frames::masked(1, br#"{"type":"listen","state":"start"}"#)).unwrap();
        for bytes in [[180; 12], [3; 12]].concat() {
            device.write_all(&frames::masked(2, &vec![7; bytes])).unwrap();
        }
        let mut said = Vec::new();
        // 60 ms to the first packet, five of them, played to the end: half a second; a minute would be a fault.
        for _ in 0..60_000 {
            server.pass(&listener).unwrap();
            let mut bytes = [0; 4_096];
            if let Ok(len) = device.read(&mut bytes) {
                said.extend_from_slice(&bytes[..len]);
            }
            if has(&said, br#""stop""#) {
                break;
            }
        }
        let count = |word: &[u8]| said.windows(word.len()).filter(|window| *window == word).count();
        assert_eq!(count(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), 1, "the accept key of RFC 6455");
        for word in [&br#""hello""#[..], br#""start""#, br#""stop""#] {
            assert_eq!(count(word), 1, "{}", String::from_utf8_lossy(word));
        }
        assert_eq!(count(&server.packet), 5);
    }
}
