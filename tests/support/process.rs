//! The program as a process that serves, to be killed at any moment.
#![allow(dead_code)] // each test program uses a part of it

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A serving process; killed when dropped. Its configuration lies in its state folder.
pub struct Served {
    child: Child,
    file: PathBuf,
    pub device: SocketAddr,
    pub admin: SocketAddr,
}

impl Served {
    /// Starts it and waits for its addresses.
    pub fn start(config: &str, state: &Path) -> Served {
        std::fs::create_dir_all(state).unwrap();
        let file = state.join("voxlane.toml");
        std::fs::write(&file, config).unwrap();
        let complaints = std::fs::File::create(state.join("complaints")).unwrap();
        let mut command = program();
        command.args(["serve", "--config"]).arg(&file).stdout(Stdio::piped()).stderr(complaints);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut address = |name: &str| {
            let said = || std::fs::read_to_string(state.join("complaints")).unwrap_or_default();
            let line =
                lines.by_ref().find(|line| line.contains(name)).unwrap_or_else(|| panic!("no {name}: {}", said()));
            let rest = line.split_once("://").unwrap_or_else(|| panic!("{line}")).1;
            rest.split('/').next().unwrap().parse().unwrap_or_else(|_| panic!("{line}"))
        };
        let (device, admin) = (address("devices"), address("admin"));
        // The rest of the banner is read, or the process would hang once the pipe is full.
        std::thread::spawn(move || lines.count());
        Served { child, file, device, admin }
    }

    /// As `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What the program says to these words, with the same configuration.
    pub fn voxlane(&self, words: &[&str]) -> String {
        let output = program().args(words).arg("--config").arg(&self.file).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The value of a metric, summed over its label sets that contain `labels`.
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = crate::support::http(self.admin, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").body;
        let of =
            |line: &&str| line.starts_with(name) && line[name.len()..].starts_with(['{', ' ']) && line.contains(labels);
        text.lines().filter(of).filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until a metric has reached `least`.
    pub fn metric_reaches(&self, name: &str, labels: &str, least: f64) {
        let begin = std::time::Instant::now();
        while self.metric(name, labels) < least {
            assert!(begin.elapsed() < crate::support::PATIENCE, "{name}{{{labels}}} stays below {least}");
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, with nothing of the tester's own settings.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxlane"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VOXLANE_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}
