//! Whole conversations over real sockets: what is said comes back, whatever fails on the way; and nobody hears his neighbour.
//!
//! The protocol's single rules are in `tests/conformance`; here a conversation is what is looked at.

#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod failures;
mod neighbours;
mod operation;
mod overload;
mod profile;
mod said_again;
mod services;
mod standing_in;
mod turns;

use support::{Got, kinds};

/// A whole turn after speech.
const TURN: [&str; 6] = ["stt", "tts:start", "llm", "tts:sentence_start", "packet", "tts:stop"];
/// An apology for an utterance that was not understood: nothing is shown but the apology.
const SORRY: [&str; 4] = ["tts:start", "tts:sentence_start", "packet", "tts:stop"];
/// The apology of these tests, short enough to wait for: 60 ms for each character.
const APOLOGY: &str = "Sorry.";

/// The sentences that were announced.
fn sentences(all: &[Got]) -> Vec<&str> {
    all.iter().filter(|got| got.kind() == "tts:sentence_start").map(Got::text).collect()
}

/// What was understood.
fn heard(all: &[Got]) -> &str {
    all.iter().find(|got| got.kind() == "stt").unwrap_or_else(|| panic!("no stt in {:?}", kinds(all))).text()
}

fn count(all: &[Got], kind: &str) -> usize {
    all.iter().filter(|got| got.kind() == kind).count()
}

/// Packets between the announcement of a sentence and the next thing that is not a packet, for each sentence.
fn packets_of_sentences(all: &[Got]) -> Vec<usize> {
    let after = |i: usize| all[i + 1..].iter().take_while(|got| matches!(got, Got::Packet(_))).count();
    (0..all.len()).filter(|&i| all[i].kind() == "tts:sentence_start").map(after).collect()
}
