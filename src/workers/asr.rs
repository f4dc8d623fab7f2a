//! The worker of speech recognition: gathers utterances as their blocks come, recognises the most urgent one that is complete.
//! Where more people talk than can be recognised in time, those at the end of the queue are refused at once ([`super::pace`]),
//! and hear that we are busy. Where there is somebody behind the model ([`super::elsewhere`]) they go to him, and so does who
//! would wait for more than half of his time: whoever has another behind him gets half.

use super::bench::{Bench, Built, build_guarded};
use super::elsewhere::{Done, Elsewhere};
use super::llm::floor_char;
use super::pace::Pace;
use crate::audio::block::{AudioBlock, Speech};
use crate::format::Codec;
use crate::job::{Job, Outcome, Transcript, Work};
use crate::limits;
use crate::providers::Recogniser;
use crate::resilience::fault::{Cause, Fault};
use crate::time::{Duration, Instant};

/// Samples of the longest utterance, with a second for pre-roll and tail.
const UTTERANCE_SAMPLES: usize = (limits::UTTERANCE.as_secs() as usize + 1) * 16_000;
/// Samples an utterance has room for at once: 4 s, most of them.
const USUAL_SAMPLES: usize = 4 * 16_000;
/// The same in words of packets, at 24 kbit/s.
const USUAL_PACKET_WORDS: usize = 6_400;

/// Utterances on their way to being recognised.
pub struct Gathering {
    open: Vec<Utterance>,
    batch: Vec<AudioBlock>,
    elsewhere: Option<Elsewhere>,
    /// Recognition is worth this much time from the utterance's end.
    budget: Duration,
    pace: Pace,
    idle_since: Instant,
    /// Since when nobody has looked at the lanes, a recognition having come between: what lies there may have waited as long.
    away_since: Option<Instant>,
}

struct Utterance {
    job: Job,
    /// What the words are; known from the first block on.
    codec: Codec,
    words: Vec<i16>,
    complete: Option<Complete>,
}

/// When an utterance was complete, and by when it is to be recognised.
#[derive(Clone, Copy)]
struct Complete {
    since: Instant,
    by: Instant,
}

/// Serves until the server ends, or until there was nothing to do for [`limits::WORKER_IDLE`] and the pool has enough workers
/// without this one.
pub fn serve(
    bench: &mut Bench,
    build: &dyn Fn() -> Built<dyn Recogniser>,
    elsewhere: Option<Elsewhere>,
    budget: Duration,
) {
    let mut recogniser = build_guarded(build);
    let mut gathering = Gathering::new(bench.clock.now(), elsewhere, budget);
    while !bench.desk.is_over() {
        gathering.gather(bench);
        gathering.fetch(bench);
        gathering.sweep(bench);
        match gathering.next() {
            Some(utterance) => {
                gathering.away_since = Some(bench.clock.now());
                if recognise(bench, &mut recogniser, utterance, &mut gathering.pace) {
                    recogniser = build_guarded(build);
                }
                gathering.idle_since = bench.clock.now();
            }
            None if gathering.is_idle(bench.clock.now()) && bench.desk.retire() => return,
            None => {}
        }
    }
}

impl Gathering {
    /// Nothing gathered yet.
    pub fn new(now: Instant, elsewhere: Option<Elsewhere>, budget: Duration) -> Gathering {
        // The session gives up by itself after the same time, and would not know why.
        let (budget, pace) = (budget.saturating_sub(limits::ANSWER_MARGIN), Pace::new(budget));
        let batch = Vec::with_capacity(limits::BLOCK_BATCH);
        Gathering { open: Vec::new(), batch, elsewhere, budget, pace, idle_since: now, away_since: None }
    }

    /// Reads what has come, and waits for something only if no utterance is complete.
    fn gather(&mut self, bench: &mut Bench) {
        let now = bench.clock.now();
        let is_ready = self.open.iter().any(|utterance| utterance.complete.is_some());
        let deadlines = self.open.iter().map(|utterance| utterance.job.deadline.until(now));
        let away_since = self.away_since.take();
        let waits = !is_ready && away_since.is_none();
        let mut wait = if waits { deadlines.min().unwrap_or(limits::BLOCK_WAIT) } else { Duration::ZERO };
        loop {
            self.batch.clear();
            bench.desk.next_blocks(limits::BLOCK_BATCH, wait.min(limits::BLOCK_WAIT), &mut self.batch);
            let now = bench.clock.now();
            while let Some(job) = bench.desk.next_job(Duration::ZERO) {
                bench.waited(bench.desk.waited());
                self.open.push(Utterance { job, codec: Codec::Pcm, words: Vec::new(), complete: None });
                self.idle_since = now;
            }
            for block in &self.batch {
                add(&mut self.open, block, away_since.unwrap_or(now), self.budget);
            }
            // A full batch: there may be more, and recognising takes a while in which the ring would fill up.
            if self.batch.len() < limits::BLOCK_BATCH {
                return;
            }
            wait = Duration::ZERO;
        }
    }

    /// Hands in what was recognised elsewhere.
    fn fetch(&mut self, bench: &mut Bench) {
        while let Some(Done { job, result, took }) = self.elsewhere.as_mut().and_then(Elsewhere::next_done) {
            let outcome = match result {
                Ok(transcript) => Ok(Outcome::Transcript(Box::new(bounded(transcript)))),
                Err(fault) if fault.cause == Cause::Cancelled => Err(fault),
                // He was only there because we had no time for it.
                Err(_) => Err(busy()),
            };
            bench.finish_elsewhere(&job, outcome, took);
            self.idle_since = bench.clock.now();
        }
    }

    /// Ends what was taken back, what is too late, complete or not, and what is complete and will not be recognised in time; that
    /// is left to who is behind us, if he has room.
    fn sweep(&mut self, bench: &mut Bench) {
        let (now, pace) = (bench.clock.now(), self.pace);
        // In the order in which they are recognised.
        self.open.sort_by_key(Utterance::by);
        let (mut before, mut i) = (0, 0);
        while let Some(utterance) = self.open.get(i) {
            let fault = match utterance.complete {
                _ if utterance.job.cancel.is_cancelled() => Fault::cancelled(),
                None if utterance.job.deadline <= now => Fault::timeout("recognition"),
                Some(complete) if complete.by <= now => complete.too_late(now),
                Some(complete) if self.is_for_others(pace, before, now, complete.by) => {
                    self.leave(i, complete.by, bench);
                    continue;
                }
                Some(complete) if !pace.is_in_time(before, now, complete.by) => busy(),
                complete => {
                    before += u32::from(complete.is_some());
                    i += 1;
                    continue;
                }
            };
            bench.finish(&self.open.remove(i).job, Err(fault));
        }
    }

    /// Whether an utterance would wait for more than half of its time here, and somebody else has room for it.
    fn is_for_others(&self, pace: Pace, before: u32, now: Instant, by: Instant) -> bool {
        let is_soon = || pace.is_in_time(before, now, now + by.until(now) / 2);
        self.elsewhere.as_ref().is_some_and(|elsewhere| !is_soon() && elsewhere.has_room(now))
    }

    /// Leaves an utterance to others.
    fn leave(&mut self, i: usize, by: Instant, bench: &mut Bench) {
        let Utterance { job, codec, words, .. } = self.open.remove(i);
        let Some(elsewhere) = &mut self.elsewhere else { return bench.finish(&job, Err(busy())) };
        match elsewhere.take(job, codec, words, by) {
            Ok(()) => bench.left_elsewhere(),
            Err(job) => bench.finish(&job, Err(busy())),
        }
    }

    /// The complete utterance with the earliest deadline.
    fn next(&mut self) -> Option<Utterance> {
        let first = self.open.iter().enumerate().filter(|(_, utterance)| utterance.complete.is_some());
        let (i, _) = first.min_by_key(|(_, utterance)| utterance.by())?;
        Some(self.open.remove(i))
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.open.is_empty()
            && self.elsewhere.as_ref().is_none_or(Elsewhere::is_empty)
            && now.since(self.idle_since) >= limits::WORKER_IDLE
    }
}

impl Utterance {
    /// When it is too late for it.
    fn by(&self) -> Instant {
        self.complete.map_or(self.job.deadline, |complete| complete.by)
    }
}

impl Complete {
    /// Why it is not recognised in time, when work on it began at `begun` or would have: if it has lost most of its time behind
    /// others, there was no room for it; else recognition itself is slow.
    fn too_late(self, begun: Instant) -> Fault {
        let waited = begun.since(self.since);
        if waited > self.by.since(self.since) / 2 { busy() } else { Fault::timeout("recognition") }
    }
}

fn busy() -> Fault {
    Fault::new(Cause::Overload, "more people talk than can be recognised in time")
}

/// Appends a block to its utterance. What goes beyond the longest utterance is left out.
fn add(open: &mut [Utterance], block: &AudioBlock, since: Instant, budget: Duration) {
    let Some(utterance) = open.iter_mut().find(|utterance| utterance.job.ticket == block.ticket) else { return };
    if utterance.words.is_empty() {
        utterance.codec = block.codec;
        utterance.words.reserve(if block.codec == Codec::Opus { USUAL_PACKET_WORDS } else { USUAL_SAMPLES });
    }
    let room = UTTERANCE_SAMPLES.saturating_sub(utterance.words.len());
    let words = block.words();
    utterance.words.extend_from_slice(&words[..words.len().min(room)]);
    if block.last {
        utterance.complete = Some(Complete { since, by: utterance.job.deadline.min(since + budget) });
    }
}

/// Recognises one utterance; returns whether the recogniser is not to be used again.
fn recognise(bench: &mut Bench, recogniser: &mut Built<dyn Recogniser>, utterance: Utterance, pace: &mut Pace) -> bool {
    let by = utterance.by();
    let Utterance { job, codec, words, complete } = utterance;
    bench.one(recogniser, &job, |recogniser, bench| {
        let Work::Recognise(how) = &job.work else {
            return Err(Fault::new(Cause::Internal, "a job of another stage"));
        };
        let (begun, call) = (bench.clock.now(), bench.call(&job, by));
        let heard = recogniser.recognise(Speech::of(codec, &words), how, &call);
        pace.learn(bench.clock.now().since(begun), heard.is_ok());
        match (heard, complete) {
            (Ok(transcript), _) => Ok(Outcome::Transcript(Box::new(bounded(transcript)))),
            (Err(fault), Some(complete)) if fault.cause == Cause::Timeout => Err(complete.too_late(begun)),
            (Err(fault), _) => Err(fault),
        }
    })
}

/// A transcript within its bound, without space around it.
fn bounded(transcript: Transcript) -> Transcript {
    let text = transcript.text.trim();
    let text = text[..floor_char(text, limits::TRANSCRIPT_BYTES)].to_owned();
    Transcript { text, ..transcript }
}
