//! Speech in the cache: one file, named after the recipes it was made by, its digest at its end. A file that is cut, changed or
//! of another recipe is as good as none: speech is made anew.

use super::recipe::RECIPES;
use super::{RATE, Speech};
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the file begins with; the digit is its shape.
const MAGIC: &[u8; 8] = b"voxvoic1";
/// Longest file that is read: 24 speeches of 4 s are 3 MB.
const BYTES_MAX: u64 = 32 << 20;

/// The speeches kept under `folder`, if they are whole.
pub fn read(folder: &Path) -> Option<Vec<Speech>> {
    let path = path(folder);
    if fs::metadata(&path).ok()?.len() > BYTES_MAX {
        return None;
    }
    unpack(&fs::read(path).ok()?)
}

/// Keeps them: written beside its place and renamed, so that two runs never see half a file.
pub fn write(folder: &Path, speeches: &[Speech]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let path = path(folder);
    let draft = path.with_extension(format!("draft{}", std::process::id()));
    let done = fs::write(&draft, pack(speeches)).and_then(|()| fs::rename(&draft, &path));
    if done.is_err() {
        let _ = fs::remove_file(&draft);
    }
    done
}

fn path(folder: &Path) -> PathBuf {
    let mut digest = Sha256::new();
    digest.update(RATE.to_le_bytes());
    for r in RECIPES {
        digest.update(format!("{}|{}|{}|{}\n", r.voice, r.speed, r.pitch, r.text));
    }
    let name: String = digest.finalize().iter().take(6).map(|b| format!("{b:02x}")).collect();
    folder.join(format!("load-voices-{name}.bin"))
}

fn pack(speeches: &[Speech]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for speech in speeches {
        let pcm: Vec<u8> = speech.pcm.iter().flat_map(|s| s.to_le_bytes()).collect();
        for field in [speech.name.as_bytes(), speech.text.as_bytes(), &pcm] {
            bytes.extend((field.len() as u32).to_le_bytes());
            bytes.extend(field);
        }
    }
    let digest = Sha256::digest(&bytes);
    bytes.extend(digest);
    bytes
}

fn unpack(bytes: &[u8]) -> Option<Vec<Speech>> {
    let (body, digest) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if Sha256::digest(body).as_slice() != digest {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let mut speeches = Vec::new();
    while !rest.is_empty() {
        let mut field = || {
            let (len, after) = rest.split_first_chunk::<4>()?;
            let (field, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            rest = after;
            Some(field)
        };
        let name = String::from_utf8(field()?.to_vec()).ok()?;
        let text = String::from_utf8(field()?.to_vec()).ok()?;
        let pcm = field()?.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        speeches.push(Speech { name, text, pcm });
    }
    (speeches.len() >= 2).then_some(speeches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<Speech> {
        let speech = |name: &str, pcm: &[i16]| Speech { name: name.into(), text: "天气".into(), pcm: pcm.to_vec() };
        vec![speech("a", &[1, -2, 3]), speech("b", &[])]
    }

    #[test]
    fn what_is_kept_comes_back() {
        assert_eq!(unpack(&pack(&two())), Some(two()));
    }

    #[test]
    fn a_file_that_is_cut_or_changed_is_none() {
        let bytes = pack(&two());
        for len in 0..bytes.len() {
            assert_eq!(unpack(&bytes[..len]), None, "cut at {len}");
        }
        for i in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[i] ^= 0x10;
            assert_eq!(unpack(&changed), None, "changed at {i}");
        }
    }
}
