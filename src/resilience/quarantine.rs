//! Devices whose sessions break things: after the second time they are kept out for a while.
//!
//! What one device sends can meet a defect of ours that nobody else meets. The first time may be chance, and nobody else is hurt:
//! the session ends, the worker is replaced. A device that does it again would go on for ever.

use crate::time::{Duration, Instant};

/// Times within [`QUARANTINE`] that are too many.
const STRIKES: u32 = 2;
/// How long a strike is remembered, and a device kept out after the last one.
pub const QUARANTINE: Duration = Duration::from_secs(600);
/// Devices remembered at once; the one that has been good for the longest time is forgotten first. A defect that more devices
/// meet is no device's fault.
const DEVICES: usize = 64;

/// Who has broken something lately.
#[derive(Clone, Debug, Default)]
pub struct Quarantine {
    suspects: Vec<Suspect>,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    device: u64,
    strikes: u32,
    last: Instant,
}

impl Quarantine {
    /// The session of a device (its keyed hash) has broken something. Returns whether the device is kept out now.
    pub fn strike(&mut self, now: Instant, device: u64) -> bool {
        self.suspects.retain(|suspect| now.since(suspect.last) < QUARANTINE);
        let found = self.suspects.iter().position(|suspect| suspect.device == device);
        let at = found.unwrap_or_else(|| {
            if self.suspects.len() >= DEVICES {
                let oldest = (0..DEVICES).min_by_key(|&i| self.suspects[i].last).unwrap_or(0);
                self.suspects.swap_remove(oldest);
            }
            self.suspects.push(Suspect { device, strikes: 0, last: now });
            self.suspects.len() - 1
        });
        let suspect = &mut self.suspects[at];
        suspect.strikes += 1;
        suspect.last = now;
        suspect.strikes >= STRIKES
    }

    /// How much longer a device is kept out; `None`: it is not. Costs nothing while nobody is suspected.
    pub fn left(&self, now: Instant, device: u64) -> Option<Duration> {
        let suspect = self.suspects.iter().find(|suspect| suspect.device == device && suspect.strikes >= STRIKES)?;
        Some((suspect.last + QUARANTINE).until(now)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(s: u64) -> Instant {
        Instant::from_ms(s * 1_000)
    }

    #[test]
    fn the_second_time_within_ten_minutes_is_too_much() {
        let mut quarantine = Quarantine::default();
        assert!(!quarantine.strike(at(0), 7));
        assert!(!quarantine.strike(at(1), 8));
        assert_eq!(quarantine.left(at(1), 7), None);
        assert!(quarantine.strike(at(599), 7));
        assert_eq!(quarantine.left(at(600), 7), Some(Duration::from_secs(599)));
        assert_eq!((quarantine.left(at(600), 8), quarantine.left(at(1_199), 7)), (None, None));
        assert!(!quarantine.strike(at(601), 8), "the first time is forgotten");
    }

    #[test]
    fn only_so_many_are_remembered_and_the_latest_longest() {
        let mut quarantine = Quarantine::default();
        for device in 0..1_000 {
            assert!(!quarantine.strike(at(1), device));
        }
        assert_eq!(quarantine.suspects.len(), DEVICES);
        assert!(quarantine.strike(at(2), 999));
    }
}
