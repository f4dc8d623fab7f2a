//! The program itself, as a process: what it prints, how it ends, and what it never says.

#[path = "support/mod.rs"]
mod support;

use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use support::services::Place;
use support::{Client, Got, PATIENCE, fresh_id, http, kinds};

/// What must never be printed.
const CANARY: &str = "canary-7f3a-never-shown";

/// Everything scripted, free ports, a short drain.
const CONFIG: &str = r#"[listen]
device = "127.0.0.1:0"
http = "127.0.0.1:0"
admin = "127.0.0.1:0"
[vad]
engine = "level"
[asr]
provider = "scripted"
[llm]
provider = "scripted"
[tts]
provider = "scripted"
"#;

/// A folder with a configuration file, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(config: &str) -> Folder {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("voxlane-program-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("v.toml"), config).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.0.join(name), bytes).unwrap();
        self.0.join(name)
    }

    /// The program in this folder, with nothing of the tester's own settings.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_voxlane"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VOXLANE_")) {
            command.env_remove(name);
        }
        command.args(arguments).current_dir(&self.0).env("HOME", &self.0).env_remove("XDG_CACHE_HOME");
        command.env_remove("XDG_STATE_HOME").stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Program::start(&mut self.command(arguments)).end()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running process: killed when dropped.
struct Program {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    complaints: Option<JoinHandle<String>>,
}

/// A process that has ended.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Program {
    fn start(command: &mut Command) -> Program {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, mut err) = (BufReader::new(child.stdout.take().unwrap()), child.stderr.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).all(|line| tell.send(line).is_ok()));
        let complaints = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = err.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Program { child, lines, said: Vec::new(), complaints: Some(complaints) }
    }

    /// The first line that contains this.
    fn line(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no line with {part:?} after {:#?}", self.said));
            self.said.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    fn signal(&self) {
        self.send(libc::SIGTERM);
    }

    fn send(&self, signal: libc::c_int) {
        // SAFETY: the call takes two numbers; the process is our child and has not been waited for.
        assert_eq!(unsafe { libc::kill(self.child.id() as libc::pid_t, signal) }, 0);
    }

    /// Waits for the end: that of its output, which a living process keeps open.
    fn end(mut self) -> Ended {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(_) => panic!("it does not end; it said {:#?}", self.said),
            }
        }
        let code = self.child.wait().unwrap().code();
        let err = self.complaints.take().unwrap().join().unwrap();
        Ended { code, out: self.said.join("\n"), err }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    fn must_be(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        assert!(!self.out.contains(CANARY) && !self.err.contains(CANARY), "{}{}", self.out, self.err);
        self
    }
}

/// Serves, once it can; with the addresses from its banner.
struct Served {
    program: Program,
    device: SocketAddr,
    http: SocketAddr,
    admin: SocketAddr,
}

fn serve(command: &mut Command) -> Served {
    let mut program = Program::start(command);
    let mut address = |name: &str| {
        let line = program.line(name);
        let rest = line.split_once("://").unwrap_or_else(|| panic!("{line}")).1;
        rest.split('/').next().unwrap().parse().unwrap_or_else(|_| panic!("{line}"))
    };
    let (device, http, admin) = (address("devices"), address("check-in"), address("admin"));
    Served { program, device, http, admin }
}

/// A device that is spoken to for long: the rest of the sentence takes `tts.script`'s time.
fn spoken_to(served: &Served) -> Client {
    let mut client = Client::connect_as(served.device, &fresh_id(), |_| {}).expect("upgrade");
    client.hello(json!({}));
    client.detect("tell me");
    client.until("packet");
    client
}

#[test]
fn help_and_version_go_to_standard_output() {
    let folder = Folder::new(CONFIG);
    for arguments in [&["--help"][..], &["-h"], &["help"]] {
        let help = folder.run(arguments).must_be(0);
        for word in ["voxlane serve", "voxlane check", "voxlane demo", "Examples:", "Exit codes:", "VOXLANE_LOG"] {
            assert!(help.out.contains(word), "{word} is not in\n{}", help.out);
        }
        assert_eq!(help.err, "");
    }
    let version = folder.run(&["--version"]).must_be(0);
    assert_eq!(version.out, format!("voxlane {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_is_not_understood_is_refused_with_a_suggestion() {
    let folder = Folder::new(CONFIG);
    for (arguments, said) in [
        (&["serve", "--confg", "v.toml"][..], "unexpected '--confg', did you mean '--config'?"),
        (&["srve"], "unknown command 'srve', did you mean 'serve'?"),
        (&["serve", "--config"], "--config"),
        (&["demo", "--lang", "fr"], "--lang is en or zh, not 'fr'"),
        (&["serve", "--config", "none.toml"], "none.toml: cannot read the configuration"),
    ] {
        let ended = folder.run(arguments).must_be(2);
        assert!(ended.err.contains(said), "{arguments:?}: {}", ended.err);
        assert_eq!(ended.out, "", "{arguments:?}");
    }
}

#[test]
fn check_explains_what_is_in_force_tries_each_provider_and_keeps_secrets() {
    let config = format!("{CONFIG}api_key = {CANARY:?}\n[auth]\nsecret = {CANARY:?}\n[session]\nidle_s = 77\n");
    let folder = Folder::new(&config);
    let mut command = folder.command(&["check", "--config", "v.toml"]);
    command.env("VOXLANE_LLM_API_KEY", CANARY).env("VOXLANE_SHARDS_COUNT", "2");
    let ended = Program::start(&mut command).end().must_be(0);
    for line in ["[session]", "idle_s = 77   <- line ", "count = 2   <- VOXLANE_SHARDS_COUNT", "api_key = "] {
        assert!(ended.out.contains(line), "{line} is not in\n{}", ended.out);
    }
    assert_eq!(ended.out.matches("       ok in ").count(), 3, "{}", ended.out);
}

#[test]
fn check_fails_when_a_provider_does() {
    let place = Place::new();
    let folder = Folder::new(&CONFIG.replace(
        "[llm]\nprovider = \"scripted\"",
        &format!("[llm]\nprovider = \"openai\"\nmodel = \"m\"\nbase_url = {:?}\napi_key = {CANARY:?}", place.url()),
    ));
    let ended = folder.run(&["check", "--config", "v.toml"]).must_be(1);
    assert!(
        ended.out.contains("FAILED after") && ended.err.contains("a provider failed"),
        "{}{}",
        ended.out,
        ended.err
    );
    assert_eq!(ended.out.matches("       ok in ").count(), 2, "{}", ended.out);
}

#[test]
fn mistakes_in_the_configuration_are_shown_where_they_are_and_nothing_starts() {
    let folder = Folder::new(
        "[listen]\ndevise = \"127.0.0.1:0\"\n[asr]\nprovider = \"wisper\"\napi_key = \"canary-7f3a-never-shown\"\n",
    );
    for verb in ["check", "serve", "demo"] {
        let ended = folder.run(&[verb, "--config", "v.toml"]).must_be(2);
        for part in [
            "v.toml:2:1: unknown key `devise`",
            "2 | devise = \"127.0.0.1:0\"",
            "did you mean `device`?",
            "v.toml:4:12:",
            "did you mean \"whisper\"?",
            "2 mistakes in the configuration; nothing was started",
        ] {
            assert!(ended.err.contains(part), "{verb}: {part} is not in\n{}", ended.err);
        }
    }
    let mut command = folder.command(&["serve"]);
    let ended = Program::start(command.env("VOXLANE_LISTEN_DEVISE", "x")).end().must_be(2);
    assert!(ended.err.contains("did you mean VOXLANE_LISTEN_DEVICE?"), "{}", ended.err);
}

#[test]
fn without_a_good_speech_model_it_says_how_to_get_one() {
    let folder = Folder::new(&CONFIG.replace("[asr]\nprovider = \"scripted\"", "[asr]\nmodel = \"m.bin\""));
    let cure = "./tools/run";
    for (bytes, why) in
        [(None, "there is no such file"), (Some(&b"short"[..]), "too short"), (Some(&[7; 4_096][..]), "no ggml file")]
    {
        bytes.map(|bytes| folder.write("m.bin", bytes));
        let ended = folder.run(&["serve", "--config", "v.toml"]).must_be(3);
        assert!(ended.err.contains("m.bin") && ended.err.contains(why) && ended.err.contains(cure), "{}", ended.err);
        assert_eq!(ended.out, "");
    }
}

#[test]
fn a_port_in_use_is_named_with_the_process_that_has_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = Folder::new(CONFIG);
    for key in ["DEVICE", "HTTP", "ADMIN"] {
        let mut command = folder.command(&["serve", "--config", "v.toml"]);
        command.env(format!("VOXLANE_LISTEN_{key}"), format!("127.0.0.1:{port}"));
        let ended = Program::start(&mut command).end().must_be(4);
        assert_eq!(ended.err.lines().count(), 1, "one clear line: {}", ended.err);
        let holder = format!("process {}", std::process::id());
        assert!(ended.err.contains(&port.to_string()) && ended.err.contains(&holder), "{}", ended.err);
    }
}

#[test]
fn it_serves_until_a_signal_and_keeps_its_secrets_while_it_logs() {
    let place = Place::new();
    let folder = Folder::new(&CONFIG.replace(
        "[llm]\nprovider = \"scripted\"",
        &format!("[llm]\nprovider = \"openai\"\nmodel = \"m\"\nbase_url = {:?}\napi_key = {CANARY:?}", place.url()),
    ));
    let mut command = folder.command(&["serve", "--config", "v.toml"]);
    command.env("VOXLANE_LOG", "trace").env("VOXLANE_ADMIN_TOKEN", CANARY).env("VOXLANE_AUTH_SECRET", CANARY);
    // An override, seen from outside: a path of its own.
    command.env("VOXLANE_LISTEN_PATH", "/my/voice/").env("VOXLANE_SERVICES_OFFLINE", "false");
    let served = serve(&mut command);
    for address in [served.device, served.http, served.admin] {
        let answer = http(address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!((answer.status, answer.body.trim()), (200, "ok"));
    }
    let begin = Instant::now();
    while http(served.admin, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").status != 200 {
        assert!(begin.elapsed() < PATIENCE, "never ready");
    }
    let metrics =
        |lines: &str| http(served.admin, &format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")).status;
    assert_eq!((metrics(""), metrics(&format!("Authorization: Bearer {CANARY}\r\n"))), (401, 200));
    assert_eq!(Client::connect_as(served.device, &fresh_id(), |_| {}).err().map(|(status, _)| status), Some(404));
    let to_my_path = |request: &mut tungstenite::http::Request<()>| {
        *request.uri_mut() = format!("ws://{}/my/voice/", served.device).parse().unwrap();
    };
    let mut client = Client::connect_as(served.device, &fresh_id(), to_my_path).expect("upgrade");
    client.hello(json!({}));
    client.detect("hello");
    let turn = client.until("tts:stop");
    assert_eq!(kinds(&turn), ["stt", "tts:start", "tts:sentence_start", "packet", "tts:stop"], "an apology");
    served.program.signal();
    assert_eq!(kinds(&client.until("close 1001")), ["close 1001"]);
    drop(client);
    let ended = served.program.end().must_be(0);
    assert!(ended.out.contains("voxlane ") && ended.out.contains("stopping: "), "{}", ended.out);
    assert!(ended.err.contains("job failed"), "the log says why it apologised: {}", ended.err);
}

#[test]
fn a_signal_lets_the_turn_end() {
    let script = "provider = \"scripted\"\nscript = [\"One sentence. And another.\"]";
    let folder = Folder::new(&CONFIG.replace("[llm]\nprovider = \"scripted\"", &format!("[llm]\n{script}")));
    let served = serve(&mut folder.command(&["serve", "--config", "v.toml"]));
    let mut client = spoken_to(&served);
    served.program.signal();
    let rest = client.until("close 1001");
    let packets = rest.iter().filter(|got| matches!(got, Got::Packet(_))).count();
    assert_eq!(packets, "One sentence.".len() - 1 + "And another.".len());
    assert_eq!(kinds(&rest), ["packet", "tts:sentence_start", "packet", "tts:stop", "close 1001"]);
    served.program.end().must_be(0);
}

#[test]
fn a_changed_file_takes_effect_on_sighup_and_one_with_mistakes_does_not() {
    let folder = Folder::new(CONFIG);
    let mut served = serve(&mut folder.command(&["serve", "--config", "v.toml"]));
    folder.write("v.toml", format!("{CONFIG}[limits]\nconnections = 1\n[log]\nformat = \"json\"\n").as_bytes());
    served.program.send(libc::SIGHUP);
    served.program.line("configuration reloaded: 2 keys changed");
    let first = spoken_to(&served);
    let refused = || Client::connect_as(served.device, &fresh_id(), |_| {}).err().map(|(status, _)| status);
    assert_eq!(refused(), Some(503));
    folder.write("v.toml", format!("{CONFIG}[limits]\nconnection = 9\n[audio]\nlead_ms = 9000\n").as_bytes());
    served.program.send(libc::SIGHUP);
    served.program.line("configuration not reloaded: 2 mistakes; the old one stays");
    assert_eq!(refused(), Some(503));
    served.program.send(libc::SIGTERM);
    drop(first);
    let ended = served.program.end().must_be(0);
    for part in ["limits.connections", "log.format", "restart", "did you mean `connections`?", "lead_ms"] {
        assert!(ended.err.contains(part), "{part} is not in\n{}", ended.err);
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let script = "provider = \"scripted\"\nscript = [\"!long 30000\"]";
    let folder = Folder::new(&CONFIG.replace("[tts]\nprovider = \"scripted\"", &format!("[tts]\n{script}")));
    let mut served = serve(&mut folder.command(&["serve", "--config", "v.toml"]));
    let client = spoken_to(&served);
    served.program.signal();
    served.program.line("stopping: turns may end for 25 s");
    let begin = Instant::now();
    served.program.signal();
    served.program.end().must_be(1);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    drop(client);
}

#[test]
fn the_example_configuration_is_accepted() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/voxlane.toml");
    let folder = Folder::new("");
    let mut command = folder.command(&["check", "--config", example.to_str().unwrap()]);
    for stage in ["ASR", "LLM", "TTS"] {
        command.env(format!("VOXLANE_{stage}_PROVIDER"), "scripted");
    }
    Program::start(&mut command).end().must_be(0);
}
