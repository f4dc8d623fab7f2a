//! How low can it go? The calls that any voice server must make for a conversation, measured with nothing around them, so that
//! the server's own figure means something on any machine. And a null server, for what sockets alone cost.

mod bare;
mod clock;
mod codec;
mod duty;
mod frames;
mod null;
mod options;
mod peer;
mod report;
mod sound;

use bare::Plan;
use options::{Options, RunOptions};
use peer::Peer;
use report::{Alone, Report};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn main() -> ExitCode {
    let done = match options::parse(std::env::args_os().skip(1)) {
        Ok(Options::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Ok(Options::Run(options)) => run(options),
        Ok(Options::Null(options)) => null::serve(options).map_err(|e| e.to_string()),
        Err(why) => {
            eprintln!("voxlane-floor: {why}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("voxlane-floor: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: RunOptions) -> Result<(), String> {
    let report = measure(options, &mut |line| eprintln!("{line}"))?;
    if options.json {
        let json = serde_json::to_string_pretty(&report).map_err(|e| e.to_string())?;
        println!("{json}");
    } else {
        print!("{}", report.text());
    }
    if report.trusted { Ok(()) } else { Err(format!("in doubt: {}", report.doubts.join("; "))) }
}

/// Both sides on a core each.
fn measure(options: RunOptions, say: &mut dyn FnMut(String)) -> Result<Report, String> {
    let RunOptions { duty, conversations, pass_through, effort, .. } = options;
    let plan = Plan { duty, effort: (!pass_through).then_some(effort), rounds: options.rounds() };
    allow_files(6 * conversations as u64 + 50)?;
    let (near, far) = peer::connect(conversations, duty).map_err(|e| format!("sockets: {e}"))?;
    let cores = clock::two_cores();
    let over = Arc::new(AtomicBool::new(false));
    let peer = Peer::new(far, duty, pass_through)?;
    let (outcome, peer) = std::thread::scope(|scope| {
        // Pinned before its work begins and by itself; the measured side is this thread.
        let other = scope.spawn(|| {
            clock::pin(cores.map(|(_, other)| other));
            peer.play(over.clone())
        });
        let pinned = clock::pin(cores.map(|(this, _)| this));
        let mut count = 0;
        let measured = bare::run(plan, near, &over, &mut |round| {
            count += 1;
            let us = round.cpu.as_secs_f64() * 1e6 / round.turns(duty);
            let detection = if round.with_detection { "with" } else { "without" };
            say(format!("round {count} of {}: {us:.0} µs per turn {detection} voice detection", plan.rounds));
        });
        over.store(true, Ordering::Release);
        (measured.map(|rounds| (rounds, pinned)), other.join())
    });
    let (rounds, pinned) = outcome.map_err(|e| e.to_string())?;
    let peer = peer.map_err(|_| "the other side fell")?.map_err(|e| format!("the other side: {e}"))?;
    let alone = Alone::measure(plan)?;
    Ok(Report::new(plan, conversations, pinned, &rounds, alone, peer))
}

/// Raises the limit of open files to what is needed.
fn allow_files(needed: u64) -> Result<(), String> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit that outlives the call.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    if limit.rlim_cur >= needed {
        return Ok(());
    }
    limit.rlim_cur = needed.min(limit.rlim_max);
    // SAFETY: as above.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    if limit.rlim_cur < needed {
        return Err(format!(
            "{needed} open files are needed, {} are allowed: raise the limit (ulimit -n)",
            limit.rlim_max
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use duty::Duty;

    #[test]
    fn every_conversation_makes_the_calls_of_its_duty() {
        let duty = Duty { listening: 17, waiting: 14, speaking: 12 };
        for pass_through in [false, true] {
            let effort = codec::Effort { complexity: 0, is_light: true };
            let options = RunOptions { duty, conversations: 3, seconds: 1, effort, pass_through, json: true };
            let mut tries = 0;
            // A machine that does other things may not keep to the schedule: then the floor says so, and it is tried again.
            let (rounds, report) = loop {
                let mut rounds = 0;
                tries += 1;
                match measure(options, &mut |_| rounds += 1) {
                    Ok(report) => break (rounds, report),
                    Err(why) => assert!(tries < 6, "{why}"),
                }
            };
            assert_eq!((rounds, report.rounds), (2, 2));
            let turn = report.per_turn;
            // A round may begin while a packet is under way.
            let close = |value: f64, expected: f64| (value - expected).abs() <= 1.0;
            let decoded = if pass_through { 5.0 } else { 17.0 };
            assert!(close(turn.decodes, decoded) && close(turn.packets_out, 12.0), "{turn:?}");
            assert!(close(turn.encodes, if pass_through { 0.0 } else { 12.0 }), "{turn:?}");
            assert!(close(turn.detections * 2.0, decoded), "only in every second round: {turn:?}");
            // Requests: a transcript, an answer, three sentences.
            assert!(close(turn.service_writes, 5.0), "{turn:?}");
            assert!(report.with_detection.cpu_us_per_turn > 0.0 && report.without_detection.cpu_us_per_turn > 0.0);
            let json: serde_json::Value =
                serde_json::from_str(&serde_json::to_string(&report).expect("JSON")).expect("JSON");
            assert_eq!(json["mode"], if pass_through { "pass-through" } else { "encode" });
            assert!(json["with_detection"]["cpu_us_per_turn"].is_f64(), "what load tools read");
        }
    }
}
