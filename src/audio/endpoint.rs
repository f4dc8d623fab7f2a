//! Where an utterance begins and ends, in audio time.

/// Thresholds and durations of endpointing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EndpointRules {
    /// Consecutive voice before we believe it, ms.
    pub onset_ms: u32,
    /// Silence that ends an utterance, ms.
    pub silence_ms: u32,
    /// Audio kept from before the onset, ms.
    pub preroll_ms: u32,
    /// Least voiced time of an utterance, ms.
    pub voiced_min_ms: u32,
    /// Longest utterance, ms.
    pub longest_ms: u32,
    /// Voice probability that starts / that sustains speech.
    pub start_threshold: f32,
    /// See `start_threshold`.
    pub stay_threshold: f32,
}

impl Default for EndpointRules {
    fn default() -> EndpointRules {
        EndpointRules {
            onset_ms: 96,
            silence_ms: 500,
            preroll_ms: 400,
            voiced_min_ms: 150,
            longest_ms: 30_000,
            start_threshold: 0.5,
            stay_threshold: 0.35,
        }
    }
}
