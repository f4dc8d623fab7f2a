//! `voxlane check`: what is in force and where it comes from, secrets masked; then each provider is tried once, with timings:
//! the voice says a sentence, the recogniser hears it, the model answers it.

use super::providers::{self, Providers};
use super::serve;
use crate::audio::block::Speech;
use crate::audio::resample::Resampler;
use crate::cli::exit;
use crate::config::{Config, Known, Mistakes, Origin};
use crate::format::{Codec, Lang, ReplyFormat};
use crate::job::{Cancel, Converse, Recognise, Role, Said, Speak};
use crate::providers::{About, Call, Flow, LanguageModel, Synthesiser};
use crate::resilience::fault::{Cause, Fault};
use crate::shard::privilege;
use crate::time::{Clock, Duration};
use crate::workers::chain::Spec;
use std::path::Path;

/// What is said to the providers.
const SENTENCE: &str = "Hello, what time is it?";
/// How long each may take; the first recognition loads the model.
const PATIENCE: Duration = Duration::from_secs(30);
/// What recognisers hear, samples per second.
const HEARD_RATE: u32 = 16_000;

/// Explains and tries.
pub fn run(path: Option<&Path>) -> u8 {
    let loaded = match serve::load(path) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let text = path.and_then(|p| std::fs::read_to_string(p).ok()).unwrap_or_default();
    match path {
        Some(path) => println!("configuration: {}", path.display()),
        None => println!("configuration: embedded defaults (no file was given)"),
    }
    explain(&loaded.keys, &text);
    try_privileges(&loaded.config);
    let clock = Clock::start();
    match providers::of(&loaded.config, clock) {
        Ok(providers) => try_all(&providers, clock),
        Err(fault) => {
            println!("\nproviders");
            serve::refuse(&fault)
        }
    }
}

/// Whether the system grants what `[shards]` asks of it. Tried on a thread that ends, and on this short-lived process.
fn try_privileges(config: &Config) {
    let priority = config.shards.realtime;
    if priority > 0 {
        match std::thread::spawn(move || privilege::real_time(priority)).join() {
            Ok(Err(refusal)) => println!("\n{refusal}"),
            _ => println!("\nshards.realtime: granted"),
        }
    }
    if config.shards.lock_memory {
        match privilege::lock_memory() {
            Ok(()) => println!("\nshards.lock_memory: granted"),
            Err(refusal) => println!("\n{refusal}"),
        }
    }
}

/// Every key by section; those that are not the default say where they come from.
fn explain(keys: &[Known], text: &str) {
    let mut section = "";
    for known in keys {
        if known.section != section {
            section = known.section;
            println!("\n[{section}]");
        }
        let origin = match &known.origin {
            Origin::Default => String::new(),
            Origin::File(span) => format!("   <- line {}", Mistakes::line_column(text, span.start).0),
            Origin::Variable(name) => format!("   <- {name}"),
        };
        println!("{} = {}{origin}", known.key, shortened(&known.value));
    }
}

fn shortened(value: &str) -> String {
    const MOST: usize = 90;
    match value.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

fn try_all(providers: &Providers, clock: Clock) -> u8 {
    println!("\nproviders");
    let call = || Call { clock, deadline: clock.now() + PATIENCE, cancel: Cancel::new(), ticket: Default::default() };
    let mut all_fine = true;
    let mut say = |stage: &str, who: &About, begin, result: Result<String, Fault>| {
        let ms = clock.now().since(begin).as_millis();
        match result {
            Ok(text) => println!("  {stage:4} {}: {}\n       ok in {ms} ms: {text}", who.name, who.detail),
            Err(fault) => {
                all_fine = false;
                println!("  {stage:4} {}: {}\n       FAILED after {ms} ms: {fault}", who.name, who.detail);
            }
        }
    };
    // What the first voice that speaks has said is what recognisers hear.
    let mut pcm = Vec::new();
    for tts in &providers.tts {
        let begin = clock.now();
        let mut spoken = Vec::new();
        say("tts", &tts.about, begin, speak(tts, &call(), &mut spoken));
        pcm = if pcm.is_empty() { spoken } else { pcm };
    }
    for asr in &providers.asr {
        let begin = clock.now();
        let mut loaded = (asr.factory)(0);
        if loaded.is_ok() && asr.about.name == "whisper" {
            println!("       (the speech model was loaded in {} ms)", clock.now().since(begin).as_millis());
        }
        let begin = clock.now();
        let how = Recognise { language: asr.about.language, hint: Lang::EN };
        let heard = match &mut loaded {
            Ok(asr) => asr
                .recognise(Speech::Samples(&pcm), &how, &call())
                .map(|transcript| format!("heard {:?}", transcript.text)),
            Err(fault) => Err(fault.clone()),
        };
        say("asr", &asr.about, begin, heard);
    }
    for llm in providers.llm.iter().filter(|llm| llm.rung.is_service()) {
        let begin = clock.now();
        say("llm", &llm.about, begin, answer(llm, &call()));
    }
    match all_fine {
        true => exit::OK,
        false => {
            eprintln!("voxlane: a provider failed; a server would start, do without it, and try again");
            exit::FAILED
        }
    }
}

/// Has the sentence spoken into `pcm`, at what recognisers hear.
fn speak(tts: &Spec<dyn Synthesiser>, call: &Call, pcm: &mut Vec<i16>) -> Result<String, Fault> {
    let mut tts = (tts.factory)(0)?;
    let what = Speak {
        sentence: 0,
        text: SENTENCE.to_owned(),
        language: Lang::EN,
        format: ReplyFormat { codec: Codec::Pcm, ..ReplyFormat::DEFAULT },
        first_byte_by: call.deadline,
    };
    let (mut rate, mut samples) = (0, Vec::new());
    tts.speak(&what, call, &mut |sound| {
        rate = sound.rate;
        samples.extend_from_slice(sound.pcm);
        Flow::Continue
    })?;
    if samples.is_empty() {
        return Err(Fault::new(Cause::Malformed, "it gave no sound"));
    }
    let strange = |_| Fault::new(Cause::Malformed, format!("sound of {rate} Hz"));
    let mut resampler = Resampler::new(rate, HEARD_RATE).map_err(strange)?;
    resampler.process(&samples, pcm);
    resampler.flush(pcm);
    // A breath before and after, as a microphone hears it.
    let breath = vec![0; HEARD_RATE as usize / 5];
    pcm.splice(0..0, breath.iter().copied());
    pcm.extend(breath);
    Ok(format!("said {SENTENCE:?}, {:.1} s of sound at {rate} Hz", samples.len() as f64 / f64::from(rate)))
}

fn answer(llm: &Spec<dyn LanguageModel>, call: &Call) -> Result<String, Fault> {
    let mut llm = (llm.factory)(0)?;
    let dialogue = vec![Said { role: Role::User, text: SENTENCE.to_owned() }];
    let ask = Converse { dialogue, language: Lang::EN, first_token_by: call.deadline };
    let mut text = String::new();
    llm.converse(&ask, call, &mut |piece| {
        text.push_str(piece);
        if text.len() > 400 { Flow::Stop } else { Flow::Continue }
    })?;
    match text.trim() {
        "" => Err(Fault::new(Cause::Malformed, "it gave no answer")),
        text => Ok(format!("answered {:?}", shortened(text))),
    }
}
