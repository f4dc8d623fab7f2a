//! A number as a word that can be said: four syllables of consonant and vowel, 24 bits, 8 of them a check.

use super::crc;

const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
const VOWELS: &[u8; 4] = b"aiou";
/// Letters of a word.
const LETTERS: usize = 8;
/// Odd, so that multiplying is reversible: neighbouring numbers get words that look different. And its inverse modulo 2^16.
const SCATTER: u16 = 0x9E37;
const GATHER: u16 = inverse(SCATTER);

/// The word of a number, as it stands in a sentence: `Gobihuta`.
pub fn words(id: u16) -> String {
    let mixed = id.wrapping_mul(SCATTER);
    let bits = u32::from(mixed) << 8 | u32::from(check(id));
    let mut out = String::with_capacity(LETTERS);
    for syllable in (0..4).rev().map(|n| bits >> (6 * n) & 63) {
        out.push(CONSONANTS[(syllable >> 2) as usize].into());
        out.push(VOWELS[(syllable & 3) as usize].into());
    }
    out[..1].make_ascii_uppercase();
    out
}

/// The number whose word stands first in `text`, in any case and between any marks.
pub fn find(text: &str) -> Option<u16> {
    find_all(text).next()
}

/// The numbers of all words in `text`, in order.
pub fn find_all(text: &str) -> impl Iterator<Item = u16> {
    text.split(|c: char| !c.is_ascii_alphabetic()).filter_map(read)
}

fn read(word: &str) -> Option<u16> {
    let word: &[u8; LETTERS] = word.as_bytes().try_into().ok()?;
    let mut bits = 0;
    for pair in word.chunks_exact(2) {
        let consonant = CONSONANTS.iter().position(|c| c.eq_ignore_ascii_case(&pair[0]))?;
        let vowel = VOWELS.iter().position(|v| v.eq_ignore_ascii_case(&pair[1]))?;
        bits = bits << 6 | (consonant << 2 | vowel) as u32;
    }
    let id = ((bits >> 8) as u16).wrapping_mul(GATHER);
    (u32::from(check(id)) == bits & 0xFF).then_some(id)
}

fn check(id: u16) -> u8 {
    crc(id, 8, 0x2F, 0xA5) as u8
}

/// Newton's iteration: each step doubles the number of right bits, five of them suffice for 16.
const fn inverse(odd: u16) -> u16 {
    let mut x = odd;
    let mut step = 0;
    while step < 5 {
        x = x.wrapping_mul(2u16.wrapping_sub(odd.wrapping_mul(x)));
        step += 1;
    }
    x
}
