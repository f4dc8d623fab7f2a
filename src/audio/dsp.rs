//! Small signal work on samples: bytes to samples, removal of direct current, loudness, gentle gain.

use crate::limits;

/// Why bytes are no PCM packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PcmFault {
    /// They end within a sample, or within a pair of stereo.
    Odd,
    /// There are more than fit a packet.
    Long,
}

/// Appends little-endian 16-bit samples to `pcm`, at most `samples_max`; two channels are folded to their mean. Any number of
/// channels but 2 is taken as 1.
pub fn read_pcm(bytes: &[u8], channels: u8, samples_max: usize, pcm: &mut Vec<i16>) -> Result<(), PcmFault> {
    let frame = if channels == 2 { 4 } else { 2 };
    if !bytes.len().is_multiple_of(frame) {
        return Err(PcmFault::Odd);
    }
    if bytes.len() / frame > samples_max || bytes.len() > limits::PACKET_BYTES {
        return Err(PcmFault::Long);
    }
    match frame {
        2 => pcm.extend(bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]]))),
        _ => pcm.extend(bytes.chunks_exact(4).map(|b| {
            let left = i32::from(i16::from_le_bytes([b[0], b[1]]));
            let right = i32::from(i16::from_le_bytes([b[2], b[3]]));
            ((left + right) / 2) as i16
        })),
    }
    Ok(())
}

/// The largest magnitude, 0 to 32,768.
pub fn peak(pcm: &[i16]) -> u16 {
    // Two signed extremes are found eight samples at a time; one unsigned is not.
    let (least, most) = pcm.iter().fold((0, 0), |(least, most): (i16, i16), s| (least.min(*s), most.max(*s)));
    least.unsigned_abs().max(most.unsigned_abs())
}

/// Mean square of the samples, in squared steps of 16 bits; 0 for none.
pub fn mean_square(pcm: &[i16]) -> f32 {
    sum_of_squares(pcm.len(), |n| f32::from(pcm[n])) / pcm.len().max(1) as f32
}

/// Mean square of the samples' pre-emphasised differences (`x[n] - 0.95 x[n-1]`), in squared steps of 16 bits; 0 for fewer
/// than two. Rumble and the low end of pink noise, whose energy wanders, count little; a voice's formants count.
pub fn bright_energy(pcm: &[i16]) -> f32 {
    let (before, after) = (&pcm[..pcm.len().saturating_sub(1)], &pcm[1.min(pcm.len())..]);
    let sum = sum_of_squares(after.len(), |n| f32::from(after[n]) - 0.95 * f32::from(before[n]));
    sum / pcm.len().max(1) as f32
}

/// The sum of `value(n)²` for n below `len`. Eight sums side by side: the compiler must not change the order of additions, and one
/// sum is a chain in which each waits for the one before.
fn sum_of_squares(len: usize, value: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [0.0; 8];
    let whole = len / 8 * 8;
    for n in (0..whole).step_by(8) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            let value = value(n + lane);
            *sum += value * value;
        }
    }
    let rest: f32 = (whole..len).map(|n| value(n) * value(n)).sum();
    sums.iter().sum::<f32>() + rest
}

/// Takes out direct current and rumble: a one-pole high-pass, -3 dB at 20 Hz for 16 kHz. Microphones of small boards have an
/// offset that a detector takes for energy.
#[derive(Clone, Copy, Debug, Default)]
pub struct DcBlock {
    mean: f32,
}

impl DcBlock {
    /// How much of the difference the mean follows per sample: 2π · 20 Hz / 16 kHz.
    const FOLLOW: f32 = 0.007_85;

    /// Filters in place.
    pub fn process(&mut self, pcm: &mut [i16]) {
        for sample in pcm {
            let value = f32::from(*sample);
            // The same as adding a part of the difference, but the next sample waits for two operations of it, not three.
            self.mean = self.mean * (1.0 - DcBlock::FOLLOW) + value * DcBlock::FOLLOW;
            // `as` saturates.
            *sample = (value - self.mean) as i16;
        }
    }
}

/// How loudness is corrected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GainRules {
    /// Multiplied by this; 1 changes nothing.
    Fixed(f32),
    /// A quiet voice is raised slowly towards [`Gain::TARGET_PEAK`], never by more than this factor; a loud one is left alone.
    Raise(f32),
}

impl Default for GainRules {
    /// Up to 12 dB: someone across the room becomes someone at the table, noise does not become a voice.
    fn default() -> GainRules {
        GainRules::Raise(4.0)
    }
}

/// Brings a voice to a useful level for recognisers, after the detector has judged (so loudness never changes a verdict).
#[derive(Clone, Copy, Debug)]
pub struct Gain {
    rules: GainRules,
    /// Recent peak of the voice, steps of 16 bits.
    voice_peak: f32,
    factor: f32,
}

impl Gain {
    /// Peak we raise a voice to: -9 dB of full scale.
    pub const TARGET_PEAK: f32 = 11_600.0;
    /// What the remembered peak keeps per window of 16 ms: halves in 1.8 s.
    const PEAK_KEEPS: f32 = 0.994;
    /// How much the factor may grow per packet: 0.2 dB.
    const RISE: f32 = 1.023;

    /// No voice heard yet.
    pub fn new(rules: GainRules) -> Gain {
        Gain { rules, voice_peak: 0.0, factor: 1.0 }
    }

    /// A window of 16 ms with this peak was heard.
    pub fn hear(&mut self, peak: u16, voiced: bool) {
        if voiced {
            self.voice_peak = (self.voice_peak * Gain::PEAK_KEEPS).max(f32::from(peak));
        }
    }

    /// Applies the gain to a packet, in place; the factor moves in a straight line across it, so that nothing clicks.
    pub fn process(&mut self, pcm: &mut [i16]) {
        let from = self.factor;
        self.factor = self.next_factor(pcm);
        if from == 1.0 && self.factor == 1.0 {
            return;
        }
        let step = (self.factor - from) / pcm.len().max(1) as f32;
        let mut factor = from;
        for sample in pcm {
            factor += step;
            *sample = (f32::from(*sample) * factor) as i16;
        }
    }

    fn next_factor(&self, pcm: &[i16]) -> f32 {
        let most = match self.rules {
            GainRules::Fixed(factor) => return factor.clamp(0.0, 64.0),
            GainRules::Raise(most) => most.clamp(1.0, 64.0),
        };
        if self.voice_peak == 0.0 {
            return self.factor;
        }
        let wanted = (Gain::TARGET_PEAK / self.voice_peak).clamp(1.0, most);
        // What would clip is turned down at once.
        let room = (32_000.0 / f32::from(peak(pcm).max(1))).max(1.0);
        wanted.min(self.factor * Gain::RISE).min(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::tests::signals::{energy, tone};

    #[test]
    fn bytes_to_samples_as_a_table() {
        for (bytes, channels, expected) in [
            (&[][..], 1, Ok(vec![])),
            (&[1, 0, 255, 255][..], 1, Ok(vec![1, -1])),
            (&[1, 0, 255, 127][..], 2, Ok(vec![16_384])),
            (&[0, 128, 0, 128][..], 2, Ok(vec![i16::MIN])),
            (&[1, 0, 2][..], 1, Err(PcmFault::Odd)),
            (&[1, 0][..], 2, Err(PcmFault::Odd)),
            (&[0; 10][..], 1, Err(PcmFault::Long)),
        ] {
            let mut pcm = Vec::new();
            assert_eq!(read_pcm(bytes, channels, 4, &mut pcm).map(|()| pcm), expected, "{bytes:?}");
        }
        let too_long = vec![0; limits::PACKET_BYTES + 2];
        assert_eq!(read_pcm(&too_long, 1, usize::MAX, &mut Vec::new()), Err(PcmFault::Long));
    }

    #[test]
    fn loudness_of_the_extremes() {
        assert_eq!((peak(&[]), bright_energy(&[]), bright_energy(&[9])), (0, 0.0, 0.0));
        assert_eq!((peak(&[i16::MIN, 5]), bright_energy(&[0, 100])), (32_768, 5_000.0));
        assert_eq!((mean_square(&[]), mean_square(&[i16::MIN])), (0.0, 1_073_741_824.0));
    }

    #[test]
    fn an_offset_goes_and_a_voice_stays() {
        let mut dc = DcBlock::default();
        let mut pcm: Vec<i16> = tone(16_000, 200.0, 0.2, 16_000).iter().map(|s| s + 3_000).collect();
        dc.process(&mut pcm);
        let settled = &pcm[4_000..];
        let mean = settled.iter().map(|s| f64::from(*s)).sum::<f64>() / settled.len() as f64;
        assert!(mean.abs() < 10.0, "mean {mean}");
        let ratio = energy(settled) / energy(&tone(16_000, 200.0, 0.2, 12_000));
        assert!((0.95..1.01).contains(&ratio), "{ratio}");
    }

    fn settled(rules: GainRules, level: f32) -> f64 {
        let mut gain = Gain::new(rules);
        let mut pcm = Vec::new();
        for _ in 0..200 {
            pcm = tone(16_000, 500.0, level, 960);
            for window in pcm.chunks(256) {
                gain.hear(peak(window), true);
            }
            gain.process(&mut pcm);
        }
        (energy(&pcm) / energy(&tone(16_000, 500.0, level, 960))).sqrt()
    }

    #[test]
    fn gain_as_a_table() {
        for (rules, level, factor) in [
            (GainRules::Raise(4.0), 0.05, 4.0),
            (GainRules::Raise(4.0), 0.2, 1.77),
            (GainRules::Raise(4.0), 0.5, 1.0),
            (GainRules::Fixed(1.0), 0.01, 1.0),
            (GainRules::Fixed(2.0), 0.1, 2.0),
        ] {
            let got = settled(rules, level);
            assert!((got / factor - 1.0).abs() < 0.03, "{rules:?} at {level}: {got}");
        }
    }

    #[test]
    fn noise_alone_is_never_raised_and_a_shout_does_not_clip() {
        let mut gain = Gain::new(GainRules::default());
        for _ in 0..500 {
            gain.hear(200, false);
        }
        let mut pcm = [100; 960];
        gain.process(&mut pcm);
        assert_eq!(pcm, [100; 960]);
        for _ in 0..200 {
            gain.hear(1_000, true);
            gain.process(&mut [1_000; 960]);
        }
        let mut shout = [i16::MAX; 960];
        gain.process(&mut shout);
        gain.process(&mut shout);
        assert!(gain.factor <= 1.0 + f32::EPSILON);
    }
}
