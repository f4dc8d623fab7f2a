//! How the stand-ins behave: delays, rates and faults of each stage, and what a request meets by its dice.
//!
//! | Profile | Recognition | Language model | Voice | Faults |
//! |---|---|---|---|---|
//! | R1 | at once | at once, whole | at once, whole | none |
//! | R2 | 120 ms after the request | first token 220 ms, log-normal, sigma 0.3; then 60 tokens/s | 120 ms, then 4x real time | none |
//! | R3 | R2's median, p99 5 s | R2's median, p99 5 s | R2's median, p99 5 s | 2 % 5xx, 1 % never answered |
//!
//! A log-normal delay is `median * exp(sigma * z)` with `z` normal, so its p99 is `median * exp(2.326 * sigma)`: for the
//! language model of R2 442 ms. R3's sigmas are those that bring the p99 to 5 s.

use crate::dice::Dice;
use std::time::Duration;

/// The three services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Recognition, `/audio/transcriptions`.
    Asr,
    /// The language model, `/chat/completions`.
    Llm,
    /// The voice, `/audio/speech`.
    Tts,
}

impl Stage {
    /// All, in the order of a turn; the index of each is `stage as usize`.
    pub const ALL: [Stage; 3] = [Stage::Asr, Stage::Llm, Stage::Tts];
}

/// How one stage behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Manner {
    /// Median time from the end of the request to the first byte of the answer, ms.
    pub delay_ms: f64,
    /// Spread of that time: deviation of its logarithm; 0 is always the same.
    pub sigma: f64,
    /// How often what goes wrong.
    pub faults: Faults,
}

/// Probabilities, 0 to 1; their sum is at most 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// A status of 500, 502 or 503 instead of an answer.
    pub error: f64,
    /// No answer at all.
    pub hang: f64,
    /// The answer stops in the middle, and the connection stays open.
    pub stall: f64,
    /// The answer comes a few bytes at a time.
    pub drip: f64,
    /// The answer is none: broken JSON, a page instead of sound, a broken chunk.
    pub malformed: f64,
    /// The connection is closed in the middle of the answer.
    pub cut: f64,
}

/// What may go wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Fault {
    Error,
    Hang,
    Stall,
    Drip,
    Malformed,
    Cut,
}

impl Fault {
    /// All; the index of each is `fault as usize`.
    pub const ALL: [Fault; 6] = [Fault::Error, Fault::Hang, Fault::Stall, Fault::Drip, Fault::Malformed, Fault::Cut];

    /// Its key in scripts and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::Error => "error",
            Fault::Hang => "hang",
            Fault::Stall => "stall",
            Fault::Drip => "drip",
            Fault::Malformed => "malformed",
            Fault::Cut => "cut",
        }
    }
}

impl Faults {
    /// The probability of one.
    pub fn of(&self, fault: Fault) -> f64 {
        match fault {
            Fault::Error => self.error,
            Fault::Hang => self.hang,
            Fault::Stall => self.stall,
            Fault::Drip => self.drip,
            Fault::Malformed => self.malformed,
            Fault::Cut => self.cut,
        }
    }

    /// The probability of any.
    pub fn sum(&self) -> f64 {
        Fault::ALL.iter().map(|&fault| self.of(fault)).sum()
    }
}

/// How all stages behave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Recognition, language model, voice, as in [`Stage::ALL`].
    pub manners: [Manner; 3],
    /// Tokens per second after the first; 0: all at once.
    pub tokens_s: f64,
    /// Tokens in an event of the language model's stream.
    pub event_tokens: u32,
    /// Audio sent per time, 1 being real time; 0: all at once.
    pub speed: f64,
    /// Characters that the voice says in a second: English, about 15.
    pub chars_s: f64,
    /// Speech in a reply, ms.
    pub speech_ms: u32,
    /// Sentences in a reply.
    pub sentences: u32,
    /// After this long a request that hangs or stalls loses its connection, s.
    pub hang_s: f64,
    /// Time between the bytes of an answer that drips, ms.
    pub drip_ms: f64,
}

/// Longest delay that chance may bring, s: beyond every deadline of a voice server.
const DELAY_S_MAX: f64 = 60.0;
/// Quantile of the normal distribution at 0.99.
const Z99: f64 = 2.326_348;
/// What R3 has at p99, ms.
const HOSTILE_P99_MS: f64 = 5_000.0;

impl Profile {
    /// No delay: what is left is the server's own.
    pub const R1: Profile = Profile {
        manners: [Manner { delay_ms: 0.0, sigma: 0.0, faults: Faults::NONE }; 3],
        tokens_s: 0.0,
        event_tokens: 1,
        speed: 0.0,
        chars_s: 15.0,
        speech_ms: 5_000,
        sentences: 3,
        hang_s: 60.0,
        drip_ms: 250.0,
    };

    /// As good services are.
    pub const R2: Profile = Profile {
        manners: [
            Manner { delay_ms: 120.0, sigma: 0.0, faults: Faults::NONE },
            Manner { delay_ms: 220.0, sigma: 0.3, faults: Faults::NONE },
            Manner { delay_ms: 120.0, sigma: 0.0, faults: Faults::NONE },
        ],
        tokens_s: 60.0,
        speed: 4.0,
        ..Profile::R1
    };

    /// As services are on a bad day.
    pub fn r3() -> Profile {
        let manners = Profile::R2.manners.map(|manner| Manner {
            sigma: (HOSTILE_P99_MS / manner.delay_ms).ln() / Z99,
            faults: Faults { error: 0.02, hang: 0.01, ..Faults::NONE },
            ..manner
        });
        Profile { manners, ..Profile::R2 }
    }

    /// `R1`, `R2` or `R3`, in any case.
    pub fn named(name: &str) -> Option<Profile> {
        match name.to_ascii_uppercase().as_str() {
            "R1" => Some(Profile::R1),
            "R2" => Some(Profile::R2),
            "R3" => Some(Profile::r3()),
            _ => None,
        }
    }

    /// What the `number`th request at a stage meets. The same for the same seed.
    pub fn plan(&self, seed: u64, stage: Stage, number: u64) -> Plan {
        let mut dice = Dice::of(seed, stage, number);
        let manner = &self.manners[stage as usize];
        let mut chance = dice.unit();
        let fault = Fault::ALL.into_iter().find(|&fault| {
            chance -= manner.faults.of(fault);
            chance < 0.0
        });
        let delay_s = (manner.delay_ms / 1_000.0 * (manner.sigma * dice.normal()).exp()).min(DELAY_S_MAX);
        Plan { stage, fault, delay: Duration::from_secs_f64(delay_s), dice }
    }
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Faults = Faults { error: 0.0, hang: 0.0, stall: 0.0, drip: 0.0, malformed: 0.0, cut: 0.0 };
}

/// What one request meets.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where.
    pub stage: Stage,
    /// What goes wrong, if anything.
    pub fault: Option<Fault>,
    /// From the end of the request to the first byte of the answer.
    pub delay: Duration,
    /// For everything else.
    pub dice: Dice,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plans(profile: Profile, seed: u64, stage: Stage) -> Vec<(Option<Fault>, Duration)> {
        (0..20_000).map(|n| profile.plan(seed, stage, n)).map(|plan| (plan.fault, plan.delay)).collect()
    }

    fn quantile_ms(plans: &[(Option<Fault>, Duration)], of: f64) -> f64 {
        let mut delays: Vec<_> = plans.iter().map(|plan| plan.1.as_secs_f64() * 1_000.0).collect();
        delays.sort_by(f64::total_cmp);
        delays[(delays.len() as f64 * of) as usize]
    }

    #[test]
    fn the_profiles_are_those_of_the_table() {
        assert!(plans(Profile::R1, 1, Stage::Llm).iter().all(|plan| *plan == (None, Duration::ZERO)));
        let asr = plans(Profile::R2, 1, Stage::Asr);
        assert!(asr.iter().all(|plan| *plan == (None, Duration::from_millis(120))));
        let llm = plans(Profile::R2, 1, Stage::Llm);
        let (median, late) = (quantile_ms(&llm, 0.5), quantile_ms(&llm, 0.99));
        assert!((215.0..225.0).contains(&median) && (425.0..460.0).contains(&late), "{median} {late}");
        for stage in Stage::ALL {
            let plans = plans(Profile::r3(), 1, stage);
            let share = |fault| plans.iter().filter(|plan| plan.0 == Some(fault)).count() as f64 / 20_000.0;
            let (error, hang) = (share(Fault::Error), share(Fault::Hang));
            assert!((0.017..0.023).contains(&error) && (0.008..0.012).contains(&hang), "{error} {hang}");
            let late = quantile_ms(&plans, 0.99);
            assert!((4_500.0..5_600.0).contains(&late), "{stage:?}: {late}");
        }
    }

    #[test]
    fn the_seed_decides_everything() {
        assert_eq!(plans(Profile::r3(), 5, Stage::Tts), plans(Profile::r3(), 5, Stage::Tts));
        assert_ne!(plans(Profile::r3(), 5, Stage::Tts), plans(Profile::r3(), 6, Stage::Tts));
    }

    #[test]
    fn each_fault_comes_as_often_as_it_should() {
        let faults = Faults { error: 0.05, hang: 0.1, stall: 0.15, drip: 0.2, malformed: 0.25, cut: 0.25 };
        let profile = Profile { manners: [Manner { faults, ..Manner::default() }; 3], ..Profile::R1 };
        let plans = plans(profile, 3, Stage::Llm);
        for fault in Fault::ALL {
            let share = plans.iter().filter(|plan| plan.0 == Some(fault)).count() as f64 / 20_000.0;
            assert!((share - faults.of(fault)).abs() < 0.015, "{fault:?}: {share}");
        }
        assert!(plans.iter().all(|plan| plan.0.is_some()));
    }
}
