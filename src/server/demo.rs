//! `voxlane demo`: a spoken conversation with ourselves. The server runs in this process on free ports, with a state folder
//! of its own; `voxlane-device` is a process beside it and reaches it over real sockets, check-in included.

use super::{Server, serve};
use crate::cli::{Demo, exit};
use crate::time::Duration;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How long the speech model may take to load.
const READY: Duration = Duration::from_secs(60);

/// Holds the conversation.
pub fn run(wishes: &Demo) -> u8 {
    let mut loaded = match serve::load(wishes.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let Some(device) = device_program() else {
        eprintln!(
            "voxlane: the device simulator is not beside this program; build it: cargo build --release -p voxlane-device"
        );
        return exit::FAILED;
    };
    let folder = std::env::temp_dir().join(format!("voxlane-demo-{}", std::process::id()));
    let config = &mut loaded.config;
    for address in [&mut config.listen.device, &mut config.listen.http, &mut config.listen.admin] {
        *address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    }
    config.listen.public = String::new();
    config.state.dir = folder.clone();
    config.memory.path = folder.join("memory");
    let server = match Server::start(config) {
        Ok(server) => server,
        Err(fault) => return serve::refuse(&fault),
    };
    let code = converse(&server, &device, wishes);
    server.stop(Duration::from_secs(1));
    let _ = fs::remove_dir_all(&folder);
    code
}

fn converse(server: &Server, device: &Path, wishes: &Demo) -> u8 {
    println!(
        "voxlane demo: real Opus in, recognition, an answer, speech, real Opus out, over {}",
        server.addresses().device
    );
    for (stage, provider) in server.providers() {
        println!("  {stage}  {provider}");
    }
    if let Err(why) = server.wait_ready(READY) {
        eprintln!("voxlane: {why}");
        return exit::FAILED;
    }
    let mut all_answered = true;
    for language in ["en", "zh"].into_iter().filter(|l| wishes.language.as_deref().is_none_or(|wish| wish == *l)) {
        println!("\n{}", title(language, wishes));
        let before = server.milestones();
        all_answered &= talk(server, device, wishes, language);
        print!("{}", breakdown(&before, &server.milestones()));
    }
    match all_answered {
        true => {
            println!("\nEverything was understood and answered. Serve devices with: voxlane serve");
            exit::OK
        }
        false => {
            eprintln!("voxlane: a turn was not answered as it should be; VOXLANE_LOG=debug shows more");
            exit::FAILED
        }
    }
}

/// Where the time went, seen from the server: what the turns between two readings added.
fn breakdown(before: &[(&str, u64, Duration)], after: &[(&str, u64, Duration)]) -> String {
    let mut out = String::new();
    for ((name, count, sum), (_, count_before, sum_before)) in after.iter().zip(before) {
        if let Some(turns) = u32::try_from(count - count_before).ok().filter(|n| *n > 0) {
            let _ = writeln!(out, "  {:>+8} ms  {name}", ((*sum - *sum_before) / turns).as_millis());
        }
    }
    match out.as_str() {
        "" => out,
        _ => format!("  seen from the server, after end of speech:\n{out}"),
    }
}

fn title(language: &str, wishes: &Demo) -> String {
    match (language, &wishes.text) {
        ("zh", None) => "Chinese, by a human voice (a recording)".to_owned(),
        ("zh", Some(_)) => "Chinese, typed: espeak-ng's Mandarin is not understood by the recogniser".to_owned(),
        _ => "English, spoken by espeak-ng".to_owned(),
    }
}

/// One call of the device simulator, which prints its timeline. Whether every turn was answered.
fn talk(server: &Server, device: &Path, wishes: &Demo, language: &str) -> bool {
    let mut call = Command::new(device);
    call.args(["--ota", &format!("http://{}/xiaozhi/ota/", server.addresses().http), "--lang", language]);
    call.arg("--out").arg(std::env::temp_dir().join(format!("voxlane-demo-{language}.wav")));
    match (language, &wishes.text) {
        ("zh", None) => call.args(["--sample", "zh"]),
        ("zh", Some(text)) => call.args(["--type", text]),
        (_, text) => call.args(["--say", text.as_deref().unwrap_or("What is twelve times three?")]),
    };
    if wishes.play {
        call.arg("--play");
    }
    match call.stdin(Stdio::null()).status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("voxlane: {}: {error}", device.display());
            false
        }
    }
}

/// The device simulator lies beside this program, or on the path.
fn device_program() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok()?.with_file_name("voxlane-device");
    if beside.is_file() {
        return Some(beside);
    }
    let on_path = std::env::var_os("PATH")?;
    std::env::split_paths(&on_path).map(|dir| dir.join("voxlane-device")).find(|path| path.is_file())
}
