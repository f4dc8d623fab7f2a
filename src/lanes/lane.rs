//! One lane: the rings between one shard and one worker, and its two ends.
//!
//! What it costs: 64 answers of about half a kilobyte are 34 KB, 256 blocks of 1.9 KB are 0.5 MB; a page becomes resident when
//! it is first written, so lanes of workers that never had a job cost next to nothing.

use super::bell::Doorbell;
use super::plant::{Flow, PoolSpec};
use crate::audio::block::AudioBlock;
use crate::ids::Ticket;
use crate::job::{Answer, Job, Outcome, Work};
use crate::limits;
use crate::time::Instant;
use ringbuf::traits::Split;
use ringbuf::{HeapCons, HeapProd, HeapRb};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A job on the lane.
pub(super) struct Order {
    pub job: Job,
    /// When the shard got it: what it waited is told from here.
    pub submitted: Instant,
    /// How many blocks had been written to this lane before it. Earlier blocks with the same ticket belong to an earlier
    /// attempt at the same utterance and must not be heard twice.
    pub blocks_before: u64,
}

/// The shard's end.
pub(super) struct ShardEnd {
    pub slot: usize,
    pub generation: u32,
    pub orders: HeapProd<Order>,
    pub blocks: Option<HeapProd<AudioBlock>>,
    pub answers: HeapCons<Answer>,
    /// An answer its reader refused; goes before all in the ring.
    pub refused: Option<Answer>,
    /// What the worker holds of ours.
    pub given: Vec<Given>,
    /// When it was given its last job, as the shard got that.
    pub given_at: Instant,
    /// Blocks written so far.
    pub blocks_in: u64,
    /// The worker found its ring full and sleeps until we drained.
    pub wants_room: Arc<AtomicBool>,
    pub bell: Doorbell,
    /// The worker is on the list of those to be rung.
    pub due: bool,
}

/// The worker's end.
pub(super) struct WorkerEnd {
    pub orders: HeapCons<Order>,
    pub blocks: Option<HeapCons<AudioBlock>>,
    pub answers: HeapProd<Answer>,
    pub wants_room: Arc<AtomicBool>,
    /// Blocks read so far.
    pub blocks_out: u64,
    /// Utterances whose blocks we take: ticket, and the first block that may be its own.
    pub open: Vec<(Ticket, u64)>,
}

/// What a shard remembers of a job it gave away: enough to fail it when the worker dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub ticket: Ticket,
    /// The sentence of a [`Work::Speak`], else 0: jobs of one turn differ by it.
    pub sentence: u16,
}

impl Given {
    pub(super) fn of_job(job: &Job) -> Given {
        let sentence = match &job.work {
            Work::Speak(what) => what.sentence,
            Work::Recognise(_) | Work::Converse(_) => 0,
        };
        Given { ticket: job.ticket, sentence }
    }

    pub(super) fn of_final(answer: &Answer) -> Option<Given> {
        let sentence = match &answer.outcome {
            Outcome::Token(_) | Outcome::Packet(_) => return None,
            Outcome::Transcript(_) | Outcome::ReplyEnd(_) => 0,
            Outcome::SpeechEnd { sentence, .. } => *sentence,
            Outcome::Failed(failure) => failure.sentence,
        };
        Some(Given { ticket: answer.ticket, sentence })
    }
}

/// Builds a lane to the worker in `slot`.
pub(super) fn lane(spec: PoolSpec, slot: usize, generation: u32, bell: Doorbell) -> (ShardEnd, WorkerEnd) {
    // Never full: a job is pushed only after a place was claimed, and a place is freed only after its job was popped.
    let (orders_in, orders_out) = HeapRb::new(spec.capacity as usize).split();
    let (answers_in, answers_out) = HeapRb::new(limits::OUTCOME_RING).split();
    let (blocks_in, blocks_out) = match spec.flow {
        Flow::JobsOnly => (None, None),
        Flow::Whole | Flow::Live => {
            let n = if spec.capacity == 1 { limits::PCM_RING_SINGLE } else { limits::PCM_RING };
            let (i, o) = HeapRb::new(n).split();
            (Some(i), Some(o))
        }
    };
    let wants_room = Arc::new(AtomicBool::new(false));
    let shard = ShardEnd {
        slot,
        generation,
        orders: orders_in,
        blocks: blocks_in,
        answers: answers_out,
        refused: None,
        given: Vec::with_capacity(spec.capacity as usize),
        given_at: Instant::ZERO,
        blocks_in: 0,
        wants_room: wants_room.clone(),
        bell,
        due: false,
    };
    let open = if spec.flow == Flow::JobsOnly { Vec::new() } else { Vec::with_capacity(spec.capacity as usize) };
    let worker =
        WorkerEnd { orders: orders_out, blocks: blocks_out, answers: answers_in, wants_room, blocks_out: 0, open };
    (shard, worker)
}
