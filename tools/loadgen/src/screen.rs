//! What is seen of a run while it goes on: on a terminal some lines that are drawn again in place each second, elsewhere a line
//! now and then. All of it goes to stderr: stdout belongs to what was measured.

use crate::engine::{Glance, OWN_CPU_MAX};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use terminal_size::{Height, Width, terminal_size_of};

/// Of a terminal that does not tell its size, columns and lines.
const USUAL: (usize, usize) = (80, 24);
/// Columns of the progress bar at most.
const BAR: usize = 30;
/// Classes of failures, shards and the like that have a place in a line.
const LISTED: usize = 6;
/// Where nobody can draw, a line comes in the first second and then once in so many.
const EVERY_S: u32 = 10;

const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
const ERASE_BELOW: &str = "\x1b[J";

/// Whether the cursor is hidden and must be given back, however the process ends.
static IS_HIDDEN: AtomicBool = AtomicBool::new(false);

/// Where it is shown, and how much of it stands there.
#[derive(Debug)]
pub struct Screen {
    title: String,
    /// Drawn in place, or line by line.
    is_drawn: bool,
    is_coloured: bool,
    /// Lines that stand there, with the cursor below them.
    lines: usize,
}

impl Screen {
    /// On stderr, drawn in place where that is a terminal that can. `title`: what is run.
    pub fn open(title: &str) -> Screen {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let is_drawn = std::io::stderr().is_terminal() && !is_dumb;
        Screen { title: title.to_owned(), is_drawn, is_coloured: is_drawn && !is_set("NO_COLOR"), lines: 0 }
    }

    /// What is run from now on.
    pub fn set_title(&mut self, title: &str) {
        title.clone_into(&mut self.title);
    }

    /// Shows how it goes.
    pub fn show(&mut self, glance: &Glance) {
        if !self.is_drawn {
            if glance.second.is_multiple_of(EVERY_S) || glance.second == 1 {
                eprintln!("{}", line(glance));
            }
            return;
        }
        let size = terminal_size_of(std::io::stderr());
        let (width, height) = size.map_or(USUAL, |(Width(w), Height(h))| (usize::from(w), usize::from(h)));
        let page = page(&self.title, glance, width, self.is_coloured);
        let mut out = self.home();
        if !IS_HIDDEN.swap(true, SeqCst) {
            out.push_str(HIDE_CURSOR);
        }
        // The last line of the terminal is the cursor's.
        let shown = &page[..page.len().min(height.saturating_sub(1))];
        for line in shown {
            let _ = write!(out, "\x1b[2K{line}\r\n");
        }
        out.push_str(ERASE_BELOW);
        self.lines = shown.len();
        put(&out);
    }

    /// Whether it is drawn in place. Those who tell a line of their own every few seconds need no others.
    pub fn is_drawn(&self) -> bool {
        self.is_drawn
    }

    /// Takes away what stands there: something else will be printed.
    pub fn clear(&mut self) {
        if self.lines > 0 {
            put(&(self.home() + ERASE_BELOW));
            self.lines = 0;
        }
    }

    fn home(&self) -> String {
        if self.lines == 0 { String::new() } else { format!("\x1b[{}A\r", self.lines) }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the cursor back. For those who end the process without ceremony.
pub fn restore() {
    if IS_HIDDEN.swap(false, SeqCst) {
        put(SHOW_CURSOR);
    }
}

/// In one write: nobody sees half a screen.
fn put(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// A line for logs.
fn line(glance: &Glance) -> String {
    let mut out = format!(
        "{:>4}/{} s {:<9} {} devices, {} turns",
        glance.second,
        glance.duration_ms / 1_000,
        stage(glance),
        connected(glance),
        glance.turns
    );
    if let Some([_, p95, _]) = glance.first_audio {
        let _ = write!(out, ", first audio p95 {p95:.0} ms");
    }
    if let Some(late) = glance.late {
        let _ = write!(out, ", {:.3} % late", late * 100.0);
    }
    let _ = write!(out, ", {}", failures(glance));
    if let Some(cores) = glance.server_cores {
        let _ = write!(out, ", server {cores:.3} cores");
    }
    out
}

/// The lines of the screen, none wider than `width` columns.
fn page(title: &str, glance: &Glance, width: usize, is_coloured: bool) -> Vec<String> {
    let phases = &glance.phases;
    let mut rows: Vec<(&str, String, Paint)> = vec![
        ("", title.to_owned(), Paint::Strong),
        ("", progress(glance, width), Paint::Plain),
        (
            "devices",
            format!(
                "{} of {}: {} talking, {} waiting, {} hearing, {} idle",
                connected(glance),
                glance.devices,
                phases.talking,
                phases.waiting,
                phases.hearing,
                phases.idle
            ),
            Paint::Plain,
        ),
    ];
    let counted_s = (f64::from(glance.second) - glance.warmup_ms as f64 / 1e3).max(0.0);
    let rate = if counted_s > 0.0 { glance.turns as f64 / counted_s } else { 0.0 };
    rows.push(("turns", format!("{}, {rate:.1} a second", glance.turns), Paint::Plain));
    if let Some([p50, p95, p99]) = glance.first_audio {
        rows.push(("first audio", format!("p50 {p50:.0}  p95 {p95:.0}  p99 {p99:.0} ms"), Paint::Plain));
    }
    if let (Some([p50, p95, p99]), Some(late)) = (glance.lateness, glance.late) {
        let text = format!("p50 {p50:.2}  p95 {p95:.2}  p99 {p99:.2} ms, {:.3} % over 5 ms", late * 100.0);
        rows.push(("lateness", text, Paint::Plain));
    }
    let paint = if glance.failures.is_empty() { Paint::Plain } else { Paint::Bad };
    rows.push(("failures", failures(glance), paint));
    if let Some(text) = server(glance) {
        rows.push(("server", text, Paint::Plain));
    }
    let own = format!("{:.0} % of a core", glance.own_cores * 100.0);
    rows.push(match glance.own_cores > OWN_CPU_MAX {
        true => ("load tool", format!("{own}: more than it may use to be believed"), Paint::Bad),
        false => ("load tool", own, Paint::Plain),
    });
    rows.into_iter().map(|(name, text, paint)| painted(name, &text, paint, width, is_coloured)).collect()
}

#[derive(Clone, Copy)]
enum Paint {
    Plain,
    Strong,
    Bad,
}

/// A line cut to the width; colour does not count.
fn painted(name: &str, text: &str, paint: Paint, width: usize, is_coloured: bool) -> String {
    let name = if name.is_empty() { String::new() } else { format!("{name:<12} ") };
    let whole: String = name.chars().chain(text.chars()).filter(|c| !c.is_control()).take(width).collect();
    let after = whole.char_indices().nth(name.len()).map_or(whole.len(), |(at, _)| at);
    let (name, text) = whole.split_at(after);
    let (name, text) = (name.to_owned(), text.to_owned());
    let code = match paint {
        _ if !is_coloured => return name + &text,
        Paint::Plain => return format!("\x1b[2m{name}\x1b[0m{text}"),
        Paint::Strong => 1,
        Paint::Bad => 31,
    };
    format!("\x1b[2m{name}\x1b[0m\x1b[{code}m{text}\x1b[0m")
}

fn progress(glance: &Glance, width: usize) -> String {
    let total = (glance.duration_ms / 1_000).max(1);
    let tail = format!(" {}/{total} s, {}", glance.second, stage(glance));
    let cells = BAR.min(width.saturating_sub(tail.len() + 2));
    if cells == 0 {
        return tail.trim_start().to_owned();
    }
    let full = (cells as u64 * u64::from(glance.second) / total).min(cells as u64) as usize;
    format!("[{}{}]{tail}", "#".repeat(full), ".".repeat(cells - full))
}

fn stage(glance: &Glance) -> &'static str {
    let now_ms = u64::from(glance.second) * 1_000;
    match () {
        () if now_ms < glance.warmup_ms => "warming up",
        () if now_ms < glance.duration_ms => "measuring",
        () => "ending",
    }
}

fn connected(glance: &Glance) -> u32 {
    let phases = &glance.phases;
    phases.talking + phases.waiting + phases.hearing + phases.idle
}

fn failures(glance: &Glance) -> String {
    let all: u64 = glance.failures.values().sum();
    if all == 0 {
        return "no failures".to_owned();
    }
    let mut kinds: Vec<_> = glance.failures.iter().collect();
    kinds.sort_by_key(|(class, n)| (std::cmp::Reverse(**n), **class));
    let told: Vec<String> = kinds.iter().take(LISTED).map(|(class, n)| format!("{class} {n}")).collect();
    format!("{all} failures: {}{}", told.join(", "), if kinds.len() > LISTED { ", …" } else { "" })
}

/// What is seen of the server; nothing where it is not watched.
fn server(glance: &Glance) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(cores) = glance.server_cores {
        parts.push(format!("{cores:.3} cores"));
    }
    if let Some(rss) = glance.rss {
        parts.push(format!("{:.1} MiB", rss as f64 / 1_048_576.0));
    }
    if !glance.shards.is_empty() {
        let busy: Vec<String> = glance.shards.iter().take(LISTED).map(|s| format!("{:.0} %", s * 100.0)).collect();
        let more = if glance.shards.len() > LISTED { ", …" } else { "" };
        parts.push(format!("shards busy {}{more}", busy.join(", ")));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests;
