//! What a device suffers from a reply, pure: a play queue as a clock, fed with the instants at which packets came. All times are
//! nanoseconds on the run's clock.
//!
//! A device plays the first packet at once and each next one when the one before has ended. Nothing to play is an underrun; a
//! full queue drops the newest; what is not played when `tts stop` comes is cut.

/// Queue sizes of the firmware in the field, packets.
pub const QUEUES: [u32; 3] = [5, 20, 40];
/// A reply that is stopped so much before its playout ends has lost its tail: less than a fifth of a packet cannot be heard.
const CUT_NS: u64 = 12_000_000;

/// One reply under judgement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reply {
    /// Duration of a packet.
    pub packet_ns: u64,
    /// Packets so far.
    pub packets: u32,
    /// When the first came.
    pub first: u64,
    /// When the last came.
    pub last: u64,
    /// When everything that has come will have been played.
    end: u64,
    /// The schedule: a packet's arrival minus its place, the least so far of those that came alone or as the first of a group.
    base: u64,
    /// How late the last packet was.
    late: u64,
    /// Packets since the schedule was last set anew.
    since: u32,
    /// Gaps in what was heard.
    pub underruns: u32,
    /// Packets waiting at most.
    pub queue_max: u32,
}

/// What one packet showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Since the packet before; `None` for the first.
    pub gap: Option<u64>,
    /// After the instant its schedule gives it; `None` in the burst that fills the device's queue.
    pub late: Option<u64>,
    /// The playhead had to wait for it.
    pub is_underrun: bool,
}

/// What the stop showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The reply lost its tail.
    pub is_cut: bool,
    /// From the end of playout to the stop, 0 when it was cut.
    pub after: u64,
}

/// Packets that come so close behind another came with it, in one write.
const GROUP_NS: u64 = 10_000_000;
/// Packets of the burst that servers begin with, at most: their places say nothing of the schedule.
const BURST: u32 = 6;

impl Reply {
    /// A reply whose packets last so long.
    pub fn new(packet_ns: u64) -> Reply {
        Reply { packet_ns, base: u64::MAX, ..Reply::default() }
    }

    /// Takes a packet that was seen at `at`, and came at most `blur` before. What is not known speaks against the server: of the
    /// packet that sets the schedule it is taken to have come at once, of the others that they came when they were seen.
    pub fn packet(&mut self, at: u64, blur: u64) -> Heard {
        let gap = (self.packets > 0).then(|| at.saturating_sub(self.last));
        let is_underrun = self.packets > 0 && at > self.end;
        if self.packets == 0 {
            self.first = at;
        }
        if is_underrun {
            // The source ran dry: what comes now follows a schedule of its own.
            (self.base, self.since) = (u64::MAX, 0);
            self.underruns += 1;
        }
        // The earliest packet sets the schedule; an offset keeps the difference positive. Servers may send in groups: what comes
        // with an earlier packet, before its own instant, sets none, and is as late as its group.
        let place = (at + (1 << 40)).saturating_sub(u64::from(self.packets) * self.packet_ns);
        let is_alone = self.since == 0 || gap.is_none_or(|gap| gap > GROUP_NS);
        if is_alone || place >= self.base {
            self.late = place.saturating_sub(self.base);
        }
        let late = (self.since >= BURST).then_some(self.late);
        if is_alone {
            self.base = self.base.min(place.saturating_sub(blur));
        }
        self.end = self.end.max(at) + self.packet_ns;
        self.queue_max = self.queue_max.max((self.end - at).div_ceil(self.packet_ns) as u32 - 1);
        self.last = at;
        self.packets += 1;
        self.since += 1;
        Heard { gap, late, is_underrun }
    }

    /// Takes the stop.
    pub fn stop(&self, at: u64) -> Stopped {
        let is_cut = self.packets > 0 && at + CUT_NS < self.end;
        Stopped { is_cut, after: at.saturating_sub(self.end) }
    }

    /// Whether a queue of so many packets would have overflowed.
    pub fn overruns(&self, queue: u32) -> bool {
        self.queue_max > queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Plays arrivals in ms; returns the reply and lateness in ms of each packet that has one.
    fn play(arrivals: impl IntoIterator<Item = u64>) -> (Reply, Vec<u64>) {
        let mut reply = Reply::new(60 * MS);
        let late = arrivals.into_iter().filter_map(|at| reply.packet(at * MS, 0).late).map(|ns| ns / MS).collect();
        (reply, late)
    }

    /// Three at once, then one every 60 ms, as a server that leads by 180 ms sends.
    fn paced(i: u64) -> u64 {
        1_000 + 60 * i.saturating_sub(2)
    }

    #[test]
    fn a_paced_reply_is_heard_whole() {
        let (reply, late) = play((0..50).map(paced));
        assert_eq!((reply.underruns, reply.queue_max), (0, 2));
        assert_eq!((late.len(), late.iter().max()), (44, Some(&0)));
        assert_eq!(reply.stop(4_000 * MS + 200 * MS), Stopped { is_cut: false, after: 200 * MS });
        assert!(!reply.overruns(5));
    }

    #[test]
    fn a_packet_after_its_instant_is_late_though_it_is_heard() {
        let (reply, late) = play((0..20).map(|i| paced(i) + if i == 12 { 25 } else { 0 }));
        assert_eq!(reply.underruns, 0);
        assert_eq!(late.iter().filter(|ms| **ms > 0).collect::<Vec<_>>(), [&25]);
    }

    /// Three at once, then two every 120 ms.
    fn paired(i: u64) -> u64 {
        1_000 + i.saturating_sub(2).div_ceil(2) * 120 - if i > 2 { 60 } else { 0 }
    }

    #[test]
    fn pairs_are_on_time_and_late_together() {
        let (reply, late) = play((0..51).map(paired));
        assert_eq!((reply.underruns, reply.queue_max), (0, 3));
        assert_eq!((late.len(), late.iter().max()), (45, Some(&0)));
        let (_, late) = play((0..51).map(|i| paired(i) + if i == 13 || i == 14 { 25 } else { 0 }));
        assert_eq!(late.iter().filter(|ms| **ms > 0).collect::<Vec<_>>(), [&25, &25]);
    }

    #[test]
    fn a_packet_that_waited_for_the_next_is_late_alone() {
        let (_, late) = play((0..20).map(|i| if i == 12 { paced(13) } else { paced(i) }));
        assert_eq!(late.iter().filter(|ms| **ms > 0).collect::<Vec<_>>(), [&60]);
    }

    #[test]
    fn what_is_seen_by_ticks_is_never_taken_for_earlier_than_it_came() {
        // Looks at multiples of 7 ms; packets come as paced, one of them 25 ms late.
        let came = |i| paced(i) + if i == 12 { 25 } else { 0 };
        let mut reply = Reply::new(60 * MS);
        for i in 0..40 {
            let seen = came(i).div_ceil(7) * 7;
            let late = reply.packet(seen * MS, 7 * MS).late;
            let truly = (came(i) - paced(i)) * MS;
            assert!(late.is_none_or(|late| (truly..=truly + 14 * MS).contains(&late)), "{i}: {late:?}");
        }
    }

    #[test]
    fn a_source_that_runs_dry_is_an_underrun_and_sets_a_new_schedule() {
        let (reply, late) = play((0..30).map(|i| paced(i) + if i >= 15 { 700 } else { 0 }));
        assert_eq!(reply.underruns, 1);
        assert_eq!(late.iter().max(), Some(&0));
    }

    #[test]
    fn a_burst_overruns_small_queues() {
        let (reply, _) = play([0; 30]);
        assert_eq!(QUEUES.map(|q| reply.overruns(q)), [true, true, false]);
    }

    #[test]
    fn an_early_stop_cuts_the_tail() {
        let (reply, _) = play((0..10).map(paced));
        // The last of ten came at 1,420 and is played until 1,600.
        assert!(reply.stop(1_500 * MS).is_cut);
        assert!(!reply.stop(1_590 * MS).is_cut);
        assert_eq!(Reply::new(60 * MS).stop(5), Stopped { is_cut: false, after: 5 });
    }
}
