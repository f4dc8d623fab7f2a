//! Samples on their way.

use crate::ids::Ticket;
use crate::limits;

/// A piece of an utterance on its way to a recogniser: up to 60 ms of 16 kHz mono, inline.
#[derive(Clone)]
pub struct PcmBlock {
    /// The utterance's turn.
    pub ticket: Ticket,
    /// Samples in use.
    pub len: u16,
    /// Audio was lost just before this block.
    pub gap: bool,
    /// The utterance ends with this block (which may be empty).
    pub last: bool,
    /// The samples; only the first `len` mean something.
    pub samples: [i16; limits::PCM_BLOCK_SAMPLES],
}

impl PcmBlock {
    /// The samples in use.
    pub fn pcm(&self) -> &[i16] {
        &self.samples[..self.len as usize]
    }
}
