//! What a device does when something is due, and what it makes of what it hears.

use super::device::{Behaviour, NEVER, Phase};
use super::fleet::{Fleet, PACKET_NS, REPLY_NS};
use super::judge::{QUEUES, Reply};
use super::line::Line;
use super::parting::RETURN_NS;
use super::tally::{Count, Time};
use super::{trust, wire};
use crate::scenario::{Codec, Mode};
use crate::voices::{PACKET_MS, TONE_PACKETS_MS};
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;
use voxlane::audio::opus::Decoder;
use voxlane_standins::identity;

/// After how much of a reply those who interrupt do so.
const INTERRUPT_NS: u64 = 1_000_000_000;
/// A slow reader takes so much of what has come, so often: a tenth of a reply's bytes.
const SIP_BYTES: usize = 40;
const SIP_NS: u64 = 100_000_000;
/// A rude device sends garbage so often.
const RAVE_NS: u64 = 200_000_000;
/// One reply in so many is listened to, and so many packets of it: the tone lies within the first half second.
const SAMPLE_EVERY: u64 = 16;
const SAMPLE_PACKETS: usize = 14;
/// So much of the body of a refusal is told.
const BODY_CHARS_MAX: usize = 120;
/// From an abort to the end of the reply's packets, at most; later ones are out of order.
const SILENCE_NS: u64 = 2_000_000_000;

/// A message from the server, as far as devices read it.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    state: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
    #[serde(default)]
    audio_params: Option<AudioParams>,
}

#[derive(Deserialize)]
struct AudioParams {
    #[serde(default)]
    sample_rate: u32,
    #[serde(default)]
    frame_duration: u16,
}

impl Fleet<'_> {
    /// Does whatever is due.
    pub(super) fn act(&mut self, i: usize, now: u64) {
        let device = &mut self.devices[i];
        if now >= device.patience {
            device.patience = NEVER;
            return self.on_patience(i, now);
        }
        if now >= device.action {
            let due = std::mem::replace(&mut device.action, NEVER);
            self.on_action(i, now, due);
        }
        while self.devices[i].next_packet(PACKET_NS) <= now {
            self.send_packet(i, now);
        }
    }

    fn on_action(&mut self, i: usize, now: u64, due: u64) {
        let is_over = self.is_over();
        let device = &mut self.devices[i];
        match (device.phase, device.behaviour) {
            (Phase::Away, _) if is_over => self.devices[i].phase = Phase::Done,
            (Phase::Away, _) => self.connect(i, due),
            (Phase::Waiting, _) => self.listen(i, due, 0),
            (Phase::Raving, _) => self.rave(i, now),
            (Phase::Still, _) => self.leave(i, due + RETURN_NS),
            (Phase::Hearing, Behaviour::Abort) => {
                device.aborted = now;
                self.say(i, "{\"type\":\"abort\"}");
            }
            (Phase::Hearing, Behaviour::BargeIn) => {
                // Its microphone is open all the time: nothing but its voice tells the server.
                // It counts from its words, before which it says its number.
                device.aborted = due + u64::from(TONE_PACKETS_MS) * 1_000_000;
                self.speak(i, due, 0);
            }
            (Phase::Hearing, Behaviour::Vanish) => {
                self.tally.count(Count::Vanished);
                self.leave(i, now + RETURN_NS / 2);
            }
            (_, Behaviour::SlowReader) => {
                device.action = now + SIP_NS;
                self.read(i, SIP_BYTES);
            }
            _ => {}
        }
    }

    fn on_patience(&mut self, i: usize, now: u64) {
        let phase = self.devices[i].phase;
        match phase {
            Phase::Connecting | Phase::Upgrading => self.fail(i, "no_answer", "no answer to the connection".into()),
            Phase::Securing => self.fail(i, "no_answer", trust::SILENT.into()),
            Phase::CheckingIn => self.fail(i, "no_answer", "no answer to the check-in".into()),
            Phase::Greeting => self.fail(i, "no_hello", "no hello from the server".into()),
            Phase::Listening | Phase::Waiting => {
                self.note(i, "silence", now, || "a reply was due and none came".into());
                self.end_turn(i, now, false);
            }
            Phase::Hearing => {
                self.note(i, "missing_stop", now, || "a reply without tts stop".into());
                self.end_turn(i, now, false);
            }
            _ => {}
        }
    }

    /// Opens the microphone at `from`, with so many packets of room before the words.
    fn listen(&mut self, i: usize, from: u64, lead: u32) {
        self.speak(i, from, lead);
        self.devices[i].phase = Phase::Listening;
        let mode = self.mode(i).word();
        self.say(i, &format!("{{\"type\":\"listen\",\"state\":\"start\",\"mode\":\"{mode}\"}}"));
    }

    /// Begins new words at `from`, after so many packets of room.
    fn speak(&mut self, i: usize, from: u64, lead: u32) {
        let utterance = self.roll(self.plan.utterances.len()) as u16;
        let device = &mut self.devices[i];
        device.utterance = utterance;
        (device.listen_from, device.sent, device.lead) = (from, 0, lead);
        (device.speech_end, device.is_owed) = (0, false);
    }

    /// Who decides that its utterance is over. Who cancels its own echo, and may be interrupted, keeps its microphone open.
    fn mode(&self, i: usize) -> Mode {
        match self.devices[i].behaviour {
            Behaviour::BargeIn => Mode::Realtime,
            _ => self.plan.scenario.mode,
        }
    }

    fn send_packet(&mut self, i: usize, now: u64) {
        let mode = self.mode(i);
        let scenario = &self.plan.scenario;
        let device = &self.devices[i];
        let due = device.next_packet(PACKET_NS);
        let utterance = &self.plan.utterances[usize::from(device.utterance)];
        let tone_len = TONE_PACKETS_MS / PACKET_MS;
        let at = device.sent.checked_sub(device.lead);
        let words = at.and_then(|at| at.checked_sub(tone_len)).map(|k| k as usize);
        let is_last_word = words == Some(utterance.packets.len() - 1);
        if device.sent == device.lead && self.tones[i].is_none() {
            self.tones[i] = Some(self.plan.tone(device.id).into());
        }
        let key = (self.roll(usize::MAX) as u32) | 1;
        self.out.clear();
        let packet: &[u8] = match (at, words) {
            (Some(k), None) => self.tones[i].as_ref().map_or(&[][..], |tone| &tone[k as usize]),
            (_, Some(k)) if k < utterance.packets.len() => &utterance.packets[k],
            _ => &self.plan.room[self.devices[i].sent as usize % self.plan.room.len()],
        };
        wire::audio(scenario.framing, packet, key, &mut self.out);
        self.tally.time(Time::SendLag, now.saturating_sub(due));
        self.devices[i].sent += 1;
        self.send(i);
        if !is_last_word || self.devices[i].stream.is_none() {
            return;
        }
        let device = &mut self.devices[i];
        // The utterance began with its tone's first packet; the end lies within the packet just sent.
        let began = device.listen_from + u64::from(device.lead) * PACKET_NS;
        device.speech_end = began + (utterance.speech_end_ms * 1e6) as u64;
        device.is_owed = true;
        device.patience = device.speech_end + REPLY_NS;
        self.tally.count(Count::Begun);
        if mode == Mode::Manual {
            self.devices[i].listen_from = NEVER;
            self.devices[i].phase = Phase::Waiting;
            self.say(i, "{\"type\":\"listen\",\"state\":\"stop\"}");
        }
    }

    pub(super) fn on_upgraded(&mut self, i: usize) {
        let scenario = &self.plan.scenario;
        let has_aec = self.mode(i) == Mode::Realtime;
        let hello = format!(
            "{{\"type\":\"hello\",\"version\":{},\"transport\":\"websocket\",\"features\":{{\"mcp\":false{}}},\
             \"audio_params\":{{\"format\":\"{}\",\"sample_rate\":16000,\"channels\":1,\"frame_duration\":{PACKET_MS}}}}}",
            scenario.framing,
            if has_aec { ",\"aec\":true" } else { "" },
            scenario.codec.word()
        );
        self.devices[i].phase = Phase::Greeting;
        self.say(i, &hello);
    }

    pub(super) fn on_refused(&mut self, i: usize, status: u16, answer: &[u8]) {
        let why = match status {
            401 | 403 => "the token was refused",
            404 => "no such path",
            429 | 503 => "the server is full",
            _ => "refused",
        };
        let text = String::from_utf8_lossy(answer);
        let words: Vec<&str> = text.split("\r\n\r\n").nth(1).unwrap_or("").split_whitespace().collect();
        let body: String = words.join(" ").chars().take(BODY_CHARS_MAX).collect();
        self.fail(i, "refused", format!("{why} (status {status}) {body}").trim_end().to_owned());
    }

    pub(super) fn on_frame(&mut self, i: usize, at: u64, frame: wire::Frame<'_>) {
        let is_warm = at >= self.plan.scenario.warmup_ms * 1_000_000;
        let device = &mut self.devices[i];
        device.counts = is_warm && device.behaviour.is_judged();
        match frame.opcode {
            wire::TEXT => match serde_json::from_slice::<Message<'_>>(frame.payload) {
                Ok(message) => self.on_message(i, at, message),
                Err(e) => self.note(i, "malformed", at, || format!("no JSON: {e}")),
            },
            wire::BINARY => match wire::packet(self.plan.scenario.framing, frame.payload) {
                Some(packet) => self.on_packet(i, at, packet),
                None => self.note(i, "malformed", at, || "a packet with a wrong size".into()),
            },
            wire::PING => {
                self.out.clear();
                wire::frame(wire::PONG, &[frame.payload], 7, &mut self.out);
                self.send(i);
            }
            wire::CLOSE => self.lose(i, "the server said goodbye".into()),
            _ => {}
        }
    }

    fn on_message(&mut self, i: usize, at: u64, message: Message<'_>) {
        let text = message.text.as_deref().unwrap_or("");
        match (&*message.kind, &*message.state) {
            ("hello", _) => self.on_hello(i, at, message.audio_params),
            ("stt", _) => {
                let device = &self.devices[i];
                if device.counts && device.is_owed {
                    self.tally.time(Time::Stt, at.saturating_sub(device.speech_end));
                } else if device.phase == Phase::Listening && device.sent > device.lead && device.counts {
                    self.tally.count(Count::CutOff);
                }
                self.check_words(i, at, text);
            }
            ("tts", "start") => self.on_start(i, at),
            ("tts", "sentence_start") => {
                if self.devices[i].phase != Phase::Hearing {
                    self.note(i, "wrong_order", at, || "a sentence before tts start".into());
                }
                self.check_words(i, at, text);
                let device = &mut self.devices[i];
                device.is_named |= identity::find(text) == Some(device.id);
            }
            ("tts", "stop") => self.on_stop(i, at),
            _ => {}
        }
    }

    fn check_words(&mut self, i: usize, at: u64, text: &str) {
        let own = self.devices[i].id;
        if let Some(other) = identity::find_all(text).find(|id| *id != own) {
            let what = || format!("it is {own} and was told of {other}: {text:?}");
            self.note(i, "crosstalk", at, what);
        }
    }

    fn on_hello(&mut self, i: usize, at: u64, audio: Option<AudioParams>) {
        let device = &mut self.devices[i];
        if device.phase != Phase::Greeting {
            return self.note(i, "wrong_order", at, || "a second hello".into());
        }
        if let Some(audio) = audio {
            device.reply_ms = if audio.frame_duration == 0 { 60 } else { audio.frame_duration };
            device.reply_rate = if audio.sample_rate == 0 { 24_000 } else { audio.sample_rate };
        }
        let is_resumed = device.stream.as_ref().is_some_and(Line::is_resumed);
        self.tally.time(Time::Hello, at.saturating_sub(device.opened));
        if is_resumed {
            self.tally.time(Time::HelloResumed, at.saturating_sub(device.opened));
        }
        self.tally.time(Time::Connect, at.saturating_sub(device.due));
        device.patience = NEVER;
        self.live.devices.fetch_add(1, Relaxed);
        match device.behaviour {
            Behaviour::Idle => {
                device.phase = Phase::Still;
                device.action = match self.plan.scenario.stay_ms {
                    0 => NEVER,
                    ms => at + ms * 1_000_000,
                };
            }
            Behaviour::Rude => {
                device.phase = Phase::Raving;
                device.action = at + RAVE_NS;
            }
            behaviour => {
                if behaviour == Behaviour::SlowReader {
                    device.action = at + SIP_NS;
                }
                self.next_turn(i, at);
            }
        }
    }

    /// Waits for its pause with the microphone open, or closed when a button decides.
    fn next_turn(&mut self, i: usize, now: u64) {
        let pause = self.plan.scenario.pause_ms * 1_000_000;
        if self.mode(i) == Mode::Manual {
            self.devices[i].phase = Phase::Waiting;
            self.devices[i].action = now + pause;
            return;
        }
        self.listen(i, now, pause.div_ceil(PACKET_NS) as u32);
    }

    fn on_start(&mut self, i: usize, at: u64) {
        let is_realtime = self.mode(i) == Mode::Realtime;
        let device = &mut self.devices[i];
        if device.phase == Phase::Hearing && device.aborted == 0 {
            return self.note(i, "wrong_order", at, || "a second tts start in one reply".into());
        }
        if device.is_owed && device.counts {
            self.tally.time(Time::TtsStart, at.saturating_sub(device.speech_end));
        }
        device.phase = Phase::Hearing;
        device.reply = Reply::new(u64::from(device.reply_ms) * 1_000_000);
        device.patience = at + 3 * REPLY_NS;
        (device.first_audio, device.aborted, device.is_named, device.is_stopped) = (None, 0, false, false);
        if !is_realtime {
            device.listen_from = NEVER;
        }
        self.replies += 1;
        device.is_sampled = self.replies % SAMPLE_EVERY == 1;
    }

    fn on_packet(&mut self, i: usize, at: u64, packet: &[u8]) {
        let blur = self.blur(at);
        let device = &mut self.devices[i];
        if device.phase != Phase::Hearing {
            let is_tail = device.aborted > 0 && at < device.aborted + SILENCE_NS;
            if !is_tail {
                self.note(i, "wrong_order", at, || "a packet outside of a reply".into());
            }
            return;
        }
        let heard = device.reply.packet(at, blur);
        let is_first = device.reply.packets == 1;
        if is_first && device.is_owed {
            device.first_audio = Some(at.saturating_sub(device.speech_end));
            match device.behaviour {
                Behaviour::Abort | Behaviour::BargeIn | Behaviour::Vanish => device.action = at + INTERRUPT_NS,
                _ => {}
            }
        }
        if device.is_sampled && device.sample.len() < SAMPLE_PACKETS {
            device.sample.push(packet.into());
        }
        if !device.counts || device.aborted > 0 {
            return;
        }
        if let Some(ns) = device.first_audio.filter(|_| is_first) {
            self.tally.time(Time::FirstAudio, ns);
        }
        if let Some(gap) = heard.gap {
            self.tally.time(Time::Gap, gap);
        }
        if let Some(late) = heard.late {
            self.tally.lateness(late, at);
        }
    }

    fn on_stop(&mut self, i: usize, at: u64) {
        let device = &mut self.devices[i];
        if device.phase != Phase::Hearing {
            let what = if device.is_stopped { "doubled_stop" } else { "wrong_order" };
            return self.note(i, what, at, || "tts stop without a reply".into());
        }
        let (reply, aborted, is_owed, counts) = (device.reply, device.aborted, device.is_owed, device.counts);
        device.is_stopped = true;
        if aborted > 0 {
            if counts && reply.last > aborted {
                self.tally.time(Time::BargeIn, reply.last - aborted);
            } else if counts {
                self.tally.time(Time::BargeIn, 0);
            }
            if counts {
                self.tally.count(Count::Interrupted);
            }
            if self.devices[i].behaviour == Behaviour::BargeIn {
                return self.talk_on(i, at);
            }
            return self.end_turn(i, at, true);
        }
        let stopped = reply.stop(at);
        if stopped.is_cut {
            self.note(i, "tail_cut", at, || "tts stop before the last packet was played".into());
        }
        if reply.packets == 0 {
            self.note(i, "silence", at, || "a reply without sound".into());
        }
        if counts {
            self.tally.count(Count::Replies);
            let counted = [Count::Overrun5, Count::Overrun20, Count::Overrun40];
            for (queue, count) in QUEUES.into_iter().zip(counted) {
                if reply.overruns(queue) {
                    self.tally.count(count);
                }
            }
            if reply.underruns > 0 {
                self.tally.count(Count::Underrun);
            }
            if !stopped.is_cut {
                self.tally.time(Time::Stop, stopped.after);
            }
        }
        self.hear_sample(i, at);
        self.end_turn(i, at, is_owed && reply.packets > 0);
    }

    /// Listens to the sound of the sample: whose tone is in it?
    fn hear_sample(&mut self, i: usize, at: u64) {
        let device = &mut self.devices[i];
        let sample = std::mem::take(&mut device.sample);
        if !device.is_sampled || self.plan.scenario.codec == Codec::Pcm {
            return;
        }
        let (own, rate) = (device.id, device.reply_rate);
        let Ok(mut decoder) = Decoder::new(rate) else { return };
        let mut pcm = Vec::new();
        let mut frame = vec![0; decoder.samples_max()];
        for packet in &sample {
            match decoder.decode(packet, &mut frame) {
                Ok(n) => pcm.extend_from_slice(&frame[..n]),
                Err(_) => self.note(i, "malformed", at, || "a packet that cannot be decoded".into()),
            }
        }
        match identity::heard(&pcm, rate) {
            Some(id) if id == own => self.tally.count(Count::Tones),
            Some(id) => self.note(i, "crosstalk", at, || format!("it is {own} and heard the sound of {id}")),
            None => {}
        }
    }

    /// A turn is over; what comes next is a matter of character.
    fn end_turn(&mut self, i: usize, at: u64, is_complete: bool) {
        let most = self.plan.scenario.turns;
        let device = &mut self.devices[i];
        let (was_owed, counts, aborted) = (device.is_owed, device.counts, device.aborted > 0);
        (device.is_owed, device.patience, device.action) = (false, NEVER, NEVER);
        device.turns += 1;
        let first_audio = device.first_audio.take().filter(|_| counts);
        if counts && was_owed {
            match (is_complete, aborted, device.is_named) {
                (false, ..) => self.tally.count(Count::Failed),
                (true, true, _) => self.tally.turn(at, first_audio),
                (true, false, true) => {
                    self.tally.count(Count::Named);
                    self.tally.turn(at, first_audio);
                }
                (true, false, false) => {
                    self.tally.count(Count::Unnamed);
                    self.tally.turn(at, first_audio);
                }
            }
            self.live.turns.fetch_add(1, Relaxed);
        }
        let is_over = self.is_over();
        let device = &mut self.devices[i];
        if is_over || (most > 0 && device.turns >= most) {
            self.say_goodbye(i);
            self.devices[i].phase = Phase::Done;
        } else if device.behaviour == Behaviour::Reconnect {
            self.say_goodbye(i);
            self.leave(i, at + self.plan.scenario.pause_ms * 1_000_000);
        } else if device.behaviour == Behaviour::SlowReader {
            device.action = at + SIP_NS;
            self.next_turn(i, at);
        } else {
            self.next_turn(i, at);
        }
    }

    /// A reply gave way to the device's voice, whose words are under way or already said: for those a reply is still owed.
    fn talk_on(&mut self, i: usize, at: u64) {
        let (most, is_over) = (self.plan.scenario.turns, self.is_over());
        let device = &mut self.devices[i];
        device.turns += 1;
        // Packets that were on their way when it spoke may still come.
        (device.phase, device.aborted) = (Phase::Listening, at);
        let first_audio = device.first_audio.take();
        let is_done = most > 0 && device.turns >= most;
        if device.counts {
            self.tally.turn(at, first_audio);
            self.live.turns.fetch_add(1, Relaxed);
        }
        if is_over || is_done {
            self.say_goodbye(i);
            self.devices[i].phase = Phase::Done;
        }
    }

    fn rave(&mut self, i: usize, now: u64) {
        let dice = self.roll(5);
        let key = self.roll(usize::MAX) as u32;
        self.out.clear();
        match dice {
            0 => wire::frame(wire::TEXT, &[b"{\"type\":\"listen\",\"state\":["], key, &mut self.out),
            1 => wire::frame(wire::BINARY, &[&[0xFF; 300]], key, &mut self.out),
            2 => wire::frame(wire::TEXT, &[&[0xC3, 0x28, 0x00]], key, &mut self.out),
            3 => self.out.extend([0x82, 0xFE, 0x10]),
            _ => wire::frame(3, &[b"?"], key, &mut self.out),
        }
        self.devices[i].action = now + RAVE_NS;
        self.send(i);
    }

    fn say(&mut self, i: usize, message: &str) {
        let key = self.roll(usize::MAX) as u32;
        self.out.clear();
        wire::frame(wire::TEXT, &[message.as_bytes()], key, &mut self.out);
        self.send(i);
    }
}
