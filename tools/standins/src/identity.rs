//! Who a voice belongs to. Each simulated device has a number; it speaks it as a short tone code before its words, the
//! stand-ins echo it, and whoever hears another number than its own has found cross-talk.
//!
//! ```text
//!   device --[tone 17] speech--> server --audio--> recognition: hears 17, answers "... Gobihuta ..."
//!                                                  language model: says "Gobihuta" in each sentence
//!   device <--[tone 17] speech-- server <--audio-- voice: reads "Gobihuta", plays tone 17 and speech
//! ```
//!
//! *Tone*: a lead and seven tones of 40 ms, each one of sixteen: 16 bits of number and 12 of check. Between 1.3 and 2.8 kHz they pass any
//! speech codec, and their steps of 100 Hz hold whole cycles in 10 ms, so that one table serves every hop. A listener hears a
//! code wherever it begins, in about 40 µs per second of audio. *Word*: the same number as four syllables with a check, which
//! survive sentence splitting, punctuation and markdown.

mod tone;
mod word;

pub(crate) use tone::symbols;
pub use tone::{Listener, RATES, TONE_MS, heard, tone};
pub use word::{find, find_all, words};

/// CRC of the 16 bits of `id`, `width` bits wide, by the polynomial `poly`, begun at `start`.
const fn crc(id: u16, width: u32, poly: u16, start: u16) -> u16 {
    let mut sum = start;
    let mut bit = 16;
    while bit > 0 {
        bit -= 1;
        let top = (sum >> (width - 1)) & 1;
        sum = (sum << 1) & ((1 << width) - 1);
        if top != (id >> bit) & 1 {
            sum ^= poly;
        }
    }
    sum
}

#[cfg(test)]
mod tests;
