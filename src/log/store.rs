//! The log in files: one that is written, older ones beside it as `name.1`, `name.2` …; the oldest go.
//!
//! Runs on the log's own thread, which is the only one that may wait for a disk. A line that cannot be written is lost and
//! counted; the next one is tried again, so a disk that had been full is written to as soon as it has room.

use crate::limits::LOG_REOPEN;
use crate::time::{Duration, UnixMs};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Where, how large, for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The file that is written.
    pub path: PathBuf,
    /// Bytes of one file; a line is not cut for it.
    pub bytes: u64,
    /// A file is written to for so long.
    pub age: Duration,
    /// Older files kept.
    pub files: u32,
    /// Older files than this are removed.
    pub keep: Duration,
}

/// The store.
#[derive(Debug)]
pub struct Store {
    rules: Rules,
    open: Option<Open>,
    /// No file could be opened; not before then again.
    again: UnixMs,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
    since: UnixMs,
}

impl Store {
    /// Opens the file, or goes on with one that is there.
    ///
    /// # Errors
    /// It cannot be opened: no folder, no right.
    pub fn open(rules: Rules) -> io::Result<Store> {
        let now = UnixMs::now();
        let open = Open::at(&rules.path, now)?;
        let store = Store { rules, open: Some(open), again: UnixMs(0), lost: Arc::default() };
        store.remove_old(now);
        Ok(store)
    }

    /// Lines that could not be written, counted as long as the store lives.
    pub fn lost(&self) -> Arc<AtomicU64> {
        self.lost.clone()
    }

    /// Writes one line; the time is `now`.
    fn put(&mut self, line: &[u8], now: UnixMs) -> io::Result<()> {
        let is_full = |open: &Open| {
            let is_large = open.bytes > 0 && open.bytes + line.len() as u64 > self.rules.bytes;
            is_large || u128::from(now.0.saturating_sub(open.since.0)) >= self.rules.age.as_millis()
        };
        if self.open.as_ref().is_some_and(is_full) {
            self.open = None;
            self.turn_over();
            self.remove_old(now);
        }
        if self.open.is_none() && now >= self.again {
            self.open = Open::at(&self.rules.path, now).ok();
            if self.open.is_none() {
                self.again = UnixMs(now.0 + LOG_REOPEN.as_millis() as u64);
            }
        }
        let open = self.open.as_mut().ok_or_else(|| io::Error::other("no log file"))?;
        open.file.write_all(line)?;
        open.bytes += line.len() as u64;
        Ok(())
    }

    /// Every file takes the next number; the last one goes. What cannot be renamed stays, and is written to again.
    fn turn_over(&self) {
        let name = |number| numbered(&self.rules.path, number);
        let _ = fs::remove_file(name(self.rules.files));
        for number in (1..self.rules.files).rev() {
            let _ = fs::rename(name(number), name(number + 1));
        }
        match self.rules.files {
            0 => drop(fs::remove_file(&self.rules.path)),
            _ => drop(fs::rename(&self.rules.path, name(1))),
        }
    }

    fn remove_old(&self, now: UnixMs) {
        for number in 1..=self.rules.files {
            let path = numbered(&self.rules.path, number);
            let age = modified(&path).map(|at| u128::from(now.0.saturating_sub(at.0)));
            if age.is_some_and(|age| age >= self.rules.keep.as_millis()) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

impl Write for Store {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.put(line, UnixMs::now()).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
        // Lost or not, it is dealt with: nobody tries it again.
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Open {
    /// Only for its owner: a log may hold what people said.
    fn at(path: &Path, now: UnixMs) -> io::Result<Open> {
        let begun = fs::metadata(path).ok().and_then(|meta| unix_ms(meta.created().or_else(|_| meta.modified()).ok()?));
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Open { file, bytes, since: begun.unwrap_or(now) })
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn modified(path: &Path) -> Option<UnixMs> {
    unix_ms(fs::metadata(path).ok()?.modified().ok()?)
}

fn unix_ms(time: std::time::SystemTime) -> Option<UnixMs> {
    Some(UnixMs(time.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?.as_millis() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const HOUR: u64 = 3_600_000;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("voxlane-log-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn rules(&self) -> Rules {
            Rules {
                path: self.0.join("v.log"),
                bytes: 10,
                age: Duration::from_secs(3_600),
                files: 2,
                keep: Duration::from_secs(24 * 3_600),
            }
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap_or_else(|_| "-".to_owned())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_full_file_is_turned_over_and_the_oldest_goes() {
        let folder = Folder::new("size");
        let mut store = Store::open(folder.rules()).unwrap();
        let now = UnixMs::now();
        for line in ["1234\n", "5678\n", "a\n", "a line longer than a file\n", "b\n", "c\n"] {
            store.put(line.as_bytes(), now).unwrap();
        }
        assert_eq!(folder.read("v.log"), "b\nc\n");
        assert_eq!(folder.read("v.log.1"), "a line longer than a file\n", "a line is not cut");
        assert_eq!(folder.read("v.log.2"), "a\n");
        assert_eq!(folder.read("v.log.3"), "-");
        assert_eq!(fs::metadata(folder.0.join("v.log")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_old_file_is_turned_over_and_very_old_ones_are_removed() {
        let folder = Folder::new("age");
        let mut store = Store::open(Rules { bytes: 1_000, ..folder.rules() }).unwrap();
        let now = UnixMs::now().0;
        store.put(b"first\n", UnixMs(now)).unwrap();
        store.put(b"second\n", UnixMs(now + HOUR - 1_000)).unwrap();
        store.put(b"third\n", UnixMs(now + HOUR)).unwrap();
        assert_eq!((folder.read("v.log").as_str(), folder.read("v.log.1").as_str()), ("third\n", "first\nsecond\n"));
        store.put(b"much later\n", UnixMs(now + 30 * HOUR)).unwrap();
        assert_eq!((folder.read("v.log").as_str(), folder.read("v.log.1").as_str()), ("much later\n", "-"));
    }

    #[test]
    fn a_store_goes_on_where_the_last_one_ended() {
        let folder = Folder::new("again");
        Store::open(folder.rules()).unwrap().put(b"12345678\n", UnixMs::now()).unwrap();
        Store::open(folder.rules()).unwrap().put(b"9\n", UnixMs::now()).unwrap();
        assert_eq!((folder.read("v.log").as_str(), folder.read("v.log.1").as_str()), ("9\n", "12345678\n"));
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_writing_goes_on_when_it_can() {
        let folder = Folder::new("lost");
        let rules = Rules { path: folder.0.join("later/v.log"), ..folder.rules() };
        assert!(Store::open(rules.clone()).is_err(), "at start it is refused");
        fs::create_dir(folder.0.join("later")).unwrap();
        let mut store = Store::open(rules).unwrap();
        let lost = store.lost();
        fs::remove_dir_all(folder.0.join("later")).unwrap();
        store.open = None;
        assert_eq!(store.write(b"gone\n").unwrap(), 5);
        assert_eq!(lost.load(Relaxed), 1);
        fs::create_dir(folder.0.join("later")).unwrap();
        let later = UnixMs(UnixMs::now().0 + LOG_REOPEN.as_millis() as u64 + 1);
        store.put(b"here\n", later).unwrap();
        assert_eq!(folder.read("later/v.log"), "here\n");
    }
}
