//! Assembly: a checked configuration becomes a running server, and a running server comes to an end in order.
//!
//! ```text
//!   secrets, model, TLS checked -> addresses bound -> lanes and workers -> shards on their cores -> HTTP listeners
//! ```
//! Whatever can be refused is refused before the first thread is started.

pub mod alerts;
pub mod banner;
pub mod check;
pub mod demo;
pub mod effort;
pub mod memory;
pub mod providers;
pub mod reload;
pub mod scout;
pub mod serve;
pub mod state;
pub mod watchdog;

use crate::admin::{self, AdminRoutes, DeviceRoutes, Guard, Live};
use crate::audio::phrase::Phrasebook;
use crate::audio::queue::Budget;
use crate::config::{Config, Shards};
use crate::format::Lang;
use crate::ids::ShardId;
use crate::job::Stage;
use crate::limits;
use crate::memory::Writer;
use crate::metrics::registry::Probe;
use crate::metrics::{Home, Readiness, Registry, Series};
use crate::net::tls;
use crate::providers::About;
use crate::resilience::admission::Board;
use crate::secret::Masked;
use crate::shard::pin::Pinning;
use crate::shard::{self, Access, Common, DeviceLanguages};
use crate::time::{Clock, Duration, UnixMs};
use crate::wire::packet::Version;
use crate::wire::token::Keys;
use crate::wire::upgrade;
use crate::workers::chain::{self, Behind, Line, Spec};
use crate::workers::phrases::{self, Rendering};
use crate::workers::shelf::Shelf;
use crate::workers::{self, AsrRules, Base, Crew, Size};
use alerts::Watchman;
use effort::Keeper;
use parking_lot::Mutex;
use providers::Providers;
use reload::AsrKind;
use scout::Scout;
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use watchdog::Watchdog;

/// A running server.
pub struct Server {
    addresses: Addresses,
    shards: shard::Handle,
    crews: Vec<Crew>,
    writer: Option<Writer>,
    scout: Scout,
    phrases: Rendering,
    keeper: Keeper,
    watchman: Watchman,
    watchdog: Watchdog,
    /// The rules in force.
    rules: Arc<Mutex<Arc<shard::Rules>>>,
    asr: AsrKind,
    http: admin::Server,
    admin: admin::Server,
    clock: Clock,
    registry: Arc<Registry>,
    readiness: Readiness,
    provider_lines: Vec<(&'static str, String)>,
    cores: usize,
    pinnings: Vec<Pinning>,
}

/// Threads of a stage whose provider works on our own cores by itself (a child process, arithmetic).
const LOCAL_THREADS: usize = 32;

/// Where it listens, with the ports it was given for port 0.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Devices.
    pub device: SocketAddr,
    /// Plain HTTP.
    pub http: SocketAddr,
    /// Metrics and statistics.
    pub admin: SocketAddr,
}

/// Why nothing was started.
#[derive(Debug)]
pub enum StartFault {
    /// The speech model is missing or is no model; with the cure.
    Model(String),
    /// An address is in use or not ours.
    Address(String),
    /// Anything else: a file, a thread.
    Other(String),
}

impl fmt::Display for StartFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartFault::Model(text) | StartFault::Address(text) | StartFault::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for StartFault {}

impl Server {
    /// Checks everything that can be checked, then listens.
    ///
    /// # Errors
    /// [`StartFault`]; nothing runs then.
    pub fn start(config: &Config) -> Result<Server, StartFault> {
        let clock = Clock::start();
        let providers = providers::of(config, clock)?;
        let (about, provider_lines) = (providers.about(), providers.lines());
        let Providers { client, asr, asr_is_local, asr_takes_packets, asr_has_model, llm, tts, questions } = providers;
        let languages = Arc::new(DeviceLanguages::default());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shards = shards_of(&config.shards, cores)?;
        let rules = shard::Rules { relay: asr_takes_packets, ..shard_rules(config, asr_is_local)? };
        if config.shards.lock_memory
            && let Err(refusal) = shard::privilege::lock_memory()
        {
            tracing::warn!("{refusal}; memory is not locked");
        }
        let mut site =
            shard::lay(config.listen.device, shards).map_err(|fault| StartFault::Address(fault.to_string()))?;
        let http = bind("http", config.listen.http)?;
        let admin = bind("admin", config.listen.admin)?;
        let addresses = Addresses { device: site.address(), http: local(&http)?, admin: local(&admin)? };

        site.leave_cores(config.shards.leave_cores);
        // Threads inherit it: everything but the shards, which pin themselves, stays on the cores they leave free.
        let confinement = if config.shards.pin { shard::pin::confine(site.cores(), shards) } else { None };
        let registry = Arc::new(Registry::new(UnixMs::now()));
        let readiness = Readiness::default();
        let (writer, posts) = memory::start(config, &rules, clock, &site.doorbells(), &registry)?;
        // Where shards leave a core free, workers can always run somewhere, and need no more than a little courtesy.
        let cores_of_workers = if shards < cores { workers::Cores::Own } else { workers::Cores::Shared };
        let base = Base { clock, shards: site.doorbells(), registry: registry.clone(), cores: cores_of_workers };
        let spare = cores.saturating_sub(shards).max(1);
        let asr_size = if asr_is_local { fixed(config.asr.workers, spare) } else { on_demand(config.asr.workers) };
        let asr_budget = rules.session.asr;
        let asr_rules =
            AsrRules { is_local: asr_is_local, has_model: asr_has_model, size: asr_size, budget: asr_budget };
        let board = Arc::new(Board::new(limits::SHARDS));
        let watchdog = Watchdog::start(config.limits.memory_mb, board.clone(), clock, &registry).map_err(no_thread)?;
        let rows = Rows { config, clock, registry: &registry, board: &board };
        let asr = rows.row(Stage::Asr, asr, asr_rules.budget);
        let behind = Behind::of(&asr);
        let asr = chain::recognisers(asr);
        let llm = chain::language_models(rows.row(Stage::Llm, llm, config.session.first_token));
        // Our own sentences wait for no user, and what becomes of them is no measure of the voice.
        let aside = chain::synthesisers(rows.aside(Stage::Tts, tts.clone()));
        let tts = rows.row(Stage::Tts, tts, config.session.first_byte);
        if let Some(shelf) = Shelf::new(config.tts.cache_mb as usize * 1_000_000) {
            shelf.watch(&registry);
            tts.keep_on(shelf);
        }
        let tts = chain::synthesisers(tts);
        let model = readiness.part("asr", "the speech model is being loaded");
        let tts_config = &config.tts;
        let keeper = Keeper::start(tts_config.opus_complexity, tts_config.bitrate, cores, clock, &registry);
        let keeper = keeper.map_err(no_thread)?;
        let (asr_pools, asr_crew) = workers::start_asr(asr_rules, asr, behind, model, &base).map_err(no_thread)?;
        let (llm_pools, llm_crew) =
            workers::start_llm(size(config.llm.workers, &about[1]), llm, &base).map_err(no_thread)?;
        let tts_size = size(config.tts.workers, &about[2]);
        let (tts_pools, tts_crew) = workers::start_tts(tts_size, keeper.effort(), tts, &base).map_err(no_thread)?;

        let book = Arc::new(Phrasebook::new(|phrase, lang| config.phrases.text(phrase, lang).to_owned()));
        let spoken = readiness.part("phrases", "our own sentences are being spoken");
        let mut round = 0;
        let told = move |report| {
            note_phrases(round, &report);
            round += 1;
            spoken.ready();
        };
        let phrases =
            base.start_phrases(book.clone(), keeper.effort(), aside, limits::PHRASE_AGAIN, told).map_err(no_thread)?;

        let common = Common { board, ..Common::new(rules, book, languages.clone()) };
        let pools = asr_pools.into_iter().zip(llm_pools).zip(tts_pools);
        let crews = pools.zip(posts).enumerate().map(|(i, (((asr, llm), tts), memory))| {
            let panel = registry.panel(Home::Shard(ShardId(i as u16)));
            shard::Crew { pools: vec![asr, llm, tts], memory, panel }
        });
        let crews = crews.collect();
        watch_audio(&registry, common.audio.clone());
        let in_force = Arc::new(Mutex::new(common.rules.clone()));
        let device_routes = device_routes(config, &in_force, addresses.device.port(), languages);
        let shards = site.start(common, clock, crews).map_err(no_thread)?;
        let pinnings = shards.pinnings();

        let names = vec![config.listen.admin.ip().to_string()];
        let guard = Guard::new(config.listen.admin, config.admin.token.clone().map(Masked::new), names)
            .map_err(StartFault::Other)?;
        let told = admin::live::About {
            version: env!("CARGO_PKG_VERSION"),
            providers: provider_lines.clone(),
            shards: pinning_line(&pinnings, cores),
        };
        let live = Live::start(registry.clone(), readiness.clone(), clock, told).map_err(no_thread)?;
        let operator = AdminRoutes { guard, registry: registry.clone(), readiness: readiness.clone(), clock, live };
        let limits = admin::Config::default();
        let http = admin::serve(http, "http", limits, Arc::new(device_routes), &registry, clock).map_err(no_thread)?;
        let admin = admin::serve(admin, "admin", limits, Arc::new(operator), &registry, clock).map_err(no_thread)?;
        alerts::unknown(&config.alerts, &registry).iter().for_each(|why| tracing::warn!("{why}"));
        let watchman = alerts::start(&config.alerts, client, &registry, clock).map_err(no_thread)?;
        let scout = scout::send_out(questions, clock).map_err(no_thread)?;
        drop(confinement);
        let crews = vec![asr_crew, llm_crew, tts_crew];
        Ok(Server {
            addresses,
            shards,
            crews,
            writer,
            scout,
            phrases,
            keeper,
            watchman,
            watchdog,
            rules: in_force,
            asr: AsrKind { is_local: asr_is_local, takes_packets: asr_takes_packets },
            http,
            admin,
            clock,
            registry,
            readiness,
            provider_lines,
            cores,
            pinnings,
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Waits until every part is ready (a speech model loads after listening has begun).
    ///
    /// # Errors
    /// What is not ready after `limit`, and why.
    pub fn wait_ready(&self, limit: Duration) -> Result<(), String> {
        let until = self.clock.now() + limit;
        loop {
            let missing = self.readiness.missing();
            let Some((part, reason)) = missing.first() else { return Ok(()) };
            if self.clock.now() >= until {
                return Err(format!("{part} is not ready: {reason}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether a shard's thread has ended: a defect while nobody has asked it to.
    pub fn has_failed(&self) -> bool {
        self.shards.has_ended()
    }

    /// What is measured.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Each provider: its stage, then name and detail.
    pub fn providers(&self) -> Vec<(&'static str, String)> {
        self.provider_lines.clone()
    }

    /// How many shards there are, and where they run.
    pub fn pinning(&self) -> String {
        pinning_line(&self.pinnings, self.cores)
    }

    /// Counts the log's lost lines among the metrics.
    pub fn count_lost_log_lines(&self, lost: impl Fn() -> u64 + Send + Sync + 'static) {
        self.registry.watch(Probe {
            name: "voxlane_log_lines_dropped_total",
            labels: "".into(),
            help: "Log lines lost because the writer could not keep up.",
            value: Box::new(lost),
        });
    }

    /// Milestones of all turns so far, µs after end of speech, added up: the difference of two readings is what lies between.
    pub fn milestones(&self) -> Vec<(&'static str, u64, Duration)> {
        const SERIES: [(&str, Series); 6] = [
            ("end of utterance", Series::EndOfUtterance),
            ("final transcript", Series::FinalTranscript),
            ("first token", Series::FirstToken),
            ("first sentence", Series::FirstSentence),
            ("first audio ready", Series::FirstAudioReady),
            ("first audio sent", Series::FirstAudio),
        ];
        let sums = self.registry.sums();
        let shards = || sums.iter().filter(|sum| matches!(sum.home, Home::Shard(_)));
        let of = |series| {
            shards().map(|sum| sum.series(series)).fold((0, Duration::ZERO), |(n, t), s| (n + s.count(), t + s.sum()))
        };
        SERIES.iter().map(|&(name, series)| (name, of(series).0, of(series).1)).collect()
    }

    /// Stops accepting, lets turns end for as long as `drain`, closes with 1001, ends all threads.
    pub fn stop(self, drain: Duration) {
        self.shards.drain(drain, false);
        if !self.shards.join() {
            tracing::error!("a shard had fallen over");
        }
        // The last of what was said.
        drop(self.writer);
        self.scout.recall();
        self.http.stop();
        self.admin.stop();
        self.crews.iter().for_each(Crew::end);
        self.phrases.end();
        self.keeper.stop();
        self.watchman.stop();
        self.watchdog.stop();
        for crew in self.crews {
            let stage = crew.stage().name();
            match crew.join() {
                0 => {}
                left => tracing::warn!(stage, left, "workers were still at work at the end"),
            }
        }
    }
}

/// Puts the providers of a stage in a row.
struct Rows<'a> {
    config: &'a Config,
    clock: Clock,
    registry: &'a Registry,
    board: &'a Arc<Board>,
}

impl Rows<'_> {
    /// For turns; shown among the metrics.
    fn row<P: ?Sized + Send + 'static>(&self, stage: Stage, specs: Vec<Spec<P>>, budget: Duration) -> Arc<Line<P>> {
        let line = Line::new(stage, specs, self.rules(budget, false), self.clock);
        line.watch(self.registry);
        line.heed(self.board.clone());
        line
    }

    /// For what no user waits for.
    fn aside<P: ?Sized>(&self, stage: Stage, specs: Vec<Spec<P>>) -> Arc<Line<P>> {
        Line::new(stage, specs, self.rules(limits::PHRASE, true), self.clock)
    }

    fn rules(&self, budget: Duration, is_aside: bool) -> chain::Rules {
        let services = &self.config.services;
        chain::Rules {
            budget,
            retry_percent: services.retry_percent,
            breaker_percent: services.breaker_percent,
            breaker_open: Duration::from_secs(services.breaker_open_s),
            choice: services.choice,
            hedge: Some(Duration::from_millis(self.config.llm.hedge_ms)).filter(|late| !late.is_zero()),
            is_aside,
        }
    }
}

/// How many shards there will be.
///
/// # Errors
/// The cores that shards are to leave are wanted by shards, or by the shard that must be.
fn shards_of(wish: &Shards, cores: usize) -> Result<usize, StartFault> {
    let left = cores.saturating_sub(wish.leave_cores);
    let shards = if wish.count == 0 { (cores / 2).min(left).max(1) } else { wish.count };
    if wish.leave_cores > 0 && (!wish.pin || shards > left) {
        let why = match wish.pin {
            true => format!("{cores} cores are too few for {shards} shards beside them; leave fewer"),
            false => "shards that are not pinned cannot keep off any; set shards.pin = true".to_owned(),
        };
        return Err(StartFault::Other(format!("shards.leave_cores = {}: {why}", wish.leave_cores)));
    }
    if (wish.spin_us > 0 || wish.realtime > 0) && shards >= cores {
        return Err(StartFault::Other(format!(
            "shards.spin_us, shards.realtime: {shards} shards would keep workers off all {cores} cores; set shards.count lower"
        )));
    }
    Ok(shards)
}

fn pinning_line(pinnings: &[Pinning], cores: usize) -> String {
    let place = |pinning: &Pinning| match pinning {
        Pinning::On(core) => format!("core {core}"),
        Pinning::Free => "not pinned".to_owned(),
        Pinning::Refused => "pinning refused".to_owned(),
    };
    let mut places: Vec<String> = pinnings.iter().map(place).collect();
    places.dedup();
    format!("{} of {cores} cores: {}", pinnings.len(), places.join(", "))
}

/// Shows how much of the budget of all audio queues is in use.
fn watch_audio(registry: &Registry, audio: Arc<Budget>) {
    registry.watch(Probe {
        name: "voxlane_audio_queue_bytes",
        labels: "".into(),
        help: "Bytes in the audio queues of all sessions.",
        value: Box::new(move || audio.used() as u64),
    });
}

/// A phrase without sound is shown only; the server works without. Only the first round's failures are told, not each try's.
fn note_phrases(round: u32, report: &phrases::Report) {
    match report {
        Ok(failed) if failed.is_empty() && round > 0 => tracing::info!("our own phrases can be spoken now"),
        _ if round > 0 => {}
        Ok(failed) => {
            for (phrase, language, fault) in failed {
                tracing::warn!(?phrase, language = language.code(), %fault, "a phrase could not be spoken");
            }
        }
        Err(fault) => tracing::warn!(%fault, "no phrase could be spoken"),
    }
}

fn shard_rules(config: &Config, asr_is_local: bool) -> Result<shard::Rules, StartFault> {
    let mut session = config.session.clone();
    (session.durability, session.resume) = (config.memory.durability, config.memory.resume);
    session.language = config.asr.language.as_deref().and_then(Lang::parse);
    // A transcript is of no use to a turn that has no time left to answer it: two thirds of it at most.
    session.asr = (session.turn * 2 / 3).min(if asr_is_local { limits::ASR_LOCAL } else { limits::ASR });
    let tls = match &config.listen.tls {
        Some((certificate, key)) => {
            Some(tls::server_config(certificate, key).map_err(|fault| StartFault::Other(fault.to_string()))?)
        }
        None => None,
    };
    Ok(shard::Rules {
        upgrade: upgrade::Rules { path: config.listen.path.clone().into(), is_lenient: config.listen.lenient },
        access: access(config)?,
        public: Some(config.listen.public.clone()).filter(|p| !p.is_empty()).map(Into::into),
        tls,
        tz_offset_min: Box::new(offset_min),
        connections: config.limits.connections,
        connections_per_address: config.limits.connections_per_address,
        sheds: config.limits.shed,
        drain: Duration::from_secs(config.limits.drain_s),
        pin: config.shards.pin,
        spin: Duration::from_micros(config.shards.spin_us),
        realtime: config.shards.realtime,
        engine: config.vad.engine,
        endpoint: config.vad.rules,
        session: Arc::new(session),
        ..shard::Rules::default()
    })
}

fn access(config: &Config) -> Result<Access, StartFault> {
    if !config.auth.token {
        return Ok(Access::Open);
    }
    let secret = match &config.auth.secret {
        Some(secret) => secret.clone(),
        None => state::secret(&config.state.dir).map_err(|error| StartFault::Other(error.to_string()))?,
    };
    let keys = Keys::new(vec![secret.into_bytes().into()], 0);
    let keys = keys.ok_or_else(|| StartFault::Other("auth.secret must have at least 16 characters".to_owned()))?;
    Ok(Access::Token { keys, allow: config.auth.allow.iter().map(|id| id.as_str().into()).collect() })
}

fn device_routes(
    config: &Config,
    rules: &Arc<Mutex<Arc<shard::Rules>>>,
    port: u16,
    languages: Arc<DeviceLanguages>,
) -> DeviceRoutes {
    let rules = rules.clone();
    DeviceRoutes {
        public: Some(config.listen.public.clone()).filter(|p| !p.is_empty()),
        port,
        is_tls: config.listen.tls.is_some(),
        path: config.listen.path.clone(),
        version: Version::V1,
        tz_offset_min: Box::new(offset_min),
        token: Box::new(move |check_in, now| rules.lock().access.issue(check_in, now)),
        remember: Box::new(move |device, language| languages.note(device, language)),
    }
}

/// Local time minus UTC, minutes, as the system's time zone has it then.
fn offset_min(at: UnixMs) -> i32 {
    let zone = jiff::tz::TimeZone::system();
    jiff::Timestamp::from_millisecond(at.0 as i64).map_or(0, |at| zone.to_offset(at).seconds() / 60)
}

fn size(workers: usize, about: &About) -> Size {
    match about.name {
        "openai" => on_demand(workers),
        "scripted" => on_demand(workers),
        _ if workers == 0 => Size { min: 1, max: LOCAL_THREADS },
        _ => on_demand(workers),
    }
}

fn on_demand(workers: usize) -> Size {
    Size { min: 1, max: if workers == 0 { limits::POOL_THREADS } else { workers } }
}

fn fixed(workers: usize, spare: usize) -> Size {
    let count = if workers == 0 { spare } else { workers };
    Size { min: count, max: count }
}

fn bind(name: &str, address: SocketAddr) -> Result<TcpListener, StartFault> {
    TcpListener::bind(address).map_err(|error| {
        let fault = crate::net::listener::ListenFault::new(address, error);
        StartFault::Address(format!("listen.{name}: {fault}"))
    })
}

fn local(listener: &TcpListener) -> Result<SocketAddr, StartFault> {
    listener.local_addr().map_err(|error| StartFault::Other(error.to_string()))
}

fn no_thread(error: std::io::Error) -> StartFault {
    StartFault::Other(format!("the system gives no thread: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Shards = Shards { count: 0, pin: true, leave_cores: 0, spin_us: 0, realtime: 0, lock_memory: false };

    fn refused(wish: Shards, cores: usize) -> String {
        shards_of(&wish, cores).unwrap_err().to_string()
    }

    #[test]
    fn shards_take_half_of_the_cores_or_what_is_left() {
        let of = |wish: Shards, cores| shards_of(&wish, cores).unwrap();
        assert_eq!((of(PLAIN, 1), of(PLAIN, 2), of(PLAIN, 8)), (1, 1, 4));
        assert_eq!(of(Shards { leave_cores: 6, ..PLAIN }, 8), 2);
        assert_eq!(of(Shards { count: 3, ..PLAIN }, 2), 3, "as asked for");
    }

    #[test]
    fn what_leaves_nobody_a_core_is_refused_with_the_cure() {
        assert!(refused(Shards { leave_cores: 2, ..PLAIN }, 2).contains("leave fewer"));
        assert!(refused(Shards { leave_cores: 1, pin: false, ..PLAIN }, 4).contains("shards.pin = true"));
        assert!(refused(Shards { spin_us: 50, count: 2, ..PLAIN }, 2).contains("shards.count lower"));
        assert!(refused(Shards { realtime: 1, ..PLAIN }, 1).contains("shards.count lower"));
    }
}
