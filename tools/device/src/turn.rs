//! One turn: speak, listen, keep a log.

use crate::codec::{Downlink, Uplink};
use crate::link::{Link, News};
use crate::options::{Mode, Options};
use crate::playout::{Arrival, Verdict, judge};
use crate::speech::{RATE, Utterance};
use serde_json::{Value, json};
use std::time::Duration;

/// What the user does in a turn.
pub enum Move {
    Speak(Utterance),
    Type(String),
    Wake(String),
}

/// The log of a turn; all times are ms since the connection was opened.
#[derive(Debug, Default)]
pub struct Turn {
    pub speech_ms: f64,
    /// When the last sample of speech (or the typed text) left.
    pub end_of_speech_ms: f64,
    pub events: Vec<(f64, String)>,
    pub arrivals: Vec<Arrival>,
    pub heard: Vec<i16>,
    pub stt: Option<String>,
    pub sentences: Vec<String>,
    pub emotion: Option<String>,
    pub start_ms: Option<f64>,
    pub stop_ms: Option<f64>,
    pub closed: Option<String>,
    /// What a device would not forgive.
    pub offences: Vec<String>,
    pub verdict: Verdict,
}

impl Turn {
    /// The reply came, was heard and ended.
    pub fn is_answered(&self) -> bool {
        self.stop_ms.is_some() && !self.arrivals.is_empty()
    }

    /// From end of speech to the first packet, ms.
    pub fn first_audio_ms(&self) -> Option<f64> {
        self.arrivals.first().map(|a| a.at_ms - self.end_of_speech_ms)
    }
}

/// Plays one turn through. Ends with `tts stop`, a close, or the time limit.
pub fn play(link: &mut Link, options: &Options, what: &Move) -> Result<Turn, String> {
    let mut up = Uplink::new(options.pcm)?;
    let mut down = Downlink::new(link.pcm, link.rate)?;
    let mut turn = Turn::default();
    let frame = (RATE * options.frame_ms / 1_000) as usize;
    let session = link.session_id.clone();
    let mut speech: &[i16] = &[];
    match what {
        Move::Speak(utterance) => {
            speech = &utterance.pcm;
            turn.speech_ms = utterance.ms();
            link.send(json!({"session_id": session, "type": "listen", "state": "start", "mode": options.mode.word()}))?;
        }
        Move::Type(text) => {
            link.send(json!({"session_id": session, "type": "listen", "state": "detect", "text": text}))?;
            turn.end_of_speech_ms = link.now_ms();
        }
        Move::Wake(word) => {
            link.send(json!({"session_id": session, "type": "listen", "state": "detect", "text": word}))?;
            link.send(json!({"session_id": session, "type": "listen", "state": "start", "mode": options.mode.word()}))?;
            turn.end_of_speech_ms = link.now_ms();
        }
    }
    // The microphone opens a little before the person speaks.
    let lead_frames = 300 / options.frame_ms as usize;
    let speech_frames = speech.len().div_ceil(frame);
    let mut open = !matches!(what, Move::Type(_));
    let begin = link.now_ms();
    let frame_ms = f64::from(options.frame_ms);
    let mut sent = 0usize;
    let mut aborted = false;
    let limit = begin + turn.speech_ms + 1_000.0 * options.timeout_s as f64;
    loop {
        let now = link.now_ms();
        if now > limit {
            turn.events.push((now, "gave up waiting".to_owned()));
            break;
        }
        // A packet leaves when its last sample has been heard by the microphone.
        let due = begin + frame_ms * (sent + 1) as f64;
        if open && now >= due {
            let position = sent.saturating_sub(lead_frames) * frame;
            let packet = if sent >= lead_frames { piece(speech, position, frame) } else { vec![0; frame] };
            link.send_audio(&up.packet(&packet)?)?;
            sent += 1;
            if speech_frames > 0 && sent == lead_frames + speech_frames {
                // The last packet is filled up with silence: the speech ended within it.
                turn.end_of_speech_ms = due - (speech_frames * frame - speech.len()) as f64 * 1_000.0 / f64::from(RATE);
                turn.events.push((turn.end_of_speech_ms, "end of speech".to_owned()));
                if options.mode == Mode::Manual {
                    link.send(json!({"session_id": session, "type": "listen", "state": "stop"}))?;
                    open = false;
                }
            }
            continue;
        }
        let next = if open { due.min(limit) } else { limit };
        match link.receive(Duration::from_secs_f64((next - now).max(0.0) / 1_000.0))? {
            News::Nothing => {}
            News::Closed(why) => {
                turn.closed = Some(why);
                break;
            }
            News::Packet(packet) => on_packet(&mut turn, link.now_ms(), &packet, &mut down, link.rate),
            News::Message(message) => {
                let at = link.now_ms();
                if on_message(&mut turn, at, &message) {
                    open = open && options.mode == Mode::Realtime;
                }
                if turn.stop_ms.is_some() {
                    break;
                }
            }
        }
        if let (Some(after), Some(first), false) = (options.abort_after_ms, turn.arrivals.first(), aborted)
            && link.now_ms() - first.at_ms >= after as f64
        {
            link.send(json!({"session_id": session, "type": "abort", "reason": "wake_word_detected"}))?;
            turn.events.push((link.now_ms(), "abort sent".to_owned()));
            aborted = true;
        }
    }
    turn.verdict = judge(&turn.arrivals, turn.stop_ms.filter(|_| !aborted));
    Ok(turn)
}

/// Returns whether the microphone of an auto-mode device goes off with it.
fn on_message(turn: &mut Turn, at: f64, message: &Value) -> bool {
    let text = message["text"].as_str().unwrap_or("");
    match (message["type"].as_str().unwrap_or(""), message["state"].as_str().unwrap_or("")) {
        ("stt", _) => {
            turn.stt = Some(text.to_owned());
            turn.events.push((at, format!("stt            {text:?}")));
        }
        ("llm", _) => {
            turn.emotion = message["emotion"].as_str().map(str::to_owned);
            turn.events.push((at, format!("llm            {}", turn.emotion.as_deref().unwrap_or("?"))));
        }
        ("tts", "start") => {
            if turn.start_ms.replace(at).is_some() {
                turn.offences.push("a second tts start in one turn".to_owned());
            }
            turn.events.push((at, "tts start".to_owned()));
            return true;
        }
        ("tts", "sentence_start") => {
            turn.sentences.push(text.to_owned());
            turn.events.push((at, format!("sentence_start {text:?}")));
        }
        ("tts", "sentence_end") => {}
        ("tts", "stop") => {
            turn.stop_ms = Some(at);
            turn.events.push((at, "tts stop".to_owned()));
        }
        ("tts", other) => turn.offences.push(format!("tts with state {other:?}: old firmware crashes")),
        ("hello", _) => turn.offences.push("a second hello: breaks the device's next connection".to_owned()),
        (kind, _) => turn.events.push((at, format!("{kind:14} {message}"))),
    }
    false
}

fn on_packet(turn: &mut Turn, at: f64, packet: &[u8], down: &mut Downlink, rate: u32) {
    match turn.start_ms {
        None => turn.offences.push("audio before tts start: a device drops it".to_owned()),
        Some(start) if turn.arrivals.is_empty() => {
            turn.events.push((at, "first audio".to_owned()));
            // The server keeps 60 ms; a third of that may be lost on the way without harm.
            if at - start < 40.0 {
                turn.offences.push(format!("audio {:.0} ms after tts start: a device may lose it", at - start));
            }
        }
        Some(_) => {}
    }
    let Some(samples) = down.samples(packet) else {
        turn.offences.push("an undecodable packet".to_owned());
        return;
    };
    turn.arrivals.push(Arrival { at_ms: at, duration_ms: samples.len() as f64 * 1_000.0 / f64::from(rate) });
    turn.heard.extend(samples);
}

/// A frame of `pcm` at `position`, filled up with silence.
fn piece(pcm: &[i16], position: usize, frame: usize) -> Vec<i16> {
    let mut out = pcm.get(position..).map_or_else(Vec::new, |rest| rest[..rest.len().min(frame)].to_vec());
    out.resize(frame, 0);
    out
}
