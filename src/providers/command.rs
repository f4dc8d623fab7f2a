//! Any program as the voice: text on its standard input, WAV or raw samples on its standard output. One process per sentence,
//! with a deadline, killed with its children when the reply is taken back.

use super::child::{self, Leash, Program};
use super::wav::WavStream;
use super::{About, Call, Fingerprint, Flow, Sound, Synthesiser};
use crate::job::Speak;
use crate::resilience::fault::{Cause, Fault};

/// Which program, and what it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandConfig {
    /// Program and arguments; no shell reads them.
    pub argv: Vec<String>,
    /// Samples per second of raw 16-bit little-endian mono output; `None` for WAV.
    pub raw_rate: Option<u32>,
}

/// The provider.
#[derive(Clone, Debug)]
pub struct SpeechCommand {
    config: CommandConfig,
}

impl SpeechCommand {
    /// A speaker of that configuration.
    ///
    /// # Errors
    /// `Refused` when no program is named.
    pub fn new(config: CommandConfig) -> Result<SpeechCommand, Fault> {
        match config.argv.first() {
            Some(name) if !name.is_empty() => Ok(SpeechCommand { config }),
            _ => Err(Fault::new(Cause::Refused, "tts.command names no program")),
        }
    }

    /// Who it is.
    pub fn about(&self) -> About {
        About { name: "command", detail: self.config.argv[0].clone(), language: None }
    }
}

impl Synthesiser for SpeechCommand {
    fn speak(&mut self, what: &Speak, call: &Call, on_audio: &mut dyn FnMut(Sound<'_>) -> Flow) -> Result<(), Fault> {
        let argv: Vec<&str> = self.config.argv.iter().map(String::as_str).collect();
        let program =
            Program { name: argv[0], arguments: &argv[1..], cure: "install it, or name another in tts.command" };
        let mut text = what.text.replace('\0', " ");
        text.push('\n'); // programs that read lines wait for it
        let leash = Leash::new(call);
        let (mut wav, mut raw) = (WavStream::default(), RawStream::default());
        child::run(
            &program,
            text.as_bytes(),
            call,
            &leash,
            what.first_byte_by,
            &mut |bytes| match self.config.raw_rate {
                Some(rate) => raw.push(bytes, rate, on_audio),
                None => wav.push(bytes, on_audio),
            },
        )?;
        wav.finish()
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        let sound = format!("{:?}", self.config.raw_rate);
        let parts = ["command", sound.as_str()].into_iter().chain(self.config.argv.iter().map(String::as_str));
        Some(Fingerprint::new(&parts.collect::<Vec<_>>()))
    }
}

/// Raw samples in pieces of any length.
#[derive(Default)]
struct RawStream {
    odd: Option<u8>,
    samples: Vec<i16>,
}

impl RawStream {
    fn push(&mut self, bytes: &[u8], rate: u32, on_audio: &mut dyn FnMut(Sound<'_>) -> Flow) -> Flow {
        let mut bytes = bytes;
        self.samples.clear();
        if let (Some(low), Some((&high, rest))) = (self.odd, bytes.split_first()) {
            self.samples.push(i16::from_le_bytes([low, high]));
            (self.odd, bytes) = (None, rest);
        }
        let pairs = bytes.chunks_exact(2);
        self.odd = pairs.remainder().first().copied().or(self.odd);
        self.samples.extend(pairs.map(|b| i16::from_le_bytes([b[0], b[1]])));
        if self.samples.is_empty() {
            return Flow::Continue;
        }
        on_audio(Sound { rate, pcm: &self.samples, packet: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Lang, ReplyFormat};
    use crate::job::Cancel;
    use crate::time::{Clock, Duration};

    fn speak(argv: &[&str], raw_rate: Option<u32>, text: &str) -> Result<(Vec<i16>, u32), Fault> {
        let clock = Clock::start();
        let deadline = clock.now() + Duration::from_secs(10);
        let call = Call { clock, deadline, cancel: Cancel::new(), ticket: Default::default() };
        let format = ReplyFormat::DEFAULT;
        let what = Speak { sentence: 0, text: text.to_owned(), language: Lang::EN, format, first_byte_by: deadline };
        let argv = argv.iter().map(|a| a.to_string()).collect();
        let (mut heard, mut rate) = (Vec::new(), 0);
        SpeechCommand::new(CommandConfig { argv, raw_rate })?.speak(&what, &call, &mut |sound| {
            heard.extend_from_slice(sound.pcm);
            rate = sound.rate;
            Flow::Continue
        })?;
        Ok((heard, rate))
    }

    #[test]
    fn raw_samples_are_taken_as_they_are() {
        let (heard, rate) = speak(&["cat"], Some(16_000), "abc").unwrap();
        assert_eq!(heard, [i16::from_le_bytes(*b"ab"), i16::from_le_bytes(*b"c\n")]);
        assert_eq!(rate, 16_000);
    }

    #[test]
    fn wav_is_read() {
        let (heard, rate) = speak(&["espeak-ng", "--stdin", "--stdout"], None, "Good morning.").unwrap();
        assert!(heard.len() > 10_000 && rate == 22_050);
    }

    #[test]
    fn text_is_no_argument_and_no_shell_reads_it() {
        let (heard, _) = speak(&["cat"], Some(8_000), "$(echo x); --help").unwrap();
        let bytes: Vec<u8> = heard.iter().flat_map(|s| s.to_le_bytes()).collect();
        assert_eq!(bytes, b"$(echo x); --help\n");
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        assert_eq!(speak(&[], None, "x").unwrap_err().cause, Cause::Refused);
        assert_eq!(speak(&["cat"], None, "no sound").unwrap_err().cause, Cause::Malformed);
        assert_eq!(speak(&["false"], None, "x").unwrap_err().cause, Cause::Unavailable);
    }
}
