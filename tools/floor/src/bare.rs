//! The measured side: the calls of a voice server, and as little as possible between them. One thread; no parsing (it knows from
//! the duty how many bytes come), no messages made, no decisions, no allocation per packet.
//!
//! It wakes once a millisecond and does all that is there, as a server would that wants the fewest wake-ups and may be late by
//! one millisecond. In each beat: packets that are due leave, then sockets that have something are read once each.

use crate::clock::{self, Beat};
use crate::codec::{Decoder, Detector, Effort, Encoder, PACKET_BYTES};
use crate::duty::{self, *};
use crate::frames;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::Serialize;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub duty: Duty,
    /// How replies are encoded; `None` passes the service's packets through.
    pub effort: Option<Effort>,
    /// Rounds that are measured, each one turn long; every second one with voice detection. One more goes before them, in which
    /// conversations begin one after another: then each round has one turn of each.
    pub rounds: usize,
}

impl Plan {
    pub fn is_pass_through(&self) -> bool {
        self.effort.is_none()
    }
}

/// The three sockets of a conversation.
pub struct Sockets {
    /// The device.
    pub device: TcpStream,
    /// Where is asked for transcripts and answers.
    pub ask: TcpStream,
    /// Where speech is asked for.
    pub voice: TcpStream,
}

/// How often each call was made.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Calls {
    pub device_reads: u64,
    pub device_writes: u64,
    pub service_reads: u64,
    pub service_writes: u64,
    /// Waits for the timer, and polls: two in each millisecond, whatever the number of conversations.
    pub waits: u64,
    /// Packets that came while we listened.
    pub packets_heard: u64,
    pub decodes: u64,
    pub encodes: u64,
    pub detections: u64,
    pub packets_out: u64,
    /// Packets that left more than 5 ms after they were due, because they were not there or we had no time.
    pub packets_late: u64,
}

impl Calls {
    pub fn since(self, before: Calls) -> Calls {
        Calls {
            device_reads: self.device_reads - before.device_reads,
            device_writes: self.device_writes - before.device_writes,
            service_reads: self.service_reads - before.service_reads,
            service_writes: self.service_writes - before.service_writes,
            waits: self.waits - before.waits,
            packets_heard: self.packets_heard - before.packets_heard,
            decodes: self.decodes - before.decodes,
            encodes: self.encodes - before.encodes,
            detections: self.detections - before.detections,
            packets_out: self.packets_out - before.packets_out,
            packets_late: self.packets_late - before.packets_late,
        }
    }
}

/// One turn of every conversation.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    pub with_detection: bool,
    pub cpu: Duration,
    pub calls: Calls,
}

impl Round {
    /// Turns that were done, by the packets that were heard: about one of each conversation.
    pub fn turns(&self, duty: Duty) -> f64 {
        self.calls.packets_heard as f64 / f64::from(duty.listening)
    }
}

/// Runs the plan; tells of each round, and says that it is `over` before it hangs up.
pub fn run(
    plan: Plan,
    sockets: Vec<Sockets>,
    over: &AtomicBool,
    on_round: &mut dyn FnMut(&Round),
) -> io::Result<Vec<Round>> {
    let mut server = Server::new(plan, sockets)?;
    let mut rounds = Vec::new();
    for number in 0..=plan.rounds {
        // Number 0 warms up; voice detection is on in it, as in all even ones.
        let with_detection = number % 2 == 0;
        server.detects = with_detection;
        let (cpu, calls) = (clock::thread_cpu(), server.calls);
        server.serve(plan.duty.turn_ms())?;
        let round = Round { with_detection, cpu: clock::thread_cpu() - cpu, calls: server.calls.since(calls) };
        if number > 0 {
            on_round(&round);
            rounds.push(round);
        }
    }
    over.store(true, Ordering::Release);
    Ok(rounds)
}

struct Server {
    plan: Plan,
    detects: bool,
    poll: Poll,
    events: Events,
    beat: Beat,
    /// Beats so far: milliseconds.
    now: u64,
    conversations: Vec<Conversation>,
    /// Conversations that speak, by the beat within a frame at which they do.
    wheel: Vec<Vec<u32>>,
    buffer: Vec<u8>,
    calls: Calls,
}

struct Conversation {
    duty: Duty,
    sockets: Sockets,
    decoder: Decoder,
    encoder: Option<Encoder>,
    detector: Detector,
    /// Packets heard in this turn.
    heard: u32,
    /// Bytes that the asked service has answered in this turn.
    answered: usize,
    /// Bytes of the request that the socket did not take at once.
    unsent: usize,
    /// Sentences that were asked for, and that have come.
    asked: u32,
    spoken: u32,
    /// The sentence that comes: bytes that are no whole piece yet behind what was seen.
    inbox: Vec<u8>,
    /// Packets of the reply as frames, one behind the other, and where each ends.
    outbox: Vec<u8>,
    ends: Vec<u32>,
    /// Packets that have left.
    sent: u32,
    /// The beat at which the reply's next step is due, and which step it is; 0 is the messages before the first packet.
    due: u64,
    step: u32,
}

/// What a step of a reply did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Done,
    /// Its packet has not come yet.
    NotThere,
    /// It was the farewell.
    Last,
}

/// A step is late from here on, beats.
const LATE: u64 = 5;

/// What is said and asked without being made, a minute of samples at most: nobody on the other side reads it.
static FILLER: [u8; 2_000_000] = [0x20; 2_000_000];

impl Server {
    fn new(plan: Plan, sockets: Vec<Sockets>) -> io::Result<Server> {
        let poll = Poll::new()?;
        let conversation = |(n, mut sockets): (usize, Sockets)| {
            let registry = poll.registry();
            registry.register(&mut sockets.device, Token(n * 3), Interest::READABLE)?;
            registry.register(&mut sockets.ask, Token(n * 3 + 1), Interest::READABLE)?;
            registry.register(&mut sockets.voice, Token(n * 3 + 2), Interest::READABLE)?;
            Conversation::new(sockets, plan).map_err(io::Error::other)
        };
        let conversations = sockets.into_iter().enumerate().map(conversation).collect::<io::Result<Vec<_>>>()?;
        Ok(Server {
            plan,
            detects: false,
            poll,
            events: Events::with_capacity(1_024),
            beat: Beat::start()?,
            now: 0,
            wheel: (0..FRAME_MS).map(|_| Vec::with_capacity(conversations.len())).collect(),
            conversations,
            // One read takes all that can wait, even when we were kept from running for a while.
            buffer: vec![0; 1 << 20],
            calls: Calls::default(),
        })
    }

    /// So many beats.
    fn serve(&mut self, beats: u64) -> io::Result<()> {
        let until = self.now + beats;
        while self.now < until {
            let passed = self.beat.wait()?;
            for _ in 0..passed {
                self.now += 1;
                self.speak()?;
            }
            self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
            self.calls.waits += 2;
            let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
            for event in &events {
                let (n, which) = (event.token().0 / 3, event.token().0 % 3);
                match which {
                    0 => self.hear(n)?,
                    1 => self.understand(n)?,
                    _ => self.take_speech(n)?,
                }
            }
            self.events = events;
        }
        Ok(())
    }

    /// Sends what is due in this beat.
    fn speak(&mut self) -> io::Result<()> {
        let Server { wheel, conversations, calls, now, .. } = self;
        let slot = &mut wheel[(*now % FRAME_MS) as usize];
        let mut at = 0;
        while let Some(&n) = slot.get(at) {
            let conversation = &mut conversations[n as usize];
            // More than one where the service was late: the device pauses once, and the schedule stays.
            let mut step = Step::Done;
            while step == Step::Done && *now >= conversation.due {
                step = conversation.step(*now, calls)?;
            }
            match step {
                Step::Last => drop(slot.swap_remove(at)),
                Step::Done | Step::NotThere => at += 1,
            }
        }
        Ok(())
    }

    /// The device: one read; its packets are unmasked and, while we listen, decoded.
    fn hear(&mut self, n: usize) -> io::Result<()> {
        let conversation = &mut self.conversations[n];
        let len = read(&mut conversation.sockets.device, &mut self.buffer)?;
        self.calls.device_reads += 1;
        let mut at = 0;
        while let Some((opcode, packet)) = frames::next(&mut self.buffer[..len], &mut at) {
            if opcode != 2 {
                conversation.begin_turn();
                continue;
            }
            conversation.heard += 1;
            if conversation.heard > conversation.duty.listening {
                continue;
            }
            self.calls.packets_heard += 1;
            if conversation.duty.is_decoded(conversation.heard, self.plan.is_pass_through()) {
                let mut pcm = [0; HEARD_FRAME];
                let samples = conversation.decoder.decode(packet, &mut pcm);
                self.calls.decodes += 1;
                if self.detects {
                    std::hint::black_box(conversation.detector.hear(&pcm[..samples]));
                    self.calls.detections += 1;
                }
            }
            if conversation.heard == conversation.duty.listening {
                conversation.unsent = conversation.duty.asr_ask(self.plan.is_pass_through());
                conversation.ask(&mut self.calls)?;
                // The reply begins one frame after its messages.
                let due = self.now + u64::from(conversation.duty.waiting - 1) * FRAME_MS;
                conversation.begin_reply(due)?;
                self.wheel[(conversation.due % FRAME_MS) as usize].push(n as u32);
            }
        }
        if at != len {
            return Err(io::Error::other("a frame came in two parts; the other side writes whole ones"));
        }
        Ok(())
    }

    /// The transcript, then the model's answer.
    fn understand(&mut self, n: usize) -> io::Result<()> {
        let conversation = &mut self.conversations[n];
        let before = conversation.answered;
        conversation.answered += read(&mut conversation.sockets.ask, &mut self.buffer)?;
        self.calls.service_reads += 1;
        if before < ASR_ANSWER && conversation.answered >= ASR_ANSWER {
            conversation.tell(SAY_STT, &mut self.calls)?;
            conversation.unsent = LLM_ASK;
            conversation.ask(&mut self.calls)?;
        }
        conversation.ask_for_speech(&mut self.calls)
    }

    /// Audio of the reply: encoded as it comes, or taken as it is.
    fn take_speech(&mut self, n: usize) -> io::Result<()> {
        let conversation = &mut self.conversations[n];
        let len = read(&mut conversation.sockets.voice, &mut self.buffer)?;
        self.calls.service_reads += 1;
        conversation.inbox.extend_from_slice(&self.buffer[..len]);
        conversation.take_pieces(self.plan.is_pass_through(), &mut self.calls);
        conversation.ask_for_speech(&mut self.calls)
    }
}

impl Conversation {
    fn new(sockets: Sockets, plan: Plan) -> Result<Conversation, String> {
        Ok(Conversation {
            duty: plan.duty,
            sockets,
            decoder: Decoder::new()?,
            encoder: plan.effort.map(Encoder::new).transpose()?,
            detector: Detector::new(),
            heard: 0,
            answered: 0,
            unsent: 0,
            asked: 0,
            spoken: 0,
            inbox: Vec::with_capacity(65_536),
            outbox: Vec::with_capacity(plan.duty.speaking as usize * 300),
            ends: Vec::with_capacity(plan.duty.speaking as usize),
            sent: 0,
            due: 0,
            // Behind the last step of a reply of which nothing was said.
            step: plan.duty.speaking + 2,
        })
    }

    /// `listen start`: the ear begins anew. The farewell of the reply before may still be due, if this side is a frame behind.
    fn begin_turn(&mut self) {
        self.decoder.reset();
        (self.heard, self.answered) = (0, 0);
    }

    /// The utterance is over: a reply will be due at `due`.
    fn begin_reply(&mut self, due: u64) -> io::Result<()> {
        if self.step <= self.stop() {
            return Err(io::Error::other(
                "a reply was due before the last was over: too many conversations for a core",
            ));
        }
        (self.asked, self.spoken, self.sent, self.step, self.due) = (0, 0, 0, 0, due);
        self.outbox.clear();
        self.ends.clear();
        Ok(())
    }

    /// The step of the farewell, when all has been played: one packet left in each step before, but the lead in the first.
    fn stop(&self) -> u32 {
        1 + self.duty.speaking
    }

    /// One step of the reply.
    fn step(&mut self, now: u64, calls: &mut Calls) -> io::Result<Step> {
        let late = now - self.due > LATE;
        let begin = if self.sent == 0 { 0 } else { self.ends[self.sent as usize - 1] as usize };
        let wanted = match self.step {
            0 => 0,
            step => (LEAD + step - 1).min(self.duty.speaking),
        };
        if wanted as usize > self.ends.len() {
            // The service is behind: we look again in the next frame.
            calls.packets_late += 1;
            return Ok(Step::NotThere);
        }
        match self.step {
            0 => self.tell(SAY_START, calls)?,
            step if step == self.stop() => self.tell(SAY_STOP, calls)?,
            _ if wanted > self.sent => {
                let end = self.ends[wanted as usize - 1] as usize;
                write(&mut self.sockets.device, &self.outbox[begin..end])?;
                calls.device_writes += 1;
                calls.packets_out += u64::from(wanted - self.sent);
                calls.packets_late += u64::from(late) * u64::from(wanted - self.sent);
            }
            _ => {}
        }
        self.sent = wanted;
        self.step += 1;
        self.due += FRAME_MS;
        Ok(if self.step > self.stop() { Step::Last } else { Step::Done })
    }

    /// A message to the device.
    fn tell(&mut self, bytes: usize, calls: &mut Calls) -> io::Result<()> {
        calls.device_writes += 1;
        write(&mut self.sockets.device, &FILLER[..bytes])
    }

    /// Sends what is left of a request to the asked service.
    fn ask(&mut self, calls: &mut Calls) -> io::Result<()> {
        while self.unsent > 0 {
            calls.service_writes += 1;
            match self.sockets.ask.write(&FILLER[..self.unsent]) {
                Ok(n) => self.unsent -= n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Asks for the next sentence's speech when its text is known and the one before has come.
    fn ask_for_speech(&mut self, calls: &mut Calls) -> io::Result<()> {
        let known = self.asked < SENTENCES && self.answered >= ASR_ANSWER + sentence_known(self.asked);
        if !known || self.asked > self.spoken {
            return Ok(());
        }
        self.asked += 1;
        if let Some(encoder) = &mut self.encoder {
            encoder.reset();
        }
        calls.service_writes += 1;
        write(&mut self.sockets.voice, &FILLER[..TTS_ASK])
    }

    /// Makes packets of the pieces that are there as a whole.
    fn take_pieces(&mut self, pass_through: bool, calls: &mut Calls) {
        let (piece, unit) = (duty::piece(pass_through), duty::unit(pass_through));
        let done = self.spoken * self.duty.sentence();
        // The head of the answer stays in front until the first piece is whole; then both go.
        let mut at = if self.ends.len() as u32 == done { TTS_HEAD } else { 0 };
        while self.inbox.len() >= at + piece {
            for burst in 0..BURST as usize {
                self.take_frame(at + CHUNK + burst * unit, calls);
            }
            at += piece;
        }
        if self.ends.len() as u32 > done {
            self.inbox.drain(..at);
        }
        if self.ends.len() as u32 == done + self.duty.sentence() {
            self.spoken += 1;
        }
    }

    /// Makes a packet of the frame that begins at `at` of the inbox.
    fn take_frame(&mut self, at: usize, calls: &mut Calls) {
        let number = self.ends.len() as u32;
        if number > 0 && number.is_multiple_of(self.duty.sentence()) {
            // The message goes out with the sentence's first packet, in one write.
            self.outbox.extend_from_slice(&FILLER[..SAY_SENTENCE]);
        }
        match &mut self.encoder {
            Some(encoder) => {
                let (samples, _) = self.inbox[at..at + SAID_FRAME * 2].as_chunks::<2>();
                let pcm: [i16; SAID_FRAME] = std::array::from_fn(|i| i16::from_le_bytes(samples[i]));
                let mut packet = [0; PACKET_BYTES];
                let len = encoder.encode(&pcm, &mut packet);
                calls.encodes += 1;
                frames::plain(2, &packet[..len], &mut self.outbox);
            }
            None => frames::plain(2, &self.inbox[at + OGG_PAGE..at + OGG_PAGE + OPUS_PACKET], &mut self.outbox),
        }
        self.ends.push(self.outbox.len() as u32);
    }
}

/// Reads once. The end is an error: the other side hangs up last.
fn read(socket: &mut TcpStream, into: &mut [u8]) -> io::Result<usize> {
    match socket.read(into) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
        other => other,
    }
}

/// Writes once; what is written is small and its reader reads.
fn write(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let n = socket.write(bytes)?;
    if n == bytes.len() { Ok(()) } else { Err(io::Error::other("the socket took only a part")) }
}
