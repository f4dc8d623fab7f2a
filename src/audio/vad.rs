//! Is it voice? A cheap gate, confirmed by a better judge.

/// Which detector decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// webrtc-vad with an energy floor as the gate, its positives confirmed by earshot.
    #[default]
    Auto,
    /// webrtc-vad alone.
    Webrtc,
    /// earshot alone.
    Earshot,
    /// A window is voice when its peak is at least 1/64 of full scale: for tests and simulation, no codec needed.
    Level,
}
