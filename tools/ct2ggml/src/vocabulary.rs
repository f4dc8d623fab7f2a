//! The words' pieces, as bytes, in the order of their numbers.
//!
//! GPT-2's tokenizer, which Whisper uses, writes each byte as one printable character so that its vocabulary can be text.
//! Here the bytes come back. The vocabulary ends at `<|endoftext|>`: whisper.cpp names the control tokens by itself.

use crate::Result;
use std::collections::HashMap;

/// A piece of a word longer than this is none: Whisper's longest has 128 bytes.
const PIECE_BYTES: usize = 512;

/// The pieces before the first control token.
pub fn tokens(text: &[u8]) -> Result<Vec<Vec<u8>>> {
    let text = std::str::from_utf8(text).map_err(|error| format!("vocabulary.txt is not text: {error}"))?;
    let alphabet = alphabet();
    let mut tokens = Vec::new();
    for line in text.split('\n') {
        if line == "<|endoftext|>" {
            return Ok(tokens);
        }
        let piece: Option<Vec<u8>> = line.chars().map(|c| alphabet.get(&c).copied()).collect();
        let piece = piece.filter(|bytes| bytes.len() <= PIECE_BYTES);
        tokens.push(piece.ok_or_else(|| format!("line {} of vocabulary.txt is no piece of a word", tokens.len() + 1))?);
    }
    Err("vocabulary.txt has no <|endoftext|>: not Whisper's, or cut".to_owned())
}

/// Printable characters of Latin-1 stand for themselves; those from U+0100 on stand for the bytes left over, in order.
fn alphabet() -> HashMap<char, u8> {
    let is_printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..);
    let (printable, others): (Vec<u8>, Vec<u8>) = (0..=255).partition(is_printable);
    let stand_ins = ('\u{100}'..='\u{1ff}').zip(others);
    printable.into_iter().map(|byte| (char::from(byte), byte)).chain(stand_ins).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_character() {
        let mut bytes: Vec<u8> = alphabet().into_values().collect();
        bytes.sort_unstable();
        assert!(bytes.into_iter().eq(0..=255));
    }

    #[test]
    fn pieces_come_back_as_bytes() {
        let expected: [&[u8]; 5] = [b"!", b" the", "场".as_bytes(), b"\n", b""];
        assert_eq!(tokens("!\nĠthe\nåľº\nĊ\n\n<|endoftext|>\n<|en|>".as_bytes()).expect("sound"), expected);
    }

    #[test]
    fn another_vocabulary_is_refused() {
        for (text, word) in [(&b"a\nb"[..], "endoftext"), ("a\n漢\n".as_bytes(), "line 2"), (b"\xff", "not text")] {
            let reason = tokens(text).unwrap_err();
            assert!(reason.contains(word), "{reason}");
        }
    }
}
