//! How much audio a device may send: a bucket that fills at three times real time. A device cannot speak faster than that,
//! and what a burst may hold (a wake word's two seconds, a stalled radio's few) passes.

use crate::audio::opus;
use crate::limits;
use crate::time::Instant;

/// Eight bytes of state.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    /// Audio that may come at once, ms.
    level_ms: u32,
    /// When that was, ms; wraps after seven weeks of silence, which only costs a burst.
    at_ms: u32,
}

impl Bucket {
    /// A full one.
    pub fn new(now: Instant) -> Bucket {
        Bucket { level_ms: limits::UPLINK_BURST_MS, at_ms: now.as_ms() as u32 }
    }

    /// Whether a packet of `ms` of audio may pass.
    pub fn admits(&mut self, now: Instant, ms: u32) -> bool {
        let now_ms = now.as_ms() as u32;
        let gained = now_ms.wrapping_sub(self.at_ms).saturating_mul(limits::UPLINK_SPEED);
        self.level_ms = self.level_ms.saturating_add(gained).min(limits::UPLINK_BURST_MS);
        self.at_ms = now_ms;
        let cost = ms.max(LEAST_MS);
        if cost > self.level_ms {
            return false;
        }
        self.level_ms -= cost;
        true
    }
}

/// What a packet costs at least: work per packet is not free, however short.
const LEAST_MS: u32 = 5;

/// Audio in an Opus packet, ms rounded up; 0 for an empty one or what is none.
pub fn opus_ms(packet: &[u8]) -> u32 {
    opus::packet_samples(packet, 48_000).map_or(0, |samples| (samples as u32).div_ceil(48))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_words_burst_passes_and_a_flood_does_not() {
        let mut bucket = Bucket::new(Instant::ZERO);
        assert!((0..33).all(|_| bucket.admits(Instant::from_ms(50), 60)), "checklist 40");
        let passed = (0..1_667).filter(|_| bucket.admits(Instant::from_ms(1_000), 60)).count();
        assert!(passed < 90, "{passed} packets of 100 s within a second");
    }

    #[test]
    fn real_time_always_passes() {
        let mut bucket = Bucket::new(Instant::ZERO);
        assert!((0..10_000).all(|i| bucket.admits(Instant::from_ms(i * 20), 20)));
        assert!((0..10_000).all(|i| bucket.admits(Instant::from_ms(300_000 + i * 60), 120)), "twice real time");
    }

    #[test]
    fn opus_says_how_long_it_is() {
        assert_eq!(opus_ms(&[]), 0);
        assert_eq!(opus_ms(&[0x0b << 3]), 60, "SILK wideband 60 ms");
        assert_eq!(opus_ms(&[0x0b << 3 | 1, 0, 0]), 120);
        assert_eq!(opus_ms(&[31 << 3 | 3, 3]), 60, "three CELT frames of 20 ms, as browsers send");
        assert_eq!(opus_ms(&[16 << 3]), 3);
    }
}
