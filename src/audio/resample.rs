//! From one sample rate to another, for streams: mono in pieces of any length, out what is ready.
//!
//! rubato's FFT resampler works in fixed chunks; this gathers pieces into chunks, cuts off its delay at the front and gives
//! back the tail at the end, so that `n` samples in are `n · to / from` samples out, in time with the input.

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler as _};

/// Lowest and highest rate that is resampled, samples per second.
pub const RATES: std::ops::RangeInclusive<u32> = 8_000..=48_000;
/// The chunk we aim at, samples of input: short, as its length is delay (16 ms at 16 kHz).
const CHUNK_SAMPLES: usize = 256;
/// Rates are rounded to a multiple of this, Hz. Two rates without a large common divisor would need an FFT of their full
/// length, a megabyte and a second of delay; a step of 25 bounds a chunk to 1,920 samples and is at most 0.16 % off, which nobody
/// hears. All rates in use (11,025, 22,050 …) are multiples already.
const RATE_STEP: u32 = 25;

/// The rate is outside [`RATES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateFault(pub u32);

impl std::fmt::Display for RateFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} samples per second; {} to {} can be resampled", self.0, RATES.start(), RATES.end())
    }
}

impl std::error::Error for RateFault {}

/// Changes a stream's sample rate. Where both rates are the same it is a copy and holds nothing.
pub struct Resampler {
    from: u32,
    to: u32,
    chunks: Option<Box<Chunks>>,
}

impl Resampler {
    /// A resampler between two rates of 8 to 48 kHz.
    pub fn new(from: u32, to: u32) -> Result<Resampler, RateFault> {
        for rate in [from, to] {
            if !RATES.contains(&rate) {
                return Err(RateFault(rate));
            }
        }
        let (round_from, round_to) = (rounded(from), rounded(to));
        let chunks = if round_from == round_to { None } else { Some(Box::new(Chunks::new(round_from, round_to)?)) };
        Ok(Resampler { from, to, chunks })
    }

    /// Samples per second of the input.
    pub fn from(&self) -> u32 {
        self.from
    }

    /// Samples per second of the output.
    pub fn to(&self) -> u32 {
        self.to
    }

    /// Takes a piece of any length and appends what is ready to `out`. Allocates only if `out` must grow.
    pub fn process(&mut self, pcm: &[i16], out: &mut Vec<i16>) {
        match &mut self.chunks {
            None => out.extend_from_slice(pcm),
            Some(chunks) => chunks.process(pcm, out),
        }
    }

    /// The stream is over: appends the rest to `out` and is ready for the next stream.
    pub fn flush(&mut self, out: &mut Vec<i16>) {
        if let Some(chunks) = &mut self.chunks {
            chunks.flush(out);
        }
    }

    /// Forgets the stream.
    pub fn reset(&mut self) {
        if let Some(chunks) = &mut self.chunks {
            chunks.reset();
        }
    }
}

fn rounded(rate: u32) -> usize {
    ((rate + RATE_STEP / 2) / RATE_STEP * RATE_STEP) as usize
}

/// The FFT resampler with its chunk being filled, its output, and the count that keeps both in time.
struct Chunks {
    fft: Fft<f32>,
    input: Vec<f32>,
    filled: usize,
    output: Vec<f32>,
    /// Output samples of the delay that are still to be left out.
    skip: usize,
    /// Samples taken and given since the start of the stream.
    taken: u64,
    given: u64,
    from: u64,
    to: u64,
}

impl Chunks {
    fn new(from: usize, to: usize) -> Result<Chunks, RateFault> {
        let fft = Fft::new(from, to, CHUNK_SAMPLES, 1, FixedSync::Both).map_err(|_| RateFault(from as u32))?;
        let input = vec![0.0; fft.input_frames_max()];
        let output = vec![0.0; fft.output_frames_max()];
        let skip = fft.output_delay();
        Ok(Chunks { fft, input, filled: 0, output, skip, taken: 0, given: 0, from: from as u64, to: to as u64 })
    }

    fn process(&mut self, mut pcm: &[i16], out: &mut Vec<i16>) {
        self.taken += pcm.len() as u64;
        while !pcm.is_empty() {
            let take = (self.input.len() - self.filled).min(pcm.len());
            let (now, later) = pcm.split_at(take);
            for (slot, sample) in self.input[self.filled..].iter_mut().zip(now) {
                *slot = f32::from(*sample);
            }
            self.filled += take;
            pcm = later;
            if self.filled == self.input.len() {
                self.run(out, u64::MAX);
            }
        }
    }

    fn flush(&mut self, out: &mut Vec<i16>) {
        let owed = (self.taken * self.to).div_ceil(self.from);
        while self.given < owed {
            self.input[self.filled..].fill(0.0);
            self.run(out, owed - self.given);
        }
        self.reset();
    }

    /// Resamples the chunk and appends at most `limit` samples.
    fn run(&mut self, out: &mut Vec<i16>, limit: u64) {
        self.filled = 0;
        let (frames_in, frames_out) = (self.input.len(), self.output.len());
        let input = SequentialSlice::new(&self.input, 1, frames_in);
        let output = SequentialSlice::new_mut(&mut self.output, 1, frames_out);
        let (Ok(input), Ok(mut output)) = (input, output) else { return };
        // The lengths are the resampler's own, so it has nothing to refuse; if it did, silence is the safe answer.
        let made = match self.fft.process_into_buffer(&input, &mut output, None) {
            Ok((_, made)) => made,
            Err(_) => {
                self.output.fill(0.0);
                frames_out
            }
        };
        let skip = self.skip.min(made);
        self.skip -= skip;
        let give = ((made - skip) as u64).min(limit) as usize;
        self.given += give as u64;
        // `as` saturates: a peak beyond full scale is clipped.
        out.extend(self.output[skip..skip + give].iter().map(|s| s.round() as i16));
    }

    fn reset(&mut self) {
        self.fft.reset();
        self.filled = 0;
        self.skip = self.fft.output_delay();
        self.taken = 0;
        self.given = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::tests::signals::{Lcg, energy, tone};

    const RATES_IN_USE: [u32; 10] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 47_999, 48_000];

    fn resample(from: u32, to: u32, pcm: &[i16], piece: usize) -> Vec<i16> {
        let mut resampler = Resampler::new(from, to).unwrap();
        let mut out = Vec::new();
        for piece in pcm.chunks(piece) {
            resampler.process(piece, &mut out);
        }
        resampler.flush(&mut out);
        out
    }

    #[test]
    fn a_tone_keeps_pitch_level_place_and_length_between_all_rates() {
        for from in RATES_IN_USE {
            for to in [16_000, 24_000] {
                let out = resample(from, to, &tone(from, 500.0, 0.5, from as usize / 2), 777);
                let wanted = tone(to, 500.0, 0.5, to as usize / 2);
                let difference = (out.len() as i64 - wanted.len() as i64).abs();
                assert!(difference <= i64::from(to) / 2 / 600 + 2, "{from} -> {to}: {} samples", out.len());
                let range = to as usize / 8..to as usize / 4;
                let error: Vec<i16> = range.clone().map(|n| out[n].saturating_sub(wanted[n])).collect();
                let ratio = energy(&error) / energy(&wanted[range]);
                // A chunk of odd length delays by half a sample of input, which we do not undo.
                let half_sample = 0.5 / f64::from(from) * 500.0 * std::f64::consts::TAU;
                let allowed = half_sample.powi(2) * 1.1 + 1e-4;
                assert!(ratio < allowed, "{from} -> {to}: error energy {ratio}");
            }
        }
    }

    #[test]
    fn how_the_stream_is_cut_changes_nothing() {
        let pcm = tone(44_100, 700.0, 0.4, 30_000);
        let whole = resample(44_100, 24_000, &pcm, pcm.len());
        let mut lcg = Lcg::new(1);
        let mut resampler = Resampler::new(44_100, 24_000).unwrap();
        let mut out = Vec::new();
        let mut rest = &pcm[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at((lcg.below(900) as usize).min(rest.len()));
            resampler.process(piece, &mut out);
            rest = later;
        }
        resampler.flush(&mut out);
        assert_eq!(out, whole);
        assert_eq!(whole.len(), (30_000_usize * 24_000).div_ceil(44_100));
    }

    #[test]
    fn the_second_stream_is_like_the_first() {
        let pcm = tone(22_050, 700.0, 0.4, 5_000);
        let mut resampler = Resampler::new(22_050, 16_000).unwrap();
        let mut run = || {
            let mut out = Vec::new();
            resampler.process(&pcm, &mut out);
            resampler.flush(&mut out);
            out
        };
        assert_eq!(run(), run());
    }

    #[test]
    fn equal_rates_are_a_copy_and_hold_nothing() {
        let resampler = Resampler::new(16_000, 16_000).unwrap();
        assert!(resampler.chunks.is_none());
        assert_eq!(resample(16_000, 16_000, &[1, -2, 3], 2), [1, -2, 3]);
    }

    #[test]
    fn a_chunk_is_bounded_whatever_the_rates() {
        for from in (8_000..=48_000).step_by(997) {
            let resampler = Resampler::new(from, 16_000).unwrap();
            let samples = resampler.chunks.map_or(0, |c| c.input.len());
            assert!(samples <= 1_920 + CHUNK_SAMPLES, "{from}: {samples}");
        }
        assert_eq!(Resampler::new(7_999, 16_000).err(), Some(RateFault(7_999)));
        assert_eq!(Resampler::new(16_000, 96_000).err(), Some(RateFault(96_000)));
    }

    #[test]
    fn an_empty_stream_is_empty_and_a_loud_one_is_clipped() {
        assert!(resample(48_000, 16_000, &[], 1).is_empty());
        let square: Vec<i16> = (0..4_800).map(|n| if n / 24 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        assert_eq!(resample(48_000, 16_000, &square, 100).len(), 1_600);
    }
}
