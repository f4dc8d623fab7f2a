//! The whole log, read from disk: by the server when it starts, and by `voxlane memory` beside a server that runs. Nothing is
//! ever changed here.

use super::fault::StoreFault;
use super::frame::Frame;
use super::segment::{self, Damage, HEADER_BYTES, Head, Header, Walk};
use crate::time::UnixMs;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The file that says how far the log was acknowledged.
pub const MARK: &str = "acked";
/// The file whose lock the writing process holds.
pub const LOCK: &str = "lock";
/// The folder of damaged originals.
pub const QUARANTINE: &str = "quarantine";
/// The socket on which the writing process takes orders.
pub const DOOR: &str = "door";
const SEGMENT: &str = "seg";
const MARK_MAGIC: [u8; 4] = *b"vxA\x01";

/// What reading the log has shown.
#[derive(Debug, Default)]
pub struct Reading {
    /// The files, in order.
    pub files: Vec<SegmentFile>,
    /// The sequence of the next record.
    pub next: u64,
    /// The oldest sequence that there should be.
    pub base: u64,
    /// What is wrong: with the number of the file, or 0 for the log as a whole.
    pub damage: Vec<(u64, Damage)>,
}

/// One file of the log.
#[derive(Clone, Debug)]
pub struct SegmentFile {
    /// Its number.
    pub number: u64,
    /// Where it lies.
    pub path: PathBuf,
    /// Its header; `None` if it is damaged.
    pub header: Option<Header>,
    /// Bytes of it that count.
    pub end: u64,
    /// The sequence that came next before it was read, and after.
    pub sequences: (u64, u64),
    /// Records in it that are no voids.
    pub records: u64,
    /// When the oldest of them was made.
    pub oldest: UnixMs,
}

/// How far the log was acknowledged, and where it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The oldest sequence that there should be.
    pub base: u64,
    /// The last sequence that was acknowledged.
    pub acked: u64,
}

impl Mark {
    /// Its bytes.
    pub fn emit(self) -> [u8; 24] {
        let mut out = [0; 24];
        out[..4].copy_from_slice(&MARK_MAGIC);
        out[4..12].copy_from_slice(&self.base.to_le_bytes());
        out[12..20].copy_from_slice(&self.acked.to_le_bytes());
        let crc = crc32fast::hash(&out[..20]);
        out[20..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn parse(bytes: &[u8]) -> Option<Mark> {
        let bytes: &[u8; 24] = bytes.try_into().ok()?;
        let crc = u32::from_le_bytes(bytes[20..].try_into().ok()?);
        let good = bytes[..4] == MARK_MAGIC && crc32fast::hash(&bytes[..20]) == crc;
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        good.then(|| Mark { base: u64_at(4), acked: u64_at(12) })
    }
}

/// The name of the file with this number.
pub fn name_of(number: u64) -> String {
    format!("{number:010}.{SEGMENT}")
}

/// Reads the whole log; `each` is called for every good record in order and once, with its file's number and its offset there.
/// A folder that is missing or empty is an empty log.
///
/// # Errors
/// [`StoreFault`]: the folder is none of ours, was written by a newer version, or cannot be read.
pub fn read(dir: &Path, each: &mut dyn FnMut(u64, usize, &Frame<'_>)) -> Result<Reading, StoreFault> {
    let mut files = list(dir)?;
    let mark = mark(dir)?;
    let mut reading = Reading { next: 1, base: 1, ..Reading::default() };
    let mark = match mark {
        Some(Ok(mark)) => mark,
        None => Mark::default(),
        Some(Err(())) => {
            reading.damage.push((0, Damage::Mark));
            Mark::default()
        }
    };
    let mut buffer = Vec::new();
    let headers: Vec<Option<Header>> = files.iter().map(|file| file.header).collect();
    for (index, file) in files.iter_mut().enumerate() {
        buffer.clear();
        File::open(&file.path)
            .and_then(|mut open| open.read_to_end(&mut buffer))
            .map_err(|e| StoreFault::io(&file.path, e))?;
        let mut damage = Vec::new();
        if file.header.is_none() {
            damage.push(Damage::Header);
        }
        let first = file.header.map(|header| header.first);
        if index == 0 {
            // Older records may have been removed, as the mark tells: the log begins where its first file does, or there.
            reading.base = if mark.base > 0 { mark.base } else { first.unwrap_or(1) };
            reading.next = first.map_or(reading.base, |first| first.min(reading.base));
        }
        let begins = reading.next;
        if let Some(first) = first.filter(|first| *first > reading.next) {
            damage.push(Damage::Missing { first: reading.next, last: first - 1 });
            reading.next = first;
        }
        let after = headers.get(index + 1).copied().flatten();
        let is_whole = file.header.is_none_or(|header| header.is_whole);
        let end = after.filter(|_| !is_whole).map_or(buffer.len(), |after| (after.prev_end as usize).min(buffer.len()));
        let walk = Walk {
            next: reading.next,
            prev: file.header.map(|header| header.crc),
            end,
            until: after.map_or(u64::MAX, |after| after.first),
            is_last: index + 1 == headers.len(),
        };
        let (number, mut records, mut oldest) = (file.number, 0, UnixMs(u64::MAX));
        let mut good_end = HEADER_BYTES.min(buffer.len());
        reading.next = walk.run(&buffer, &mut damage, &mut |at, frame| {
            records += u64::from(!frame.is_void());
            oldest = if frame.is_void() { oldest } else { oldest.min(frame.at) };
            good_end = good_end.max(at + frame.len);
            each(number, at, frame);
        });
        file.sequences = (begins, reading.next);
        (file.records, file.oldest) = (records, oldest);
        file.end = good_end as u64;
        reading.damage.extend(damage.into_iter().map(|damage| (number, damage)));
    }
    if mark.acked >= reading.next {
        // What was acknowledged is not torn but lost.
        for (_, damage) in &mut reading.damage {
            if let Damage::Torn { from, len } = *damage {
                *damage = Damage::Bytes { from, len };
            }
        }
        let lost = Damage::Missing { first: reading.next, last: mark.acked };
        reading.damage.push((files.last().map_or(0, |file| file.number), lost));
        reading.next = mark.acked + 1;
    }
    if files.is_empty() {
        reading.base = reading.next;
    }
    reading.files = files;
    Ok(reading)
}

/// Whether the folder is ours, or free: by names and headers only.
///
/// # Errors
/// As [`read`].
pub fn check(dir: &Path) -> Result<(), StoreFault> {
    list(dir).map(|_| ())
}

/// The files of the log with their headers. A folder that holds anything but ours is refused.
fn list(dir: &Path) -> Result<Vec<SegmentFile>, StoreFault> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Err(StoreFault::foreign(dir, "it is a file")),
        Err(e) => return Err(StoreFault::io(dir, e)),
    };
    let mut files = Vec::new();
    let mut stranger = None;
    for entry in entries {
        let path = entry.map_err(|e| StoreFault::io(dir, e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match name.strip_suffix(".seg").and_then(|number| number.parse::<u64>().ok()) {
            Some(number) => files.push(open(number, path)?),
            None if [MARK, LOCK, QUARANTINE, DOOR].contains(&name.as_str()) || name.ends_with(".new") => {}
            None => stranger = Some(name),
        }
    }
    if let (true, Some(stranger)) = (files.is_empty(), stranger) {
        return Err(StoreFault::foreign(dir, &format!("it holds {stranger:?} and no log")));
    }
    files.sort_by_key(|file| file.number);
    Ok(files)
}

fn open(number: u64, path: PathBuf) -> Result<SegmentFile, StoreFault> {
    let mut start = Vec::with_capacity(HEADER_BYTES);
    let read = File::open(&path).and_then(|file| file.take(HEADER_BYTES as u64).read_to_end(&mut start));
    read.map_err(|e| StoreFault::io(&path, e))?;
    let header = match segment::head(&start) {
        Head::Good(header) if header.number == number => Some(header),
        Head::Good(_) | Head::Damaged => None,
        Head::Newer(schema) => return Err(StoreFault::Newer { path, schema }),
        Head::Foreign => return Err(StoreFault::foreign(&path, "it does not begin as our files do")),
    };
    Ok(SegmentFile { number, path, header, end: 0, sequences: (0, 0), records: 0, oldest: UnixMs(u64::MAX) })
}

fn mark(dir: &Path) -> Result<Option<Result<Mark, ()>>, StoreFault> {
    let path = dir.join(MARK);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(Mark::parse(&bytes).ok_or(()))),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(StoreFault::io(&path, e)),
    }
}
