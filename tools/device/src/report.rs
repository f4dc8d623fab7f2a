//! What the person sees.

use crate::link::Link;
use crate::playout::QUEUES;
use crate::turn::{Move, Turn};
use serde_json::{Value, json};
use std::fmt::Write;

/// The timeline of a turn; times count from the end of speech.
pub fn timeline(what: &Move, spoken: &str, turn: &Turn) -> String {
    let mut out = String::new();
    let zero = turn.end_of_speech_ms;
    let _ = match what {
        Move::Speak(_) => writeln!(out, "  you say {spoken:?} ({:.2} s)", turn.speech_ms / 1_000.0),
        Move::Type(_) => writeln!(out, "  you type {spoken:?}"),
        Move::Wake(_) => writeln!(out, "  you call {spoken:?}"),
    };
    for (at, event) in &turn.events {
        let _ = writeln!(out, "  {:>+8.0} ms  {event}", at - zero);
    }
    if let Some(why) = &turn.closed {
        let _ = writeln!(out, "               connection closed: {why}");
    }
    let v = &turn.verdict;
    if v.packets > 0 {
        let _ = writeln!(
            out,
            "  heard {:.2} s in {} packets; late p50 {:.1} p99 {:.1} max {:.1} ms; gaps {} ({:.0} ms); queue up to {}",
            v.audio_ms / 1_000.0,
            v.packets,
            v.late_percentile(50.0),
            v.late_percentile(99.0),
            v.late_percentile(100.0),
            v.underruns,
            v.silence_ms,
            v.queue_max,
        );
        let lost: Vec<String> =
            QUEUES.iter().zip(v.overruns).map(|(size, n)| format!("{n} of a queue of {size}")).collect();
        let tail = match v.unplayed_at_stop_ms {
            cut if cut > 0.0 => format!("TAIL CUT by {cut:.0} ms"),
            early => format!("tail whole, stop {:.0} ms after it", -early),
        };
        let _ = writeln!(out, "  packets lost by overrun: {}; {tail}", lost.join(", "));
    }
    for offence in &turn.offences {
        let _ = writeln!(out, "  OFFENCE: {offence}");
    }
    out
}

/// The same for a program.
pub fn json(link: &Link, turns: &[(String, Turn)]) -> Value {
    let turns: Vec<Value> = turns
        .iter()
        .map(|(spoken, t)| {
            let from = |at: Option<f64>| at.map(|at| at - t.end_of_speech_ms);
            json!({
                "said": spoken, "speech_ms": t.speech_ms, "stt": t.stt, "reply": t.sentences.join(" "), "emotion": t.emotion,
                "first_audio_ms": t.first_audio_ms(), "start_ms": from(t.start_ms), "stop_ms": from(t.stop_ms),
                "answered": t.is_answered(), "closed": t.closed, "offences": t.offences,
                "packets": t.verdict.packets, "audio_ms": t.verdict.audio_ms, "underruns": t.verdict.underruns,
                "late_ms": {"p50": t.verdict.late_percentile(50.0), "p99": t.verdict.late_percentile(99.0),
                            "max": t.verdict.late_percentile(100.0)},
                "overruns": {"5": t.verdict.overruns[0], "20": t.verdict.overruns[1], "40": t.verdict.overruns[2]},
                "unplayed_at_stop_ms": t.verdict.unplayed_at_stop_ms,
            })
        })
        .collect();
    json!({"session_id": link.session_id, "upgrade_ms": link.upgrade_ms, "hello_ms": link.hello_ms, "turns": turns})
}
