//! How hard a shard works, second by second, and what it therefore does in less but larger pieces.
//!
//! A reply packet costs its shard more in the kernel than in the shard: a wake-up, a write, an acknowledgement. Two in one write
//! cost about as much as one; the second is then a frame earlier with the device, which holds forty. And a pass costs a sleep and
//! a wake-up, however little it finds: a shard that rests for a moment between passes finds more in each.

use crate::time::{Duration, Instant};

/// What is done at a level of strain.
#[derive(Clone, Copy, Debug)]
struct Level {
    /// Share of its time, per cent, from which on a shard stands here.
    from: u128,
    /// Share below which it steps down: well below, so that what is saved here does not end it.
    until: u128,
    /// Reply packets that leave together.
    group: u32,
    /// Time between the beginnings of passes, at least, and so the most by which a packet is late for it: of the 5 ms that it may
    /// be.
    rest: Duration,
}

const LEVELS: [Level; 4] = [
    Level { from: 0, until: 0, group: 1, rest: Duration::ZERO },
    Level { from: 45, until: 25, group: 2, rest: Duration::from_micros(500) },
    Level { from: 55, until: 30, group: 2, rest: Duration::from_micros(1_000) },
    Level { from: 70, until: 45, group: 2, rest: Duration::from_micros(2_000) },
];
/// What a pass costs beyond the time that the shard sees itself at work: falling asleep, and the kernel's way to it from the packet
/// or the clock that wakes it. Measured: 27 µs of CPU in a virtual machine, of which this is certain.
const PASS: Duration = Duration::from_micros(20);
/// Time over which the share is taken.
const SPAN: Duration = Duration::from_secs(1);

/// What has been seen of a shard's work.
#[derive(Clone, Copy, Debug)]
pub struct Strain {
    since: Instant,
    busy: Duration,
    level: usize,
}

impl Strain {
    /// A shard that has done nothing until now.
    pub fn new(now: Instant) -> Strain {
        Strain { since: now, busy: Duration::ZERO, level: 0 }
    }

    /// A pass ended `now`, in which it was busy for so long.
    pub fn observe(&mut self, now: Instant, busy: Duration) {
        self.busy += busy + PASS;
        let span = now.since(self.since);
        if span < SPAN {
            return;
        }
        let share = 100 * self.busy.as_micros() / span.as_micros().max(1);
        let reached = LEVELS.iter().rposition(|level| share >= level.from).unwrap_or(0);
        let is_over = share < LEVELS[self.level].until;
        self.level = reached.max(self.level - usize::from(is_over));
        (self.since, self.busy) = (now, Duration::ZERO);
    }

    /// Reply packets that leave together.
    pub fn group(&self) -> u32 {
        LEVELS[self.level].group
    }

    /// Time between the beginnings of passes, at least.
    pub fn rest(&self) -> Duration {
        LEVELS[self.level].rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Group and rest (µs) after each second in which the shard was busy for so many ms.
    fn levels(busy_ms: &[u64]) -> Vec<(u32, u128)> {
        let mut strain = Strain::new(Instant::ZERO);
        let mut levels = Vec::new();
        for (second, busy) in busy_ms.iter().enumerate() {
            for tenth in 1..=10 {
                let now = Instant::from_ms(1_000 * second as u64 + 100 * tenth);
                strain.observe(now, Duration::from_millis(busy / 10));
            }
            levels.push((strain.group(), strain.rest().as_micros()));
        }
        levels
    }

    #[test]
    fn up_at_once_and_down_step_by_step_well_below() {
        assert_eq!(levels(&[440, 450, 260, 250, 240, 440]), [(1, 0), (2, 500), (2, 500), (2, 500), (1, 0), (1, 0)]);
        assert_eq!(levels(&[550, 400, 300, 290, 290]), [(2, 1_000), (2, 1_000), (2, 1_000), (2, 500), (2, 500)]);
        assert_eq!(
            levels(&[900, 600, 450, 440, 100, 100, 100]),
            [(2, 2_000), (2, 2_000), (2, 2_000), (2, 1_000), (2, 500), (1, 0), (1, 0)]
        );
    }

    #[test]
    fn many_passes_are_strain_however_little_they_find() {
        let mut strain = Strain::new(Instant::ZERO);
        (1..=25_000).for_each(|pass| strain.observe(Instant::from_us(40 * pass), Duration::ZERO));
        assert_eq!((strain.group(), strain.rest().as_micros()), (2, 500));
    }

    #[test]
    fn a_moment_of_work_is_not_yet_strain() {
        let mut strain = Strain::new(Instant::ZERO);
        strain.observe(Instant::from_ms(900), Duration::from_millis(900));
        assert_eq!(strain.group(), 1);
        strain.observe(Instant::from_ms(1_000), Duration::ZERO);
        assert_eq!(strain.group(), 2);
    }
}
