//! Devices by the thousand: a thread for each core given, each with its own Poll and its own devices; nothing is shared while they
//! run but counters, and once a second a board of each thread, for the screen.
//!
//! Everything happens on a fixed schedule: a packet is due when its last sample would have been spoken, however late the one
//! before was, and times count from when things were due. So a slow server cannot slow down what is asked of it.

mod checkin;
mod conduct;
pub mod device;
mod fleet;
mod glance;
pub mod judge;
mod line;
mod parting;
pub mod tally;
pub mod target;
pub mod threads;
pub mod trust;
mod waiting;
pub mod watch;
pub mod wire;

pub use glance::{Glance, Phases};
pub use target::Target;
pub use trust::Trust;
pub use waiting::TICK_US_MAX;
pub use watch::Watch;

use crate::outcome::{Outcome, Own, SCHEMA};
use crate::scenario::{Arrival, Codec, Scenario};
use crate::voices::{self, PACKET, Utterance};
use device::Behaviour;
use fleet::Fleet;
use glance::Boards;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};
use tally::{Count, Tally, Time};
use threads::Sample;

/// Of a core: above it the load tool does not believe its own clock.
pub const OWN_CPU_MAX: f64 = 0.80;
/// What was due so late, p99 in ms, was not done on schedule.
pub const SEND_LAG_MAX_MS: f64 = 5.0;
/// Descriptors beside those of the devices.
const FILES_SPARE: u64 = 64;

/// An utterance as it goes over this run's wire.
pub struct Said {
    /// Opus, or PCM of the same length.
    pub packets: Vec<Box<[u8]>>,
    /// See [`Utterance::speech_end_ms`].
    pub speech_end_ms: f64,
}

/// Everything a run needs, made once and shared by its threads.
pub struct Plan {
    /// Where to.
    pub target: Target,
    /// What.
    pub scenario: Scenario,
    /// What is said.
    pub utterances: Vec<Said>,
    /// What is sent between.
    pub room: Vec<Box<[u8]>>,
    /// Threads that drive devices.
    pub threads: u32,
    /// How often a thread looks at what came, µs, at most [`TICK_US_MAX`]; 0: woken by each arrival.
    pub tick_us: u32,
    /// A name for the report.
    pub label: String,
    /// At the end of its time the run stops at once, whoever is in the middle of a turn.
    pub is_cut_short: bool,
}

/// Counters for those who look on, and the request to stop.
#[derive(Debug, Default)]
pub struct Live {
    /// Connected now.
    pub devices: AtomicU32,
    /// Done.
    pub turns: AtomicU64,
    /// Seen.
    pub failures: AtomicU64,
    boards: Boards,
    stop: AtomicBool,
}

impl Live {
    /// Asks the run to end at once with what it has.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }
}

impl Plan {
    /// Encodes what will be said.
    pub fn new(target: Target, scenario: Scenario, voices: &[Utterance], label: String) -> Result<Plan, String> {
        let is_pcm = scenario.codec == Codec::Pcm;
        let said = |u: &Utterance| Said {
            packets: if is_pcm { raw(&u.pcm) } else { u.packets.clone() },
            speech_end_ms: u.speech_end_ms,
        };
        let room = voices::room().repeat(6);
        let room = if is_pcm { raw(&room) } else { voices::packets(&room).map_err(|e| format!("encoder: {e:?}"))? };
        if voices.is_empty() {
            return Err("there are no voices".to_owned());
        }
        Ok(Plan {
            target,
            utterances: voices.iter().map(said).collect(),
            room,
            threads: 1,
            tick_us: 0,
            label,
            scenario,
            is_cut_short: false,
        })
    }

    /// A device's number as it goes over this run's wire.
    fn tone(&self, id: u16) -> Vec<Box<[u8]>> {
        match self.scenario.codec {
            Codec::Pcm => raw(&voices::tone_pcm(id)),
            Codec::Opus => voices::tone_packets(id).unwrap_or_default(),
        }
    }

    /// How a device behaves: drawn by weight, the same at each run with the same seed.
    fn behaviour(&self, index: u32) -> Behaviour {
        let mut x = (u64::from(index) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ self.scenario.seed;
        x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let share = ((x ^ (x >> 32)) >> 11) as f64 / (1_u64 << 53) as f64;
        Behaviour::of(self.scenario.mix.at(share))
    }

    /// When a device connects first.
    fn arrival_ns(&self, index: u32) -> u64 {
        match self.scenario.arrival {
            Arrival::Ramp { over_ms } => {
                over_ms * 1_000_000 * u64::from(index) / u64::from(self.scenario.devices.max(1))
            }
            Arrival::Storm | Arrival::Herd { .. } => 0,
        }
    }

    /// Runs it. `on_second` is told how it goes, once in each.
    pub fn run(&self, watch: &mut Watch, live: &Live, on_second: &mut dyn FnMut(&Glance)) -> Result<Outcome, String> {
        live.boards.clear();
        allow_files(u64::from(self.scenario.devices) + FILES_SPARE)?;
        let started_unix_ms =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        let started = Instant::now();
        let warm = Duration::from_millis(self.scenario.warmup_ms);
        let threads = self.threads.max(1);
        let drive = |first| -> std::io::Result<(Tally, f64)> {
            let tally = Fleet::new(self, live, started, first, threads)?.run()?;
            Ok((tally, thread_cpu_s() / started.elapsed().as_secs_f64().max(1e-9)))
        };
        let (tallies, own) = std::thread::scope(|scope| {
            let drivers: Vec<_> = (0..threads).map(|first| scope.spawn(move || drive(first))).collect();
            let mut own = Vec::new();
            let mut second = 0;
            let mut before = Sample::take(std::process::id());
            while !drivers.iter().all(|d| d.is_finished()) {
                let next = started + Duration::from_secs(u64::from(second) + 1);
                while Instant::now() < next && !drivers.iter().all(|d| d.is_finished()) {
                    std::thread::sleep(next.saturating_duration_since(Instant::now()).min(Duration::from_millis(50)));
                }
                if Instant::now() < next {
                    break;
                }
                watch.second(started.elapsed() >= warm);
                let now = Sample::take(std::process::id());
                let own_cores = before.as_ref().zip(now.as_ref()).map_or(0.0, |(b, n)| n.since(b).cores);
                own.push(own_cores);
                before = now;
                second += 1;
                on_second(&self.glance(second, own_cores, watch, live));
            }
            let tallies: Vec<_> = drivers.into_iter().map(|d| d.join().expect("a driver does not panic")).collect();
            (tallies, own)
        });
        let mut all = Tally::default();
        let mut cpu: f64 = 0.0;
        for done in tallies {
            let (tally, share) = done.map_err(|e| format!("the devices cannot be driven: {e}"))?;
            all.merge(tally);
            cpu = cpu.max(share);
        }
        let took = started.elapsed();
        let mut outcome = Outcome {
            schema: SCHEMA,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            label: self.label.clone(),
            target: self.target.url(),
            started_unix_ms,
            took_ms: took.as_millis() as u64,
            scenario: self.scenario.clone(),
            unmeasured: distrust(cpu, all.percentile(Time::SendLag, 99.0)),
            interrupted: live.is_stopped(),
            own: Own {
                threads,
                tick_us: self.tick_us,
                cpu,
                rss: Sample::take(std::process::id()).map_or(0, |s| s.since(&s).rss),
            },
            server: watch.finish(),
            ..Outcome::default()
        };
        let span_s = (took.as_secs_f64() - warm.as_secs_f64()).max(0.001);
        debug_assert!(all.counted(Count::Turns) < u64::MAX);
        all.write(&mut outcome, span_s);
        outcome.shares.insert("own_cpu".to_owned(), cpu);
        watch.write(&mut outcome, &own);
        if outcome.unmeasured.is_some() {
            outcome.times.retain(|name, _| name == "send_lag");
            outcome.shares.retain(|name, _| !name.ends_with("late"));
            // Whether a tail was cut is a matter of when its packets came, by a clock that is not to be believed.
            let cut = outcome.failures.remove("tail_cut").map_or(0, |failures| failures.count);
            outcome.counts.remove("tail_cut");
            outcome.counts.entry("errors".to_owned()).and_modify(|errors| *errors -= cut as f64);
        }
        Ok(outcome)
    }
}

impl Plan {
    fn glance(&self, second: u32, own_cores: f64, watch: &Watch, live: &Live) -> Glance {
        let mut glance = Glance {
            second,
            duration_ms: self.scenario.duration_ms,
            warmup_ms: self.scenario.warmup_ms,
            devices: self.scenario.devices,
            own_cores,
            ..Glance::default()
        };
        live.boards.read(&mut glance);
        watch.glance(&mut glance);
        glance
    }
}

/// Why latencies of such a run are not to be believed.
fn distrust(cpu: f64, send_lag_p99: Option<f64>) -> Option<String> {
    if cpu > OWN_CPU_MAX {
        return Some(format!(
            "the load tool used {:.0} % of its core, more than {:.0}",
            cpu * 100.0,
            OWN_CPU_MAX * 100.0
        ));
    }
    let lag = send_lag_p99.filter(|ms| *ms > SEND_LAG_MAX_MS)?;
    Some(format!("the load tool itself was {lag:.1} ms late (p99), more than {SEND_LAG_MAX_MS}"))
}

/// Samples as packets.
fn raw(pcm: &[i16]) -> Vec<Box<[u8]>> {
    let packet = |chunk: &[i16]| {
        let mut bytes: Vec<u8> = chunk.iter().flat_map(|s| s.to_le_bytes()).collect();
        bytes.resize(2 * PACKET, 0);
        bytes.into()
    };
    pcm.chunks(PACKET).map(packet).collect()
}

/// CPU seconds of the calling thread.
fn thread_cpu_s() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value of ours that lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Raises the bound on descriptors as far as allowed, or says the number that is needed.
fn allow_files(needed: u64) -> Result<(), String> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a value of ours that lives through the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 || limit.rlim_cur >= needed {
        return Ok(());
    }
    let wanted = libc::rlimit { rlim_cur: needed, rlim_max: limit.rlim_max.max(needed) };
    let within = libc::rlimit { rlim_cur: needed.min(limit.rlim_max), rlim_max: limit.rlim_max };
    for try_it in [wanted, within] {
        // SAFETY: as above.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &try_it) } == 0 && try_it.rlim_cur >= needed {
            return Ok(());
        }
    }
    Err(format!("{needed} file descriptors are needed, {} are allowed: ulimit -n {needed}", limit.rlim_max))
}

/// Voices as the engine takes them.
pub fn utterances(voices: &voices::Voices) -> Result<Vec<Utterance>, String> {
    voices.speeches.iter().map(|s| Utterance::of(s).map_err(|e| format!("encoder: {e:?}"))).collect()
}

#[cfg(test)]
mod tests;
