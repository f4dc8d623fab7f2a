//! The worker of speech recognition: gathers utterances as their blocks come, recognises the most urgent one that is complete.

use super::bench::{Bench, Built, build_guarded};
use super::llm::floor_char;
use crate::audio::pcm::PcmBlock;
use crate::job::{Job, Outcome, Transcript, Work};
use crate::limits;
use crate::providers::Recogniser;
use crate::resilience::fault::{Cause, Fault};
use crate::time::{Duration, Instant};

/// Samples of the longest utterance, with a second for pre-roll and tail.
const UTTERANCE_SAMPLES: usize = (limits::UTTERANCE.as_secs() as usize + 1) * 16_000;
/// Samples an utterance has room for at once: 4 s, most of them.
const USUAL_SAMPLES: usize = 4 * 16_000;

/// Utterances on their way to being recognised.
pub struct Gathering {
    open: Vec<Utterance>,
    batch: Vec<PcmBlock>,
    /// Recognition is worth this much time from the utterance's end.
    budget: Duration,
    idle_since: Instant,
}

struct Utterance {
    job: Job,
    pcm: Vec<i16>,
    /// Complete; to be recognised by then.
    by: Option<Instant>,
}

/// Serves until the server ends, or until there was nothing to do for [`limits::WORKER_IDLE`] and the pool has enough workers
/// without this one.
pub fn serve(bench: &mut Bench, build: &dyn Fn() -> Built<dyn Recogniser>, budget: Duration) {
    let mut recogniser = build_guarded(build);
    let mut gathering = Gathering::new(bench.clock.now(), budget);
    while !bench.desk.is_over() {
        gathering.gather(bench);
        gathering.sweep(bench);
        match gathering.next() {
            Some(utterance) => {
                if recognise(bench, &mut recogniser, utterance) {
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
    pub fn new(now: Instant, budget: Duration) -> Gathering {
        Gathering { open: Vec::new(), batch: Vec::with_capacity(limits::BLOCK_BATCH), budget, idle_since: now }
    }

    /// Reads what has come, and waits for something only if no utterance is complete.
    fn gather(&mut self, bench: &mut Bench) {
        let now = bench.clock.now();
        let is_ready = self.open.iter().any(|utterance| utterance.by.is_some());
        let deadlines = self.open.iter().map(|utterance| utterance.job.deadline.until(now));
        let mut wait = if is_ready { Duration::ZERO } else { deadlines.min().unwrap_or(limits::BLOCK_WAIT) };
        loop {
            self.batch.clear();
            bench.desk.next_blocks(limits::BLOCK_BATCH, wait.min(limits::BLOCK_WAIT), &mut self.batch);
            let now = bench.clock.now();
            while let Some(job) = bench.desk.next_job(Duration::ZERO) {
                bench.waited(bench.desk.waited());
                self.open.push(Utterance { job, pcm: Vec::with_capacity(USUAL_SAMPLES), by: None });
                self.idle_since = now;
            }
            for block in &self.batch {
                add(&mut self.open, block, now, self.budget);
            }
            // A full batch: there may be more, and recognising takes a while in which the ring would fill up.
            if self.batch.len() < limits::BLOCK_BATCH {
                return;
            }
            wait = Duration::ZERO;
        }
    }

    /// Ends what was taken back or is too late, complete or not.
    fn sweep(&mut self, bench: &mut Bench) {
        let now = bench.clock.now();
        self.open.retain(|utterance| {
            let by = utterance.by.unwrap_or(utterance.job.deadline);
            let fault = match utterance.job.cancel.is_cancelled() {
                true => Fault::cancelled(),
                false if by <= now => Fault::timeout("recognition"),
                false => return true,
            };
            bench.finish(&utterance.job, Err(fault));
            false
        });
    }

    /// The complete utterance with the earliest deadline.
    fn next(&mut self) -> Option<Utterance> {
        let ready = self.open.iter().enumerate().filter_map(|(i, utterance)| Some((utterance.by?, i)));
        let (_, i) = ready.min()?;
        Some(self.open.remove(i))
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.open.is_empty() && now.since(self.idle_since) >= limits::WORKER_IDLE
    }
}

/// Appends a block to its utterance. What goes beyond the longest utterance is left out.
fn add(open: &mut [Utterance], block: &PcmBlock, now: Instant, budget: Duration) {
    let Some(utterance) = open.iter_mut().find(|utterance| utterance.job.ticket == block.ticket) else { return };
    let room = UTTERANCE_SAMPLES.saturating_sub(utterance.pcm.len());
    let pcm = block.pcm();
    utterance.pcm.extend_from_slice(&pcm[..pcm.len().min(room)]);
    if block.last {
        utterance.by = Some(utterance.job.deadline.min(now + budget));
    }
}

/// Recognises one utterance; returns whether the recogniser is not to be used again.
fn recognise(bench: &mut Bench, recogniser: &mut Built<dyn Recogniser>, utterance: Utterance) -> bool {
    let Utterance { job, pcm, by } = utterance;
    bench.one(recogniser, &job, |recogniser, bench| {
        let Work::Recognise(how) = &job.work else {
            return Err(Fault::new(Cause::Internal, "a job of another stage"));
        };
        let call = bench.call(&job, by.unwrap_or(job.deadline));
        let transcript = recogniser.recognise(&pcm, how, &call)?;
        Ok(Outcome::Transcript(Box::new(bounded(transcript))))
    })
}

/// A transcript within its bound, without space around it.
fn bounded(transcript: Transcript) -> Transcript {
    let text = transcript.text.trim();
    let text = text[..floor_char(text, limits::TRANSCRIPT_BYTES)].to_owned();
    Transcript { text, ..transcript }
}
