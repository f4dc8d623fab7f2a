//! One module for each verb: its options, its help, what it prints.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use voxlane_load::engine::threads::Sample;
use voxlane_load::find::child::get;

pub mod bench;
pub mod compare;
pub mod find;
mod interrupt;
mod options;
pub mod report;
pub mod run;
pub mod stage;
pub mod start;

/// What would spoil the result is told before minutes of measuring, not after them: files that cannot be written, and a server
/// that cannot be watched.
fn can_begin(files: &[&Option<PathBuf>], pid: Option<u32>, stats: Option<SocketAddr>) -> Result<(), String> {
    files.iter().copied().flatten().filter(|file| file.as_os_str() != "-").try_for_each(|file| can_hold(file))?;
    can_watch(pid, stats)
}

fn can_hold(file: &Path) -> Result<(), String> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(format!("{}: there is no folder {}", file.display(), folder.display()));
    }
    if file.is_dir() {
        return Err(format!("{}: this is a folder, not a file", file.display()));
    }
    Ok(())
}

fn can_watch(pid: Option<u32>, stats: Option<SocketAddr>) -> Result<(), String> {
    if let Some(pid) = pid.filter(|pid| Sample::take(*pid).is_none()) {
        return Err(format!("--pid {pid}: there is no such process"));
    }
    match stats.map(|at| get(at, "/stats.json")) {
        None | Some(Ok((200, _))) => Ok(()),
        Some(Ok((status, _))) => Err(format!("--stats: the server answers {status}, not with statistics")),
        Some(Err(why)) => Err(format!("--stats: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_or_watched_is_told_before() {
        assert_eq!(can_hold(Path::new("run.json")), Ok(()));
        assert!(can_hold(Path::new("/nowhere/run.json")).unwrap_err().contains("no folder /nowhere"));
        assert!(can_hold(&std::env::temp_dir()).unwrap_err().contains("this is a folder"));
        assert_eq!(can_begin(&[&Some("-".into()), &None], None, None), Ok(()));
        assert!(can_begin(&[&None, &Some("/nowhere/x".into())], None, None).is_err());
        assert_eq!(can_watch(Some(std::process::id()), None), Ok(()));
        assert!(can_watch(Some(u32::MAX), None).unwrap_err().contains("no such process"));
        let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).unwrap();
        assert!(can_watch(None, Some(closed)).unwrap_err().starts_with("--stats: http://127.0.0.1:"));
    }
}
