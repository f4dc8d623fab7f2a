//! What could make 64 shards slower than 64 times one: locks, and cache lines that several threads write. There are none where
//! frames pass, and this is what keeps it so.

use std::fs;
use std::path::Path;
use voxlane::metrics::Panel;

/// The files through which a frame passes on its way from a device's socket to a worker's lane and back: of these rooms all but
/// the named files, which are for other things.
const PATH: [(&str, &[&str]); 5] = [
    ("src/wire", &[]),
    ("src/audio", &[]),
    ("src/session", &[]),
    // A pipe of tests instead of a socket; the book of addresses, met at a connection's beginning and end.
    ("src/net", &["memory.rs", "addresses.rs"]),
    // Where threads are started and ended.
    ("src/shard", &["site.rs"]),
];
/// Of the lanes: the two ends, the rings and the bell. The plant's one lock is for the foreman and for the end.
const LANES: [&str; 5] =
    ["src/lanes/lane.rs", "src/lanes/pool.rs", "src/lanes/desk.rs", "src/lanes/bell.rs", "src/lanes/waiting.rs"];

const LOCKS: [&str; 6] = ["Mutex", "RwLock", "Condvar", ".lock()", "Barrier", "LazyLock"];

fn files(room: &Path, into: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(room).expect("a room").map(|entry| entry.expect("an entry").path()) {
        match entry.is_dir() {
            true => files(&entry, into),
            false => into.push(entry),
        }
    }
}

/// The part of a file that is compiled into the server.
fn served(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn locks_in(text: &str) -> Vec<&'static str> {
    let code: String = served(text).lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    LOCKS.into_iter().filter(|lock| code.contains(lock)).collect()
}

#[test]
fn no_lock_where_frames_pass() {
    assert_eq!(locks_in("// a Mutex\nlet a = b.lock();"), [".lock()"], "the test can see one");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut looked_at = 0;
    for (room, others) in PATH {
        let mut all = Vec::new();
        files(&root.join(room), &mut all);
        for file in all {
            let name = file.strip_prefix(root.join(room)).expect("in its room").to_string_lossy().into_owned();
            if others.contains(&name.as_str()) || name.contains("tests") || !name.ends_with(".rs") {
                continue;
            }
            let locks = locks_in(&fs::read_to_string(&file).expect("a text"));
            assert!(locks.is_empty(), "{}: {locks:?}", file.display());
            looked_at += 1;
        }
    }
    for file in LANES {
        let locks = locks_in(&fs::read_to_string(root.join(file)).expect("a text"));
        assert!(locks.is_empty(), "{file}: {locks:?}");
    }
    assert!(looked_at > 50, "only {looked_at} files");
}

#[test]
fn panels_share_no_cache_line() {
    // Processors fetch lines of 64 bytes in pairs.
    assert!(align_of::<Panel>() >= 128 && size_of::<Panel>().is_multiple_of(128));
    let [one, other] = [(); 2].map(|()| std::sync::Arc::new(Panel::default()));
    let line = |panel: &std::sync::Arc<Panel>| std::sync::Arc::as_ptr(panel) as usize / 128;
    assert!(line(&one).abs_diff(line(&other)) >= size_of::<Panel>() / 128);
}

/// What shards do share is padded: a shard's write is no other's cache miss.
#[test]
fn what_shards_write_side_by_side_is_padded() {
    for (file, padded) in [
        ("src/shard/mailbox.rs", "loads: Arc<[CachePadded<AtomicUsize>]>"),
        ("src/lanes/plant.rs", "sides: Box<[CachePadded<Side>]>"),
        ("src/audio/queue.rs", "used: CachePadded<AtomicUsize>"),
    ] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("a text");
        assert!(text.contains(padded), "{file} no longer has `{padded}`");
    }
}
