//! Cutting and levelling, pure: samples in, samples out. "Quiet" is judged by peaks in steps of 10 ms.

use super::RATE;

/// Samples of a step.
const STEP: usize = RATE as usize / 100;
/// Peaks of a synthetic voice below this are silence once the level is normal: -46 dB of full scale.
pub const QUIET: u16 = 164;
/// The same for a recording: a room breathes on when the person has ended.
pub const QUIET_ROOM: u16 = 1_000;
/// Root mean square of speech at the normal level: -23 dB of full scale, as broadcasters agree on and phones come close to.
const LEVEL: f64 = 32_768.0 * 0.0708;
/// No peak may be above this after levelling.
const PEAK: f64 = 30_000.0;

/// Speech at the normal level, with the silence before and behind it cut off: its last step holds the last loud sample, and
/// it ends there. `quiet`: peaks up to this are silence.
pub fn levelled(pcm: &[i16], quiet: u16) -> Vec<i16> {
    let gain = gain(pcm);
    let loud: Vec<i16> = pcm.iter().map(|&s| (f64::from(s) * gain).round() as i16).collect();
    let is_loud = |s: &i16| s.unsigned_abs() > quiet;
    let Some(first) = loud.iter().position(is_loud) else { return Vec::new() };
    let last = loud.iter().rposition(is_loud).unwrap_or(first);
    loud[first..=last].to_vec()
}

/// What makes the mean of the steps that hold speech normal, without clipping.
fn gain(pcm: &[i16]) -> f64 {
    let peak = pcm.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
    if peak == 0 {
        return 1.0;
    }
    let power = |step: &[i16]| step.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / step.len() as f64;
    let steps: Vec<f64> = pcm.chunks(STEP).map(power).collect();
    let top = steps.iter().copied().fold(0.0, f64::max);
    // Steps within 30 dB of the loudest: speech, not the pauses in it.
    let spoken: Vec<f64> = steps.into_iter().filter(|p| *p > top / 1_000.0).collect();
    let rms = (spoken.iter().sum::<f64>() / spoken.len() as f64).sqrt();
    (LEVEL / rms).min(PEAK / f64::from(peak))
}

/// The first `from..to` seconds that end in a pause: cut in the middle of the quietest tenth of a second there.
pub fn until_pause(pcm: &[i16], from_s: f64, to_s: f64) -> &[i16] {
    let at = |s: f64| (s * f64::from(RATE)) as usize;
    let (from, to, span) = (at(from_s), at(to_s).min(pcm.len()), RATE as usize / 10);
    let power = |i: &usize| pcm[*i..*i + span].iter().map(|&s| i64::from(s).pow(2)).sum::<i64>();
    let quietest = (from..to.saturating_sub(span)).step_by(STEP).min_by_key(power);
    quietest.map_or(pcm, |i| &pcm[..i + span / 2])
}

/// The longest stretch without a loud sample inside, ms.
#[cfg(test)]
pub fn longest_pause_ms(pcm: &[i16]) -> f64 {
    let quiet = |step: &[i16]| step.iter().all(|s| s.unsigned_abs() <= QUIET);
    let (mut longest, mut run) = (0, 0);
    for step in pcm.chunks(STEP) {
        run = if quiet(step) { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    f64::from(longest) * 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_around_speech_is_cut_to_the_sample() {
        let mut pcm = vec![3; 1_234];
        pcm.extend((0..3_201).map(|i| if i % 2 == 0 { 8_000 } else { -8_000 }));
        pcm.extend([3; 777]);
        let cut = levelled(&pcm, QUIET);
        assert_eq!(cut.len(), 3_201);
    }

    #[test]
    fn loud_and_soft_speech_come_out_alike() {
        let tone = |peak: f64| (0..16_000).map(|i| (peak * (f64::from(i) * 0.3).sin()) as i16).collect::<Vec<_>>();
        for peak in [500.0, 8_000.0, 32_000.0] {
            let out = levelled(&tone(peak), QUIET);
            let rms = (out.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / out.len() as f64).sqrt();
            assert!((rms / LEVEL - 1.0).abs() < 0.02, "{peak}: {rms}");
        }
    }

    #[test]
    fn nothing_and_silence_stay_nothing() {
        assert!(levelled(&[], QUIET).is_empty());
        assert!(levelled(&[0; 500], QUIET).is_empty());
    }

    #[test]
    fn a_long_recording_is_cut_in_its_quietest_place() {
        let mut pcm = vec![9_000; 64_000];
        pcm[40_000..42_000].fill(0);
        let cut = until_pause(&pcm, 2.0, 3.5);
        assert!((40_000..42_000).contains(&cut.len()), "{}", cut.len());
        assert_eq!(until_pause(&pcm[..100], 2.0, 3.5).len(), 100);
    }
}
