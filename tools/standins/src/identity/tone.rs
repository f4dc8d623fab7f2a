//! A number as seven short tones, and a listener that finds it at any offset.

use super::crc;
use std::f32::consts::TAU;
use std::sync::OnceLock;

/// Length of a code, ms: short enough to lie whole within what a server keeps from before the onset of speech.
pub const TONE_MS: u32 = LEAD_MS + SYMBOL_MS * SYMBOLS as u32;
/// Rates at which codes can be made and heard, samples per second.
pub const RATES: [u32; 4] = [8_000, 16_000, 24_000, 48_000];

const SYMBOLS: usize = 7;
const SYMBOL_MS: u32 = 40;
/// A tone that is none of them goes before, as codecs spoil the first moments after discontinuous transmission.
const LEAD_MS: u32 = 40;
const LEAD_HZ: f32 = 800.0;
/// Bits of check: three of the seven tones.
const CHECK_BITS: u32 = 12;
const CHECK_MASK: u32 = (1 << CHECK_BITS) - 1;
/// Sixteen tones, this far apart: four times what windows of 40 ms tell apart, and whole cycles in a hop.
const STEP_HZ: f32 = 100.0;
const LOWEST_HZ: f32 = 1_300.0;
const TONES: usize = 16;
/// Peak as a part of full scale: 30 dB below. libopus at complexity 0 and 24 kHz spoils 8 codes in a hundred at this level, a
/// third of them at 12 dB below; at complexity 5 one or two.
const LEVEL: f32 = 0.03;
/// Fade at both ends, ms: no click.
const FADE_MS: u32 = 4;

/// The listener's own rate, samples per second, and its hop: a quarter of a tone, so that some window misses at most 5 ms of it.
const HEARD_RATE: u32 = 8_000;
const HOP: usize = 80;
const HOPS: usize = SYMBOL_MS as usize / 10;
/// A window counts when this part of its energy is in one tone, and a code when its windows have this much on average. Half of
/// one tone and half of the next give 0.25 each, a window 10 ms off the beat 0.56. A codec that wakes from discontinuous
/// transmission at 16 kbit/s leaves a tone or two little more than the first.
const SHARE_MIN: f32 = 0.15;
const SHARE_MEAN_MIN: f32 = 0.42;
/// Mean square below which a window is silence: 60 dB below full scale.
const ENERGY_MIN: f32 = 32.0 * 32.0;

/// The code of `id` at `rate` samples per second (one of [`RATES`]).
///
/// # Panics
/// When `rate` is not one of them.
pub fn tone(id: u16, rate: u32) -> Vec<i16> {
    assert!(RATES.contains(&rate), "no tone code at {rate} samples per second");
    let fade = (rate * FADE_MS / 1_000) as f32;
    let samples = (rate * TONE_MS / 1_000) as usize;
    let symbols = symbols(id);
    let lead = (rate * LEAD_MS / 1_000) as usize;
    let mut phase = 0.0_f32;
    (0..samples)
        .map(|n| {
            let symbol = n.checked_sub(lead).map(|n| symbols[n * SYMBOLS / (samples - lead)]);
            let hz = symbol.map_or(LEAD_HZ, |symbol| LOWEST_HZ + STEP_HZ * f32::from(symbol));
            phase = (phase + TAU * hz / rate as f32) % TAU;
            let edge = (n.min(samples - 1 - n) as f32 / fade).min(1.0);
            (phase.sin() * edge * LEVEL * 32_767.0) as i16
        })
        .collect()
}

/// The first code in `pcm`, if there is one. `None` also for a rate that is not one of [`RATES`].
pub fn heard(pcm: &[i16], rate: u32) -> Option<u16> {
    Listener::new(rate)?.hear(pcm)
}

/// Four bits each: the number, then its check.
pub(crate) fn symbols(id: u16) -> [u8; SYMBOLS] {
    let bits = u32::from(id) << CHECK_BITS | check(id);
    std::array::from_fn(|n| (bits >> (4 * (SYMBOLS - 1 - n)) & 15) as u8)
}

/// Begun so that no steady tone is a code: a test tries all.
fn check(id: u16) -> u32 {
    u32::from(crc(id, CHECK_BITS, 0x80F, 0x5A3))
}

/// Listens to a stream of samples. About 1 KiB; no allocation after the first in the process.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Samples of the stream for one of ours.
    factor: u32,
    /// The sample that is being put together: its sum, and how many are in it.
    sum: i32,
    summed: u32,
    hop: [f32; HOP],
    hop_len: usize,
    /// Correlation with each tone in the last hops, a ring.
    parts: [Part; HOPS],
    /// Which tone each of the last windows holds, a ring.
    found: [Window; SYMBOLS * HOPS],
    hops: usize,
}

/// The strongest tone of 40 ms, and its part of the energy there.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    symbol: u8,
    share: f32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    re: [f32; TONES],
    im: [f32; TONES],
    energy: f32,
}

impl Listener {
    /// For a stream at `rate` samples per second; `None` when that is not one of [`RATES`].
    pub fn new(rate: u32) -> Option<Listener> {
        RATES.contains(&rate).then(|| Listener {
            factor: rate / HEARD_RATE,
            sum: 0,
            summed: 0,
            hop: [0.0; HOP],
            hop_len: 0,
            parts: [Part::default(); HOPS],
            found: [Window::default(); SYMBOLS * HOPS],
            hops: 0,
        })
    }

    /// Takes more of the stream, in pieces of any length; returns the first code that is complete in it. The rest of `pcm` is
    /// not listened to then: after a code nothing new comes for a while.
    pub fn hear(&mut self, pcm: &[i16]) -> Option<u16> {
        for &sample in pcm {
            self.sum += i32::from(sample);
            self.summed += 1;
            if self.summed < self.factor {
                continue;
            }
            self.hop[self.hop_len] = self.sum as f32 / self.factor as f32;
            (self.sum, self.summed) = (0, 0);
            self.hop_len += 1;
            if self.hop_len < HOP {
                continue;
            }
            self.hop_len = 0;
            if let Some(id) = self.end_hop() {
                return Some(id);
            }
        }
        None
    }

    fn end_hop(&mut self) -> Option<u16> {
        let now = self.hops;
        self.hops += 1;
        self.parts[now % HOPS] = correlate(&self.hop);
        let window = self.window();
        self.found[now % self.found.len()] = window;
        if window.share < SHARE_MIN {
            return None;
        }
        let (mut bits, mut shares) = (0, 0.0);
        for nth in 1..=SYMBOLS {
            // The ring holds exactly one code, so counting on from the newest window comes to the oldest first.
            let Window { symbol, share } = self.found[(now + HOPS * nth) % self.found.len()];
            if share < SHARE_MIN {
                return None;
            }
            bits = bits << 4 | u32::from(symbol);
            shares += share;
        }
        let is_code =
            shares >= SHARE_MEAN_MIN * SYMBOLS as f32 && check((bits >> CHECK_BITS) as u16) == bits & CHECK_MASK;
        is_code.then_some((bits >> CHECK_BITS) as u16)
    }

    /// The tone of the last 40 ms.
    fn window(&self) -> Window {
        let energy: f32 = self.parts.iter().map(|part| part.energy).sum();
        if energy < ENERGY_MIN * (HOP * HOPS) as f32 {
            return Window::default();
        }
        let (mut symbol, mut most) = (0, 0.0);
        for tone in 0..TONES {
            let re: f32 = self.parts.iter().map(|part| part.re[tone]).sum();
            let im: f32 = self.parts.iter().map(|part| part.im[tone]).sum();
            let power = re * re + im * im;
            if power > most {
                (symbol, most) = (tone as u8, power);
            }
        }
        // A lone sine of peak A gives A²N²/4 here, and A²N/2 as energy.
        Window { symbol, share: 2.0 * most / ((HOP * HOPS) as f32 * energy) }
    }
}

fn correlate(hop: &[f32; HOP]) -> Part {
    static WAVES: OnceLock<[([f32; TONES], [f32; TONES]); HOP]> = OnceLock::new();
    let waves = WAVES.get_or_init(|| {
        let angle = |n: usize, tone: usize| {
            let hz = LOWEST_HZ + STEP_HZ * tone as f32;
            TAU * (hz * n as f32 / HEARD_RATE as f32).fract()
        };
        std::array::from_fn(|n| {
            (std::array::from_fn(|tone| angle(n, tone).cos()), std::array::from_fn(|tone| angle(n, tone).sin()))
        })
    });
    let mut part = Part::default();
    for (sample, (cos, sin)) in hop.iter().zip(waves) {
        for tone in 0..TONES {
            part.re[tone] += sample * cos[tone];
            part.im[tone] += sample * sin[tone];
        }
        part.energy += sample * sample;
    }
    part
}
