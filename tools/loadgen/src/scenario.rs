//! What a run does: how many devices, how they arrive, what they speak and how they behave. Read from a TOML file and from flags,
//! which override it; checked exactly as the server's configuration is, with file, line, column and what was probably meant.
//!
//! ```toml
//! [devices]
//! count = 200
//! arrival = "ramp"        # or "storm": all at once, or "herd": all at once, again and again
//! ramp_s = 10
//!
//! [mix]                   # weights, not shares: 9 to 1
//! talk = 9
//! barge_in = 1
//! ```

mod flags;
mod keys;

pub use flags::{FLAGS, Flag, flags_help};

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use voxlane::config::mistake::{Mistake, Mistakes, Place};
use voxlane::config::reader::Reader;

/// What a run does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Devices at most at a time.
    pub devices: u32,
    /// How they arrive.
    pub arrival: Arrival,
    /// From the first arrival to the end, ms; at the end turns that have begun are brought to their end.
    pub duration_ms: u64,
    /// What happens in the first so many ms is not counted, failures excepted.
    pub warmup_ms: u64,
    /// A silent device hangs up after so long and comes back a second later, ms; 0: it stays.
    #[serde(default)]
    pub stay_ms: u64,
    /// From the end of a reply's playout to the next utterance, ms.
    pub pause_ms: u64,
    /// Turns of a device; 0 is as many as fit.
    pub turns: u32,
    /// Who decides that an utterance is over.
    pub mode: Mode,
    /// Binary framing, 1 to 3.
    pub framing: u8,
    /// What the uplink is.
    pub codec: Codec,
    /// Whether each device checks in at `/xiaozhi/ota/` of the same address first, and uses the path and token it gets.
    pub checkin: bool,
    /// One behaviour of each device, drawn by weight.
    pub mix: Mix,
    /// Of every draw.
    pub seed: u64,
}

/// How devices arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// Evenly over so many ms.
    Ramp {
        /// From the first to the last.
        over_ms: u64,
    },
    /// All at the same instant, as after a power failure.
    Storm,
    /// All at the same instant, and all leave and come back every so many ms, as after a server that restarts.
    Herd {
        /// From one arrival to the next.
        period_ms: u64,
    },
}

/// Who decides that an utterance is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The server, by silence.
    Auto,
    /// The device, by its button.
    Manual,
    /// The server; the device sends while it plays, too.
    Realtime,
}

/// Encoding of the uplink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// Opus both ways.
    Opus,
    /// PCM16 both ways.
    Pcm,
}

/// Weights of behaviours; only their ratios matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    /// Talks, listens, pauses, talks again.
    pub talk: f64,
    /// Says hello and then nothing.
    pub idle: f64,
    /// Interrupts each reply by `abort` after a second of it.
    pub abort: f64,
    /// Interrupts each reply by speaking (declares echo cancellation).
    pub barge_in: f64,
    /// Says goodbye after each turn and connects again.
    pub reconnect: f64,
    /// Cuts the line in the middle of a reply and connects again.
    pub vanish: f64,
    /// Talks, and reads what comes at a tenth of the speed.
    pub slow_reader: f64,
    /// Talks, and never reads what comes.
    pub deaf: f64,
    /// Sends garbage, half frames, things out of order.
    pub rude: f64,
}

impl Default for Scenario {
    fn default() -> Scenario {
        Scenario::read(None, &[]).expect("the defaults are a scenario")
    }
}

impl Mix {
    /// Weights with their names.
    pub fn weights(&self) -> [(&'static str, f64); 9] {
        [
            ("talk", self.talk),
            ("idle", self.idle),
            ("abort", self.abort),
            ("barge_in", self.barge_in),
            ("reconnect", self.reconnect),
            ("vanish", self.vanish),
            ("slow_reader", self.slow_reader),
            ("deaf", self.deaf),
            ("rude", self.rude),
        ]
    }

    /// The behaviour at `share` (0 to below 1) of the way through all weights: its index in [`Mix::weights`].
    pub fn at(&self, share: f64) -> usize {
        let weights = self.weights();
        let mut left = share * weights.iter().map(|w| w.1).sum::<f64>();
        let found = weights.iter().position(|(_, weight)| {
            left -= weight;
            left < 0.0
        });
        found.unwrap_or_else(|| weights.iter().rposition(|w| w.1 > 0.0).unwrap_or(0))
    }
}

impl Scenario {
    /// From a file (its path and text) and flags as `(name, value)` without dashes. All mistakes at once.
    pub fn read(file: Option<(&Path, &str)>, flags: &[(String, String)]) -> Result<Scenario, Box<Mistakes>> {
        let text = file.map_or("", |f| f.1);
        let all = |list| Box::new(Mistakes { file: file.map(|(p, t)| (p.to_owned(), t.to_owned())), list });
        let table = toml::de::DeTable::parse(text).map_err(|error| {
            let place = Place::File(error.span().unwrap_or(0..0));
            all(vec![Mistake { place, what: error.message().to_owned(), help: None }])
        })?;
        let environment = flags::environment(flags).map_err(|mistake| all(vec![mistake]))?;
        let mut reader = Reader::new(Some(table.get_ref()), &environment);
        let scenario = keys::read(&mut reader);
        match reader.finish() {
            Ok(_) => Ok(scenario),
            Err(mut list) => {
                list.iter_mut().for_each(flags::rename);
                Err(all(list))
            }
        }
    }

    /// Like [`Scenario::read`], of a file that is still to be opened.
    pub fn load(path: Option<&Path>, flags: &[(String, String)]) -> Result<Scenario, Box<Mistakes>> {
        let Some(path) = path else { return Scenario::read(None, flags) };
        let text = std::fs::read_to_string(path).map_err(|error| {
            let what = format!("cannot read the scenario: {error}");
            let help = Some("tools/loadgen/scenarios holds examples".to_owned());
            Box::new(Mistakes { file: None, list: vec![Mistake { place: Place::Path(path.to_owned()), what, help }] })
        })?;
        Scenario::read(Some((path, &text)), flags)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = |ms: u64| ms as f64 / 1_000.0;
        write!(f, "{} devices, ", self.devices)?;
        match self.arrival {
            Arrival::Ramp { over_ms } => write!(f, "arriving over {} s", s(over_ms))?,
            Arrival::Storm => write!(f, "all at once")?,
            Arrival::Herd { period_ms } => write!(f, "all at once, again every {} s", s(period_ms))?,
        }
        write!(
            f,
            ", {} s, {}, framing {}, {}",
            s(self.duration_ms),
            self.mode.word(),
            self.framing,
            self.codec.word()
        )?;
        if self.stay_ms > 0 {
            write!(f, ", each time for {} s", s(self.stay_ms))?;
        }
        let used: Vec<String> =
            self.mix.weights().iter().filter(|w| w.1 > 0.0).map(|(name, weight)| format!("{name} {weight}")).collect();
        write!(f, ", {}", used.join(" : "))
    }
}

impl Mode {
    /// As on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Auto => "auto",
            Mode::Manual => "manual",
            Mode::Realtime => "realtime",
        }
    }
}

impl Codec {
    /// As on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Codec::Opus => "opus",
            Codec::Pcm => "pcm",
        }
    }
}

#[cfg(test)]
mod tests;
