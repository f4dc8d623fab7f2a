//! For tests: a folder that goes with the test, and a disk that is full or broken when told to.

use super::disk::{self, Disk, Sink};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

/// A folder that goes with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("voxlane-memory-{name}-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Folder(path)
    }

    pub fn copy(&self) -> Folder {
        let copy = Folder::new("copy");
        fs::create_dir_all(&copy.0).unwrap();
        for file in fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
            fs::copy(&file, copy.0.join(file.file_name().unwrap())).unwrap();
        }
        copy
    }

    pub fn segments(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = all.filter(|path| path.extension().is_some_and(|e| e == "seg")).collect();
        all.sort();
        all
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A disk with room for so many bytes that does not wait for its platters, and whose syncs fail when told to.
#[derive(Clone, Default)]
pub struct Trick {
    pub room: Arc<AtomicI64>,
    pub bad_syncs: Arc<AtomicU32>,
}

impl Trick {
    pub fn roomy() -> Trick {
        let trick = Trick::default();
        trick.room.store(i64::MAX, Ordering::Relaxed);
        trick
    }
}

struct TrickFile(Box<dyn Sink>, Trick);

impl Disk for Trick {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Sink>> {
        Ok(Box::new(TrickFile(disk::Real.create(path)?, self.clone())))
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        disk::Real.put(path, bytes)
    }
}

impl Sink for TrickFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let left = self.1.room.fetch_sub(bytes.len() as i64, Ordering::Relaxed);
        if left < bytes.len() as i64 {
            self.0.write(&bytes[..left.max(0) as usize])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let failing = self.1.bad_syncs.load(Ordering::Relaxed);
        if failing > 0 {
            self.1.bad_syncs.store(failing - 1, Ordering::Relaxed);
            return Err(io::Error::other("the platter is scratched"));
        }
        Ok(())
    }
}
