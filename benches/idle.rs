//! What an idle device costs in our memory: 10,000 of them after hello, over loopback, one shard. Prints bytes per device.
//!
//! `cargo bench --bench idle`; `VOXLANE_IDLE_DEVICES` sets another number. The devices live in a child process, so that their
//! memory is not counted; the open-file limit must allow one descriptor each, and where it does not, fewer are opened.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use voxlane::audio::phrase::Phrasebook;
use voxlane::metrics::{Counter, Panel};
use voxlane::shard::{Common, Crew, DeviceLanguages, Rules, lay};
use voxlane::time::{Clock, Duration};

const DEVICES: usize = 10_000;
/// `targets.md` 7 and decision 16, bytes: the goal, and what must never be exceeded.
const GOAL: usize = 768;
const LIMIT: usize = 1_536;

fn main() {
    if let Some(address) = std::env::var("VOXLANE_IDLE_ADDRESS").ok().and_then(|text| text.parse().ok()) {
        return play_devices(address);
    }
    let wanted = std::env::var("VOXLANE_IDLE_DEVICES").ok().and_then(|text| text.parse().ok()).unwrap_or(DEVICES);
    let devices = wanted.min(allowed_files().saturating_sub(100));
    let session = voxlane::session::Rules { idle: Duration::ZERO, ..Default::default() };
    let rules = Rules { session: Arc::new(session), connections: devices + 1, pin: false, ..Rules::default() };
    let site = lay(SocketAddr::from(([127, 0, 0, 1], 0)), 1).expect("a port");
    let common = Common::new(rules, Arc::new(Phrasebook::default()), Arc::new(DeviceLanguages::default()));
    let panel = Arc::new(Panel::default());
    let handle = site
        .start(common, Clock::start(), vec![Crew { pools: Vec::new(), memory: None, panel: panel.clone() }])
        .expect("a thread");
    // A few first, so that what is paid once is not divided among all.
    let first = Devices::start(handle.address(), 100.min(devices));
    let before = anonymous_bytes();
    let rest = Devices::start(handle.address(), devices - first.count);
    let after = anonymous_bytes();
    let each = after.saturating_sub(before) / rest.count.max(1);
    println!("connections: {} upgraded, {} refused", panel.counter(Counter::Upgraded), panel.counter(Counter::Refused));
    println!("user memory: {each} bytes per idle device ({} more devices; goal {GOAL}, limit {LIMIT})", rest.count);
    drop((first, rest));
    handle.end();
    assert!(handle.join());
    assert!(each <= LIMIT, "an idle device costs {each} bytes");
}

/// A child process full of idle devices.
struct Devices {
    child: std::process::Child,
    count: usize,
}

impl Devices {
    /// Returns when all have their hello.
    fn start(address: SocketAddr, count: usize) -> Devices {
        let mut child = Command::new(std::env::current_exe().expect("our path"))
            .env("VOXLANE_IDLE_ADDRESS", address.to_string())
            .env("VOXLANE_IDLE_COUNT", count.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut word = [0; 5];
        child.stdout.as_mut().expect("its output").read_exact(&mut word).expect("ready");
        Devices { child, count }
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The child: opens devices, says so, and keeps them until its input ends.
fn play_devices(address: SocketAddr) {
    let count: usize = std::env::var("VOXLANE_IDLE_COUNT").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    allowed_files();
    let mut open = Vec::with_capacity(count);
    let pid = std::process::id();
    for i in 0..count {
        let mut socket = TcpStream::connect(address).expect("a connection");
        let request = format!(
            "GET /xiaozhi/v1/ HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nDevice-Id: {pid:08x}:{i:08x}\r\nSec-WebSocket-Key: \
             dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"
        );
        let hello = br#"{"type":"hello","version":1,"transport":"websocket"}"#;
        let mut bytes = request.into_bytes();
        bytes.extend([0x81, 0x80 | hello.len() as u8, 0, 0, 0, 0]);
        bytes.extend(hello);
        socket.write_all(&bytes).expect("a request");
        let mut answer = [0; 1_024];
        let mut said = Vec::new();
        while !said.ends_with(b"}}") {
            let n = socket.read(&mut answer).expect("an answer");
            assert!(n > 0, "the server hung up on device {i}");
            said.extend_from_slice(&answer[..n]);
        }
        open.push(socket);
    }
    print!("ready");
    std::io::stdout().flush().expect("told");
    let _ = std::io::stdin().read(&mut [0]);
}

/// Raises the limit of open files as far as it goes, and says what it is.
fn allowed_files() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit that outlives both calls.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
    limit.rlim_cur as usize
}

/// Anonymous memory of this process that is in use (RssAnon), bytes.
fn anonymous_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("RssAnon");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("KiB") * 1_024
}
