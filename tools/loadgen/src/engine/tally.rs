//! What one thread counts. Merged when the threads have ended; nothing here is shared while they run.

use crate::outcome::{Distribution, Failures, Outcome, Second};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Durations that are measured; what each means stands in [`crate::slo::METRICS`].
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    FirstAudio,
    Stt,
    TtsStart,
    Tls,
    CheckIn,
    Hello,
    HelloResumed,
    Connect,
    BargeIn,
    Gap,
    Lateness,
    Stop,
    SendLag,
}

const TIMES: [(Time, &str); 13] = [
    (Time::FirstAudio, "first_audio"),
    (Time::Stt, "stt"),
    (Time::TtsStart, "tts_start"),
    (Time::Tls, "tls"),
    (Time::CheckIn, "checkin"),
    (Time::Hello, "hello"),
    (Time::HelloResumed, "hello_resumed"),
    (Time::Connect, "connect"),
    (Time::BargeIn, "barge_in"),
    (Time::Gap, "gap"),
    (Time::Lateness, "lateness"),
    (Time::Stop, "stop"),
    (Time::SendLag, "send_lag"),
];

/// Occurrences, named as in a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Turns with a complete reply.
    Turns,
    /// Turns that began.
    Begun,
    /// Turns without a complete reply.
    Failed,
    /// Replies whose sentences named their device, and that did not.
    Named,
    /// See `Named`.
    Unnamed,
    /// Reply packets whose lateness is known, and how many of them were late.
    Packets,
    /// More than 5 ms.
    Late,
    /// More than 60 ms.
    VeryLate,
    /// Replies, and what queues of 5, 20, 40 packets suffered.
    Replies,
    /// Replies that ran dry.
    Underrun,
    /// See `Replies`.
    Overrun5,
    /// See `Replies`.
    Overrun20,
    /// See `Replies`.
    Overrun40,
    /// Tones that were heard in replies of the sample.
    Tones,
    /// Utterances that the server took for ended before they were.
    CutOff,
    /// Handshakes of TLS.
    Secured,
    /// Of them those that went on with an earlier session.
    Resumed,
    /// Replies that were interrupted, and that the server then stopped.
    Interrupted,
    /// Lines that devices cut in the middle of a reply.
    Vanished,
    /// Unruly devices that the server turned out.
    TurnedOut,
}

/// [`Count::TurnedOut`] is the last of them.
const COUNTS: usize = Count::TurnedOut as usize + 1;

/// A thread's counts.
pub struct Tally {
    times: Vec<Histogram<u64>>,
    counts: [u64; COUNTS],
    failures: BTreeMap<&'static str, Failures>,
    seconds: Vec<Second>,
    /// Microseconds to first audio, by second.
    first_audio: Vec<Vec<u32>>,
}

/// Reply packets that come later than this are late, µs.
const LATE_US: u64 = 5_000;
/// A device has noticed.
const VERY_LATE_US: u64 = 60_000;
/// Seconds that are told one by one; a longer run tells the first of them.
const SECONDS_MAX: usize = 86_400;

impl Default for Tally {
    fn default() -> Tally {
        // 1 µs to 2 minutes in two digits: 20 KiB each.
        let new = |_| Histogram::new_with_bounds(1, 120_000_000, 2).expect("bounds and digits are valid");
        Tally {
            times: TIMES.iter().map(new).collect(),
            counts: [0; COUNTS],
            failures: BTreeMap::new(),
            seconds: Vec::new(),
            first_audio: Vec::new(),
        }
    }
}

impl Tally {
    /// Takes a duration, ns.
    pub fn time(&mut self, time: Time, ns: u64) {
        self.times[time as usize].saturating_record(ns / 1_000);
    }

    /// Counts.
    pub fn count(&mut self, count: Count) {
        self.counts[count as usize] += 1;
    }

    /// Takes the lateness of a packet, ns.
    pub fn lateness(&mut self, ns: u64, at: u64) {
        self.time(Time::Lateness, ns);
        self.count(Count::Packets);
        let is_late = ns / 1_000 > LATE_US;
        if is_late {
            self.count(Count::Late);
        }
        if ns / 1_000 > VERY_LATE_US {
            self.count(Count::VeryLate);
        }
        if let Some(second) = self.second(at) {
            second.packets += 1;
            second.late += u32::from(is_late);
        }
    }

    /// Takes a failure.
    pub fn fail(&mut self, class: &'static str, at: u64, example: impl FnOnce() -> String) {
        let failures = self.failures.entry(class).or_default();
        failures.count += 1;
        if failures.examples.len() < crate::outcome::EXAMPLES_MAX {
            failures.examples.push(format!("{:.1} s: {}", at as f64 / 1e9, example()));
        }
        if let Some(second) = self.second(at) {
            second.failures += 1;
        }
    }

    /// Notes why a connection ended, of a failure that was taken.
    pub fn cause(&mut self, class: &'static str, cause: &str) {
        self.failures.entry(class).or_default().cause(cause, 1);
    }

    /// A turn that is complete.
    pub fn turn(&mut self, at: u64, first_audio_ns: Option<u64>) {
        self.count(Count::Turns);
        let index = (at / 1_000_000_000) as usize;
        if let Some(second) = self.second(at) {
            second.turns += 1;
        }
        if let (Some(ns), Some(list)) = (first_audio_ns, self.first_audio.get_mut(index)) {
            list.push(u32::try_from(ns / 1_000).unwrap_or(u32::MAX));
        }
    }

    /// How many devices are connected, at the end of a second.
    pub fn devices(&mut self, at: u64, devices: u32) {
        if let Some(second) = self.second(at) {
            second.devices = devices;
        }
    }

    fn second(&mut self, at: u64) -> Option<&mut Second> {
        let index = (at / 1_000_000_000) as usize;
        if index >= SECONDS_MAX {
            return None;
        }
        while self.seconds.len() <= index {
            self.seconds.push(Second { at: self.seconds.len() as u32, ..Second::default() });
            self.first_audio.push(Vec::new());
        }
        self.seconds.get_mut(index)
    }

    /// Adds another thread's.
    pub fn merge(&mut self, other: Tally) {
        for (mine, theirs) in self.times.iter_mut().zip(&other.times) {
            mine.add(theirs).expect("all have the same bounds");
        }
        self.counts.iter_mut().zip(other.counts).for_each(|(mine, theirs)| *mine += theirs);
        for (class, theirs) in other.failures {
            let mine = self.failures.entry(class).or_default();
            mine.count += theirs.count;
            mine.examples.extend(theirs.examples);
            mine.examples.truncate(crate::outcome::EXAMPLES_MAX);
            theirs.causes.iter().for_each(|(cause, count)| mine.cause(cause, *count));
        }
        for (second, list) in other.seconds.into_iter().zip(other.first_audio) {
            let at = u64::from(second.at) * 1_000_000_000;
            let Some(mine) = self.second(at) else { break };
            mine.devices += second.devices;
            mine.turns += second.turns;
            mine.failures += second.failures;
            mine.packets += second.packets;
            mine.late += second.late;
            self.first_audio[second.at as usize].extend(list);
        }
    }

    /// How often.
    pub fn counted(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }

    /// Durations as they were taken, µs.
    pub(super) fn histogram(&self, time: Time) -> &Histogram<u64> {
        &self.times[time as usize]
    }

    /// How often each class of failure was seen.
    pub(super) fn failures(&self) -> BTreeMap<&'static str, u64> {
        self.failures.iter().map(|(class, failures)| (*class, failures.count)).collect()
    }

    /// A percentile, ms; `None` of nothing.
    pub fn percentile(&self, time: Time, p: f64) -> Option<f64> {
        let histogram = &self.times[time as usize];
        (!histogram.is_empty()).then(|| histogram.value_at_percentile(p) as f64 / 1e3)
    }

    /// Writes everything into the outcome. Replies that did not name their device are failures when others did: then the
    /// services are stand-ins that always do, and these were apologies.
    pub fn write(mut self, outcome: &mut Outcome, took_s: f64) {
        if self.counted(Count::Named) > 0 {
            let unnamed = self.counted(Count::Unnamed);
            self.counts[Count::Failed as usize] += unnamed;
            if unnamed > 0 {
                let class = self.failures.entry("apology").or_default();
                class.count += unnamed;
                class.examples.push("a reply without its device's word: a service failed".to_owned());
            }
        }
        let n = |count: Count| self.counted(count) as f64;
        for (time, name) in TIMES {
            let histogram = &self.times[time as usize];
            if !histogram.is_empty() {
                outcome.times.insert(name.to_owned(), distribution(histogram));
            }
        }
        let mut share = |name: &str, part: f64, whole: f64| {
            if whole > 0.0 {
                outcome.shares.insert(name.to_owned(), part / whole);
            }
        };
        share("late", n(Count::Late), n(Count::Packets));
        share("very_late", n(Count::VeryLate), n(Count::Packets));
        share("failed", n(Count::Failed), n(Count::Turns) + n(Count::Failed));
        share("underrun", n(Count::Underrun), n(Count::Replies));
        share("overrun5", n(Count::Overrun5), n(Count::Replies));
        share("overrun20", n(Count::Overrun20), n(Count::Replies));
        share("overrun40", n(Count::Overrun40), n(Count::Replies));
        share("cut_off", n(Count::CutOff), n(Count::Begun));
        share("resumed", n(Count::Resumed), n(Count::Secured));
        let class = |name: &str| self.failures.get(name).map_or(0.0, |f| f.count as f64);
        let counts = [
            ("errors", self.failures.values().map(|f| f.count).sum::<u64>() as f64),
            ("turns", n(Count::Turns)),
            ("turns_per_s", n(Count::Turns) / took_s.max(1e-9)),
            ("tones", n(Count::Tones)),
            ("interrupted", n(Count::Interrupted)),
            ("vanished", n(Count::Vanished)),
            ("turned_out", n(Count::TurnedOut)),
            ("crosstalk", class("crosstalk")),
            ("silence", class("silence")),
            ("tail_cut", class("tail_cut")),
            ("missing_stop", class("missing_stop")),
            ("doubled_stop", class("doubled_stop")),
            ("wrong_order", class("wrong_order")),
            ("refused", class("refused")),
        ];
        outcome.counts.extend(counts.map(|(name, value): (&str, f64)| (name.to_owned(), value)));
        outcome.failures = self.failures.iter().map(|(class, f)| ((*class).to_owned(), f.clone())).collect();
        for (second, list) in self.seconds.iter_mut().zip(&mut self.first_audio) {
            list.sort_unstable();
            let at = |p: usize| list.get((list.len() * p / 100).min(list.len().saturating_sub(1)));
            second.first_audio_p50 = at(50).map(|us| f64::from(*us) / 1e3);
            second.first_audio_p95 = at(95).map(|us| f64::from(*us) / 1e3);
        }
        let most = self.seconds.iter().map(|s| s.devices).max().unwrap_or(0);
        outcome.counts.insert("devices".to_owned(), f64::from(most));
        outcome.seconds = self.seconds;
    }
}

fn distribution(histogram: &Histogram<u64>) -> Distribution {
    let buckets: Vec<(u64, u64)> =
        histogram.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())).collect();
    let sum_us = buckets.iter().map(|(us, n)| us * n).sum();
    Distribution { max_us: histogram.max(), sum_us, buckets }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::{METRICS, Slo};

    #[test]
    fn threads_are_merged_into_an_outcome() {
        let (mut a, mut b) = (Tally::default(), Tally::default());
        for (tally, ms) in [(&mut a, 800), (&mut b, 900)] {
            for _ in 0..10 {
                tally.time(Time::FirstAudio, ms * 1_000_000);
                tally.turn(1_500_000_000, Some(ms * 1_000_000));
                tally.lateness(1_000_000, 1_500_000_000);
            }
            tally.lateness(70_000_000, 2_500_000_000);
            tally.devices(1_500_000_000, 4);
        }
        b.fail("doubled_stop", 2_500_000_000, || "device 3".into());
        [&mut a, &mut b].into_iter().for_each(|tally| tally.cause("closed", "hung up"));
        a.merge(b);
        let mut outcome = Outcome::default();
        a.write(&mut outcome, 10.0);
        let kept = |text: &str| outcome.judge(&Slo::parse(text).unwrap());
        let verdict = kept(
            "first_audio.max<=905ms,first_audio.count=20,late>0.09,very_late>0.09,turns=20,turns_per_s=2,doubled_stop=1,errors=1,devices=8",
        );
        assert!(verdict.is_kept(), "{verdict}");
        assert_eq!((outcome.seconds[1].turns, outcome.seconds[2].late, outcome.seconds[2].failures), (20, 2, 1));
        assert!(outcome.seconds[1].first_audio_p95.unwrap() >= 900.0);
        assert_eq!(outcome.failures["doubled_stop"].examples, ["2.5 s: device 3"]);
        assert_eq!(outcome.failures["closed"].causes["hung up"], 2);
    }

    #[test]
    fn apologies_are_failures_only_where_devices_are_named() {
        let mut tally = Tally::default();
        tally.count(Count::Unnamed);
        let mut outcome = Outcome::default();
        tally.write(&mut outcome, 1.0);
        assert_eq!(outcome.counts["errors"], 0.0);
        let mut tally = Tally::default();
        tally.count(Count::Unnamed);
        tally.count(Count::Named);
        tally.write(&mut outcome, 1.0);
        assert_eq!(outcome.counts["errors"], 1.0);
    }

    #[test]
    fn every_time_is_a_metric() {
        for (i, (time, name)) in TIMES.into_iter().enumerate() {
            assert_eq!(time as usize, i);
            assert!(METRICS.iter().any(|m| m.name == name), "{name}");
        }
    }
}
