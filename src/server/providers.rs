//! From the configuration to the three providers: a factory for each, called on every worker's thread, and what they say of
//! themselves.

use super::StartFault;
use super::scout::Question;
use crate::config::{AsrProvider, Config, LlmProvider, Service, TtsFormat, TtsProvider};
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
use crate::providers::{About, LanguageModel, Recogniser, Synthesiser, model};
use crate::resilience::fault::{Cause, Fault};
use crate::time::{Clock, Duration};
use crate::workers::Factory;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;

/// The three, ready to be made.
pub struct Providers {
    /// Speech to text.
    pub asr: Factory<dyn Recogniser>,
    /// It runs on our own cores, or is a script that behaves as if it did.
    pub asr_is_local: bool,
    /// Text to reply.
    pub llm: Factory<dyn LanguageModel>,
    /// Reply to speech.
    pub tts: Factory<dyn Synthesiser>,
    /// Who they are, in that order.
    pub about: [About; 3],
    /// What services are asked at start.
    pub questions: Vec<Question>,
}

/// Reads who is wanted. Looks at files; reaches no service.
///
/// # Errors
/// The speech model is missing or no model; a script or an address cannot be used.
pub fn of(config: &Config, clock: Clock) -> Result<Providers, StartFault> {
    let client = http_client(config).map_err(other)?;
    let (asr, about_asr) = asr_of(config, &client, clock)?;
    let (llm, about_llm) = llm_of(config, &client).map_err(other)?;
    let (tts, about_tts) = tts_of(config, &client).map_err(other)?;
    let asr_is_local = match config.asr.provider {
        AsrProvider::Whisper => true,
        AsrProvider::Scripted => config.asr.is_queued,
        AsrProvider::OpenAi => false,
    };
    let questions = questions(config, &client);
    Ok(Providers { asr, asr_is_local, llm, tts, about: [about_asr, about_llm, about_tts], questions })
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

fn asr_of(config: &Config, client: &HttpClient, clock: Clock) -> Result<(Factory<dyn Recogniser>, About), StartFault> {
    let language = config.asr.language.as_deref().and_then(Lang::parse);
    match config.asr.provider {
        AsrProvider::Whisper => {
            let path = match config.asr.service.model.as_str() {
                "" => model::default_path(),
                name => PathBuf::from(name),
            };
            model::check(&path).map_err(|fault| StartFault::Model(fault.detail.into_string()))?;
            let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
            let detail = format!("{name}, language {}", language.map_or("auto".to_owned(), |l| l.code().to_owned()));
            Ok((whisper(path, clock), About { name: "whisper", detail, language }))
        }
        AsrProvider::OpenAi => {
            let settings = asr_settings(config, client);
            let about = asr::OpenAiAsr::new(settings.clone()).map_err(other)?.about();
            Ok((Arc::new(move |_| Ok(Box::new(asr::OpenAiAsr::new(settings.clone())?))), about))
        }
        AsrProvider::Scripted => {
            let script = Script::new(&config.asr.script).map_err(other)?;
            let delay = Duration::from_millis(config.asr.delay_ms);
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

fn llm_of(config: &Config, client: &HttpClient) -> Result<(Factory<dyn LanguageModel>, About), Fault> {
    match config.llm.provider {
        LlmProvider::Builtin => Ok((Arc::new(|_| Ok(Box::new(Builtin::new()))), Builtin::new().about())),
        LlmProvider::OpenAi => {
            let settings = llm_settings(config, client);
            let about = llm::OpenAiLlm::new(settings.clone())?.about();
            Ok((Arc::new(move |_| Ok(Box::new(llm::OpenAiLlm::new(settings.clone())?))), about))
        }
        LlmProvider::Scripted => {
            let script = Script::new(&config.llm.script)?;
            let first = Duration::from_millis(config.llm.first_token_ms);
            let each = Duration::from_millis(config.llm.token_ms);
            let about = ScriptedLlm::new(script.clone(), first, each).about();
            Ok((Arc::new(move |_| Ok(Box::new(ScriptedLlm::new(script.clone(), first, each)))), about))
        }
    }
}

fn tts_of(config: &Config, client: &HttpClient) -> Result<(Factory<dyn Synthesiser>, About), Fault> {
    let tts = &config.tts;
    match tts.provider {
        TtsProvider::Espeak => {
            let settings = EspeakConfig { voice: Some(tts.voice.clone()).filter(|v| !v.is_empty()) };
            let about = Espeak::new(settings.clone()).about();
            Ok((Arc::new(move |_| Ok(Box::new(Espeak::new(settings.clone())))), about))
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
            let about = tts::OpenAiTts::new(settings.clone())?.about();
            Ok((Arc::new(move |_| Ok(Box::new(tts::OpenAiTts::new(settings.clone())?))), about))
        }
        TtsProvider::Command => {
            let raw_rate = (tts.format == TtsFormat::Pcm).then_some(tts.rate);
            let settings = CommandConfig { argv: tts.command.clone(), raw_rate };
            let about = SpeechCommand::new(settings.clone())?.about();
            Ok((Arc::new(move |_| Ok(Box::new(SpeechCommand::new(settings.clone())?))), about))
        }
        TtsProvider::Scripted => {
            let script = Script::new(&tts.script)?;
            let (first, rate) = (Duration::from_millis(tts.first_audio_ms), tts.rate);
            let about = ScriptedTts::new(script.clone(), first, rate).about();
            Ok((Arc::new(move |_| Ok(Box::new(ScriptedTts::new(script.clone(), first, rate)))), about))
        }
    }
}

fn asr_settings(config: &Config, client: &HttpClient) -> asr::AsrConfig {
    asr::AsrConfig {
        service: service(&config.asr.service, client),
        language: config.asr.language.as_deref().and_then(Lang::parse),
        language_unknown: config.asr.unknown_language.clone(),
        verbose: false,
    }
}

fn llm_settings(config: &Config, client: &HttpClient) -> llm::LlmConfig {
    llm::LlmConfig {
        service: service(&config.llm.service, client),
        temperature: Some(config.llm.temperature),
        max_tokens: Some(config.llm.max_tokens),
        next_token: limits::LLM_NEXT_TOKEN,
    }
}

fn questions(config: &Config, client: &HttpClient) -> Vec<Question> {
    let mut questions = Vec::new();
    if config.asr.provider == AsrProvider::OpenAi {
        let settings = asr_settings(config, client);
        questions.push(Question { stage: "asr", ask: Box::new(|call| asr::OpenAiAsr::new(settings)?.probe(call)) });
    }
    if config.llm.provider == LlmProvider::OpenAi {
        let settings = llm_settings(config, client);
        questions.push(Question { stage: "llm", ask: Box::new(|call| llm::OpenAiLlm::new(settings)?.probe(call)) });
    }
    questions
}

fn service(service: &Service, client: &HttpClient) -> openai::Service {
    openai::Service {
        client: client.clone(),
        base_url: service.base_url.clone(),
        model: service.model.clone(),
        api_key: service.api_key.clone(),
    }
}
