//! Devices that wait cost next to nothing: how often a shard gets up for 10,000 of them, over minutes of virtual time.
//!
//! A wake-up is one for the shard, whoever it is for: pings and keep-alives fall due on the whole second and leave together.
//! What devices send comes when it comes; here every answer comes alone, which is the worst that a network can do.

#[path = "support/virtual_shard.rs"]
mod virtual_shard;

use std::collections::BTreeMap;
use std::sync::Arc;
use virtual_shard::{Device, VirtualShard, frame};
use voxlane::metrics::Counter;
use voxlane::session;
use voxlane::shard::Rules;
use voxlane::time::{Duration, Instant};

const DEVICES: usize = 10_000;
const MINUTES: u64 = 5;
/// Wake-ups of an idle device per second (`targets.md`, decision 10).
const TARGET: f64 = 0.1;
/// Over this time the devices come, one by one: longer than pings are apart, so that nobody's are in step with another's.
const ARRIVE: Duration = Duration::from_millis(31_700);

/// How often the shard got up.
#[derive(Debug, Default)]
struct Woken {
    /// By its timer.
    by_timer: u64,
    /// By a device.
    by_device: u64,
    /// Passes in all: one that left something is followed by another without a sleep.
    passes: u64,
}

/// Devices of which each answers a ping some time later, and says nothing else.
struct Town {
    shard: VirtualShard,
    devices: Vec<Device>,
    /// Whose answer comes when, µs.
    answers: BTreeMap<u64, usize>,
    dice: u64,
    pings: u64,
    texts: u64,
}

impl Town {
    fn new() -> Town {
        // Without `session.idle_s` nobody is bid farewell: with it there would soon be no idle devices.
        let session = Arc::new(session::Rules { idle: Duration::ZERO, ..session::Rules::default() });
        let mut shard = VirtualShard::new(Rules { session, connections: DEVICES + 1, ..Rules::default() }, 1);
        let mut devices = Vec::with_capacity(DEVICES);
        for id in 0..DEVICES {
            devices.push(shard.device(id, "{}"));
            shard.now += ARRIVE / DEVICES as u32;
        }
        let mut town = Town { shard, devices, answers: BTreeMap::new(), dice: 1, pings: 0, texts: 0 };
        // Those that came first were pinged while the last still came; from here on nothing is lost.
        town.listen();
        (town.pings, town.texts) = (0, 0);
        town
    }

    /// Looks at what devices were sent: 20 to 220 ms after a ping comes the answer.
    fn listen(&mut self) {
        for (id, device) in self.devices.iter().enumerate() {
            let said = device.far.take();
            let mut at = 0;
            while at < said.len() {
                let (opcode, len) = (said[at] & 0x0f, usize::from(said[at + 1]));
                assert!(len < 126, "pings and keep-alives are short");
                at += 2 + len;
                match opcode {
                    9 => {
                        self.pings += 1;
                        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        let mut when = self.shard.now.as_us() + 20_000 + (self.dice >> 33) % 200_000;
                        while self.answers.contains_key(&when) {
                            when += 1;
                        }
                        self.answers.insert(when, id);
                    }
                    1 => self.texts += 1,
                    other => panic!("opcode {other}"),
                }
            }
        }
    }

    /// Lets time pass; every pass is for one cause.
    fn live(&mut self, time: Duration) -> Woken {
        let until = self.shard.now + time;
        let mut woken = Woken::default();
        loop {
            let due = self.shard.shard.next_deadline(self.shard.now).max(self.shard.now);
            let answer = self.answers.first_key_value().map_or(Instant::NEVER, |(us, _)| Instant::from_us(*us));
            let next = due.min(answer);
            if next > until {
                return woken;
            }
            let has_slept = next > self.shard.now;
            self.shard.now = next;
            woken.passes += 1;
            if answer < due {
                let (_, id) = self.answers.pop_first().expect("the one just seen");
                self.devices[id].far.send(&frame(10, &[]));
                woken.by_device += 1;
                self.shard.pass_for(&self.devices[id]);
            } else {
                woken.by_timer += u64::from(has_slept);
                self.shard.pass();
                self.listen();
            }
        }
    }
}

#[test]
fn ten_thousand_idle_devices_wake_their_shard_less_than_once_in_ten_seconds_each() {
    let mut town = Town::new();
    let seconds = MINUTES * 60;
    let woken = town.live(Duration::from_secs(seconds));
    let each = |n: u64| n as f64 / DEVICES as f64 / seconds as f64;
    println!(
        "{woken:?}: {:.4} passes for each device and second; {} pings, {} texts",
        each(woken.passes),
        town.pings,
        town.texts
    );
    assert!(each(woken.passes) < TARGET, "{woken:?}");
    // All who are due within a second are served in one go.
    assert!(woken.by_timer <= seconds + 1, "{woken:?}");
    // They are still all there, since they were asked, and answered.
    assert_eq!(town.shard.shard.connections(), DEVICES);
    let rounds = town.pings as f64 / DEVICES as f64;
    assert!((seconds as f64 / 24.0..=seconds as f64 / 22.0 + 1.0).contains(&rounds), "{rounds} pings to each");
    assert!(town.texts as f64 >= DEVICES as f64 * (seconds / 46 - 1) as f64, "{} texts", town.texts);
    assert_eq!(town.shard.panel.counter(Counter::EndedBySilence), 0);
}

#[test]
fn a_shard_without_devices_sleeps() {
    let shard = VirtualShard::new(Rules::default(), 1);
    assert_eq!(shard.shard.next_deadline(shard.now), Instant::NEVER);
}
