//! What the device says: 16 kHz mono samples, with the true end of speech known to the sample.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Samples per second of the uplink.
pub const RATE: u32 = 16_000;

/// A Chinese sentence by a human voice: espeak-ng's Mandarin is not understood by recognisers. Source and licence stand in
/// `tests/data/README.md`.
const SAMPLE_ZH: &[u8] = include_bytes!("../../../tests/data/zh-aishell-BAC009S0724W0121.wav");
pub const SAMPLE_ZH_TEXT: &str = "广州市房地产中介协会分析";

/// An utterance, silence around it cut off.
pub struct Utterance {
    pub pcm: Vec<i16>,
}

impl Utterance {
    pub fn ms(&self) -> f64 {
        self.pcm.len() as f64 * 1_000.0 / f64::from(RATE)
    }

    /// Speaks `text` by espeak-ng.
    pub fn spoken(text: &str, lang: &str) -> Result<Utterance, String> {
        let (voice, speed) = if lang == "zh" { ("cmn-latn-pinyin", "130") } else { ("en-us", "150") };
        let mut child = Command::new("espeak-ng")
            .args(["-v", voice, "-s", speed, "--stdin", "--stdout"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("espeak-ng does not start ({e}); install it: apt-get install espeak-ng"))?;
        let mut stdin = child.stdin.take().ok_or("espeak-ng takes no text")?;
        stdin.write_all(text.replace("[[", "[").as_bytes()).map_err(|e| format!("espeak-ng: {e}"))?;
        drop(stdin);
        let output = child.wait_with_output().map_err(|e| format!("espeak-ng: {e}"))?;
        // The sizes in its header lie: 44 bytes, then 16-bit mono 22,050 Hz to the end.
        let sound = output.stdout.get(44..).filter(|s| !s.is_empty()).ok_or("espeak-ng said nothing")?;
        let pcm: Vec<i16> = sound.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        Ok(Utterance::trimmed(crate::codec::resample(&pcm, 22_050, RATE)?))
    }

    /// Reads a recording.
    pub fn recording(path: &Path) -> Result<Utterance, String> {
        let file = std::fs::File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Utterance::read(std::io::BufReader::new(file)).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// The built-in Chinese sentence.
    pub fn sample() -> Result<Utterance, String> {
        Utterance::read(SAMPLE_ZH)
    }

    fn read(source: impl std::io::Read) -> Result<Utterance, String> {
        let mut wav = hound::WavReader::new(source).map_err(|e| e.to_string())?;
        let spec = wav.spec();
        let samples: Vec<i16> = match (spec.sample_format, spec.bits_per_sample) {
            (hound::SampleFormat::Int, 16) => {
                wav.samples::<i16>().collect::<Result<_, _>>().map_err(|e| e.to_string())?
            }
            (hound::SampleFormat::Float, 32) => wav
                .samples::<f32>()
                .map(|s| s.map(|s| (s.clamp(-1.0, 1.0) * 32_767.0) as i16))
                .collect::<Result<_, _>>()
                .map_err(|e| e.to_string())?,
            (_, bits) => return Err(format!("16-bit or float samples are read, not {bits}-bit")),
        };
        let channels = usize::from(spec.channels.max(1));
        let mono: Vec<i16> = samples
            .chunks_exact(channels)
            .map(|frame| (frame.iter().map(|&s| i32::from(s)).sum::<i32>() / channels as i32) as i16)
            .collect();
        Ok(Utterance::trimmed(crate::codec::resample(&mono, spec.sample_rate, RATE)?))
    }

    /// Cuts what is quieter than -46 dB of full scale at both ends, in steps of 10 ms.
    fn trimmed(pcm: Vec<i16>) -> Utterance {
        const STEP: usize = RATE as usize / 100;
        let loud = |step: &[i16]| step.iter().any(|s| s.unsigned_abs() > 164);
        let steps: Vec<&[i16]> = pcm.chunks(STEP).collect();
        let first = steps.iter().position(|s| loud(s)).unwrap_or(0);
        let last = steps.iter().rposition(|s| loud(s)).map_or(0, |i| i + 1);
        let pcm = pcm[(first * STEP).min(pcm.len())..(last * STEP).min(pcm.len())].to_vec();
        Utterance { pcm }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_around_speech_is_cut_off() {
        let mut pcm = vec![0; 1_600];
        pcm.extend([5_000; 3_200]);
        pcm.extend([10; 1_600]);
        assert_eq!(Utterance::trimmed(pcm).pcm.len(), 3_200);
        assert_eq!(Utterance::trimmed(vec![0; 100]).pcm.len(), 0);
    }

    #[test]
    fn the_sample_is_there() {
        assert!(Utterance::sample().unwrap().ms() > 2_000.0);
    }
}
