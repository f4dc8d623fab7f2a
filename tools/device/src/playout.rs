//! What a device suffers: its play queue as a clock of its own, fed with the arrival times of reply packets.
//!
//! A device has no jitter buffer: it plays the first packet at once and each next one when the one before has ended; nothing
//! to play is a gap (underrun), a full queue drops the newest (overrun; 40 packets in current firmware, 20 or 5 in others:
//! FW `audio/audio_service.h`), and older firmware throws away on `tts stop` what it has not played (tail cut).

/// Arrival of one packet, ms since the connection was opened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    pub at_ms: f64,
    pub duration_ms: f64,
}

/// Queue sizes of the firmware in the field, packets.
pub const QUEUES: [usize; 3] = [5, 20, 40];

/// The verdict on one reply.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    pub packets: usize,
    pub audio_ms: f64,
    /// Gaps in what was heard, and their sum.
    pub underruns: usize,
    pub silence_ms: f64,
    /// Packets dropped for each of [`QUEUES`].
    pub overruns: [usize; 3],
    /// Most packets waiting at once.
    pub queue_max: usize,
    /// How late each packet came after the instant the schedule of the first one gives it; sorted.
    pub late_ms: Vec<f64>,
    /// Audio that was not played yet when `tts stop` came; negative: so long after the end.
    pub unplayed_at_stop_ms: f64,
}

impl Verdict {
    /// Nearest-rank percentile of lateness, ms.
    pub fn late_percentile(&self, p: f64) -> f64 {
        if self.late_ms.is_empty() {
            return 0.0;
        }
        let rank = (p / 100.0 * self.late_ms.len() as f64).ceil() as usize;
        self.late_ms[rank.clamp(1, self.late_ms.len()) - 1]
    }
}

pub fn judge(arrivals: &[Arrival], stop_ms: Option<f64>) -> Verdict {
    let mut verdict = Verdict { packets: arrivals.len(), ..Verdict::default() };
    let Some(first) = arrivals.first() else { return verdict };
    verdict.audio_ms = arrivals.iter().map(|a| a.duration_ms).sum();
    for (i, size) in QUEUES.into_iter().enumerate() {
        verdict.overruns[i] = play(arrivals, size).dropped;
    }
    let heard = play(arrivals, usize::MAX);
    verdict.underruns = heard.gaps;
    verdict.silence_ms = heard.silence_ms;
    verdict.queue_max = heard.queue_max;
    verdict.unplayed_at_stop_ms = stop_ms.map_or(0.0, |stop| heard.end_ms - stop);
    let mut due = first.at_ms;
    for arrival in arrivals {
        verdict.late_ms.push((arrival.at_ms - due).max(0.0));
        due += arrival.duration_ms;
    }
    verdict.late_ms.sort_by(f64::total_cmp);
    verdict
}

#[derive(Default)]
struct Played {
    dropped: usize,
    gaps: usize,
    silence_ms: f64,
    queue_max: usize,
    end_ms: f64,
}

/// Plays the packets through a queue of `size`. Starts and ends of playing are computed, not stepped.
fn play(arrivals: &[Arrival], size: usize) -> Played {
    let mut played = Played::default();
    let mut ends: std::collections::VecDeque<f64> = Default::default(); // of packets that are waiting or playing
    for (i, arrival) in arrivals.iter().enumerate() {
        while ends.front().is_some_and(|end| *end <= arrival.at_ms) {
            ends.pop_front();
        }
        // One packet is with the loudspeaker, the others wait.
        if ends.len().saturating_sub(1) >= size {
            played.dropped += 1;
            continue;
        }
        let begin = arrival.at_ms.max(played.end_ms);
        if i > 0 && begin > played.end_ms {
            played.gaps += 1;
            played.silence_ms += begin - played.end_ms;
        }
        played.end_ms = begin + arrival.duration_ms;
        ends.push_back(played.end_ms);
        played.queue_max = played.queue_max.max(ends.len() - 1);
    }
    played
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(at: &[f64]) -> Vec<Arrival> {
        at.iter().map(|&at_ms| Arrival { at_ms, duration_ms: 60.0 }).collect()
    }

    #[test]
    fn a_paced_reply_is_heard_whole() {
        let at: Vec<f64> = (0..50).map(|i| if i < 3 { 100.0 } else { 100.0 + 60.0 * (i - 2) as f64 }).collect();
        let v = judge(&packets(&at), Some(100.0 + 50.0 * 60.0 + 200.0));
        assert_eq!((v.underruns, v.overruns, v.queue_max), (0, [0, 0, 0], 2));
        assert_eq!((v.audio_ms, v.unplayed_at_stop_ms), (3_000.0, -200.0));
        assert_eq!(v.late_percentile(100.0), 0.0);
    }

    #[test]
    fn a_burst_overruns_small_queues_only() {
        let v = judge(&packets(&[0.0; 30]), None);
        assert_eq!(v.overruns, [24, 9, 0]);
    }

    #[test]
    fn a_late_packet_is_a_gap_and_an_early_stop_a_cut_tail() {
        let v = judge(&packets(&[0.0, 60.0, 200.0]), Some(230.0));
        assert_eq!((v.underruns, v.silence_ms), (1, 80.0));
        assert_eq!(v.unplayed_at_stop_ms, 30.0);
        assert_eq!(v.late_percentile(100.0), 80.0);
    }

    #[test]
    fn no_reply_is_no_verdict() {
        assert_eq!(judge(&[], Some(1.0)), Verdict::default());
    }
}
