//! The door in the folder of the log: a socket on which the one who writes takes orders of `voxlane memory`. Who may open the
//! folder may knock.
//!
//! One line each way: `erase ID` is answered by `ok N` or `error WHY`.

use super::reading::DOOR;
use crate::limits;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Longest line: a device's id and a word.
const LINE_BYTES: u64 = 1_024;

/// Asks the running server to erase a device. `None` if nobody opens. Returns how many records that were.
///
/// # Errors
/// What the server, or the system, says.
pub fn ask_to_erase(dir: &Path, device: &str) -> Option<Result<u64, String>> {
    let mut stream = knock(dir).ok()?;
    let answer = (|| {
        stream.set_read_timeout(Some(limits::MEMORY_ERASE))?;
        writeln!(stream, "erase {device}")?;
        line_of(&mut stream)
    })();
    Some(match answer {
        Err(error) => Err(format!("the running server does not answer: {error}")),
        Ok(line) => match line.split_once(' ') {
            Some(("ok", count)) => count.parse().map_err(|_| line.clone()),
            Some((_, why)) => Err(why.to_owned()),
            None => Err("the running server ended before it answered".to_owned()),
        },
    })
}

/// An open door.
pub struct Door {
    dir: PathBuf,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Door {
    /// Opens it; `erase` is called on the door's own thread for each order, and may wait.
    ///
    /// # Errors
    /// The system's.
    pub fn open(dir: &Path, erase: impl Fn(&str) -> Result<u64, String> + Send + 'static) -> io::Result<Door> {
        let _ = fs::remove_file(dir.join(DOOR));
        let listener = through(dir, |path| UnixListener::bind(path))?;
        let ending = Arc::new(AtomicBool::new(false));
        let told = ending.clone();
        let run = move || {
            for stream in listener.incoming() {
                if told.load(Ordering::Acquire) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                let _ = stream.set_read_timeout(Some(limits::MEMORY_DOOR));
                let Ok(line) = line_of(&mut stream) else { continue };
                let answer = match line.strip_prefix("erase ").filter(|device| !device.is_empty()) {
                    Some(device) => match erase(device) {
                        Ok(count) => format!("ok {count}"),
                        Err(why) => format!("error {why}"),
                    },
                    None => "error unknown order".to_owned(),
                };
                let _ = writeln!(stream, "{answer}");
            }
        };
        let thread = std::thread::Builder::new().name("memory-door".to_owned()).spawn(run)?;
        Ok(Door { dir: dir.to_owned(), ending, thread: Some(thread) })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        // Whoever waits for a knock does not look at a flag.
        let is_told = knock(&self.dir).is_ok();
        let _ = fs::remove_file(self.dir.join(DOOR));
        if let Some(thread) = self.thread.take().filter(|_| is_told) {
            let _ = thread.join();
        }
    }
}

fn knock(dir: &Path) -> io::Result<UnixStream> {
    through(dir, |path| UnixStream::connect(path))
}

/// A socket's path has at most 107 bytes; through the folder's descriptor it is always short enough.
fn through<T>(dir: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let folder = File::open(dir)?;
    act(&PathBuf::from(format!("/proc/self/fd/{}/{DOOR}", folder.as_raw_fd())))
}

fn line_of(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES)).read_line(&mut line)?;
    Ok(line.trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_goes_in_and_its_answer_comes_out() {
        let dir = std::env::temp_dir().join(format!("voxlane-door-{}-{}", std::process::id(), "long".repeat(30)));
        fs::create_dir_all(&dir).unwrap();
        assert!(ask_to_erase(&dir, "a").is_none(), "nobody is there");
        let door = Door::open(&dir, |device| match device {
            "a b" => Ok(7),
            other => Err(format!("no {other}")),
        });
        let door = door.unwrap();
        assert_eq!(ask_to_erase(&dir, "a b"), Some(Ok(7)));
        assert_eq!(ask_to_erase(&dir, "c"), Some(Err("no c".to_owned())));
        drop(door);
        assert!(ask_to_erase(&dir, "a b").is_none());
        fs::remove_dir_all(dir).unwrap();
    }
}
