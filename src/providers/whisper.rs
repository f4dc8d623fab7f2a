//! Whisper on our own cores, by whisper.cpp: recognition without a network.
//!
//! One model for all workers, one state for each, one thread a state: threads of one recognition that share a core spin on each
//! other (11 s for what takes 0.4). The encoder sees a context fitted to the utterance, which makes it seven times cheaper; with
//! so short a context timestamps must stay on, or the text repeats itself to the end. Silence and noise always become words, so
//! an improbable text is taken for none. The figures behind each setting stand beside it.

pub(super) mod simplified;

use super::{About, Call, Recogniser};
use crate::audio::block::Speech;
use crate::format::Lang;
use crate::job::{Recognise, Transcript};
use crate::limits;
use crate::resilience::fault::{Cause, Fault};
use crate::time::{Clock, Instant};
use std::collections::HashMap;
use std::ffi::c_void;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use whisper_rs::{FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperError, WhisperState};

/// Samples per second it hears.
const RATE: usize = 16_000;
/// Shorter than this invents words (measured: 200 ms does, 300 ms does not).
const SHORTEST: usize = RATE * 3 / 10;
/// Mean log-probability of a text's tokens below which it is none. Noise that does not repeat itself reaches -1.29; of single words
/// by espeak-ng "Goodbye" has -1.04, "Lights off" -1.10. What comes here has passed the voice detector, so this is the second
/// sieve and errs on the side of the speaker.
const LEAST_CONFIDENCE: f32 = -1.2;
/// Encoder positions (320 samples each) beyond the utterance: +128 costs 0.36 s where +64 loses 2 % more words.
const CONTEXT_MARGIN: usize = 128;
const CONTEXT_WIDE: usize = 384;
const CONTEXT_MAX: usize = 1_500;

/// A model in memory (93 MB for base q8_0), shared by all workers.
pub struct WhisperModel {
    context: WhisperContext,
    name: String,
}

impl WhisperModel {
    /// Verifies and loads a file; about a second.
    ///
    /// # Errors
    /// `Refused` by [`super::model::verify`], or `Internal` when whisper.cpp does not take it after all.
    pub fn load(path: &Path) -> Result<Arc<WhisperModel>, Fault> {
        static QUIET: Once = Once::new();
        QUIET.call_once(whisper_rs::install_logging_hooks);
        let name = super::model::verify(path)?;
        let mut parameters = WhisperContextParameters::default();
        // On a CPU flash attention is a third slower.
        parameters.use_gpu(false).flash_attn(false);
        let context = WhisperContext::new_with_params(path, parameters).map_err(|error| {
            Fault::new(Cause::Internal, format!("whisper.cpp does not load {}: {error}", path.display()))
        })?;
        Ok(Arc::new(WhisperModel { context, name }))
    }

    /// A recogniser of its own for one thread (36 MB, 30 more at its first use). It has been warmed: its first call is as fast
    /// as the others.
    pub fn recogniser(self: &Arc<WhisperModel>, clock: Clock) -> Result<Whisper, Fault> {
        let state = self.context.create_state();
        let state =
            state.map_err(|error| Fault::new(Cause::Internal, format!("whisper.cpp gives no state: {error}")))?;
        let mut whisper = Whisper { model: self.clone(), state, settings: HashMap::new(), samples: Vec::new() };
        // One second of silence: memory is touched, and the language detector later sees a short context.
        let idle = AtomicBool::new(false);
        let watch = Watch { is_cancelled: &idle, clock, deadline: Instant::NEVER };
        whisper.samples.resize(RATE, 0.0);
        whisper
            .run(Lang::EN, CONTEXT_MARGIN + RATE / 320, &watch)
            .map_err(|_| Fault::new(Cause::Internal, "the model does not run"))?;
        Ok(whisper)
    }

    /// Who it is.
    pub fn about(&self, language: Option<Lang>) -> About {
        About { name: "whisper", detail: self.name.clone(), language }
    }
}

/// One worker's recogniser.
pub struct Whisper {
    model: Arc<WhisperModel>,
    state: WhisperState,
    /// Made once per language: setting a language leaks a few bytes each time.
    settings: HashMap<Lang, FullParams<'static, 'static>>,
    samples: Vec<f32>,
}

impl Recogniser for Whisper {
    fn recognise(&mut self, speech: Speech<'_>, how: &Recognise, call: &Call) -> Result<Transcript, Fault> {
        let pcm = speech.samples();
        if pcm.len() < SHORTEST {
            return Ok(nothing());
        }
        self.samples.clear();
        let heard = &pcm[..pcm.len().min(RATE * limits::UTTERANCE.as_secs() as usize)];
        self.samples.extend(heard.iter().map(|&s| f32::from(s) / 32_768.0));
        let watch = Watch { is_cancelled: call.cancel.flag(), clock: call.clock, deadline: call.deadline };
        watch.check()?;
        let language = match how.language {
            Some(language) => language,
            None => self.detect(how.hint)?,
        };
        watch.check()?;
        let context = (self.samples.len().div_ceil(320) + CONTEXT_MARGIN).next_multiple_of(64).min(CONTEXT_MAX);
        self.run(language, context, &watch)?;
        let mut said = self.read();
        if said.is_loop(self.token_limit()) {
            // A wider context breaks most loops; what loops again is not worth a third try.
            self.run(language, (context + CONTEXT_WIDE).min(CONTEXT_MAX), &watch)?;
            said = self.read();
            if said.is_loop(self.token_limit()) {
                return Ok(nothing());
            }
        }
        if said.confidence < LEAST_CONFIDENCE || said.is_babble() {
            return Ok(nothing());
        }
        let text =
            if language == Lang::ZH { simplified::simplify(said.text.trim()) } else { said.text.trim().to_owned() };
        Ok(Transcript { text, language: Some(language), confidence: Some(said.confidence) })
    }
}

impl Whisper {
    /// Finds the language out: one more pass of the encoder. The device's language, English and Chinese are given the benefit of
    /// the doubt: a short word could be of many.
    fn detect(&mut self, hint: Lang) -> Result<Lang, Fault> {
        if !self.model.context.is_multilingual() {
            return Ok(Lang::EN);
        }
        let failed = |error: WhisperError| Fault::new(Cause::Internal, format!("language detection: {error}"));
        self.state.pcm_to_mel(&self.samples, 1).map_err(failed)?;
        let (_, likely) = self.state.lang_detect(0, 1).map_err(failed)?;
        let best = likely
            .iter()
            .enumerate()
            .filter_map(|(id, p)| Some((Lang::parse(whisper_rs::get_lang_str(id as i32)?)?, *p)))
            .map(|(language, p)| (language, p * favour(language, hint)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        Ok(best.map_or(hint, |(language, _)| language))
    }

    fn run(&mut self, language: Lang, context: usize, watch: &Watch<'_>) -> Result<(), Fault> {
        let tokens = self.token_limit();
        let mut settings = self.settings.entry(language).or_insert_with(|| settings(language)).clone();
        settings.set_audio_ctx(context as i32);
        settings.set_max_tokens(tokens as i32);
        // SAFETY: `asked` has the signature that whisper.cpp calls, and `watch` outlives `full`, the only call that uses both:
        // they are set in this copy of the settings, which ends with this function. The crate's safe variant is unsound (0.16).
        unsafe {
            settings.set_abort_callback(Some(asked));
            settings.set_abort_callback_user_data(std::ptr::from_ref(watch) as *mut c_void);
        }
        match self.state.full(settings, &self.samples) {
            Ok(()) => watch.check(),
            // An abort comes as one of several codes; the watch knows.
            Err(error) => watch.check().and(Err(Fault::new(Cause::Internal, format!("whisper.cpp: {error}")))),
        }
    }

    /// Speech has 4.2 tokens a second; beyond this it is a loop.
    fn token_limit(&self) -> usize {
        16 + 6 * self.samples.len() / RATE
    }

    fn read(&self) -> Said {
        let end = self.model.context.token_eot();
        let (mut text, mut tokens, mut sum) = (String::new(), 0, 0.0);
        for segment in self.state.as_iter() {
            text.push_str(&segment.to_str_lossy().unwrap_or_default());
            for token in (0..segment.n_tokens()).filter_map(|i| segment.get_token(i)) {
                if token.token_id() < end {
                    tokens += 1;
                    sum += token.token_data().plog;
                }
            }
        }
        Said { text, tokens, confidence: if tokens == 0 { f32::NEG_INFINITY } else { sum / tokens as f32 } }
    }
}

/// What one pass gave.
struct Said {
    text: String,
    tokens: usize,
    confidence: f32,
}

impl Said {
    /// It ran to its limit, and most of it is repetition.
    fn is_loop(&self, limit: usize) -> bool {
        if self.tokens + 4 < limit {
            return false;
        }
        let (distinct, all) = self.trigrams();
        distinct * 2 < all
    }

    /// It says one thing over and over, as hum and silence are written down. "Stop! Stop! Stop!" is speech, a fourth is not.
    fn is_babble(&self) -> bool {
        let (distinct, all) = self.trigrams();
        all > 0 && distinct * 3 <= all
    }

    /// Different ones, and all. A text of two characters has none of either, and is no babble.
    fn trigrams(&self) -> (usize, usize) {
        let characters: Vec<char> = self.text.chars().filter(|c| c.is_alphanumeric()).collect();
        let all: Vec<&[char]> = characters.windows(3).collect();
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        (distinct.len(), all.len())
    }
}

/// When a recognition is to end.
struct Watch<'a> {
    is_cancelled: &'a AtomicBool,
    clock: Clock,
    deadline: Instant,
}

impl Watch<'_> {
    fn check(&self) -> Result<(), Fault> {
        if self.is_cancelled.load(Ordering::SeqCst) {
            return Err(Fault::cancelled());
        }
        if self.clock.now() >= self.deadline {
            return Err(Fault::timeout("recognition"));
        }
        Ok(())
    }
}

/// Asked by whisper.cpp after the encoder and after each token whether to give up.
unsafe extern "C" fn asked(watch: *mut c_void) -> bool {
    // SAFETY: the pointer is the `Watch` that `run` borrows for as long as whisper.cpp works.
    let watch = unsafe { &*(watch as *const Watch<'_>) };
    watch.check().is_err()
}

fn settings(language: Lang) -> FullParams<'static, 'static> {
    let mut s = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
    let code = whisper_rs::get_lang_id(language.code()).and_then(whisper_rs::get_lang_str).unwrap_or("en");
    s.set_language(Some(code));
    s.set_n_threads(1);
    s.set_translate(false);
    s.set_no_context(true);
    s.set_single_segment(true);
    s.set_no_timestamps(false);
    s.set_temperature(0.0);
    s.set_temperature_inc(0.0);
    s.set_suppress_blank(true);
    s.set_suppress_nst(true);
    s.set_print_special(false);
    s.set_print_progress(false);
    s.set_print_realtime(false);
    s.set_print_timestamps(false);
    s
}

fn favour(language: Lang, hint: Lang) -> f32 {
    if language == hint {
        4.0
    } else if [Lang::EN, Lang::ZH].contains(&language) {
        2.0
    } else {
        1.0
    }
}

fn nothing() -> Transcript {
    Transcript { text: String::new(), language: None, confidence: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetition_to_the_limit_is_a_loop() {
        let said = |text: &str, tokens| Said { text: text.to_owned(), tokens, confidence: -0.1 };
        assert!(said(&"Stop! ".repeat(30), 40).is_loop(40));
        assert!(!said(&"Stop! ".repeat(3), 9).is_loop(40), "not at its limit");
        let long =
            "it was the first great sorrow of his life and not so much the loss of the cotton itself but the dreams";
        assert!(!said(long, 40).is_loop(40));
    }

    #[test]
    fn one_thing_over_and_over_is_babble() {
        let babble = |text: &str| Said { text: text.to_owned(), tokens: 9, confidence: -0.8 }.is_babble();
        assert!(babble("我你你你你你你你你你你你") && babble("你不想要我你不想要我你不想要我你不想要我"));
        for speech in ["Stop! Stop! Stop!", "Yes.", "No", "嗯", "好的好的", "play music"] {
            assert!(!babble(speech), "{speech}");
        }
    }

    #[test]
    fn a_watch_knows_why() {
        let flag = AtomicBool::new(false);
        let clock = Clock::start();
        let watch = |deadline| Watch { is_cancelled: &flag, clock, deadline };
        assert_eq!(watch(Instant::NEVER).check(), Ok(()));
        assert_eq!(watch(Instant::ZERO).check().unwrap_err().cause, Cause::Timeout);
        flag.store(true, Ordering::SeqCst);
        assert_eq!(watch(Instant::NEVER).check().unwrap_err().cause, Cause::Cancelled);
    }
}
