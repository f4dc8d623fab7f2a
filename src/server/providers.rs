//! From the configuration to the three providers: a factory for each, called on every worker's thread, and what they say of
//! themselves.

use super::StartFault;
use super::scout::Question;
use crate::config::{Asr, AsrProvider, Config, Llm, LlmProvider, Service, Tts, TtsFormat, TtsProvider};
use crate::format::Lang;
use crate::limits;
use crate::providers::builtin::Builtin;
use crate::providers::command::{CommandConfig, SpeechCommand};
use crate::providers::espeak::{Espeak, EspeakConfig};
use crate::providers::http::{HttpClient, HttpConfig};
use crate::providers::openai::{self, asr, llm, tts};
use crate::providers::scripted::{Script, ScriptedAsr, ScriptedLlm, ScriptedTts};
use crate::providers::sound::Encoding;
use crate::providers::whisper::WhisperModel;
use crate::providers::{About, Fingerprint, LanguageModel, Recogniser, Synthesiser, model};
use crate::resilience::fault::{Cause, Fault};
use crate::resilience::ladder::Rung;
use crate::time::{Clock, Duration};
use crate::workers::Factory;
use crate::workers::chain::Spec;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

/// Those of the three stages, ready to be made: the one that is wanted, and behind it who stands in when it fails.
pub struct Providers {
    /// How services are reached.
    pub client: HttpClient,
    /// Speech to text.
    pub asr: Vec<Spec<dyn Recogniser>>,
    /// It runs on our own cores, or is a script that behaves as if it did.
    pub asr_is_local: bool,
    /// It takes a device's packets as they are.
    pub asr_takes_packets: bool,
    /// One of the recognisers runs a model here.
    pub asr_has_model: bool,
    /// Text to reply.
    pub llm: Vec<Spec<dyn LanguageModel>>,
    /// Reply to speech.
    pub tts: Vec<Spec<dyn Synthesiser>>,
    /// What services are asked at start.
    pub questions: Vec<Question>,
}

impl Providers {
    /// Who is wanted for each stage.
    pub fn about(&self) -> [About; 3] {
        [self.asr[0].about.clone(), self.llm[0].about.clone(), self.tts[0].about.clone()]
    }

    /// The same as lines for people, with those who stand in.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        fn line<P: ?Sized>(specs: &[Spec<P>]) -> String {
            let one = |spec: &Spec<P>| format!("{}: {}", spec.about.name, spec.about.detail);
            specs.iter().map(one).collect::<Vec<_>>().join("; else ")
        }
        vec![("asr", line(&self.asr)), ("llm", line(&self.llm)), ("tts", line(&self.tts))]
    }
}

/// Reads who is wanted. Looks at files; reaches no service.
///
/// # Errors
/// The speech model is missing or no model; a script or an address cannot be used.
pub fn of(config: &Config, clock: Clock) -> Result<Providers, StartFault> {
    let client = http_client(config).map_err(other)?;
    let (mut asr, mut llm, mut tts, mut questions) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for own in [&config.asr].into_iter().chain(&config.asr.backups) {
        let (factory, about) = asr_of(own, &client, clock)?;
        let is_model = own.provider == AsrProvider::Whisper;
        // A model that stands in takes no more of our cores than one that is wanted.
        let places = if is_model && !asr.is_empty() { own.concurrency.max(1) } else { own.concurrency };
        asr.push(spec(factory, about, own.provider == AsrProvider::OpenAi, places, asr.is_empty()));
        questions.extend(asr_question(own, &client));
    }
    let is_offline = |own: &Llm| own.provider == LlmProvider::Builtin;
    let backups = config.llm.backups.iter().filter(|own| !is_offline(own));
    for own in [&config.llm].into_iter().chain(backups) {
        let (factory, about) = llm_of(own, &client).map_err(other)?;
        llm.push(spec(factory, about, own.provider == LlmProvider::OpenAi, own.concurrency, llm.is_empty()));
        questions.extend(llm_question(own, &client));
    }
    // The builtin one needs no service: as a backup it is the last, whatever its place.
    let is_service = config.llm.provider == LlmProvider::OpenAi;
    if (config.services.offline && is_service) || config.llm.backups.iter().any(is_offline) {
        let factory: Factory<dyn LanguageModel> = Arc::new(|_| Ok(Box::new(Builtin::stand_in())));
        let offline = spec(factory, Builtin::stand_in().about(), false, 0, false);
        llm.push(Spec { rung: Rung::Offline, ..offline });
    }
    for own in [&config.tts].into_iter().chain(&config.tts.backups) {
        let (factory, about, voice) = tts_of(own, &client).map_err(other)?;
        let spoken = spec(factory, about, own.provider == TtsProvider::OpenAi, own.concurrency, tts.is_empty());
        tts.push(Spec { voice, ..spoken });
    }
    let asr_is_local = match config.asr.provider {
        AsrProvider::Whisper => true,
        AsrProvider::Scripted => config.asr.is_queued,
        AsrProvider::OpenAi => false,
    };
    let mut recognisers = [&config.asr].into_iter().chain(&config.asr.backups);
    let asr_has_model = recognisers.any(|own| own.provider == AsrProvider::Whisper);
    let asr_takes_packets = config.asr.provider == AsrProvider::OpenAi && config.asr.uploads_opus;
    Ok(Providers { client, asr, asr_is_local, asr_takes_packets, asr_has_model, llm, tts, questions })
}

fn spec<P: ?Sized>(factory: Factory<P>, about: About, is_service: bool, places: u32, is_first: bool) -> Spec<P> {
    let rung = if is_first { Rung::Primary } else { Rung::Backup };
    Spec { about, factory, is_service, places, rung, voice: None }
}

fn http_client(config: &Config) -> Result<HttpClient, Fault> {
    let read = |path: &PathBuf| {
        let refused = |error| Fault::new(Cause::Refused, format!("services.ca_file {}: {error}", path.display()));
        std::fs::read(path).map_err(refused)
    };
    let authorities = config.services.ca_file.as_ref().map(read).transpose()?;
    HttpClient::new(&HttpConfig { proxy_from_environment: config.services.proxy, authorities })
}

fn other(fault: Fault) -> StartFault {
    StartFault::Other(fault.detail.into_string())
}

fn asr_of(own: &Asr, client: &HttpClient, clock: Clock) -> Result<(Factory<dyn Recogniser>, About), StartFault> {
    let language = own.language.as_deref().and_then(Lang::parse);
    match own.provider {
        AsrProvider::Whisper => {
            let path = match own.service.model.as_str() {
                "" => model::default_path(),
                name => PathBuf::from(name),
            };
            model::check(&path).map_err(|fault| StartFault::Model(fault.detail.into_string()))?;
            let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
            let detail = format!("{name}, language {}", language.map_or("auto".to_owned(), |l| l.code().to_owned()));
            Ok((whisper(path, clock), About { name: "whisper", detail, language }))
        }
        AsrProvider::OpenAi => {
            let settings = asr_settings(own, client);
            let about = asr::OpenAiAsr::new(settings.clone()).map_err(other)?.about();
            Ok((Arc::new(move |_| Ok(Box::new(asr::OpenAiAsr::new(settings.clone())?))), about))
        }
        AsrProvider::Scripted => {
            let script = Script::new(&own.script).map_err(other)?;
            let delay = Duration::from_millis(own.delay_ms);
            let about = ScriptedAsr::new(script.clone(), delay).about();
            Ok((Arc::new(move |_| Ok(Box::new(ScriptedAsr::new(script.clone(), delay)))), about))
        }
    }
}

/// The model is loaded by the first worker that starts and shared by all; a failure is told to each, and tried again by the
/// next worker that is started.
fn whisper(path: PathBuf, clock: Clock) -> Factory<dyn Recogniser> {
    let loaded: Mutex<Option<Arc<WhisperModel>>> = Mutex::new(None);
    Arc::new(move |_| {
        let model = {
            let mut loaded = loaded.lock();
            match &*loaded {
                Some(model) => model.clone(),
                None => loaded.insert(WhisperModel::load(&path)?).clone(),
            }
        };
        Ok(Box::new(model.recogniser(clock)?))
    })
}

fn llm_of(own: &Llm, client: &HttpClient) -> Result<(Factory<dyn LanguageModel>, About), Fault> {
    match own.provider {
        LlmProvider::Builtin => Ok((Arc::new(|_| Ok(Box::new(Builtin::new()))), Builtin::new().about())),
        LlmProvider::OpenAi => {
            let settings = llm_settings(own, client);
            let about = llm::OpenAiLlm::new(settings.clone())?.about();
            Ok((Arc::new(move |_| Ok(Box::new(llm::OpenAiLlm::new(settings.clone())?))), about))
        }
        LlmProvider::Scripted => {
            let script = Script::new(&own.script)?;
            let first = Duration::from_millis(own.first_token_ms);
            let each = Duration::from_millis(own.token_ms);
            let about = ScriptedLlm::new(script.clone(), first, each).about();
            Ok((Arc::new(move |_| Ok(Box::new(ScriptedLlm::new(script.clone(), first, each)))), about))
        }
    }
}

/// What makes a synthesiser, who it is, and whose voice it has.
type Voice = (Factory<dyn Synthesiser>, About, Option<Fingerprint>);

fn tts_of(tts: &Tts, client: &HttpClient) -> Result<Voice, Fault> {
    match tts.provider {
        TtsProvider::Espeak => {
            let settings = EspeakConfig { voice: Some(tts.voice.clone()).filter(|v| !v.is_empty()) };
            let one = Espeak::new(settings.clone());
            let factory: Factory<dyn Synthesiser> = Arc::new(move |_| Ok(Box::new(Espeak::new(settings.clone()))));
            Ok((factory, one.about(), one.fingerprint()))
        }
        TtsProvider::OpenAi => {
            let voice = if tts.voice.is_empty() { "alloy".to_owned() } else { tts.voice.clone() };
            let encoding = match tts.format {
                TtsFormat::Wav => Encoding::Wav,
                TtsFormat::Pcm => Encoding::Pcm { rate: tts.rate },
                TtsFormat::Mp3 => Encoding::Mp3,
                TtsFormat::Opus => Encoding::Opus,
            };
            let speed = Some(tts.speed as f32).filter(|speed| *speed != 1.0);
            let settings = tts::TtsConfig { service: service(&tts.service, client), voice, encoding, speed };
            let one = tts::OpenAiTts::new(settings.clone())?;
            let factory: Factory<dyn Synthesiser> =
                Arc::new(move |_| Ok(Box::new(tts::OpenAiTts::new(settings.clone())?)));
            Ok((factory, one.about(), one.fingerprint()))
        }
        TtsProvider::Command => {
            let raw_rate = (tts.format == TtsFormat::Pcm).then_some(tts.rate);
            let settings = CommandConfig { argv: tts.command.clone(), raw_rate };
            let one = SpeechCommand::new(settings.clone())?;
            let factory: Factory<dyn Synthesiser> =
                Arc::new(move |_| Ok(Box::new(SpeechCommand::new(settings.clone())?)));
            Ok((factory, one.about(), one.fingerprint()))
        }
        TtsProvider::Scripted => {
            let script = Script::new(&tts.script)?;
            let (first, rate) = (Duration::from_millis(tts.first_audio_ms), tts.rate);
            let one = ScriptedTts::new(script.clone(), first, rate);
            let factory: Factory<dyn Synthesiser> =
                Arc::new(move |_| Ok(Box::new(ScriptedTts::new(script.clone(), first, rate))));
            Ok((factory, one.about(), one.fingerprint()))
        }
    }
}

fn asr_settings(own: &Asr, client: &HttpClient) -> asr::AsrConfig {
    asr::AsrConfig {
        service: service(&own.service, client),
        language: own.language.as_deref().and_then(Lang::parse),
        language_unknown: own.unknown_language.clone(),
        verbose: false,
    }
}

fn llm_settings(own: &Llm, client: &HttpClient) -> llm::LlmConfig {
    llm::LlmConfig {
        service: service(&own.service, client),
        temperature: Some(own.temperature),
        max_tokens: Some(own.max_tokens),
        next_token: limits::LLM_NEXT_TOKEN,
    }
}

fn asr_question(own: &Asr, client: &HttpClient) -> Option<Question> {
    let settings = asr_settings(own, client);
    let is_service = own.provider == AsrProvider::OpenAi;
    is_service.then(|| Question { stage: "asr", ask: Box::new(|call| asr::OpenAiAsr::new(settings)?.probe(call)) })
}

fn llm_question(own: &Llm, client: &HttpClient) -> Option<Question> {
    let settings = llm_settings(own, client);
    let is_service = own.provider == LlmProvider::OpenAi;
    is_service.then(|| Question { stage: "llm", ask: Box::new(|call| llm::OpenAiLlm::new(settings)?.probe(call)) })
}

fn service(service: &Service, client: &HttpClient) -> openai::Service {
    openai::Service {
        client: client.clone(),
        base_url: service.base_url.clone(),
        model: service.model.clone(),
        api_key: service.api_key.clone(),
    }
}
