//! Writing a file of the log anew: without what was erased or whose time is over, or with only what is still good. The new file is
//! written beside the old one, made durable, and put in its place; whoever reads sees the one or the other, whole.

use super::disk::Disk;
use super::frame::{Content, Frame, Gone, Record};
use super::reading::{QUARANTINE, SegmentFile, name_of};
use super::seal::Keys;
use super::segment::{HEADER_BYTES, Header, Walk};
use crate::ids::SessionId;
use crate::limits;
use crate::session::record::Kind;
use crate::time::{Duration, UnixMs};
use std::fs;
use std::io;
use std::path::Path;

/// What becomes of a record.
pub enum Fate {
    /// It stays.
    Keep,
    /// It goes.
    Drop,
    /// This stands in its place, under the same sequence.
    Replace(Box<Record>),
}

/// Decides about a record, given its file's number and its offset there.
pub type Judge<'a> = dyn FnMut(&Frame<'_>, (u64, usize)) -> Fate + 'a;

/// For how long records are kept, by kind; zero is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Turns, word for word.
    pub turns: Duration,
    /// Summaries and roles.
    pub summaries: Duration,
    /// Everything else.
    pub events: Duration,
}

impl Retention {
    /// Records younger than this all stay.
    pub fn horizon(&self, now: UnixMs) -> UnixMs {
        self.cutoff(self.turns, now).max(self.cutoff(self.summaries, now)).max(self.cutoff(self.events, now))
    }

    /// Turns that ended before this are forgotten.
    pub fn turns_from(&self, now: UnixMs) -> UnixMs {
        self.cutoff(self.turns, now)
    }

    fn cutoff(&self, keep: Duration, now: UnixMs) -> UnixMs {
        if keep.is_zero() { UnixMs(0) } else { UnixMs(now.0.saturating_sub(keep.as_millis() as u64)) }
    }

    /// What becomes of a record. A checkpoint that another has replaced goes; one in force loses the turns whose time is over.
    pub fn fate(&self, frame: &Frame<'_>, now: UnixMs, keys: Option<&Keys>, is_current: impl Fn() -> bool) -> Fate {
        let keep = match frame.kind() {
            Some(Kind::Turn) => self.turns,
            Some(Kind::Summary) => self.summaries,
            Some(Kind::Event) => self.events,
            None if frame.is_checkpoint() => return self.fate_of_checkpoint(frame, now, keys, is_current()),
            None => return Fate::Keep,
        };
        if frame.at < self.cutoff(keep, now) { Fate::Drop } else { Fate::Keep }
    }

    fn fate_of_checkpoint(&self, frame: &Frame<'_>, now: UnixMs, keys: Option<&Keys>, is_current: bool) -> Fate {
        if !is_current || frame.at < self.cutoff(self.summaries, now) {
            return Fate::Drop;
        }
        let Some(mut record) = frame.open(keys) else { return Fate::Drop };
        let Content::Checkpoint(dialogue) = &mut record.content else { return Fate::Keep };
        let before = dialogue.len();
        dialogue.forget_before(self.turns_from(now));
        if dialogue.len() == before { Fate::Keep } else { Fate::Replace(Box::new(record)) }
    }
}

/// Writes `file` anew if anything in it is not to stay as it is. Returns how many records went.
///
/// # Errors
/// The system's; the old file is there still.
pub fn rewrite(
    dir: &Path,
    disk: &dyn Disk,
    file: &mut SegmentFile,
    keys: Option<&Keys>,
    fate: &mut Judge<'_>,
) -> io::Result<u64> {
    let bytes = fs::read(&file.path)?;
    let mut draft = Draft::new(file);
    let (mut removed, mut changed, mut refused) = (0, false, None);
    let number = file.number;
    walk(file, &bytes, &mut |at, frame| match fate(frame, (number, at)) {
        Fate::Keep => draft.keep(frame),
        Fate::Drop => {
            (removed, changed) = (removed + 1, true);
            draft.gone(frame.sequence, frame.last(), Gone::Removed);
        }
        Fate::Replace(record) => {
            changed = true;
            refused = refused.take().or(draft.put(&record, keys).err());
        }
    });
    if let Some(error) = refused {
        return Err(error);
    }
    if changed {
        let until = file.sequences.1;
        draft.finish(dir, disk, file, until)?;
    }
    Ok(removed)
}

/// Writes a damaged file anew from its good records; what is missing up to `until` is named as lost.
///
/// # Errors
/// The system's; the damaged file is there still.
pub fn mend(dir: &Path, disk: &dyn Disk, file: &mut SegmentFile, until: u64) -> io::Result<()> {
    let bytes = fs::read(&file.path)?;
    let mut draft = Draft::new(file);
    walk(file, &bytes, &mut |_, frame| draft.keep(frame));
    draft.finish(dir, disk, file, until)
}

/// Keeps a damaged original: a second name for the same bytes, which nobody writes to any more. `false` if too many are kept.
///
/// # Errors
/// The system's.
pub fn quarantine(dir: &Path, original: &Path) -> io::Result<bool> {
    let folder = dir.join(QUARANTINE);
    super::disk::make_folder(&folder)?;
    let kept = fs::read_dir(&folder)?.count();
    if kept >= limits::MEMORY_QUARANTINE {
        return Ok(false);
    }
    let name = original.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // A number that is free: the same file may be damaged again after it was written anew.
    for copy in 0..=limits::MEMORY_QUARANTINE {
        match fs::hard_link(original, folder.join(format!("{name}.{copy}"))) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            done => return done.map(|()| true),
        }
    }
    Ok(false)
}

/// Removes damaged originals that hold something of a device: they cannot be written anew with certainty.
///
/// # Errors
/// The system's.
pub fn purge_quarantine(dir: &Path, device: &str) -> io::Result<u64> {
    let entries = match fs::read_dir(dir.join(QUARANTINE)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut removed = 0;
    for entry in entries {
        let path = entry?.path();
        let bytes = fs::read(&path)?;
        if !device.is_empty() && bytes.windows(device.len()).any(|window| window == device.as_bytes()) {
            fs::remove_file(path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn walk(file: &SegmentFile, bytes: &[u8], each: &mut dyn FnMut(usize, &Frame<'_>)) {
    let (next, until) = file.sequences;
    let next = file.header.map_or(next, |header| header.first.max(next));
    let prev = file.header.map(|header| header.crc);
    let walk = Walk { next, prev, end: file.end as usize, until, is_last: false };
    walk.run(bytes, &mut Vec::new(), each);
}

/// A file that is being written anew.
struct Draft {
    header: Header,
    bytes: Vec<u8>,
    prev: u32,
    next: u64,
    /// Records that are gone and not yet accounted for.
    void: Option<(u64, u64, Gone)>,
    records: u64,
    oldest: UnixMs,
}

impl Draft {
    fn new(file: &SegmentFile) -> Draft {
        let (number, first) = (file.number, file.sequences.0);
        let prev_end = file.header.map_or(u64::MAX, |header| header.prev_end);
        let mut header = Header { number, first, prev_end, is_whole: true, crc: 0 };
        let mut bytes = Vec::with_capacity(file.end as usize + HEADER_BYTES);
        header.crc = header.emit(&mut bytes);
        Draft { header, bytes, prev: header.crc, next: first, void: None, records: 0, oldest: UnixMs(u64::MAX) }
    }

    fn keep(&mut self, frame: &Frame<'_>) {
        self.lost_before(frame.sequence);
        if frame.is_void() {
            let why = match frame.decode().map(|record| record.content) {
                Some(Content::Void { why, .. }) => why,
                _ => Gone::Lost,
            };
            return self.gone(frame.sequence, frame.last(), why);
        }
        self.settle();
        self.prev = frame.copy(self.prev, &mut self.bytes);
        self.next = frame.last() + 1;
        self.records += 1;
        self.oldest = self.oldest.min(frame.at);
    }

    fn put(&mut self, record: &Record, keys: Option<&Keys>) -> io::Result<()> {
        self.lost_before(record.sequence);
        self.settle();
        self.prev = record.emit_sealed(self.prev, keys, &mut self.bytes)?;
        self.next = record.sequence + 1;
        self.records += 1;
        self.oldest = self.oldest.min(record.at);
        Ok(())
    }

    fn gone(&mut self, first: u64, last: u64, why: Gone) {
        self.lost_before(first);
        match &mut self.void {
            Some((_, end, reason)) if *reason == why => *end = last,
            _ => {
                self.settle();
                self.void = Some((first, last, why));
            }
        }
        self.next = last + 1;
    }

    fn lost_before(&mut self, sequence: u64) {
        if sequence > self.next {
            let first = self.next;
            self.next = sequence;
            self.gone(first, sequence - 1, Gone::Lost);
        }
    }

    fn settle(&mut self) {
        let Some((sequence, last, why)) = self.void.take() else { return };
        let content = Content::Void { last, why };
        let record = Record { sequence, at: UnixMs(0), session: SessionId(0), turn: 0, device: "".into(), content };
        self.prev = record.emit(self.prev, &mut self.bytes);
    }

    fn finish(mut self, dir: &Path, disk: &dyn Disk, file: &mut SegmentFile, until: u64) -> io::Result<()> {
        self.lost_before(until);
        self.settle();
        let draft = dir.join(name_of(file.number) + ".new");
        let written = disk.create(&draft).and_then(|mut sink| sink.write(&self.bytes).and_then(|()| sink.sync()));
        if let Err(error) = written.and_then(|()| fs::rename(&draft, &file.path)) {
            let _ = fs::remove_file(&draft);
            return Err(error);
        }
        disk.sync_folder(dir)?;
        file.header = Some(self.header);
        file.end = self.bytes.len() as u64;
        file.sequences.1 = file.sequences.1.max(until);
        (file.records, file.oldest) = (self.records, self.oldest);
        Ok(())
    }
}
