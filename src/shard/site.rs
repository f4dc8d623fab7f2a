//! From a plan to running shards, and back: listeners and reactors first (doorbells must exist before the lanes that ring
//! them), then one pinned thread for each shard, then an orderly end.

use super::clockwork::{Dice, Watch};
use super::floor::Common;
use super::mailbox::{Letter, Mail};
use super::pin::{self, Cores, Pinning};
use super::privilege;
use super::reactor::{News, Reactor};
use super::rules::Rules;
use super::{MemoryPost, Parts, Shard};
use crate::ids::ShardId;
use crate::lanes::{Doorbell, Pool};
use crate::metrics::{AtWork, Panel};
use crate::net::listener::{self, ListenFault, Listener};
use crate::time::{Clock, Duration};
use crossbeam::channel::{Receiver, Sender, bounded};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// The ground for shards: their sockets are bound, their doorbells hang, nobody works yet.
pub struct Site {
    address: SocketAddr,
    cores: Cores,
    plots: Vec<(Listener, Reactor)>,
}

/// Binds the device address for `shards` shards and makes their reactors. Call it before any thread is pinned.
///
/// # Errors
/// [`LayFault`]: the address is taken or not ours, or the system gives no reactor.
pub fn lay(address: SocketAddr, shards: usize) -> Result<Site, LayFault> {
    let cores = Cores::list();
    let listeners = listener::listen(address, shards).map_err(LayFault::Listen)?;
    let address = listeners.first().map_or(Ok(address), Listener::address).map_err(LayFault::System)?;
    let mut plots = Vec::with_capacity(listeners.len());
    for mut listener in listeners {
        let reactor = Reactor::new().map_err(LayFault::System)?;
        reactor.watch(listener.source()).map_err(LayFault::System)?;
        plots.push((listener, reactor));
    }
    Ok(Site { address, cores, plots })
}

/// What a shard is given besides its plot.
pub struct Crew {
    /// Its end of the lanes, one pool for each stage.
    pub pools: Vec<Pool>,
    /// Its end of the lane to the memory, if there is one.
    pub memory: Option<MemoryPost>,
    /// Its measurements.
    pub panel: Arc<Panel>,
}

impl Site {
    /// Where devices connect, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The doorbell of each shard, in order: what the lanes are built with.
    pub fn doorbells(&self) -> Vec<Doorbell> {
        self.plots.iter().map(|(_, reactor)| reactor.bell().clone()).collect()
    }

    /// Keeps shards off the first `count` cores.
    pub fn leave_cores(&mut self, count: usize) {
        self.cores.leave(count);
    }

    /// Cores this process may use.
    pub fn cores(&self) -> &Cores {
        &self.cores
    }

    /// Starts a thread for each shard, with one crew each.
    ///
    /// # Errors
    /// The system gives no thread; those that had started are ended.
    pub fn start(self, common: Common, clock: Clock, crews: Vec<Crew>) -> io::Result<Handle> {
        assert_eq!(crews.len(), self.plots.len(), "one crew for each shard");
        let bells = self.doorbells();
        let shards = bells.len();
        let control = Arc::new(Control::default());
        let connections = share(common.rules.connections, shards);
        let mails = Mail::for_all(&bells);
        let post = mails.first().map(Mail::senders).unwrap_or_default();
        let mut handle =
            Handle { address: self.address, control, bells, post, threads: Vec::new(), pinned: Vec::new() };
        let parts = self.plots.into_iter().zip(crews).zip(mails);
        for (index, (((listener, mut reactor), crew), mail)) in parts.enumerate() {
            let parts = Parts {
                id: ShardId(index as u16),
                common: common.clone(),
                pools: crew.pools,
                memory: crew.memory,
                panel: crew.panel,
                mail,
                watch: Watch::Real(clock),
                dice: Dice::System,
                connections,
                port: handle.address.port(),
            };
            let core = if common.rules.pin { self.cores.of(index, shards) } else { None };
            reactor.spin(common.rules.spin);
            let realtime = common.rules.realtime;
            let control = Arc::clone(&handle.control);
            let (tell, told) = bounded(1);
            let run = move || {
                let pinning = pin::pin(core);
                if pinning == Pinning::Refused {
                    tracing::warn!(shard = index, "could not be pinned to a core; it runs where the system puts it");
                }
                if realtime > 0
                    && let Err(refusal) = privilege::real_time(realtime)
                    && index == 0
                {
                    tracing::warn!("{refusal}; shards run without");
                }
                let _ = tell.send(pinning);
                run(parts, listener, reactor, clock, &control);
            };
            let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(run)?;
            handle.threads.push(thread);
            handle.pinned.push(told);
        }
        Ok(handle)
    }
}

/// A shard may hold more than its share, as the kernel's hash is not even; together they stay near the whole.
fn share(connections: usize, shards: usize) -> usize {
    let share = connections.div_ceil(shards.max(1));
    if shards <= 1 { share } else { share + share / 4 + 1 }
}

/// The loop, on the shard's thread.
fn run(parts: Parts, listener: Listener, mut reactor: Reactor, clock: Clock, control: &Control) {
    let index = parts.id.0;
    parts.panel.warm();
    let board = Arc::clone(&parts.common.board);
    let _at_work = AtWork::new(parts.panel.clone());
    let mut shard = Shard::new(parts);
    match reactor.registry().try_clone() {
        Ok(registry) => shard.open(listener, registry),
        Err(error) => return tracing::error!(shard = index, %error, "no reactor"),
    }
    let mut news = News::default();
    let mut deadline = clock.now();
    loop {
        let now = match reactor.wait(deadline, &|| clock.now(), &mut news) {
            Ok(now) => now,
            Err(error) => return tracing::error!(shard = index, %error, "the reactor failed"),
        };
        if control.end.load(Ordering::Acquire) {
            return;
        }
        if control.drain.load(Ordering::Acquire) {
            let limit = Duration::from_millis(control.drain_ms.load(Ordering::Acquire));
            shard.drain(now, limit, control.has_heir.load(Ordering::Acquire));
        }
        board.tell_pass(usize::from(index), Some(now));
        let passed = catch_unwind(AssertUnwindSafe(|| shard.pass(now, &news)));
        if passed.is_err() && !shard.revive(now) {
            return tracing::error!(shard = index, "panics again and again; it gives up");
        }
        board.tell_pass(usize::from(index), None);
        if shard.is_drained(now) {
            return;
        }
        deadline = shard.next_deadline(now);
        reactor.rest(shard.rest());
    }
}

#[derive(Default)]
struct Control {
    drain: AtomicBool,
    drain_ms: AtomicU64,
    has_heir: AtomicBool,
    end: AtomicBool,
}

/// Running shards. Dropping it ends them at once.
pub struct Handle {
    address: SocketAddr,
    control: Arc<Control>,
    bells: Vec<Doorbell>,
    /// The shards' mailboxes.
    post: Vec<Sender<Letter>>,
    threads: Vec<JoinHandle<()>>,
    pinned: Vec<Receiver<Pinning>>,
}

impl Handle {
    /// Where devices connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How each shard stands on the cores, for the banner; waits for the threads to have begun.
    pub fn pinnings(&self) -> Vec<Pinning> {
        let wait = Duration::from_secs(5);
        self.pinned.iter().map(|told| told.recv_timeout(wait).unwrap_or(Pinning::Free)).collect()
    }

    /// Stops accepting and lets sessions end their turn, for at most `limit`; returns at once. `has_heir`: another process has
    /// the same listening sockets.
    pub fn drain(&self, limit: Duration, has_heir: bool) {
        self.control.has_heir.store(has_heir, Ordering::Release);
        self.control.drain_ms.store(limit.as_millis() as u64, Ordering::Release);
        self.control.drain.store(true, Ordering::Release);
        self.bells.iter().for_each(Doorbell::ring);
    }

    /// Has all shards go by other rules from their next pass on. Of use there: who may come in and how many, TLS, what new sessions
    /// go by; the rest was settled at the start.
    pub fn reload(&self, rules: &Arc<Rules>) {
        let connections = share(rules.connections, self.post.len());
        for (mailbox, bell) in self.post.iter().zip(&self.bells) {
            // Waits for room, which a shard makes in every pass; a shard that is gone needs no rules.
            let _ = mailbox.send(Letter::Rules(rules.clone(), connections));
            bell.ring();
        }
    }

    /// Ends all shards now, connections and all; returns at once.
    pub fn end(&self) {
        self.control.end.store(true, Ordering::Release);
        self.bells.iter().for_each(Doorbell::ring);
    }

    /// Whether a shard's thread has ended: all have after a drain; before, it is a defect.
    pub fn has_ended(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Waits for all shards; `false` if one of them fell over.
    pub fn join(mut self) -> bool {
        self.threads.drain(..).map(JoinHandle::join).fold(true, |fine, end| fine & end.is_ok())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.end();
        }
    }
}

/// Why there are no shards.
#[derive(Debug)]
pub enum LayFault {
    /// The address.
    Listen(ListenFault),
    /// A reactor, a timer.
    System(io::Error),
}

impl fmt::Display for LayFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayFault::Listen(fault) => fault.fmt(f),
            LayFault::System(error) => write!(f, "the system gives no event loop: {error}"),
        }
    }
}

impl std::error::Error for LayFault {}
