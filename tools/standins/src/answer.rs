//! An answer: what leaves when. Made when its request is complete, it is asked again and again what is due.

use crate::profile::{Fault, Plan, Profile};
use crate::reply;
use crate::voice::{Piece, Spoken, Voice};
use std::time::{Duration, Instant};

/// Audio that leaves at a time, packets: at four times real time a piece each 60 ms.
const BURST_PACKETS: u32 = 4;
/// Bytes of a drip.
const DRIP_BYTES: usize = 16;

/// What is said in an answer.
pub enum Content {
    /// A status and a document: JSON.
    Document(u16, String),
    /// Text, as events.
    Text(String),
    /// A sentence.
    Sound(Spoken),
}

/// An answer under way.
pub struct Answer {
    fault: Option<Fault>,
    /// When the first byte is due.
    first_at: Instant,
    /// Whether the next action was on the clock, and when: what lag is measured from.
    pub due: Instant,
    body: Body,
    /// Steps taken of those there are.
    step: u32,
    steps: u32,
    /// Between two steps.
    pace: Duration,
    begun: bool,
    keep: bool,
    hang: Duration,
    drip: Duration,
    /// What is to drip.
    dripping: Vec<u8>,
    halted: bool,
}

enum Body {
    Whole(u16, Vec<u8>),
    Events { text: String, ends: Vec<usize>, per_step: u32 },
    Sound(Spoken),
}

/// What comes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// More, at that time.
    At(Instant),
    /// The answer is complete.
    Done,
    /// The connection is to be closed when all has been sent.
    Close,
}

impl Answer {
    /// The answer to a request complete at `now`, as planned.
    pub fn new(content: Content, plan: &Plan, profile: &Profile, keep: bool, now: Instant) -> Answer {
        let mut dice = plan.dice.clone();
        let body = match (plan.fault, content) {
            (Some(Fault::Error), _) => {
                let status = [500, 502, 503][dice.below(3)];
                Body::Whole(status, error("stand-in fault", "server_error").into_bytes())
            }
            (Some(Fault::Malformed), Content::Document(status, text)) => {
                Body::Whole(status, text.as_bytes()[..text.len() / 2].to_vec())
            }
            (Some(Fault::Malformed), Content::Sound(_)) => {
                Body::Whole(200, b"<!doctype html><title>Oops</title>".to_vec())
            }
            (_, Content::Document(status, text)) => Body::Whole(status, text.into_bytes()),
            (_, Content::Text(text)) => {
                let mut ends: Vec<usize> = reply::tokens(&text)
                    .iter()
                    .scan(0, |end, token| {
                        *end += token.len();
                        Some(*end)
                    })
                    .collect();
                ends.dedup();
                Body::Events { text, ends, per_step: profile.event_tokens.max(1) }
            }
            (_, Content::Sound(spoken)) => Body::Sound(spoken),
        };
        let (steps, pace_s) = match &body {
            Body::Whole(..) => (1, 0.0),
            Body::Events { ends, per_step, .. } => {
                let pace = f64::from(*per_step) / profile.tokens_s;
                ((ends.len() as u32).div_ceil(*per_step).max(1), if profile.tokens_s > 0.0 { pace } else { 0.0 })
            }
            Body::Sound(spoken) => {
                let audio_s = f64::from(BURST_PACKETS * crate::voice::PACKET_MS) / 1_000.0;
                (
                    spoken.packets.div_ceil(BURST_PACKETS),
                    if profile.speed > 0.0 { audio_s / profile.speed } else { 0.0 },
                )
            }
        };
        let hang = Duration::from_secs_f64(profile.hang_s);
        let first_at = now + if plan.fault == Some(Fault::Hang) { hang } else { plan.delay };
        Answer {
            fault: plan.fault,
            first_at,
            due: first_at,
            body,
            step: 0,
            steps,
            pace: Duration::from_secs_f64(pace_s),
            begun: false,
            keep,
            hang,
            drip: Duration::from_secs_f64(profile.drip_ms / 1_000.0),
            dripping: Vec::new(),
            halted: false,
        }
    }

    /// A document that leaves at once, whatever the profile.
    pub fn at_once(status: u16, text: String, keep: bool, now: Instant) -> Answer {
        let plan = Profile::R1.plan(0, crate::profile::Stage::Asr, 0);
        Answer::new(Content::Document(status, text), &plan, &Profile::R1, keep, now)
    }

    /// Puts what is due at `now` into `out`, about `room` bytes at most.
    pub fn advance(&mut self, now: Instant, voice: &mut Voice, out: &mut Vec<Piece>, room: usize) -> Next {
        if now < self.due {
            return Next::At(self.due);
        }
        if self.halted || self.fault == Some(Fault::Hang) {
            return Next::Close;
        }
        if self.fault == Some(Fault::Drip) {
            return self.advance_drip(now, voice, out);
        }
        self.begin(out);
        let mut bytes = 0;
        while self.step < self.steps {
            let due = self.first_at + self.pace * self.step;
            if now < due || bytes > room {
                self.due = due;
                return Next::At(due);
            }
            if self.step >= self.steps.div_ceil(2) || self.steps == 1 {
                match self.fault {
                    Some(Fault::Cut) => return self.break_off(out, Next::Close),
                    Some(Fault::Stall) => {
                        self.halted = true;
                        self.due = now + self.hang;
                        return self.break_off(out, Next::At(self.due));
                    }
                    Some(Fault::Malformed) if self.is_stream() => {
                        // An event that is no JSON, or a chunk that has no length.
                        let event = "data: {\"choices\":[{\"delta\":\n\n";
                        let nonsense = match self.steps % 2 {
                            0 => format!("{:x}\r\n{event}\r\n0\r\n\r\n", event.len()),
                            _ => "no length\r\n".to_owned(),
                        };
                        out.push(Piece::of(nonsense.into_bytes()));
                        return Next::Close;
                    }
                    _ => {}
                }
            }
            let before = out.len();
            if !self.make_step(voice, out) {
                return Next::Close;
            }
            bytes += out[before..].iter().map(|piece| piece.bytes().len()).sum::<usize>();
        }
        if self.keep { Next::Done } else { Next::Close }
    }

    fn is_stream(&self) -> bool {
        !matches!(self.body, Body::Whole(..))
    }

    /// Half of a document, or half of what has been made of a stream.
    fn break_off(&mut self, out: &mut Vec<Piece>, next: Next) -> Next {
        if let Body::Whole(_, body) = &self.body {
            out.push(Piece::of(&body[..body.len() / 2]));
        }
        next
    }

    fn begin(&mut self, out: &mut Vec<Piece>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let (status, kind) = match &self.body {
            Body::Whole(status, body) if body.starts_with(b"<") => (*status, "audio/wav"),
            Body::Whole(status, _) => (*status, "application/json"),
            Body::Events { .. } => (200, "text/event-stream"),
            Body::Sound(spoken) => (200, spoken.sound.content_type()),
        };
        let reason = if status < 300 { "OK" } else { "Failed" };
        let length = match &self.body {
            Body::Whole(_, body) => format!("Content-Length: {}", body.len()),
            _ => "Transfer-Encoding: chunked".to_owned(),
        };
        let connection = if self.keep { "" } else { "Connection: close\r\n" };
        let head = format!("HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\n{length}\r\n{connection}\r\n");
        out.push(Piece::of(head.into_bytes()));
    }

    /// One step of the body, with its framing; the last brings the end. False: it cannot be made.
    fn make_step(&mut self, voice: &mut Voice, out: &mut Vec<Piece>) -> bool {
        let step = self.step;
        self.step += 1;
        let is_last = self.step == self.steps;
        match &self.body {
            Body::Whole(_, body) => out.push(Piece::of(body.as_slice())),
            Body::Events { text, ends, per_step } => {
                let from = (step * per_step) as usize;
                let to = (from + *per_step as usize).min(ends.len());
                let start = from.checked_sub(1).map_or(0, |before| ends[before]);
                let mut events = event(&text[start..to.checked_sub(1).map_or(0, |last| ends[last])], step == 0);
                if is_last {
                    events.push_str(LAST_EVENTS);
                }
                let end = if is_last { "\r\n0\r\n\r\n" } else { "\r\n" };
                out.push(Piece::of(format!("{:x}\r\n{events}{end}", events.len()).into_bytes()));
            }
            Body::Sound(spoken) => {
                let from = step * BURST_PACKETS;
                let at = out.len();
                let to = (from + BURST_PACKETS).min(spoken.packets);
                if voice.pieces(spoken, from, to, out).is_err() {
                    return false;
                }
                let len: usize = out[at..].iter().map(|piece| piece.bytes().len()).sum();
                out.insert(at, Piece::of(format!("{len:x}\r\n").into_bytes()));
                let end: &[u8] = if is_last { b"\r\n0\r\n\r\n" } else { b"\r\n" };
                out.push(Piece::of(end));
            }
        }
        true
    }

    /// Some bytes of the whole answer, until it is over or has taken as long as one that hangs.
    fn advance_drip(&mut self, now: Instant, voice: &mut Voice, out: &mut Vec<Piece>) -> Next {
        if self.step == 0 {
            let mut whole = Vec::new();
            self.begin(&mut whole);
            while self.step < self.steps {
                if !self.make_step(voice, &mut whole) {
                    return Next::Close;
                }
            }
            self.dripping = whole.iter().flat_map(|piece| piece.bytes().to_vec()).collect();
        }
        if now >= self.first_at + self.hang {
            return Next::Close;
        }
        let drop = self.dripping.len().min(DRIP_BYTES);
        out.push(Piece::of(self.dripping.drain(..drop).collect::<Vec<u8>>()));
        if self.dripping.is_empty() {
            return if self.keep { Next::Done } else { Next::Close };
        }
        self.due = now + self.drip;
        Next::At(self.due)
    }
}

/// The reason for stopping and the end go with the last token, so that a client that stops there leaves nothing unread.
const LAST_EVENTS: &str = "data: {\"id\":\"standin\",\"object\":\"chat.completion.chunk\",\"model\":\"standin\",\"choices\":\
    [{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

fn event(text: &str, is_first: bool) -> String {
    let role = if is_first { "\"role\":\"assistant\"," } else { "" };
    let text = serde_json::Value::from(text);
    format!(
        "data: {{\"id\":\"standin\",\"object\":\"chat.completion.chunk\",\"model\":\"standin\",\"choices\":[{{\"index\":0,\
         \"delta\":{{{role}\"content\":{text}}},\"finish_reason\":null}}]}}\n\n"
    )
}

/// An error as OpenAI writes it.
pub fn error(message: &str, kind: &str) -> String {
    serde_json::json!({ "error": { "message": message, "type": kind, "param": null, "code": null } }).to_string()
}
