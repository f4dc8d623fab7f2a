//! When a reply packet leaves: at the speed at which it is played, a little ahead.
//!
//! Think of the device's loudspeaker as a clock that starts with the first packet and runs at one frame per frame duration: the
//! *playhead*. The schedule is absolute: packet `n` is due at `anchor + (n + 1 - lead) frames`, so a late packet does not
//! delay those behind it and errors never add up. With a lead of 3 frames the first three leave at once:
//!
//! ```text
//!   lead 3:   0 1 2   3   4   5           due
//!             |-------|---|---|---
//!             anchor  +1  +2  +3 frames
//! ```
//!
//! Packets may leave in groups: each group when its first is due, the others up to `group - 1` frames early.
//!
//! ```text
//!   lead 3, group 2:   0 1 2   3 4   -   5 6   -   7 8
//! ```
//!
//! When nothing was there to send until the playhead had used up all that was sent (an *underrun*), the clock is anchored
//! anew at the packet that comes: the device has paused, and a burst of what was missed would only pile up in its queue.
//!
//! Pure: the caller says what time it is.

use crate::limits;
use crate::time::{Duration, Instant};

/// Between `tts start` and the first packet: the device changes its state in another task than the one that takes audio, and
/// packets that overtake the change are lost (`protocol.md` 2.5, checklist 43).
pub const START_GAP: Duration = Duration::from_millis(60);

/// How a reply is paced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaceRules {
    /// Duration of a packet, ms; 0 counts as 1.
    pub frame_ms: u16,
    /// How far ahead of the playhead we may send, ms: rounded to whole frames, from 1 to [`limits::LEAD_FRAMES`].
    pub lead_ms: u32,
    /// How many packets leave together once the lead is sent; 0 counts as 1. Less where lead and group together would be more
    /// than [`limits::LEAD_FRAMES`] ahead.
    pub group: u32,
}

impl PaceRules {
    /// The lead in frames.
    pub fn lead_frames(self) -> u32 {
        let frame = u32::from(self.frame_ms.max(1));
        ((self.lead_ms.saturating_add(frame / 2)) / frame).clamp(1, limits::LEAD_FRAMES)
    }

    /// The group in packets.
    pub fn group_frames(self) -> u32 {
        self.group.clamp(1, limits::LEAD_FRAMES - self.lead_frames() + 1)
    }
}

/// What was known of a packet when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its number in the reply, from 0.
    pub index: u32,
    /// Its place on the reply's playback clock, ms: the timestamp of v2 framing.
    pub timestamp_ms: u32,
    /// When it was due: by the schedule, or when it came ([`Pacer::supplied`]), whichever was later.
    pub due: Instant,
    /// How long after that it was sent.
    pub late: Duration,
    /// The device had nothing left to play: the schedule was anchored anew.
    pub underrun: bool,
}

/// Paces the packets of one reply. 48 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    frame: Duration,
    lead: u32,
    group: u32,
    /// When the playhead stood, or would have stood, at packet 0. Before the first packet: when that may leave.
    anchor: Instant,
    /// When the packet that is to leave next came, if none was waiting then.
    supplied: Instant,
    sent: u32,
    underruns: u32,
}

impl Pacer {
    /// A pacer for a reply whose `tts start` leaves at `start`.
    pub fn new(rules: PaceRules, start: Instant) -> Pacer {
        Pacer {
            frame: Duration::from_millis(u64::from(rules.frame_ms.max(1))),
            lead: rules.lead_frames(),
            group: rules.group_frames(),
            anchor: start + START_GAP,
            supplied: Instant::ZERO,
            sent: 0,
            underruns: 0,
        }
    }

    /// When the next packet may leave, if there is one. May lie in the past.
    pub fn next(&self) -> Instant {
        self.scheduled().max(self.supplied)
    }

    /// Whether the next packet may leave at `now`.
    pub fn is_due(&self, now: Instant) -> bool {
        self.next() <= now
    }

    /// A packet came at `now` and none was waiting: it cannot have been due before. Says nothing about the schedule, only about
    /// whose fault lateness is.
    pub fn supplied(&mut self, now: Instant) {
        self.supplied = now;
    }

    /// The next packet leaves at `now`.
    pub fn sent(&mut self, now: Instant) -> Sent {
        let due = self.next();
        let first = self.sent == 0;
        let underrun = !first && now > self.end_of(self.sent);
        if first || underrun {
            // The playhead stands at this packet now.
            self.anchor = now - self.frames(self.sent);
        }
        self.underruns += u32::from(underrun);
        let index = self.sent;
        self.sent += 1;
        let timestamp_ms = self.frames(index).as_millis() as u32;
        Sent { index, timestamp_ms, due, late: now.since(due), underrun }
    }

    /// When the device has played all that was sent; `None` before the first packet. `tts stop` follows 200 ms later
    /// (decision 16).
    pub fn playout_end(&self) -> Option<Instant> {
        (self.sent > 0).then(|| self.end_of(self.sent))
    }

    /// How many packets have been played to their end at `now`: the first so many of the reply were heard.
    pub fn played(&self, now: Instant) -> u32 {
        if self.sent == 0 {
            return 0;
        }
        let frames = now.since(self.anchor).as_micros() / self.frame.as_micros();
        u32::try_from(frames).unwrap_or(u32::MAX).min(self.sent)
    }

    /// How much of the reply has been played at `now`.
    pub fn played_time(&self, now: Instant) -> Duration {
        if self.sent == 0 {
            return Duration::ZERO;
        }
        now.since(self.anchor).min(self.frames(self.sent))
    }

    /// What was sent and not played at `now`: what a listener still hears if we fall silent.
    pub fn ahead(&self, now: Instant) -> Duration {
        self.playout_end().map_or(Duration::ZERO, |end| end.until(now))
    }

    /// Packets sent.
    pub fn packets(&self) -> u32 {
        self.sent
    }

    /// How often the device ran dry.
    pub fn underruns(&self) -> u32 {
        self.underruns
    }

    fn scheduled(&self) -> Instant {
        let Some(behind_lead) = self.sent.checked_sub(self.lead) else { return self.anchor };
        self.anchor + self.frames(behind_lead - behind_lead % self.group + 1)
    }

    fn end_of(&self, packets: u32) -> Instant {
        self.anchor + self.frames(packets)
    }

    fn frames(&self, count: u32) -> Duration {
        self.frame * count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::tests::signals::Lcg;

    const START: u64 = 1_000;

    fn pacer(frame_ms: u16, lead_ms: u32) -> Pacer {
        Pacer::new(PaceRules { frame_ms, lead_ms, group: 1 }, Instant::from_ms(START))
    }

    #[test]
    fn groups_leave_when_their_first_is_due_and_never_too_far_ahead() {
        for (lead_ms, group, expected) in [
            (180, 1, vec![60, 60, 60, 120, 180, 240, 300]),
            (180, 0, vec![60, 60, 60, 120, 180, 240, 300]),
            (180, 2, vec![60, 60, 60, 120, 120, 240, 240, 360]),
            (180, 3, vec![60, 60, 60, 120, 120, 120, 300, 300, 300, 480]),
            (60, 2, vec![60, 120, 120, 240, 240]),
            // Six ahead already: a pair would be seven.
            (360, 2, vec![60, 60, 60, 60, 60, 60, 120, 180, 240]),
            (300, 9, vec![60, 60, 60, 60, 60, 120, 120, 240, 240]),
        ] {
            let mut pacer = Pacer::new(PaceRules { frame_ms: 60, lead_ms, group }, Instant::from_ms(START));
            for (n, at) in expected.iter().enumerate() {
                let now = pacer.next();
                assert_eq!(now.as_ms() - START, *at, "lead {lead_ms}, group {group}, packet {n}");
                assert_eq!(pacer.sent(now).late, Duration::ZERO);
                assert!(pacer.ahead(now) <= Duration::from_millis(60 * u64::from(limits::LEAD_FRAMES)));
            }
        }
    }

    /// Sends `count` packets, each at the instant it may leave; gives those instants, ms after `tts start`.
    fn schedule(frame_ms: u16, lead_ms: u32, count: usize) -> Vec<u64> {
        let mut pacer = pacer(frame_ms, lead_ms);
        (0..count)
            .map(|_| {
                let now = pacer.next();
                assert!(pacer.is_due(now) && !pacer.is_due(now - Duration::from_micros(1)));
                let sent = pacer.sent(now);
                assert_eq!((sent.due, sent.late, sent.underrun), (now, Duration::ZERO, false));
                now.as_ms() - START
            })
            .collect()
    }

    #[test]
    fn the_schedule_as_a_table() {
        for (frame_ms, lead_ms, expected) in [
            (60, 180, vec![60, 60, 60, 120, 180, 240]),
            (60, 60, vec![60, 120, 180, 240]),
            (60, 0, vec![60, 120, 180, 240]),
            (60, 360, vec![60, 60, 60, 60, 60, 60, 120, 180]),
            (60, 5_000, vec![60, 60, 60, 60, 60, 60, 120, 180]),
            (20, 180, vec![60, 60, 60, 60, 60, 60, 80, 100]),
            (40, 100, vec![60, 60, 60, 100, 140]),
        ] {
            assert_eq!(schedule(frame_ms, lead_ms, expected.len()), expected, "frame {frame_ms}, lead {lead_ms}");
        }
    }

    #[test]
    fn a_minute_is_a_minute_however_late_each_packet_leaves() {
        let mut lcg = Lcg::new(3);
        let mut pacer = pacer(60, 180);
        let first = pacer.next();
        let mut now = first;
        for n in 0..1_000 {
            now = now.max(pacer.next() + Duration::from_micros(u64::from(lcg.below(50_000))));
            let sent = pacer.sent(if n == 0 { first } else { now });
            assert!(!sent.underrun && sent.late <= Duration::from_millis(100), "{sent:?}");
            assert!(pacer.ahead(now) <= Duration::from_millis(180));
            assert_eq!(sent.timestamp_ms, n * 60);
        }
        assert_eq!(pacer.playout_end(), Some(first + Duration::from_secs(60)));
        let last_due = first + Duration::from_millis(60 * (999 + 1 - 3));
        assert!(now.since(last_due) <= Duration::from_millis(60), "within one packet of real time");
    }

    #[test]
    fn a_late_packet_does_not_delay_the_next() {
        let mut pacer = pacer(60, 180);
        for _ in 0..3 {
            pacer.sent(Instant::from_ms(1_060));
        }
        let late = pacer.sent(Instant::from_ms(1_150));
        assert_eq!((late.due.as_ms(), late.late.as_millis(), late.underrun), (1_120, 30, false));
        assert_eq!(pacer.next().as_ms(), 1_180);
    }

    #[test]
    fn after_an_underrun_the_clock_starts_anew_and_nothing_bursts() {
        let mut pacer = pacer(60, 180);
        for _ in 0..3 {
            pacer.sent(Instant::from_ms(1_060));
        }
        // All was played at 1,240; the next sentence comes at 3,000.
        assert_eq!(pacer.playout_end(), Some(Instant::from_ms(1_240)));
        pacer.supplied(Instant::from_ms(3_000));
        let sent = pacer.sent(Instant::from_ms(3_001));
        assert_eq!((sent.due.as_ms(), sent.late.as_millis(), sent.underrun), (3_000, 1, true));
        assert_eq!((sent.index, sent.timestamp_ms), (3, 180), "the playback clock does not count the pause");
        // The lead is filled again, then real time.
        let mut due = Vec::new();
        for _ in 0..4 {
            let now = pacer.next().max(Instant::from_ms(3_001));
            due.push(now.as_ms());
            pacer.sent(now);
        }
        assert_eq!(due, [3_001, 3_001, 3_061, 3_121]);
        assert_eq!((pacer.underruns(), pacer.packets()), (1, 8));
    }

    #[test]
    fn exactly_at_the_end_is_not_an_underrun() {
        let mut pacer = pacer(60, 60);
        pacer.sent(Instant::from_ms(1_060));
        assert!(!pacer.sent(Instant::from_ms(1_120)).underrun);
    }

    #[test]
    fn what_was_played_as_a_table() {
        let mut pacer = pacer(60, 180);
        assert_eq!((pacer.played(Instant::from_ms(9_999)), pacer.playout_end()), (0, None));
        for _ in 0..3 {
            pacer.sent(Instant::from_ms(1_100));
        }
        for (now, packets, time, ahead) in
            [(1_100, 0, 0, 180), (1_159, 0, 59, 121), (1_160, 1, 60, 120), (1_279, 2, 179, 1), (5_000, 3, 180, 0)]
        {
            let now = Instant::from_ms(now);
            let ms = |d: Duration| d.as_millis() as u64;
            assert_eq!(
                (pacer.played(now), ms(pacer.played_time(now)), ms(pacer.ahead(now))),
                (packets, time, ahead),
                "{now:?}"
            );
        }
        // A pause of two seconds is not played audio.
        pacer.sent(Instant::from_ms(3_280));
        assert_eq!(pacer.played(Instant::from_ms(3_281)), 3);
        assert_eq!(pacer.played(Instant::from_ms(3_340)), 4);
    }

    #[test]
    fn never_more_than_the_lead_ahead_whatever_happens() {
        let mut lcg = Lcg::new(11);
        for _ in 0..200 {
            let frame_ms = [20, 40, 60][lcg.below(3) as usize];
            let rules = PaceRules { frame_ms, lead_ms: lcg.below(600), group: lcg.below(4) };
            let mut pacer = Pacer::new(rules, Instant::from_ms(START));
            let frames = rules.lead_frames() + rules.group_frames() - 1;
            let bound = Duration::from_millis(u64::from(frames) * u64::from(frame_ms));
            let mut now = Instant::from_ms(START);
            for _ in 0..300 {
                now += Duration::from_millis(u64::from(lcg.below(40) * lcg.below(8)));
                while pacer.is_due(now) && lcg.below(10) > 0 {
                    pacer.sent(now);
                    assert!(pacer.ahead(now) <= bound, "{rules:?}");
                    assert!(pacer.played(now) <= pacer.packets());
                }
            }
        }
    }
}
