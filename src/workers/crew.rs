//! Puts a stage together: lanes to the shards, a foreman, threads with a provider each. For the thread that runs the server,
//! before anything is pinned.

use super::bench::{Bench, Built, build_guarded};
use super::chain::Behind;
use super::elsewhere::Elsewhere;
use super::voice::Voice;
use super::{asr, llm, phrases, tts};
use crate::audio::phrase::Phrasebook;
use crate::job::Stage;
use crate::lanes::{self, Desk, Doorbell, Flow, Pool, PoolHandle, PoolSpec, PoolState};
use crate::limits;
use crate::metrics::AtWork;
use crate::metrics::readiness::Ready;
use crate::metrics::registry::{Home, Probe, Registry};
use crate::providers::{LanguageModel, Recogniser, Synthesiser};
use crate::resilience::fault::{Cause, Fault};
use crate::time::{Clock, Duration};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::thread::{Builder, JoinHandle};

/// Makes a provider for the worker of that number. Called on the worker's thread, at its start and after a panic.
pub type Factory<P> = Arc<dyn Fn(usize) -> Built<P> + Send + Sync>;

/// What every stage is put together from.
#[derive(Clone)]
pub struct Base {
    /// The process's clock.
    pub clock: Clock,
    /// The shards' doorbells, in the order of their ids.
    pub shards: Vec<Doorbell>,
    /// Where the workers' panels are listed.
    pub registry: Arc<Registry>,
    /// Where the workers run.
    pub cores: Cores,
}

/// Whether workers have cores of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cores {
    /// There are some that no shard is pinned to.
    #[default]
    Own,
    /// There are none: workers run where shards do, who go first. Programs beside the server go first as well: it is meant to
    /// have its cores to itself then.
    Shared,
}

/// Threads of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Started at once and kept.
    pub min: usize,
    /// At most.
    pub max: usize,
}

/// How recognition works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsrRules {
    /// On our own cores: few workers, each gathers many utterances. Else by a service: a thread for each utterance.
    pub is_local: bool,
    /// A model may run on the workers' threads, as wanted or standing in: they have the stack for it.
    pub has_model: bool,
    /// Threads; for a local model `min` and `max` are the same (decision 7).
    pub size: Size,
    /// From the utterance's end to its transcript ([`limits::ASR`], [`limits::ASR_LOCAL`]).
    pub budget: Duration,
}

/// A running stage; its pools have been handed out.
pub struct Crew {
    handle: PoolHandle,
    foreman: JoinHandle<()>,
}

impl Crew {
    /// How the stage is.
    pub fn state(&self) -> PoolState {
        self.handle.state()
    }

    /// Which stage.
    pub fn stage(&self) -> Stage {
        self.handle.stage()
    }

    /// Tells the workers to finish; returns at once.
    pub fn end(&self) {
        self.handle.end();
    }

    /// Ends the stage and waits for its workers, [`limits::WORKERS_END`] at most. Returns how many are still at work then.
    pub fn join(self) -> usize {
        self.end();
        let _ = self.foreman.join();
        self.handle.state().workers
    }
}

/// Starts recognition: one pool per shard, and the crew. What a local model cannot recognise in good time is left to who is
/// `behind` it. `ready` hears from each worker whether its recogniser could be made;
/// until it is made jobs wait, and if it cannot be made every job fails as unavailable.
pub fn start_asr(
    rules: AsrRules,
    factory: Factory<dyn Recogniser>,
    behind: Option<Behind>,
    ready: Ready,
    base: &Base,
) -> io::Result<(Vec<Pool>, Crew)> {
    let capacity = if rules.is_local { limits::GATHERED_UTTERANCES } else { 1 };
    let stack = if rules.has_model { limits::MODEL_STACK_BYTES } else { limits::POOL_STACK_BYTES };
    let spec = PoolSpec { min: rules.size.min, max: rules.size.max, capacity, flow: Flow::Whole };
    let run = move |mut bench: Bench, index: usize| {
        let build = || {
            let built = build_guarded(&|| factory(index)).map_err(unavailable);
            match &built {
                Ok(_) => ready.ready(),
                Err(fault) => ready.not_ready(fault.detail.clone()),
            }
            built
        };
        if rules.is_local {
            bench.hands.computes_here();
        }
        let behind = behind.clone().filter(|_| rules.is_local);
        let elsewhere = behind.map(|behind| Elsewhere::new(behind, bench.clock, bench.desk.bell(), stack));
        asr::serve(&mut bench, &build, elsewhere, rules.budget);
    };
    start(Stage::Asr, spec, stack, base, Arc::new(run))
}

/// Starts the language model's pool.
pub fn start_llm(size: Size, factory: Factory<dyn LanguageModel>, base: &Base) -> io::Result<(Vec<Pool>, Crew)> {
    let run = move |mut bench: Bench, index: usize| {
        bench.serve(&|| factory(index).map_err(unavailable), &mut |model, bench, job| llm::converse(model, bench, job));
    };
    start(Stage::Llm, service(size), limits::POOL_STACK_BYTES, base, Arc::new(run))
}

/// Starts speech synthesis. `effort` is a word of [`crate::audio::opus::Effort`], read at every sentence.
pub fn start_tts(
    size: Size,
    effort: Arc<AtomicU32>,
    factory: Factory<dyn Synthesiser>,
    base: &Base,
) -> io::Result<(Vec<Pool>, Crew)> {
    let run = move |mut bench: Bench, index: usize| {
        let mut voice = Voice::new(effort.clone());
        bench.serve(&|| factory(index).map_err(unavailable), &mut |synthesiser, bench, job| {
            tts::speak(synthesiser, &mut voice, bench, job)
        });
    };
    start(Stage::Tts, service(size), limits::POOL_STACK_BYTES, base, Arc::new(run))
}

impl Base {
    /// Renders our own sentences on a thread of its own, what fails again after `pause` and then ever later; `told` hears what
    /// failed in each round.
    pub fn start_phrases(
        &self,
        book: Arc<Phrasebook>,
        effort: Arc<AtomicU32>,
        factory: Factory<dyn Synthesiser>,
        pause: Duration,
        mut told: impl FnMut(phrases::Report) + Send + 'static,
    ) -> io::Result<phrases::Rendering> {
        let (clock, recall) = (self.clock, phrases::Recall::default());
        let (over, is_over) = crossbeam::channel::bounded(0);
        let recalled = recall.clone();
        let thread = Builder::new().name("phrases".into()).spawn(move || {
            // Never behind all others: the server is not ready before.
            Cores::Own.step_back();
            let build = || build_guarded(&|| factory(0));
            let mut voice = Voice::new(effort);
            phrases::run(&book, &build, &mut voice, clock, (&recalled, &is_over), pause, &mut told);
        })?;
        Ok(phrases::Rendering { recall, over, thread })
    }
}

type Run = Arc<dyn Fn(Bench, usize) + Send + Sync>;

fn start(stage: Stage, spec: PoolSpec, stack: usize, base: &Base, run: Run) -> io::Result<(Vec<Pool>, Crew)> {
    let (clock, cores, registry) = (base.clock, base.cores, base.registry.clone());
    let spawn = move |desk: Desk, index: usize| {
        let (run, registry) = (run.clone(), registry.clone());
        // The thread is on its own: its desk's end tells the foreman.
        let thread = Builder::new().name(format!("{}-{index}", stage.name())).stack_size(stack);
        thread.spawn(move || {
            cores.step_back();
            let panel = registry.panel(Home::Worker(stage.name()));
            let _at_work = AtWork::new(panel.clone());
            run(Bench::new(stage, desk, clock, panel), index);
        })?;
        Ok(())
    };
    let (pools, foreman) = lanes::build(stage, spec, &base.shards, clock, Box::new(spawn));
    let handle = foreman.handle();
    threads_probes(&handle).into_iter().for_each(|probe| base.registry.watch(probe));
    let foreman = Builder::new().name(format!("{}-foreman", stage.name())).spawn(|| foreman.run())?;
    Ok((pools, Crew { handle, foreman }))
}

/// What became of a pool's threads, asked for when somebody looks.
fn threads_probes(handle: &PoolHandle) -> [Probe; 4] {
    type Value = fn(PoolState) -> u32;
    const EVENTS: [Value; 4] = [|pool| pool.started, |pool| pool.died, |pool| pool.retired, |pool| pool.not_started];
    let labels = match handle.stage() {
        Stage::Asr => [
            r#"pool="asr",event="started""#,
            r#"pool="asr",event="died""#,
            r#"pool="asr",event="retired""#,
            r#"pool="asr",event="not_started""#,
        ],
        Stage::Llm => [
            r#"pool="llm",event="started""#,
            r#"pool="llm",event="died""#,
            r#"pool="llm",event="retired""#,
            r#"pool="llm",event="not_started""#,
        ],
        Stage::Tts => [
            r#"pool="tts",event="started""#,
            r#"pool="tts",event="died""#,
            r#"pool="tts",event="retired""#,
            r#"pool="tts",event="not_started""#,
        ],
    };
    std::array::from_fn(|i| {
        let (handle, value) = (handle.clone(), EVENTS[i]);
        Probe {
            name: "voxlane_worker_threads_total",
            labels: labels[i].into(),
            help: "Threads of pools by what became of them.",
            value: Box::new(move || u64::from(value(handle.state()))),
        }
    })
}

impl Cores {
    /// Lets a shard go first, whose packets are due at an instant while a worker's job takes long. On a core that they share, a
    /// third of the weight (nice 5) is not enough: 80 workers with more to encode than the core can do then kept the shard
    /// waiting for seconds, where under SCHED_IDLE 99 % of its wake-ups came within 0.3 ms, with 600 workers within 5.
    fn step_back(self) {
        match self {
            // SAFETY: a plain system call; 0 is the calling thread. Where it is refused nothing is lost but the courtesy.
            Cores::Own => unsafe { _ = libc::setpriority(libc::PRIO_PROCESS, 0, 5) },
            Cores::Shared => {
                let normal = libc::sched_param { sched_priority: 0 };
                // SAFETY: the same, and the parameter lives until the call is over.
                unsafe { _ = libc::sched_setscheduler(0, libc::SCHED_IDLE, &normal) }
            }
        }
    }
}

/// A pool whose workers wait for a service: one job each.
fn service(size: Size) -> PoolSpec {
    PoolSpec { min: size.min, max: size.max, capacity: 1, flow: Flow::JobsOnly }
}

/// A provider that cannot be made is unavailable, whatever kept it.
fn unavailable(fault: Fault) -> Fault {
    Fault::new(Cause::Unavailable, fault.detail)
}
