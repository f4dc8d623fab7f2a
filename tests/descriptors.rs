//! A process without a file descriptor left: connections are turned away, the shard does not spin, and it recovers. A program
//! of its own, as the limit is the process's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use voxlane::audio::phrase::Phrasebook;
use voxlane::metrics::{Counter, Panel, Series};
use voxlane::shard::{Common, Crew, DeviceLanguages, Rules, lay};
use voxlane::time::{Clock, Duration};

#[test]
fn without_descriptors_the_shard_rests_and_then_serves_again() {
    let site = lay(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap();
    let rules = Rules { pin: false, ..Rules::default() };
    let common = Common::new(rules, Arc::new(Phrasebook::default()), Arc::new(DeviceLanguages::default()));
    let panel = Arc::new(Panel::default());
    let clock = Clock::start();
    let crew = Crew { pools: Vec::new(), memory: None, panel: panel.clone() };
    let handle = site.start(common, clock, vec![crew]).unwrap();
    assert!(is_healthy(handle.address()), "with descriptors all is well");

    // Both ends of a connection are ours, so the limit leaves room for the near ends and for a few of the far ones.
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let before = set_limit(open + 40);
    let mut held = Vec::new();
    while panel.counter(Counter::DescriptorsOut) == 0 {
        match TcpStream::connect(handle.address()) {
            Ok(socket) => held.push(socket),
            // Our own ends have used the last one up: the shard finds none for what waits already.
            Err(_) => drop(held.pop()),
        }
        assert!(clock.now().as_ms() < 30_000, "the shard never ran out");
    }
    let passes = || panel.series(Series::LoopDuration).snapshot().count();
    let (count, began) = (passes(), clock.now());
    // Time passes while we wait for the shard to find the next one missing, or for the pauses it makes.
    let mut next = [0; 1];
    let waiting = &held[held.len() - 1];
    waiting.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let _ = (&*waiting).read(&mut next);
    let rate = (passes() - count) as f64 / clock.now().since(began).as_secs_f64();
    assert!(rate < 200.0, "{rate} passes in a second: it spins");

    drop(held);
    set_limit(before);
    assert!((0..20).any(|_| is_healthy(handle.address())), "it serves again");
    handle.end();
    assert!(handle.join());
}

fn is_healthy(address: SocketAddr) -> bool {
    let Ok(mut socket) = TcpStream::connect(address) else { return false };
    let _ = socket.set_read_timeout(Some(Duration::from_secs(5)));
    let mut answer = String::new();
    socket.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").is_ok()
        && socket.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}

/// Sets the limit of open files; returns the former one.
fn set_limit(files: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit that outlives the calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        let former = limit.rlim_cur;
        limit.rlim_cur = files;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
        former
    }
}
