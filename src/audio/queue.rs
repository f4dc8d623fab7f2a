//! The audio queue of one session: bounded, drop-oldest, and every item accounted for:
//! `received = processed + dropped + waiting` at any time, in items and in bytes.
//!
//! ```text
//!      kept (given out, may be played again)      waiting
//!   |-----------------------------------------|------|------|---|  <- push
//!                                             ^ get_batch takes from here
//! ```
//!
//! One ring of samples holds both parts; a block is a length, so nothing is allocated per block. What was given out is kept
//! until [`AudioQueue::clear`], because recognition may fail and another recogniser be asked; it is the first to go when room
//! is needed. Bounds are those of the seed, its slips repaired (see [`QueueRules`]), and one budget for the process.

use super::block::AudioBlock;
use crate::format::Codec;
use crate::ids::Ticket;
use crate::limits;
use crossbeam::utils::CachePadded;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bounds of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueRules {
    /// Blocks that may wait; when one more comes the oldest is dropped.
    pub items_max: usize,
    /// Bytes of samples, kept and waiting; when more would be held, the oldest go until [`QueueRules::bytes_after_trim`] are left.
    pub bytes_max: usize,
    /// See `bytes_max`.
    pub bytes_after_trim: usize,
}

impl Default for QueueRules {
    fn default() -> QueueRules {
        QueueRules {
            items_max: limits::AUDIO_QUEUE_ITEMS,
            bytes_max: limits::AUDIO_QUEUE_BYTES,
            bytes_after_trim: limits::AUDIO_QUEUE_BYTES / 2,
        }
    }
}

/// What a queue counted, items and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueTotals {
    /// Taken in; a block that is played again ([`AudioQueue::rewind`]) counts again.
    pub received: (u64, u64),
    /// Given out, or let go because nobody wants it any more (a false start, an abort).
    pub processed: (u64, u64),
    /// Lost to a bound.
    pub dropped: (u64, u64),
    /// How often a bound was hit.
    pub overflows: u64,
}

impl QueueTotals {
    fn since(&self, earlier: &QueueTotals) -> QueueTotals {
        let less = |a: (u64, u64), b: (u64, u64)| (a.0 - b.0, a.1 - b.1);
        QueueTotals {
            received: less(self.received, earlier.received),
            processed: less(self.processed, earlier.processed),
            dropped: less(self.dropped, earlier.dropped),
            overflows: self.overflows - earlier.overflows,
        }
    }
}

/// Bytes that all queues of a process may hold together. One atomic addition per block: the only line that all shards write while
/// frames pass, so nothing else lies on it.
#[derive(Debug)]
pub struct Budget {
    used: CachePadded<AtomicUsize>,
    max: usize,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(max: usize) -> Arc<Budget> {
        Arc::new(Budget { used: CachePadded::new(AtomicUsize::new(0)), max })
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    // Relaxed: the number guards no other memory.
    fn take(&self, bytes: usize) -> bool {
        if self.used.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.max {
            return true;
        }
        self.give_back(bytes);
        false
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Debug)]
pub struct AudioQueue {
    rules: QueueRules,
    budget: Arc<Budget>,
    codec: Codec,
    samples: VecDeque<i16>,
    /// Samples at the front that were given out.
    kept: usize,
    /// They are all that was given out of this utterance.
    whole: bool,
    waiting: VecDeque<Item>,
    /// The next block that is pushed follows a loss.
    gap: bool,
    end: End,
    totals: QueueTotals,
    told: QueueTotals,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    samples: u16,
    gap: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// More may come.
    Open,
    /// What waits is the rest; its last block says so.
    Finished,
    /// The block that says so was given out.
    Told,
}

const BLOCK: usize = limits::PCM_BLOCK_SAMPLES;
const SAMPLE_BYTES: usize = size_of::<i16>();
/// Room made for the first block of an utterance, samples: 6 s. Most utterances need no more; a longer one doubles it.
const FIRST_ROOM: usize = 96_000;
/// The same for packets, words: 6 s at 24 kbit/s.
const FIRST_ROOM_PACKETS: usize = 9_600;

impl AudioQueue {
    /// An empty queue; it holds no memory until the first block.
    pub fn new(rules: QueueRules, budget: Arc<Budget>) -> AudioQueue {
        AudioQueue {
            rules,
            budget,
            codec: Codec::Pcm,
            samples: VecDeque::new(),
            kept: 0,
            whole: true,
            waiting: VecDeque::new(),
            gap: false,
            end: End::Open,
            totals: QueueTotals::default(),
            told: QueueTotals::default(),
        }
    }

    /// Empties the queue and makes it one of samples, or of packets as [`super::block::pack`] writes them, each pushed whole: then
    /// a word is what is called a sample here.
    pub fn begin(&mut self, codec: Codec) {
        self.clear();
        self.codec = codec;
    }

    /// What it is of.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Takes samples of any number, cut into blocks of at most 60 ms. Never refuses and never waits: what does not fit pushes out
    /// the oldest, and all that is lost is counted and marked as a gap before the next block.
    pub fn push(&mut self, pcm: &[i16]) {
        if pcm.is_empty() {
            return;
        }
        self.totals.received.0 += pcm.len().div_ceil(BLOCK) as u64;
        self.totals.received.1 += (pcm.len() * SAMPLE_BYTES) as u64;
        let pcm = self.newest_that_fits(pcm);
        let samples_max = self.samples_max();
        if self.samples.len() + pcm.len() > samples_max {
            self.totals.overflows += 1;
            let after = self.rules.bytes_after_trim / SAMPLE_BYTES;
            self.trim_to(after.min(samples_max - pcm.len()));
        }
        if self.samples.capacity() == 0 {
            let room = if self.codec == Codec::Opus { FIRST_ROOM_PACKETS } else { FIRST_ROOM };
            self.samples.reserve(room.min(samples_max));
            self.waiting.reserve((FIRST_ROOM / BLOCK).min(self.rules.items_max));
        }
        pcm.chunks(BLOCK).for_each(|block| self.push_block(block));
    }

    /// Nothing more comes: the last block that waits, or an empty one, will have `last` set.
    pub fn finish(&mut self) {
        if self.end == End::Open {
            self.end = End::Finished;
        }
    }

    /// Gives at most `max` waiting blocks to `sink`, oldest first, stamped with `ticket`, until `sink` says no (that block then
    /// keeps waiting). Never waits to fill a batch. Returns how many were taken.
    pub fn get_batch(&mut self, max: usize, ticket: Ticket, sink: &mut dyn FnMut(&AudioBlock) -> bool) -> usize {
        let mut block = AudioBlock::empty(ticket, self.codec);
        for taken in 0..max {
            if !self.read_front(&mut block) || !sink(&block) {
                return taken;
            }
            self.advance();
        }
        max
    }

    /// Whether nothing waits, the end included.
    pub fn is_drained(&self) -> bool {
        self.waiting.is_empty() && self.end != End::Finished
    }

    /// Makes all that was kept wait again, before what waits already. `false` if a part of it is not kept any more.
    pub fn rewind(&mut self) -> bool {
        let blocks = self.kept.div_ceil(BLOCK);
        if !self.whole || self.waiting.len() + blocks > self.rules.items_max {
            return false;
        }
        let tail = self.kept % BLOCK;
        for n in (0..blocks).rev() {
            let samples = if n + 1 == blocks && tail > 0 { tail } else { BLOCK };
            self.waiting.push_front(Item { samples: samples as u16, gap: false });
        }
        self.totals.received.0 += blocks as u64;
        self.totals.received.1 += (self.kept * SAMPLE_BYTES) as u64;
        self.kept = 0;
        if self.end == End::Told {
            self.end = End::Finished;
        }
        true
    }

    /// Forgets everything, kept and waiting; ready for the next utterance.
    pub fn clear(&mut self) {
        let waiting = self.samples.len() - self.kept;
        self.totals.processed.0 += self.waiting.len() as u64;
        self.totals.processed.1 += (waiting * SAMPLE_BYTES) as u64;
        self.budget.give_back(self.samples.len() * SAMPLE_BYTES);
        self.samples.clear();
        self.waiting.clear();
        self.kept = 0;
        self.whole = true;
        self.gap = false;
        self.end = End::Open;
    }

    /// Gives back memory beyond what an ordinary utterance needs.
    pub fn shrink(&mut self) {
        self.samples.shrink_to(FIRST_ROOM);
        self.waiting.shrink_to(FIRST_ROOM / BLOCK);
    }

    /// Blocks and bytes that wait.
    pub fn waiting(&self) -> (usize, usize) {
        (self.waiting.len(), (self.samples.len() - self.kept) * SAMPLE_BYTES)
    }

    /// Bytes held, kept and waiting.
    pub fn bytes(&self) -> usize {
        self.samples.len() * SAMPLE_BYTES
    }

    /// All that was counted.
    pub fn totals(&self) -> QueueTotals {
        self.totals
    }

    /// What was counted since the last call.
    pub fn take_totals(&mut self) -> QueueTotals {
        let news = self.totals.since(&self.told);
        self.told = self.totals;
        news
    }

    fn samples_max(&self) -> usize {
        self.rules.bytes_max / SAMPLE_BYTES
    }

    /// A piece longer than the whole queue is cut to its newest part, on a block border.
    fn newest_that_fits<'a>(&mut self, pcm: &'a [i16]) -> &'a [i16] {
        let excess = pcm.len().saturating_sub(self.samples_max());
        let (lost, fits) = pcm.split_at((excess.div_ceil(BLOCK) * BLOCK).min(pcm.len()));
        if !lost.is_empty() {
            self.totals.overflows += 1;
            self.count_lost(lost.len().div_ceil(BLOCK), lost.len());
            self.gap = true;
        }
        fits
    }

    fn push_block(&mut self, block: &[i16]) {
        if self.waiting.len() >= self.rules.items_max {
            self.totals.overflows += 1;
            self.release_kept(self.kept);
            self.drop_oldest();
        }
        let short_of_budget = !self.budget.take(block.len() * SAMPLE_BYTES);
        if short_of_budget && !self.make_room_in_budget(block.len()) {
            self.count_lost(1, block.len());
            self.gap = true;
            return;
        }
        self.samples.extend(block);
        self.waiting.push_back(Item { samples: block.len() as u16, gap: std::mem::take(&mut self.gap) });
    }

    /// The process has used up its budget: only our own oldest audio can make room.
    fn make_room_in_budget(&mut self, samples: usize) -> bool {
        self.totals.overflows += 1;
        while self.kept > 0 || !self.waiting.is_empty() {
            if self.kept > 0 {
                self.release_kept(BLOCK.min(self.kept));
            } else {
                self.drop_oldest();
            }
            if self.budget.take(samples * SAMPLE_BYTES) {
                return true;
            }
        }
        false
    }

    fn trim_to(&mut self, samples: usize) {
        let excess = self.samples.len().saturating_sub(samples);
        self.release_kept(excess.min(self.kept));
        while self.samples.len() > samples && !self.waiting.is_empty() {
            self.drop_oldest();
        }
    }

    fn release_kept(&mut self, samples: usize) {
        if samples == 0 {
            return;
        }
        self.samples.drain(..samples);
        self.kept -= samples;
        self.whole = false;
        self.budget.give_back(samples * SAMPLE_BYTES);
    }

    /// Drops the oldest waiting block. Nothing may be kept before it.
    fn drop_oldest(&mut self) {
        debug_assert_eq!(self.kept, 0, "what is kept goes first");
        let Some(item) = self.waiting.pop_front() else { return };
        let samples = usize::from(item.samples);
        self.samples.drain(..samples);
        self.budget.give_back(samples * SAMPLE_BYTES);
        self.count_lost(1, samples);
        match self.waiting.front_mut() {
            Some(next) => next.gap = true,
            None => self.gap = true,
        }
    }

    fn count_lost(&mut self, items: usize, samples: usize) {
        self.totals.dropped.0 += items as u64;
        self.totals.dropped.1 += (samples * SAMPLE_BYTES) as u64;
    }

    /// Copies what is to be given out next; `false` if nothing is.
    fn read_front(&self, block: &mut AudioBlock) -> bool {
        let Some(item) = self.waiting.front() else {
            block.len = 0;
            block.gap = self.gap;
            block.last = true;
            return self.end == End::Finished;
        };
        let samples = usize::from(item.samples).min(BLOCK);
        for (to, from) in block.words.iter_mut().zip(self.samples.range(self.kept..self.kept + samples)) {
            *to = *from;
        }
        block.len = samples as u16;
        block.gap = item.gap;
        block.last = self.end == End::Finished && self.waiting.len() == 1;
        true
    }

    /// The block that was read has gone.
    fn advance(&mut self) {
        if let Some(item) = self.waiting.pop_front() {
            self.kept += usize::from(item.samples);
            self.totals.processed.0 += 1;
            self.totals.processed.1 += u64::from(item.samples) * SAMPLE_BYTES as u64;
        }
        if self.waiting.is_empty() && self.end == End::Finished {
            self.end = End::Told;
        }
    }
}

impl Drop for AudioQueue {
    fn drop(&mut self) {
        self.budget.give_back(self.samples.len() * SAMPLE_BYTES);
    }
}

#[cfg(test)]
mod tests;
