//! A device on this machine, for people: it does what an ESP32 does and shows what came of it.

mod codec;
mod link;
mod options;
mod playout;
mod report;
mod speech;
mod turn;

use link::Link;
use options::{Options, Said};
use speech::Utterance;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use turn::{Move, Turn};

const OTA: &str = "http://127.0.0.1:8003/xiaozhi/ota/";

fn main() -> ExitCode {
    let options = match options::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("voxlane-device: {why}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("voxlane-device: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every turn was answered.
fn run(options: &Options) -> Result<bool, String> {
    let moves = moves(options)?;
    let client_id = match &options.client_id {
        Some(id) => id.clone(),
        None => random_uuid()?,
    };
    let mut target = link::CheckIn::default();
    match &options.url {
        Some(url) => target.url = url.clone(),
        None => target = link::check_in(options.ota.as_deref().unwrap_or(OTA), options, &client_id)?,
    }
    let token = options.token.clone().unwrap_or_else(|| target.token.clone());
    let mut link = Link::open(&target.url, &token, options, &client_id)?;
    if !options.json {
        println!("connected to {} in {:.1} ms, hello in {:.1} ms", target.url, link.upgrade_ms, link.hello_ms);
    }
    let mut turns: Vec<(String, Turn)> = Vec::new();
    for (what, spoken) in &moves {
        let turn = turn::play(&mut link, options, what)?;
        if !options.json {
            print!("{}", report::timeline(what, spoken, &turn));
        }
        let over = turn.closed.is_some();
        turns.push((spoken.clone(), turn));
        if over {
            break;
        }
    }
    let heard: Vec<i16> = turns.iter().flat_map(|(_, t)| t.heard.iter().copied()).collect();
    save(&options.out, link.rate, &heard)?;
    if options.json {
        println!("{}", report::json(&link, &turns));
    } else if !heard.is_empty() {
        println!("  saved {}", options.out.display());
    }
    if options.play {
        play(&options.out)?;
    }
    let good = turns.len() == moves.len() && turns.iter().all(|(_, t)| t.is_answered() && t.offences.is_empty());
    link.hang_up();
    Ok(good)
}

fn moves(options: &Options) -> Result<Vec<(Move, String)>, String> {
    let mut moves = Vec::new();
    if let Some(word) = &options.wake {
        moves.push((Move::Wake(word.clone()), word.clone()));
    }
    for said in &options.turns {
        moves.push(match said {
            Said::Speak(text) => (Move::Speak(Utterance::spoken(text, &options.lang)?), text.clone()),
            Said::Recording(path) => (Move::Speak(Utterance::recording(path)?), path.display().to_string()),
            Said::Sample => (Move::Speak(Utterance::sample()?), speech::SAMPLE_ZH_TEXT.to_owned()),
            Said::Type(text) => (Move::Type(text.clone()), text.clone()),
        });
    }
    Ok(moves)
}

fn save(path: &Path, rate: u32, pcm: &[i16]) -> Result<(), String> {
    if pcm.is_empty() {
        return Ok(());
    }
    let spec =
        hound::WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let write = || -> Result<(), hound::Error> {
        let mut wav = hound::WavWriter::create(path, spec)?;
        for &sample in pcm {
            wav.write_sample(sample)?;
        }
        wav.finalize()
    };
    write().map_err(|e| format!("{}: {e}", path.display()))
}

/// Plays a file by the first player that starts.
fn play(path: &Path) -> Result<(), String> {
    let players: [(&str, &[&str]); 3] =
        [("paplay", &[]), ("aplay", &["-q"]), ("ffplay", &["-nodisp", "-autoexit", "-v", "quiet"])];
    for (program, arguments) in players {
        let played = Command::new(program).args(arguments).arg(path).stdin(Stdio::null()).status();
        if played.is_ok_and(|status| status.success()) {
            return Ok(());
        }
    }
    Err(format!("nothing here plays sound (paplay, aplay, ffplay were tried); the reply is in {}", path.display()))
}

fn random_uuid() -> Result<String, String> {
    let mut b = [0u8; 16];
    getrandom::fill(&mut b).map_err(|e| e.to_string())?;
    b[6] = b[6] & 0x0f | 0x40;
    b[8] = b[8] & 0x3f | 0x80;
    let hex: String = b.iter().map(|b| format!("{b:02x}")).collect();
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}
