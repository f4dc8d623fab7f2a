//! How a file comes into its place: written beside it under another name, and renamed when it is whole. Half a model would be
//! loaded and run.

use crate::Result;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that is being written. Dropped without [`Draft::keep`], it vanishes.
pub struct Draft {
    file: BufWriter<File>,
    sum: Sha256,
    path: PathBuf,
    place: PathBuf,
    is_kept: bool,
}

impl Draft {
    /// Opens a draft in the folder of `place`, so that the rename cannot cross file systems. The process id keeps two
    /// converters at work on the same file apart.
    pub fn beside(place: &Path) -> Result<Draft> {
        let name = place.file_name().ok_or_else(|| format!("{} names no file", place.display()))?;
        let mut draft = name.to_owned();
        draft.push(format!(".{}.part", std::process::id()));
        let path = place.with_file_name(draft);
        let file = File::create(&path).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(Draft {
            file: BufWriter::with_capacity(1 << 20, file),
            sum: Sha256::new(),
            path,
            place: place.to_owned(),
            is_kept: false,
        })
    }

    /// Puts the file in its place; answers with its SHA-256.
    pub fn keep(self) -> Result<String> {
        let sum = hex(&self.sum.clone().finalize());
        self.settle()?;
        Ok(sum)
    }

    /// Puts the file in its place if it has this SHA-256.
    pub fn keep_if(self, expected: &str) -> Result<String> {
        let sum = hex(&self.sum.clone().finalize());
        if sum != expected {
            return Err(format!(
                "the result has SHA-256 {sum}, not {expected}: this converter does not compute as it did where that sum was \
                 taken; please report it with the kind of processor"
            ));
        }
        self.settle()?;
        Ok(sum)
    }

    fn settle(mut self) -> Result<()> {
        let rename = self
            .file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .and_then(|()| fs::rename(&self.path, &self.place));
        rename.map_err(|error| format!("cannot write {}: {error}", self.place.display()))?;
        self.is_kept = true;
        Ok(())
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.sum.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_kept {
            // It may never have come into being; then there is nothing to remove.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A digest as people compare it.
pub fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Folder;

    #[test]
    fn only_the_expected_file_comes_into_its_place() {
        let folder = Folder::new("place");
        let place = folder.path("m.bin");
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-2, appendix B.1
        let draft = |text: &[u8]| {
            let mut draft = Draft::beside(&place).expect("a folder");
            draft.write_all(text).expect("room");
            draft
        };
        let reason = draft(b"abd").keep_if(abc).unwrap_err();
        assert!(reason.contains(abc), "{reason}");
        drop(draft(b"abc"));
        assert!(folder.names().is_empty());
        assert_eq!(draft(b"abc").keep_if(abc), Ok(abc.to_owned()));
        assert_eq!(folder.names(), ["m.bin"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let reason = Draft::beside(Path::new("/nonexistent/m.bin")).err().expect("no such folder");
        assert!(reason.contains("/nonexistent"), "{reason}");
    }
}
