//! How hard encoders try while the server is more or less busy: the configuration's `opus_complexity = "auto"`.
//!
//! A ladder of four steps, looked at once a second. Down at once, for a late packet is heard by everybody; up only after quiet,
//! and to the top only from so little load that its four times dearer encoding cannot bring the server back to where it stepped
//! down.

use super::opus::Effort;

/// Complexity, and whether only light, from the best to the cheapest; µs for 60 ms at 24 kHz on one machine: 524, 135, 94, 62.
const STEPS: [(u8, bool); 4] = [(5, false), (5, true), (2, true), (0, true)];
/// Share of the cores from which on one step is taken down each second, and from which on all at once.
const BUSY: f64 = 0.6;
const OVERLOADED: f64 = 0.8;
/// Share below which a step up is taken, by the step one stands on.
const QUIET: [f64; 4] = [0.0, 0.12, 0.35, 0.45];
/// For so many seconds in a row.
const QUIET_S: u32 = 10;

/// Where one stands.
#[derive(Clone, Debug)]
pub struct Ladder {
    bitrate: u32,
    step: usize,
    quiet_s: u32,
}

impl Ladder {
    /// At its top, for replies of so many bits per second.
    pub fn new(bitrate: u32) -> Ladder {
        Ladder { bitrate, step: 0, quiet_s: 0 }
    }

    /// The effort of the step one stands on.
    pub fn effort(&self) -> Effort {
        let (complexity, is_light) = STEPS[self.step];
        Effort { complexity, is_light, bitrate: self.bitrate }
    }

    /// A second has passed in which the process used `share` (0 to 1) of the cores it may use. The effort from now on.
    pub fn observe(&mut self, share: f64) -> Effort {
        let last = STEPS.len() - 1;
        self.quiet_s = if share < QUIET[self.step] { self.quiet_s + 1 } else { 0 };
        if share >= OVERLOADED {
            self.step = last;
        } else if share >= BUSY {
            self.step = (self.step + 1).min(last);
        } else if self.quiet_s >= QUIET_S {
            (self.step, self.quiet_s) = (self.step - 1, 0);
        }
        self.effort()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(ladder: &mut Ladder, share: f64, seconds: usize) -> Vec<usize> {
        let step = |e: Effort| STEPS.iter().position(|s| *s == (e.complexity, e.is_light)).unwrap();
        (0..seconds).map(|_| step(ladder.observe(share))).collect()
    }

    #[test]
    fn load_lowers_the_effort_at_once_and_quiet_raises_it_slowly() {
        let mut ladder = Ladder::new(24_000);
        assert_eq!(steps(&mut ladder, 0.5, 3), [0, 0, 0]);
        assert_eq!(steps(&mut ladder, 0.6, 4), [1, 2, 3, 3]);
        assert_eq!(steps(&mut ladder, 0.4, 11), [3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2]);
        assert_eq!(steps(&mut ladder, 0.3, 10)[9], 1);
        assert_eq!(steps(&mut ladder, 0.2, 60)[59], 1, "the top is for a server that has little to do");
        assert_eq!(steps(&mut ladder, 0.1, 10)[9], 0);
        assert_eq!(steps(&mut ladder, 0.0, 30)[29], 0);
    }

    #[test]
    fn overload_takes_all_steps_and_a_noisy_second_begins_the_quiet_anew() {
        let mut ladder = Ladder::new(24_000);
        assert_eq!(steps(&mut ladder, 0.9, 1), [3]);
        for _ in 0..5 {
            assert_eq!(steps(&mut ladder, 0.1, 9)[8], 3);
            assert_eq!(steps(&mut ladder, 0.5, 1), [3]);
        }
    }
}
