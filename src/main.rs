//! The program: understands the command line, runs one command, exits with its code.

use std::process::ExitCode;
use voxlane::cli::{self, Command, exit};
use voxlane::metrics::allocations::Counting;
use voxlane::server::{check, demo, memory, serve};

/// Allocations are counted by thread, so that `/stats.json` can tell those of each frame.
#[global_allocator]
static ALLOCATOR: Counting = Counting(std::alloc::System);

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(misuse) => {
            eprintln!("voxlane: {}\nTry 'voxlane --help'.", misuse.0);
            return ExitCode::from(exit::MISUSE);
        }
    };
    ExitCode::from(match command {
        Command::Serve { config } => serve::run(config.as_deref()),
        Command::Check { config } => check::run(config.as_deref()),
        Command::Demo(wishes) => demo::run(&wishes),
        Command::Memory { config, action } => memory::run(config.as_deref(), &action),
        Command::Help => say(cli::HELP),
        Command::Version => say(&format!("voxlane {}\n", env!("CARGO_PKG_VERSION"))),
    })
}

/// Prints to standard output; a reader that has gone away is no failure of ours.
fn say(text: &str) -> u8 {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
    exit::OK
}
