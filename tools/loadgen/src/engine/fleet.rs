//! The devices of one thread and the loop that drives them: one Poll to wait in, one heap of instants, one buffer to read into. What a
//! device says and what it makes of the answer stands in `conduct`.

use super::device::{Behaviour, Device, NEVER, Phase};
use super::glance::Board;
use super::line::{Handshake, Line};
use super::tally::{Count, Tally, Time};
use super::waiting::Waiting;
use super::{Live, Plan, wire};
use crate::scenario::Arrival;
use mio::{Interest, Token, net::TcpStream};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Instant;

/// Nanoseconds of a packet.
pub const PACKET_NS: u64 = crate::voices::PACKET_MS as u64 * 1_000_000;
/// A connection and its hello that take longer have failed.
pub const CONNECT_NS: u64 = 10_000_000_000;
/// A device that is waiting for a reply gives up after this.
pub const REPLY_NS: u64 = 20_000_000_000;
/// After the run's time turns that have begun may go on for so long.
pub const GRACE_NS: u64 = 25_000_000_000;
/// What a socket does not take is kept up to this; then the server is not reading, and the device fails.
const UNSENT_MAX: usize = 256 << 10;
/// Bytes of a read.
const READ: usize = 64 << 10;

/// Encoded sound that several hold.
pub(super) type Packets = Arc<[Box<[u8]>]>;

/// One thread's devices.
pub struct Fleet<'a> {
    pub(super) plan: &'a Plan,
    pub(super) devices: Vec<Device>,
    pub(super) tally: Tally,
    pub(super) live: &'a Live,
    pub(super) started: Instant,
    pub(super) out: Vec<u8>,
    pub(super) dice: u64,
    pub(super) replies: u64,
    pub(super) tones: Vec<Option<Packets>>,
    thread: u32,
    waiting: Waiting,
    timers: BinaryHeap<Reverse<(u64, u32)>>,
    read: Vec<u8>,
    is_over: bool,
}

impl<'a> Fleet<'a> {
    /// The devices `first`, `first + step`, ... of the plan.
    pub fn new(plan: &'a Plan, live: &'a Live, started: Instant, first: u32, step: u32) -> io::Result<Fleet<'a>> {
        let devices: Vec<Device> = (first..plan.scenario.devices)
            .step_by(step as usize)
            .map(|index| Device {
                household: plan.scenario.seed as u8,
                ..Device::new(index, plan.behaviour(index), plan.arrival_ns(index))
            })
            .collect();
        let mut fleet = Fleet {
            plan,
            tally: Tally::default(),
            live,
            started,
            out: Vec::with_capacity(4_096),
            dice: plan.scenario.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 | u64::from(first) << 40,
            replies: 0,
            tones: vec![None; devices.len()],
            thread: first,
            waiting: Waiting::new(started, plan.tick_us)?,
            timers: BinaryHeap::with_capacity(2 * devices.len()),
            read: vec![0; READ],
            is_over: false,
            devices,
        };
        (0..fleet.devices.len()).for_each(|i| fleet.rearm(i));
        Ok(fleet)
    }

    /// Nanoseconds since the run began.
    pub fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Drives them until the run is over.
    pub fn run(mut self) -> io::Result<Tally> {
        let mut ready = Vec::new();
        let end = self.plan.scenario.duration_ms * 1_000_000;
        let mut next_second = 1_000_000_000;
        let mut departure = self.next_departure(0);
        loop {
            let now = self.now();
            if !self.is_over && (now >= end || self.live.is_stopped()) {
                self.is_over = true;
                (0..self.devices.len()).for_each(|i| self.go_home(i, now));
            }
            // With a number of turns for each, everybody may be home before the run's time is over.
            let everyone_is_home = self.devices.iter().all(|d| d.phase == Phase::Done);
            let is_out_of_time = self.plan.is_cut_short || now > end.min(now) + GRACE_NS || self.live.is_stopped();
            if everyone_is_home || (self.is_over && is_out_of_time) {
                return Ok(self.tally);
            }
            if now >= departure && !self.is_over {
                self.stampede(departure);
                departure = self.next_departure(now);
            }
            if now >= next_second {
                next_second += 1_000_000_000;
                let connected = self.devices.iter().filter(|d| d.is_up()).count() as u32;
                self.tally.devices(now - 1, connected);
                self.live.boards.put(self.thread, Board::of(&self.devices, &self.tally));
            }
            let next = self.timers.peek().map_or(NEVER, |t| t.0.0).min(next_second).min(departure);
            self.waiting.wait(next)?;
            ready.extend(self.waiting.ready());
            for socket in ready.drain(..) {
                if socket.is_writable {
                    self.on_writable(socket.device);
                }
                if socket.is_readable {
                    self.on_readable(socket.device, socket.is_closed);
                }
            }
            self.fire();
        }
    }

    /// Whether the run's time is over: nobody begins anything.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// What is read at `at` came so many ns before, at most.
    pub(super) fn blur(&self, at: u64) -> u64 {
        self.waiting.blur(at)
    }

    fn fire(&mut self) {
        let now = self.now();
        while let Some(&Reverse((at, i))) = self.timers.peek()
            && at <= now
        {
            self.timers.pop();
            let i = i as usize;
            if self.devices[i].timer == at {
                self.devices[i].timer = NEVER;
                self.act(i, now);
                self.rearm(i);
            }
        }
    }

    /// Sees to it that the device is looked at when its next duty is due.
    pub(super) fn rearm(&mut self, i: usize) {
        let next = self.devices[i].next(PACKET_NS);
        if next != self.devices[i].timer {
            self.devices[i].timer = next;
            if next != NEVER {
                self.timers.push(Reverse((next, i as u32)));
            }
        }
    }

    /// Begins to connect. `due`: when it should have.
    pub(super) fn connect(&mut self, i: usize, due: u64) {
        self.devices[i].due = due;
        let late = self.now().saturating_sub(due);
        self.dial(i);
        // Of many that are due at one instant most are dialled later, by anybody; what that costs is in the time to connect.
        let is_apart = matches!(self.plan.scenario.arrival, Arrival::Ramp { .. });
        if is_apart && self.devices[i].phase == Phase::Connecting {
            self.tally.time(Time::SendLag, late);
        }
    }

    /// Connects now, for whatever was due.
    pub(super) fn dial(&mut self, i: usize) {
        let opened = self.now();
        let made = TcpStream::connect(self.plan.target.address).and_then(|mut stream| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.waiting.registry().register(&mut stream, Token(i), interest).map(|()| stream)
        });
        let device = &mut self.devices[i];
        (device.opened, device.action) = (opened, NEVER);
        match made {
            Ok(stream) => {
                device.stream = Some(Line::Plain(stream));
                device.phase = Phase::Connecting;
                device.patience = opened + CONNECT_NS;
            }
            Err(e) => self.fail(i, "refused", unconnected(&e)),
        }
    }

    fn on_writable(&mut self, i: usize) {
        let device = &mut self.devices[i];
        let Some(stream) = &device.stream else { return };
        if device.phase != Phase::Connecting {
            self.flush(i);
            return;
        }
        let socket = stream.socket();
        if let Ok(Some(e)) | Err(e) = socket.take_error() {
            self.fail(i, "refused", unconnected(&e));
            return self.rearm(i);
        }
        if socket.peer_addr().is_err() {
            return;
        }
        let _ = socket.set_nodelay(true);
        match self.plan.target.tls.is_some() {
            true => self.secure(i),
            false => self.on_connected(i),
        }
    }

    /// Connected to a server that speaks TLS: says so, too.
    fn secure(&mut self, i: usize) {
        let Some(tls) = &self.plan.target.tls else { return };
        let now = self.now();
        let device = &mut self.devices[i];
        let Some(line) = device.stream.take() else { return };
        let config = device.tls.get_or_insert_with(|| tls.of_device()).clone();
        match line.secure(config, tls.name.clone()) {
            Ok(line) => {
                device.stream = Some(line);
                (device.phase, device.secured_from) = (Phase::Securing, now);
                self.shake_hands(i);
            }
            Err(e) => self.fail(i, "refused", e.to_string()),
        }
    }

    /// Goes on with TLS's handshake; when it is done, the device says what it came for.
    fn shake_hands(&mut self, i: usize) {
        let Some(line) = &mut self.devices[i].stream else { return };
        match line.shake_hands() {
            Ok(Handshake::Going) => {}
            Ok(Handshake::Done) => {
                self.tally.count(Count::Secured);
                if line.is_resumed() {
                    self.tally.count(Count::Resumed);
                }
                self.tally.time(Time::Tls, self.now().saturating_sub(self.devices[i].secured_from));
                self.on_connected(i);
            }
            Err(e) => self.fail(i, "refused", e.to_string()),
        }
    }

    /// Sends what is in `out`.
    pub(super) fn send(&mut self, i: usize) {
        let device = &mut self.devices[i];
        let Some(stream) = &mut device.stream else { return };
        let mut sent = 0;
        if device.unsent.is_empty() {
            match stream.write(&self.out) {
                Ok(n) => sent = n,
                Err(e) if e.kind() == ErrorKind::WouldBlock || e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return self.lose(i, format!("cannot send: {e}")),
            }
        }
        if sent < self.out.len() {
            device.unsent.extend_from_slice(&self.out[sent..]);
            if device.unsent.len() > UNSENT_MAX {
                self.lose(i, "the server does not read".to_owned());
            }
        }
    }

    fn flush(&mut self, i: usize) {
        let device = &mut self.devices[i];
        let Some(stream) = &mut device.stream else { return };
        match stream.push_out() {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return,
            Err(e) => return self.lose(i, format!("cannot send: {e}")),
        }
        while !device.unsent.is_empty() {
            match stream.write(&device.unsent) {
                Ok(n) => drop(device.unsent.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) => return self.lose(i, format!("cannot send: {e}")),
            }
        }
        device.unsent = Vec::new();
    }

    /// `is_last`: the server has closed its side, and no event will tell of it again.
    fn on_readable(&mut self, i: usize, is_last: bool) {
        if self.devices[i].phase == Phase::Securing {
            self.shake_hands(i);
        }
        if self.devices[i].phase == Phase::Securing {
            return self.rearm(i);
        }
        let behaviour = self.devices[i].behaviour;
        let is_greeted = self.devices[i].phase.is_greeted();
        if is_greeted && behaviour == Behaviour::Deaf {
            return;
        }
        if is_greeted && behaviour == Behaviour::SlowReader {
            // Read by a timer, a little at a time.
            return;
        }
        self.read(i, READ);
        if is_last && self.devices[i].stream.is_some() {
            self.read(i, usize::MAX);
        }
        self.rearm(i);
    }

    /// Reads at most so much of what has come, and handles it.
    pub(super) fn read(&mut self, i: usize, most: usize) {
        let mut left = most;
        loop {
            let device = &mut self.devices[i];
            let Some(stream) = &mut device.stream else { return };
            let kept = device.part.len();
            if kept >= READ {
                return self.lose(i, "a frame longer than 64 KiB".to_owned());
            }
            let mut buffer = std::mem::take(&mut self.read);
            buffer[..kept].copy_from_slice(&device.part);
            let room = left.min(READ - kept);
            let got = stream.read(&mut buffer[kept..kept + room]);
            let at = self.now();
            match got {
                Ok(0) => {
                    self.read = buffer;
                    return self.lose(i, "the server closed the connection".to_owned());
                }
                Ok(n) => {
                    let used = self.take(i, at, &buffer[..kept + n]);
                    let device = &mut self.devices[i];
                    match device.stream.is_some() && used < kept + n {
                        true => device.part = buffer[used..kept + n].to_vec(),
                        false => device.part = Vec::new(),
                    }
                    self.read = buffer;
                    left -= n;
                    // A short read means that nothing is left, but for the end.
                    if (n < room && most != usize::MAX) || left == 0 {
                        return;
                    }
                }
                Err(e) => {
                    self.read = buffer;
                    match e.kind() {
                        ErrorKind::WouldBlock => return,
                        ErrorKind::Interrupted => {}
                        _ => return self.lose(i, format!("cannot read: {e}")),
                    }
                }
            }
        }
    }

    /// Handles whole frames; returns the bytes that are done with.
    fn take(&mut self, i: usize, at: u64, bytes: &[u8]) -> usize {
        let mut used = 0;
        if self.devices[i].phase == Phase::Connecting {
            // An answer before we have seen that the socket is writable.
            return 0;
        }
        if self.devices[i].phase == Phase::CheckingIn {
            return self.on_checkin(i, at, bytes);
        }
        if self.devices[i].phase == Phase::Upgrading {
            match wire::answer(bytes) {
                Ok(None) => return 0,
                Ok(Some((101, len))) => {
                    used = len;
                    self.on_upgraded(i);
                }
                Ok(Some((status, _))) => {
                    self.on_refused(i, status, &bytes[..bytes.len().min(600)]);
                    return 0;
                }
                Err(what) => {
                    self.fail(i, "refused", what.to_owned());
                    return 0;
                }
            }
        }
        while self.devices[i].stream.is_some() {
            match wire::parse(&bytes[used..]) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    used += frame.len;
                    self.on_frame(i, at, frame);
                }
                Err(what) => {
                    self.fail(i, "malformed", what.to_owned());
                    break;
                }
            }
        }
        used
    }

    /// A number from 0 to below `n`.
    pub(super) fn roll(&mut self, n: usize) -> usize {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 33) as usize % n.max(1)
    }
}

/// Why there is no connection.
fn unconnected(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused: nobody listens there".to_owned(),
        _ => format!("cannot connect: {error}"),
    }
}

impl Device {
    /// Whether it has said hello and been answered.
    pub(super) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Still | Phase::Waiting | Phase::Listening | Phase::Hearing | Phase::Raving)
    }
}
