//! `GET /debug/flamegraph?seconds=10&thread=shard-0`: where threads spend their processor time, as an SVG, without root and
//! without perf.
//!
//! The system interrupts whichever thread runs, [`HERTZ`] times in each second of processor time (ITIMER_PROF, SIGPROF); the
//! handler notes the stack, and only names are looked up afterwards. A thread that waits is not interrupted and not seen. Calls
//! that the signal cuts short are taken up again where they are made. One picture at a time, since there is one such timer in a
//! process; it is taken on a thread of its own, and other pages are answered meanwhile.
//!
//! The unwinder is the system's; from glibc 2.35 on it takes no lock and so may run in a signal handler.

use super::{Keep, Request};
use crate::wire::http::{Head, Reply, TEXT, respond_to};
use pprof::flamegraph::Options;
use pprof::{ProfilerGuardBuilder, Report};
use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Where it is.
pub const PATH: &str = "/debug/flamegraph";
/// Samples in a second of processor time: prime, so that it does not march in step with 60 ms frames.
const HERTZ: i32 = 499;
/// Seconds when nobody says otherwise, and most.
const SECONDS: (u64, u64) = (10, 60);
/// A peer that does not take the picture within this is left alone with it.
const WRITE: Duration = Duration::from_secs(10);
const SVG: &str = "image/svg+xml";
const BUSY: Reply = Reply::new(409, "a flame graph is being taken; one at a time\n").with(&[("Retry-After", "10")]);

/// There is one profiling timer in a process.
static IS_TAKING: AtomicBool = AtomicBool::new(false);

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    seconds: u64,
    /// Threads of this name, or whose name goes on with `-`; all when empty.
    thread: String,
}

/// Held while a picture is taken.
struct Turn;

impl Drop for Turn {
    fn drop(&mut self) {
        IS_TAKING.store(false, Ordering::Release);
    }
}

/// Refuses, by writing to `out`, or returns what takes the connection over and answers when the picture is there.
pub fn begin(request: &Request<'_>, lines: &'static [(&'static str, &'static str)], out: &mut Vec<u8>) -> Option<Keep> {
    let wish = match wish(request.head) {
        Ok(wish) => wish,
        Err(why) => {
            request.say(400, lines, &why, out);
            return None;
        }
    };
    if IS_TAKING.swap(true, Ordering::AcqRel) {
        request.reply(BUSY, out);
        return None;
    }
    let turn = Turn;
    Some(Box::new(move |stream| {
        // Where the system gives no thread the connection is closed without an answer, and the turn is given back.
        let _ = std::thread::Builder::new().name("flamegraph".into()).spawn(move || {
            let mut answer = Vec::new();
            match take(&wish) {
                Ok(svg) => respond_to("GET", 200, SVG, lines, &svg, &mut answer),
                Err(why) => respond_to("GET", 404, TEXT, lines, why.as_bytes(), &mut answer),
            }
            drop(turn);
            hand_over(stream, &answer);
        });
    }))
}

fn hand_over(mut stream: TcpStream, answer: &[u8]) {
    // A peer that has gone away needs no picture.
    let _ = stream.set_write_timeout(Some(WRITE)).and_then(|()| stream.write_all(answer));
    let _ = stream.shutdown(std::net::Shutdown::Write);
}

/// Reads the query; in words what is wrong with it.
fn wish(head: &Head<'_>) -> Result<Wish, String> {
    for pair in head.query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split('=').next().unwrap_or_default();
        if !matches!(name, "seconds" | "thread") {
            return Err("unknown parameter; there are seconds=1…60 and thread=NAME, such as shard-0 or tts\n".into());
        }
    }
    let (usual, most) = SECONDS;
    let seconds = match head.parameter("seconds") {
        None => usual,
        Some(text) => text
            .parse()
            .ok()
            .filter(|seconds| (1..=most).contains(seconds))
            .ok_or_else(|| format!("seconds: a whole number from 1 to {most}\n"))?,
    };
    let thread = head.parameter("thread").unwrap_or_default().to_string();
    let is_name = thread.len() <= 15 && thread.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !is_name {
        return Err("thread: a name of at most 15 letters, digits, - and _, such as shard-0 or tts\n".into());
    }
    Ok(Wish { seconds, thread })
}

/// Samples, then draws; in words why there is no picture.
fn take(wish: &Wish) -> Result<Vec<u8>, String> {
    let broken = |error: pprof::Error| format!("sampling failed: {error}\n");
    let guard = ProfilerGuardBuilder::default().frequency(HERTZ).build().map_err(broken)?;
    std::thread::sleep(Duration::from_secs(wish.seconds));
    let mut report = guard.report().build().map_err(broken)?;
    drop(guard);
    let seen: BTreeSet<String> = report.data.keys().map(|frames| frames.thread_name.clone()).collect();
    report.data.retain(|frames, _| is_meant(&wish.thread, &frames.thread_name));
    if report.data.is_empty() {
        let seen = seen.into_iter().collect::<Vec<_>>().join(" ");
        let Wish { seconds, thread } = wish;
        return Err(format!("no thread {thread:?} was seen at work within {seconds} s; others: {seen}\n"));
    }
    draw(&report, wish)
}

fn draw(report: &Report, wish: &Wish) -> Result<Vec<u8>, String> {
    let samples: isize = report.data.values().sum();
    let whose = if wish.thread.is_empty() { "all threads" } else { &wish.thread };
    let mut options = Options::default();
    options.title = format!("voxlane: {whose}, {} s", wish.seconds);
    options.subtitle = Some(format!("{samples} samples, {:.2} s of processor time", samples as f64 / f64::from(HERTZ)));
    let mut svg = Vec::new();
    report.flamegraph_with_options(&mut svg, &mut options).map_err(|error| format!("drawing failed: {error}\n"))?;
    Ok(svg)
}

fn is_meant(wanted: &str, name: &str) -> bool {
    let is_family = |rest: &str| rest.is_empty() || rest.starts_with('-');
    wanted.is_empty() || name.strip_prefix(wanted).is_some_and(is_family)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::parse_head;

    fn read(query: &str) -> Result<Wish, String> {
        let bytes = format!("GET {PATH}{query} HTTP/1.1\r\nHost: h\r\n\r\n");
        wish(&parse_head(bytes.as_bytes()).unwrap().unwrap().0)
    }

    #[test]
    fn a_query_is_two_bounded_values_and_a_mistake_is_explained() {
        let fine = |seconds, thread: &str| Ok(Wish { seconds, thread: thread.into() });
        assert_eq!(read(""), fine(10, ""));
        assert_eq!(read("?seconds=60&thread=shard-0"), fine(60, "shard-0"));
        for (query, named) in [
            ("?seconds=0", "seconds"),
            ("?seconds=61", "seconds"),
            ("?seconds=soon", "seconds"),
            ("?seconds=-1", "seconds"),
            ("?thread=%3Cscript%3E", "thread"),
            ("?thread=sixteen-letters-", "thread"),
            ("?second=5", "unknown parameter"),
        ] {
            let why = read(query).unwrap_err();
            assert!(why.starts_with(named) && why.ends_with('\n'), "{query}: {why}");
        }
    }

    #[test]
    fn a_name_means_a_thread_or_a_family() {
        assert!(is_meant("", "shard-0") && is_meant("shard-0", "shard-0") && is_meant("tts", "tts-12"));
        assert!(!is_meant("shard-1", "shard-10") && !is_meant("tts", "ttsx") && !is_meant("shard", "asr-0"));
    }
}
