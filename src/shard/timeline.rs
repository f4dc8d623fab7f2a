//! Timelines of the turns that are under way: filled in as a session's effects pass by, written to the panel's
//! [`TurnLog`](crate::metrics::turns::TurnLog) when the turn ends. As many as there are turns at once; an idle device has none,
//! and a place that is given back is used again, so in steady state nothing is allocated.

use crate::ids::TurnId;
use crate::metrics::turns::{DeviceTag, TurnLog, TurnRecord};
use crate::session::effect::{Milestone, TurnEnd};
use crate::time::{Duration, Instant};

/// All timelines of a shard.
#[derive(Default)]
pub struct Timelines {
    places: Vec<Timeline>,
    free: Vec<u32>,
}

/// Which timeline is a connection's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    /// A connection without a turn.
    pub const NONE: Place = Place(u32::MAX);
}

/// A turn that is under way.
#[derive(Default)]
struct Timeline {
    record: TurnRecord,
    /// Known from the first milestone on.
    end_of_speech: Option<Instant>,
    /// What providers took on the way to the first audio: recognition, the model up to the first sentence, the voice up to its
    /// first packet.
    provider: Duration,
}

impl Timelines {
    /// A turn begins. One that was still open at this place is forgotten: a session has one turn at a time.
    pub fn begin(&mut self, place: &mut Place, turn: TurnId, device: &str, now: Instant) {
        if *place == Place::NONE {
            *place = Place(self.free.pop().unwrap_or(self.places.len() as u32));
            if place.0 as usize == self.places.len() {
                self.places.push(Timeline::default());
            }
        }
        if let Some(timeline) = self.at(*place) {
            let record =
                TurnRecord { device: DeviceTag::new(device), turn: turn.0, began: now, ..TurnRecord::default() };
            *timeline = Timeline { record, ..Timeline::default() };
        }
    }

    /// A milestone is reached at `now`, told as the time `since` the end of speech; for what lies ahead, such as the end of the
    /// reply's playing, that may be more than has passed. `provider`: how long the job that has just answered had been in its
    /// provider's hands; `None` where no answer of a worker led here.
    ///
    /// With the first audio of a spoken turn, returns what we have added to its way, `targets.md` row 2: from the moment the
    /// end of the utterance was noticed (so without the wait for silence) until the first reply packet was ready to be sent,
    /// without the providers' time. What a packet then waits for after `tts start` is not part of it either. How long the
    /// deciding microphone frame lay in its socket is not known here; no longer than a pass of the loop.
    pub fn mark(
        &mut self,
        place: Place,
        now: Instant,
        milestone: Milestone,
        since: Duration,
        provider: Option<Duration>,
    ) -> Option<Duration> {
        let timeline = self.at(place)?;
        timeline.end_of_speech.get_or_insert(now - since);
        timeline.record.milestones[milestone as usize] = Some(since);
        match milestone {
            Milestone::FinalTranscript | Milestone::FirstSentence => timeline.provider += provider.unwrap_or_default(),
            Milestone::FirstAudioReady => {
                let noticed = timeline.record.milestones[Milestone::EndOfUtterance as usize]?;
                return Some(since.saturating_sub(noticed).saturating_sub(timeline.provider + provider?));
            }
            _ => {}
        }
        None
    }

    /// Lets `change` add what else is known of the turn.
    pub fn note(&mut self, place: Place, change: impl FnOnce(&mut TurnRecord)) {
        if let Some(timeline) = self.at(place) {
            change(&mut timeline.record);
        }
    }

    /// The turn is over: its timeline goes to `log`.
    pub fn end(&mut self, place: &mut Place, turn: TurnId, end: TurnEnd, now: Instant, log: &TurnLog) {
        let Some(timeline) = self.at(*place).filter(|timeline| timeline.record.turn == turn.0) else { return };
        // Without a milestone nobody has told when speech ended; it had not, or not yet.
        let end_of_speech = timeline.end_of_speech.unwrap_or(now).max(timeline.record.began);
        let mut record = timeline.record;
        record.speech = end_of_speech.since(record.began);
        record.length = now.since(end_of_speech);
        record.end = end.name();
        if let TurnEnd::Failed(stage, cause) = end {
            (record.stage, record.cause) = (stage.name(), cause.name());
        }
        log.write(&record);
        self.give_back(place);
    }

    /// Forgets a turn whose connection is gone.
    pub fn give_back(&mut self, place: &mut Place) {
        if *place != Place::NONE {
            self.free.push(place.0);
            *place = Place::NONE;
        }
    }

    fn at(&mut self, place: Place) -> Option<&mut Timeline> {
        self.places.get_mut(place.0 as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Stage;
    use crate::metrics::turns::MILESTONES;
    use crate::resilience::fault::Cause;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn written(log: &TurnLog) -> Vec<TurnRecord> {
        let mut turns = Vec::new();
        log.read(0, |turn| turns.push(turn));
        turns
    }

    #[test]
    fn a_spoken_turn_from_onset_to_end() {
        let (mut timelines, log, mut place) = (Timelines::default(), TurnLog::default(), Place::NONE);
        timelines.begin(&mut place, TurnId(3), "aa:bb", Instant::from_ms(1_000));
        timelines.mark(place, Instant::from_ms(3_400), Milestone::EndOfUtterance, ms(400), None);
        timelines.mark(place, Instant::from_ms(3_700), Milestone::FirstAudio, ms(700), None);
        timelines.note(place, |record| record.sentences += 1);
        timelines.end(&mut place, TurnId(3), TurnEnd::Complete, Instant::from_ms(8_000), &log);
        let [turn] = written(&log)[..] else { panic!("one turn") };
        assert_eq!((turn.device.text(), turn.turn, turn.end, turn.sentences), ("aa:bb", 3, "complete", 1));
        assert_eq!((turn.began, turn.speech, turn.length), (Instant::from_ms(1_000), ms(2_000), ms(5_000)));
        assert_eq!((turn.milestones[0], turn.milestones[1], turn.first_audio()), (Some(ms(400)), None, Some(ms(700))));
        assert_eq!((turn.ended(), place), (Instant::from_ms(8_000), Place::NONE));
    }

    #[test]
    fn added_is_what_is_left_without_the_endpoint_wait_and_the_providers() {
        let added = |marks: &[(Milestone, u64, Option<u64>)]| {
            let (mut timelines, mut place) = (Timelines::default(), Place::NONE);
            timelines.begin(&mut place, TurnId(1), "", Instant::ZERO);
            let mark = |(milestone, since, provider): &(Milestone, u64, Option<u64>)| {
                timelines.mark(place, Instant::from_ms(5_000), *milestone, ms(*since), provider.map(ms))
            };
            marks.iter().filter_map(mark).collect::<Vec<_>>()
        };
        use Milestone::*;
        let noticed = (EndOfUtterance, 500, None);
        let heard = [noticed, (FinalTranscript, 621, Some(120)), (FirstToken, 842, Some(220))];
        let spoken =
            [(FirstSentence, 1_043, Some(420)), (FirstAudioReady, 1_165, Some(120)), (FirstAudio, 1_225, None)];
        assert_eq!(added(&[&heard[..], &spoken[..]].concat()), [ms(5)], "665 ms, of which 120 + 420 + 120 elsewhere");
        // The transcript was there before the utterance was over.
        assert_eq!(added(&[noticed, (FinalTranscript, 500, None), (FirstAudioReady, 503, Some(1))]), [ms(2)]);
        // Our own phrase, a typed text, a provider that took longer than all: nothing to tell, nothing, and never below zero.
        assert!(added(&[noticed, (FirstAudioReady, 503, None)]).is_empty());
        assert!(added(&[(FirstSentence, 1, Some(0)), (FirstAudioReady, 2, Some(0))]).is_empty());
        assert_eq!(added(&[noticed, (FirstAudioReady, 503, Some(9))]), [ms(0)]);
    }

    #[test]
    fn places_are_used_again_and_nobody_gets_anothers_turn() {
        let (mut timelines, log) = (Timelines::default(), TurnLog::default());
        let (mut one, mut two) = (Place::NONE, Place::NONE);
        for round in 0..10 {
            timelines.begin(&mut one, TurnId(round), "one", Instant::ZERO);
            timelines.begin(&mut two, TurnId(round), "two", Instant::ZERO);
            timelines.end(&mut one, TurnId(round), TurnEnd::Empty, Instant::ZERO, &log);
            timelines.end(&mut one, TurnId(round), TurnEnd::Empty, Instant::ZERO, &log);
            timelines.give_back(&mut two);
            timelines.end(&mut two, TurnId(round), TurnEnd::Empty, Instant::ZERO, &log);
        }
        assert_eq!((timelines.places.len(), timelines.free.len()), (2, 2));
        assert!(written(&log).iter().all(|turn| turn.device.text() == "one") && log.written() == 10);
        // What comes for a turn without a place, or for another turn, changes nothing.
        timelines.mark(Place::NONE, Instant::ZERO, Milestone::FirstToken, ms(1), None);
        timelines.begin(&mut one, TurnId(7), "one", Instant::ZERO);
        timelines.end(&mut one, TurnId(6), TurnEnd::Empty, Instant::ZERO, &log);
        assert_eq!(log.written(), 10);
    }

    #[test]
    fn every_word_of_an_end_is_kept() {
        let (mut timelines, log) = (Timelines::default(), TurnLog::default());
        let failures = Stage::ALL.iter().flat_map(|stage| Cause::ALL.map(|cause| TurnEnd::Failed(*stage, cause)));
        let others = [TurnEnd::Complete, TurnEnd::Empty, TurnEnd::Aborted, TurnEnd::BargeIn, TurnEnd::Closed];
        let ends: Vec<TurnEnd> = failures.chain(others).collect();
        for end in &ends {
            let mut place = Place::NONE;
            timelines.begin(&mut place, TurnId(1), "", Instant::ZERO);
            timelines.end(&mut place, TurnId(1), *end, Instant::ZERO, &log);
        }
        for (turn, end) in written(&log).iter().zip(&ends) {
            let failed = match end {
                TurnEnd::Failed(stage, cause) => (stage.name(), cause.name()),
                _ => ("", ""),
            };
            assert_eq!((turn.end, turn.stage, turn.cause), (end.name(), failed.0, failed.1));
        }
        assert_eq!(log.written() as usize, ends.len());
        assert_eq!(Milestone::ReplyEnd as usize + 1, MILESTONES.len(), "one name for each milestone");
    }
}
