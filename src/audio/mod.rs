//! Pure signal: from the device's packets to an utterance, and from samples to packets that leave at the right time.
//!
//! ```text
//!   packet -> opus/pcm -> 16 kHz -> dc block -> vad -> endpoint -> edges (onset, end of utterance)
//!                                          \-> gain -> preroll + queue -> AudioBlocks -> lane
//! ```
//!
//! Time here is *audio time*: samples heard, not the clock; a recording gives the same cuts at any speed. Never here: a socket,
//! a thread, a clock, a dice.

pub mod block;
pub mod dsp;
pub mod ear;
pub mod effort;
pub mod endpoint;
pub mod opus;
pub mod pacing;
pub mod phrase;
pub mod preroll;
pub mod queue;
pub mod resample;
pub mod shelf;
pub mod vad;

#[cfg(test)]
pub(crate) mod tests;
