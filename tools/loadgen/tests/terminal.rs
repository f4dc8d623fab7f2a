//! The program as people see it: on a terminal, in a pipe, and when they press Ctrl-C.

#[allow(dead_code)]
mod stage;

use serde_json::Value;
use stage::Stage;
use std::fs::File;
use std::io::{BufRead, BufReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Output, Stdio};
use voxlane_load::find::settings::Tts;

const INTERRUPTED: Option<i32> = Some(130);

fn load(stage: &Stage, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxlane-load"));
    command.args(["run", "--url", &stage.url(), "--warmup", "0"]).args(options);
    command.stdin(Stdio::null()).env("TERM", "xterm").env_remove("NO_COLOR");
    command
}

fn interrupt(child: &Child) {
    // SAFETY: takes two numbers; the process is our child, which has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) }, 0);
}

/// A terminal of our own: our side of it, and the program's.
fn terminal(columns: u16, rows: u16) -> (File, OwnedFd) {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let (mut ours, mut theirs) = (-1, -1);
    let null = std::ptr::null_mut();
    // SAFETY: two places for descriptors and a size that live through the call; name and modes may be null.
    let made = unsafe { libc::openpty(&mut ours, &mut theirs, null, null.cast(), &size) };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: both descriptors were just made and belong to nobody else.
    unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}

/// What stands on a screen after a text has been written to it; only what the program uses is understood.
struct Seen {
    lines: Vec<String>,
    is_cursor_shown: bool,
    has_colour: bool,
}

fn seen(text: &str) -> Seen {
    let mut seen = Seen { lines: vec![String::new()], is_cursor_shown: true, has_colour: false };
    let mut row = 0;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\r' => {}
            '\n' => {
                row += 1;
                if row == seen.lines.len() {
                    seen.lines.push(String::new());
                }
            }
            '\x1b' => {
                let end = rest.find(|c: char| c.is_ascii_alphabetic()).expect("an escape has an end");
                let (code, after) = (&rest[1..=end], &rest[end + 1..]);
                rest = after;
                match code {
                    "?25l" => seen.is_cursor_shown = false,
                    "?25h" => seen.is_cursor_shown = true,
                    "2K" => seen.lines[row].clear(),
                    "J" => {
                        seen.lines.truncate(row);
                        seen.lines.push(String::new());
                    }
                    up if up.ends_with('A') => row -= up[..up.len() - 1].parse::<usize>().expect("lines"),
                    colour if colour.ends_with('m') => seen.has_colour = true,
                    other => panic!("nothing uses {other:?}"),
                }
            }
            c => seen.lines[row].push(c),
        }
    }
    seen
}

/// Runs it with its complaints on a terminal of that size.
fn on_terminal(mut command: Command, columns: u16, rows: u16) -> (Output, Seen) {
    let (mut ours, theirs) = terminal(columns, rows);
    let child = command.stderr(theirs).stdout(Stdio::piped()).spawn().expect("the program");
    // What the command still holds of the terminal would keep it open.
    drop(command);
    let mut text = Vec::new();
    let mut buffer = [0; 4_096];
    // At the program's end the terminal is gone, which is an error here.
    while let Ok(n @ 1..) = ours.read(&mut buffer) {
        text.extend_from_slice(&buffer[..n]);
    }
    let output = child.wait_with_output().expect("its end");
    (output, seen(&String::from_utf8(text).expect("text")))
}

#[test]
fn a_terminal_shows_one_screen_that_is_drawn_in_place() {
    let stage = Stage::set(Tts::Opus, "R1");
    let short = ["--devices", "2", "--ramp", "0", "--duration", "5", "--idle", "1"];
    let pid = std::process::id().to_string();
    let stats = format!("http://{}/stats.json", stage.admin());
    let mut command = load(&stage, &short);
    command.args(["--pid", &pid, "--stats", &stats]);
    let (output, screen) = on_terminal(command, 100, 30);
    // A busy machine may make the tool distrust itself.
    assert!(matches!(output.status.code(), Some(0 | 4)), "{:?}", screen.lines);
    assert!(screen.is_cursor_shown && screen.has_colour);
    let having = |text: &str| screen.lines.iter().filter(|line| line.starts_with(text)).count();
    for name in ["devices ", "turns ", "failures ", "server ", "load tool "] {
        assert_eq!(having(name), 1, "{name} in {:#?}", screen.lines);
    }
    assert!(
        screen.lines.iter().any(|line| line.contains("2 of 2: ") && line.ends_with("2 idle")),
        "{:?}",
        screen.lines
    );
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("2 devices, 0 turns"));

    let mut command = load(&stage, &short);
    command.env("NO_COLOR", "1");
    let (_, screen) = on_terminal(command, 30, 5);
    assert!(!screen.has_colour && screen.is_cursor_shown);
    // That the tool does not believe itself is no part of the screen.
    let lines: Vec<_> = screen.lines.iter().filter(|line| !line.starts_with("voxlane-load:")).collect();
    assert!(lines.iter().all(|line| line.chars().count() <= 30), "{lines:#?}");
    assert!(lines.len() <= 5, "more lines than the terminal has cannot be drawn over: {lines:#?}");

    let mut command = load(&stage, &short);
    command.env("TERM", "dumb");
    let (_, screen) = on_terminal(command, 100, 30);
    assert!(!screen.has_colour && screen.lines.iter().any(|line| line.contains("1/5 s")), "{:#?}", screen.lines);
    stage.end();
}

#[test]
fn a_pipe_gets_lines_and_stdout_nothing_but_json() {
    let stage = Stage::set(Tts::Opus, "R1");
    let options =
        ["--devices", "1", "--ramp", "0", "--turns", "1", "--duration", "200", "--slo", "turns=1", "--json", "-"];
    let output = load(&stage, &options).output().expect("the program");
    stage.end();
    let (json, words) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(serde_json::from_str::<Value>(&json).expect(&json)["counts"]["turns"], 1.0);
    assert!(!words.contains('\x1b') && words.contains("1/200 s") && words.contains("kept   turns=1"), "{words}");
    assert!(matches!(output.status.code(), Some(0 | 4)), "{words}");
}

#[test]
fn ctrl_c_tells_what_there_is() {
    let stage = Stage::set(Tts::Opus, "R1");
    let options = ["--devices", "3", "--ramp", "0", "--duration", "3000", "--slo", "devices=3", "--json", "-"];
    let child = load(&stage, &options).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
    stage.until("voxlane_sessions", |sessions| sessions == 3.0);
    interrupt(&child);
    let output = child.wait_with_output().expect("its end");
    stage.end();
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &json["interrupted"]), (INTERRUPTED, &Value::Bool(true)));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains(", ended early") && words.contains("devices=3"), "{words}");
}

#[test]
fn ctrl_c_on_a_terminal_gives_the_cursor_back() {
    let stage = Stage::set(Tts::Opus, "R1");
    let (mut ours, theirs) = terminal(80, 24);
    let mut command = load(&stage, &["--devices", "1", "--ramp", "0", "--duration", "3000"]);
    let mut child = command.stderr(theirs).stdout(Stdio::null()).spawn().expect("the program");
    drop(command);
    let (mut text, mut buffer) = (String::new(), [0; 4_096]);
    let mut is_interrupted = false;
    while let Ok(n @ 1..) = ours.read(&mut buffer) {
        text += &String::from_utf8_lossy(&buffer[..n]);
        if text.contains("load tool") && !is_interrupted {
            assert!(!seen(&text).is_cursor_shown, "it is hidden while the screen is drawn");
            interrupt(&child);
            is_interrupted = true;
        }
    }
    assert_eq!(child.wait().expect("its end").code(), INTERRUPTED);
    stage.end();
    assert!(seen(&text).is_cursor_shown, "{text:?}");
}

#[test]
fn the_second_ctrl_c_ends_at_once() {
    let stage = Stage::set(Tts::Opus, "R1");
    // Nobody takes its JSON: it would wait for ever to get rid of it.
    let (_unread, full) = std::io::pipe().expect("a pipe");
    fill(&full);
    let options = ["--devices", "1", "--ramp", "0", "--duration", "3000", "--json", "-"];
    let mut child = load(&stage, &options).stdout(full).stderr(Stdio::piped()).spawn().expect("the program");
    stage.until("voxlane_sessions", |sessions| sessions == 1.0);
    interrupt(&child);
    let words = BufReader::new(child.stderr.take().expect("its words")).lines().map_while(Result::ok);
    assert!(words.into_iter().any(|line| line.contains("ended early")));
    interrupt(&child);
    assert_eq!(child.wait().expect("its end").code(), INTERRUPTED);
    stage.end();
}

/// Puts in what goes in, so that the next byte has to wait.
fn fill(mut pipe: &PipeWriter) {
    let set = |flags: libc::c_int| {
        // SAFETY: sets flags of a descriptor that is ours.
        assert_eq!(unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETFL, flags) }, 0);
    };
    set(libc::O_NONBLOCK);
    while pipe.write(&[0; 4_096]).is_ok() {}
    while pipe.write(&[0]).is_ok() {}
    set(0);
}
