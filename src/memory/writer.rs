//! The one who writes: a thread that takes the orders of all shards, commits what they brought together, and answers each.
//!
//! ```text
//!   wait -> take orders (recall: answered; write: appended) -> one commit for all of them -> answer -> wait
//! ```
//!
//! Group commit needs no timer: while one `fdatasync` runs, orders gather for the next. While the disk fails, conversations go on:
//! each write is answered "not durable" at once, its record waits in memory, and the disk is tried again once a second.

use super::cleaning::Retention;
use super::disk::Disk;
use super::door::Door;
use super::fault::StoreFault;
use super::seal::Keys;
use super::store::{self, Entry, Full, Store};
use super::tally::Tally;
use crate::ids::Ticket;
use crate::lanes::{Doorbell, Office, Post, post};
use crate::limits;
use crate::session::dialogue::Bounds;
use crate::session::record::{Answer, Ask, Durability, News, Order, Remembered};
use crate::time::{Clock, Duration, Instant, UnixMs};
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// How the memory is kept.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// What is promised.
    pub durability: Durability,
    /// For how long.
    pub retention: Retention,
    /// How much of a dialogue stays word for word.
    pub bounds: Bounds,
    /// What it is sealed by, if it is.
    pub keys: Option<Arc<Keys>>,
}

/// Gives a disk, as often as one is needed.
pub type DiskMaker = Box<dyn Fn() -> Box<dyn Disk> + Send>;

/// The running writer. Dropping it, when no shard sends any more, writes what was sent and ends it.
pub struct Writer {
    ending: Arc<AtomicBool>,
    bell: Doorbell,
    thread: Option<JoinHandle<()>>,
    door: Option<Door>,
}

impl Writer {
    /// Opens the log in `dir` and starts the thread. A disk that does not let us write is told and tried again: without it
    /// nothing is durable, and the server serves all the same.
    ///
    /// # Errors
    /// [`StoreFault`]: the folder is somebody else's, or another server's, or of a newer version. No thread: as `Io`.
    pub fn start(
        dir: &Path,
        rules: Rules,
        disk: DiskMaker,
        clock: Clock,
        shards: &[Doorbell],
        tally: Arc<Tally>,
    ) -> Result<(Writer, Vec<Post<Order, Answer>>), StoreFault> {
        let (office, posts) = post::open(shards, limits::MEMORY_ORDERS);
        let (erasures_in, erasures) = bounded(limits::MEMORY_ERASURES);
        let mut clerk = Clerk::new(dir, rules, disk, office, erasures, tally);
        clerk.open(clock.now())?;
        let (ending, bell) = (Arc::new(AtomicBool::new(false)), clerk.office.bell());
        let door = clerk.store.is_some().then(|| open_door(dir, erasures_in, bell.clone())).flatten();
        let told = ending.clone();
        let run = move || {
            loop {
                // Before the look: whoever sends, then tells us to end, is still served.
                let is_ending = told.load(Ordering::Acquire);
                clerk.office.awake();
                let until = clerk.pass(clock.now());
                if is_ending {
                    return clerk.end();
                }
                clerk.office.sleep(until.until(clock.now()));
            }
        };
        let thread = std::thread::Builder::new().name("memory".to_owned()).spawn(run);
        let thread = thread.map_err(|error| StoreFault::io(dir, error))?;
        Ok((Writer { ending, bell, thread: Some(thread), door }, posts))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.door.take());
        self.ending.store(true, Ordering::Release);
        self.bell.ring();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the memory's writer had fallen over");
        }
    }
}

/// An order to erase, and where its answer goes.
struct Erasure {
    device: String,
    done: Sender<Result<u64, String>>,
}

/// The door on which `voxlane memory erase` knocks. Without it everything else works.
fn open_door(dir: &Path, erasures: Sender<Erasure>, bell: Doorbell) -> Option<Door> {
    let erase = move |device: &str| {
        let (done, told) = bounded(1);
        match erasures.try_send(Erasure { device: device.to_owned(), done }) {
            Ok(()) => bell.ring(),
            Err(TrySendError::Full(_)) => return Err("too many orders wait; try again".to_owned()),
            Err(TrySendError::Disconnected(_)) => return Err("the server is ending".to_owned()),
        }
        told.recv_timeout(limits::MEMORY_ERASE).unwrap_or_else(|_| Err("it was not done in time".to_owned()))
    };
    match Door::open(dir, erase) {
        Ok(door) => Some(door),
        Err(error) => {
            tracing::warn!(%error, "no orders of 'voxlane memory' will be heard");
            None
        }
    }
}

/// The writer, as its thread sees it; [`Clerk::pass`] is given the time.
struct Clerk {
    dir: PathBuf,
    rules: Rules,
    disk: DiskMaker,
    office: Office<Order, Answer>,
    erasures: Receiver<Erasure>,
    tally: Arc<Tally>,
    /// None while the disk does not let us open the log.
    store: Option<Store>,
    /// Who is answered after the next commit.
    owed: Vec<(usize, Ticket, Instant)>,
    /// The disk has failed; what waits is tried again at `write_at`.
    is_failing: bool,
    /// When what waits is to be written; [`Instant::NEVER`] if nothing does.
    write_at: Instant,
    retain_at: Instant,
}

impl Clerk {
    fn new(
        dir: &Path,
        rules: Rules,
        disk: DiskMaker,
        office: Office<Order, Answer>,
        erasures: Receiver<Erasure>,
        tally: Arc<Tally>,
    ) -> Clerk {
        Clerk {
            dir: dir.to_owned(),
            rules,
            disk,
            office,
            erasures,
            tally,
            store: None,
            owed: Vec::new(),
            is_failing: false,
            write_at: Instant::NEVER,
            retain_at: Instant::NEVER,
        }
    }

    /// Opens the log. Trouble of the disk is told and tried again.
    fn open(&mut self, now: Instant) -> Result<(), StoreFault> {
        match Store::open_sealed(&self.dir, self.rules.bounds, (self.disk)(), self.rules.keys.clone()) {
            Ok((store, reading)) => {
                store::describe(&reading).iter().for_each(|line| tracing::warn!(damage = %line, "memory"));
                self.tally.opened(&store, &reading);
                self.store = Some(store);
                self.recovered();
                (self.write_at, self.retain_at) = (Instant::NEVER, now);
                Ok(())
            }
            Err(fault) if fault.is_of_the_disk() => {
                self.failed(now, &fault.to_string());
                Ok(())
            }
            Err(fault) => Err(fault),
        }
    }

    /// Does what there is to do; returns when the next pass must be if nobody rings.
    fn pass(&mut self, now: Instant) -> Instant {
        if self.store.is_none() && self.write_at <= now {
            // What was refused at the start is not waited for: it is told again each time, and that is enough.
            if let Err(fault) = self.open(now) {
                self.failed(now, &fault.to_string());
            }
        }
        let mut taken = 0;
        while taken < limits::MEMORY_BATCH
            && let Some((shard, order)) = self.office.take()
        {
            taken += 1;
            self.handle(now, shard, order);
        }
        self.commit(now);
        while let Ok(erasure) = self.erasures.try_recv() {
            let done = self.erase(&erasure.device);
            let _ = erasure.done.send(done);
        }
        self.retain(now);
        self.tally.depth(self.store.as_ref());
        self.office.ring();
        if taken == limits::MEMORY_BATCH { now } else { self.write_at.min(self.retain_at) }
    }

    fn handle(&mut self, now: Instant, shard: usize, order: Order) {
        let Order { ticket, session, device, asked_at, ask } = order;
        let operation = match ask {
            Ask::Recall => {
                let remembered = self.recall(&device);
                let is_known = u64::from(remembered.is_some());
                self.office.answer(shard, Answer { ticket, asked_at, news: News::Recalled(remembered) });
                // After the answer: who sees the count, sees the dialogue.
                self.tally.recalled.fetch_add(is_known, Ordering::Release);
                return;
            }
            Ask::Write(operation) => operation,
        };
        let entry = Entry { at: UnixMs::now(), device, session, turn: ticket.turn.0, operation };
        match self.append(entry) {
            Ok(()) if self.rules.durability == Durability::Turn && !self.is_failing => {
                self.owed.push((shard, ticket, asked_at));
                self.write_at = now;
            }
            Ok(()) => {
                // While the disk fails it is tried again in its time; else in ours.
                self.write_at = self.write_at.min(now + limits::MEMORY_INTERVAL);
                self.tell(shard, ticket, asked_at, !self.is_failing);
            }
            Err(()) => self.tell(shard, ticket, asked_at, false),
        }
    }

    /// # Errors
    /// It was not taken, and is counted.
    fn append(&mut self, entry: Entry) -> Result<(), ()> {
        let Some(store) = &mut self.store else {
            self.tally.lost_no_log.fetch_add(1, Ordering::Relaxed);
            return Err(());
        };
        match store.append(entry) {
            Ok(_) => {
                self.tally.taken.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(Full::Pending) => {
                self.tally.lost_pending.fetch_add(1, Ordering::Relaxed);
                Err(())
            }
            Err(Full::Devices) => {
                self.tally.lost_devices.fetch_add(1, Ordering::Relaxed);
                Err(())
            }
        }
    }

    fn recall(&mut self, device: &str) -> Option<Box<Remembered>> {
        let recalled = self.store.as_mut()?.recall(device);
        if recalled.dialogue.is_empty() && recalled.dialogue.role().is_empty() {
            return None;
        }
        let age = Duration::from_millis(UnixMs::now().0.saturating_sub(recalled.at.0));
        Some(Box::new(Remembered { dialogue: recalled.dialogue, age }))
    }

    fn tell(&mut self, shard: usize, ticket: Ticket, asked_at: Instant, durable: bool) {
        if !durable {
            self.tally.not_durable.fetch_add(1, Ordering::Relaxed);
        }
        self.office.answer(shard, Answer { ticket, asked_at, news: News::Written { durable } });
    }

    /// Writes what waits, if it is time, and answers who waited for it.
    fn commit(&mut self, now: Instant) {
        let Some(store) = &mut self.store else { return };
        if self.write_at > now {
            return;
        }
        self.write_at = Instant::NEVER;
        self.tally.commits.fetch_add(u64::from(store.is_waiting()), Ordering::Relaxed);
        let done = store.commit(true);
        let owed = std::mem::take(&mut self.owed);
        for &(shard, ticket, asked_at) in &owed {
            self.tell(shard, ticket, asked_at, done.is_ok());
        }
        match done {
            Ok(_) => self.recovered(),
            Err(error) => self.failed(now, &error.to_string()),
        }
        self.owed = owed;
        self.owed.clear();
    }

    fn failed(&mut self, now: Instant, why: &str) {
        self.write_at = now + limits::MEMORY_RETRY;
        self.tally.failures.fetch_add(1, Ordering::Relaxed);
        if !std::mem::replace(&mut self.is_failing, true) {
            self.tally.is_failing.store(true, Ordering::Relaxed);
            tracing::error!(why, "what is said is not durable: the disk does not take it; conversations go on");
        }
    }

    fn recovered(&mut self) {
        if std::mem::replace(&mut self.is_failing, false) {
            self.tally.is_failing.store(false, Ordering::Relaxed);
            tracing::info!("what is said is durable again");
        }
    }

    fn erase(&mut self, device: &str) -> Result<u64, String> {
        let Some(store) = &mut self.store else { return Err("the disk does not let us; see the log".to_owned()) };
        let done = store.erase(device).map_err(|error| error.to_string())?;
        self.tally.erased.fetch_add(done, Ordering::Relaxed);
        tracing::info!(device, records = done, "erased");
        Ok(done)
    }

    fn retain(&mut self, now: Instant) {
        if self.retain_at > now {
            return;
        }
        self.retain_at = now + limits::MEMORY_RETAIN;
        let Some(store) = self.store.as_mut().filter(|_| !self.is_failing) else { return };
        match store.retain(&self.rules.retention, UnixMs::now()) {
            Ok(0) => {}
            Ok(removed) => {
                self.tally.expired.fetch_add(removed, Ordering::Relaxed);
                tracing::info!(removed, "records whose time was over");
            }
            Err(error) => tracing::warn!(%error, "records whose time is over could not be removed"),
        }
    }

    /// Everything that was sent, and then the last commit.
    fn end(mut self) {
        while let Some((shard, order)) = self.office.take() {
            self.handle(Instant::ZERO, shard, order);
        }
        if let Some(store) = &mut self.store
            && let Err(error) = store.commit(true)
        {
            tracing::error!(%error, records = store.waiting(), "the last of what was said is lost");
        }
    }
}

#[cfg(test)]
mod tests;
