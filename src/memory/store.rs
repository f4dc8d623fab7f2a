//! The log, as the one who writes it sees it: records go in, become durable together, and come back as dialogues.
//!
//! ```text
//!   append --> pending --commit--> file (one write, one fdatasync for all) --> acknowledged
//!   recall <-- index (where a device's records lie) <----'      checkpoint + what came after it
//! ```
//!
//! What fails: a file to which a write or a sync failed is never written to again, and nothing of the failed range is
//! acknowledged; its records wait in memory and go, under the same sequences, into the next file, which speaks from there on.

use super::cleaning::{self, Fate, Retention};
use super::disk::{self, Disk, Sink};
use super::fault::StoreFault;
use super::frame::{self, Content, Frame, Gone, Record};
use super::reading::{self, LOCK, MARK, Mark, Reading, SegmentFile, name_of};
use super::seal::{KeyCheck, Keys};
use super::segment::{Damage, HEADER_BYTES, Header};
use crate::ids::SessionId;
use crate::limits;
use crate::session::dialogue::{Bounds, Dialogue};
use crate::session::record::Operation;
use crate::time::UnixMs;
use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The log, open for writing.
pub struct Store {
    pub(super) dir: PathBuf,
    pub(super) disk: Box<dyn Disk>,
    bounds: Bounds,
    keys: Option<Arc<Keys>>,
    /// Held as long as we live.
    _lock: File,
    pub(super) files: Vec<SegmentFile>,
    /// The file that is written to; none before the first record and after a failure.
    open: Option<Open>,
    next: u64,
    base: u64,
    acked: u64,
    pending: VecDeque<Record>,
    pending_bytes: usize,
    pub(super) index: HashMap<Box<str>, Known>,
    readers: HashMap<u64, File>,
    buffer: Vec<u8>,
    unknown: u64,
}

struct Open {
    number: u64,
    sink: Box<dyn Sink>,
    len: u64,
    crc: u32,
}

/// Where the records of a device lie.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) checkpoint: Option<Place>,
    since: Vec<Place>,
    /// Records of it that are not written yet.
    waiting: u32,
    last_at: UnixMs,
}

/// One record's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) at: u32,
    len: u32,
}

/// A change to be written down.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When it was made.
    pub at: UnixMs,
    /// Whose it is.
    pub device: Box<str>,
    /// The connection.
    pub session: SessionId,
    /// Its turn.
    pub turn: u32,
    /// The change.
    pub operation: Operation,
}

/// A dialogue that was found again.
#[derive(Debug, Default)]
pub struct Recalled {
    /// As the records make it.
    pub dialogue: Dialogue,
    /// When the last of them was made.
    pub at: UnixMs,
}

/// Why a change was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Too much waits for the disk.
    Pending,
    /// Too many devices.
    Devices,
}

impl Store {
    /// Opens the log in `dir`, which is made if it is not there. What is damaged is copied aside and written anew from its good
    /// records, and an erasure that had begun is ended.
    ///
    /// # Errors
    /// [`StoreFault`]; nothing was touched then.
    pub fn open(dir: &Path, bounds: Bounds, disk: Box<dyn Disk>) -> Result<(Store, Reading), StoreFault> {
        Store::open_sealed(dir, bounds, disk, None)
    }

    /// The same, and from now on records are sealed by these keys. Older ones that are not stay as they are.
    ///
    /// # Errors
    /// As [`Store::open`]; and records there are sealed by another key.
    pub fn open_sealed(
        dir: &Path,
        bounds: Bounds,
        disk: Box<dyn Disk>,
        keys: Option<Arc<Keys>>,
    ) -> Result<(Store, Reading), StoreFault> {
        // Before anything of ours is put there.
        reading::check(dir)?;
        disk::make_folder(dir).map_err(|e| StoreFault::io(dir, e))?;
        let lock = lock(dir)?;
        let mut index: HashMap<Box<str>, Known> = HashMap::new();
        let (mut unknown, mut unfinished, mut check) = (0, Vec::new(), KeyCheck::new(keys.as_deref()));
        let reading = reading::read(dir, &mut |number, at, frame| {
            check.look(frame);
            unknown += u64::from(frame.is_unknown());
            if frame.is_erase() {
                unfinished.push(Box::<str>::from(frame.device));
                index.remove(frame.device);
            }
            index_of(&mut index, number, at, frame);
        })?;
        check.verdict(dir)?;
        let mut store = Store {
            dir: dir.to_owned(),
            disk,
            bounds,
            keys,
            _lock: lock,
            files: reading.files.clone(),
            open: None,
            next: reading.next,
            base: reading.base,
            acked: reading.next - 1,
            pending: VecDeque::new(),
            pending_bytes: 0,
            index,
            readers: HashMap::new(),
            buffer: Vec::new(),
            unknown,
        };
        if reading.damage.iter().any(|(_, damage)| damage.is_loss()) {
            store.mend(&reading)?;
        }
        for device in unfinished {
            store.erase(&device).map_err(|e| StoreFault::io(dir, e))?;
        }
        Ok((store, reading))
    }

    /// Takes a change; it is durable after the next [`Store::commit`] that succeeds. Returns its sequence.
    ///
    /// # Errors
    /// [`Full`]; it was not taken.
    pub fn append(&mut self, entry: Entry) -> Result<u64, Full> {
        if self.pending.len() >= limits::MEMORY_PENDING || self.pending_bytes >= limits::MEMORY_PENDING_BYTES {
            return Err(Full::Pending);
        }
        if !self.index.contains_key(&entry.device) {
            if self.index.len() >= limits::MEMORY_DEVICES {
                return Err(Full::Devices);
            }
            self.index.insert(entry.device.clone(), Known::default());
        }
        self.unknown += u64::from(matches!(entry.operation, Operation::Unknown { .. }));
        let Entry { at, device, session, turn, operation } = entry;
        let since = self.index.get(&device).map_or(0, |known| known.since.len() + known.waiting as usize);
        if since >= limits::MEMORY_CHECKPOINT_TURNS {
            self.checkpoint(at, &device);
        }
        if let Some(known) = self.index.get_mut(&device) {
            known.waiting += 1;
        }
        Ok(self.take(Record { sequence: 0, at, session, turn, device, content: Content::Operation(operation) }))
    }

    fn take(&mut self, mut record: Record) -> u64 {
        record.sequence = self.next;
        self.next = match record.content {
            Content::Void { last, .. } => last + 1,
            _ => self.next + 1,
        };
        self.pending_bytes += record.weight();
        let sequence = record.sequence;
        self.pending.push_back(record);
        sequence
    }

    /// Writes down the whole dialogue of a device, so that what lies before need not be read again.
    fn checkpoint(&mut self, at: UnixMs, device: &str) {
        let dialogue = self.recall(device).dialogue;
        let content = Content::Checkpoint(Box::new(dialogue));
        let record = Record { sequence: 0, at, session: SessionId(0), turn: 0, device: device.into(), content };
        if record.weight() < limits::MEMORY_RECORD_BYTES / 2 {
            self.take(record);
            if let Some(known) = self.index.get_mut(device) {
                (known.since, known.waiting) = (Vec::new(), 1);
            }
        }
    }

    /// Whether something waits to be written.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Records that wait to be written.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Writes what waits, with one write, and makes it durable if `sync`. The last sequence that is written then.
    ///
    /// # Errors
    /// The system's. Nothing of it is acknowledged; all of it still waits, for the next try in a new file.
    pub fn commit(&mut self, sync: bool) -> io::Result<u64> {
        if self.pending.is_empty() {
            return Ok(self.next - 1);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let written = self.write_pending(&mut buffer, sync);
        buffer.clear();
        buffer.shrink_to(1 << 20);
        self.buffer = buffer;
        if written.is_err() {
            self.open = None;
        }
        written?;
        self.pending.clear();
        self.pending_bytes = 0;
        if sync {
            self.acknowledge();
        }
        Ok(self.next - 1)
    }

    /// Makes durable what was written without.
    ///
    /// # Errors
    /// The system's; the file is given up.
    pub fn sync(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if let Err(error) = open.sink.sync() {
            self.open = None;
            return Err(error);
        }
        if self.pending.is_empty() {
            self.acknowledge();
        }
        Ok(())
    }

    /// Notes how far we have acknowledged: should the end of the log vanish, one knows what it held. Not synced: it matters when
    /// files are damaged, not when power fails.
    fn acknowledge(&mut self) {
        self.acked = self.next - 1;
        let mark = Mark { base: self.base, acked: self.acked };
        let _ = self.disk.put(&self.dir.join(MARK), &mark.emit());
    }

    fn write_pending(&mut self, buffer: &mut Vec<u8>, sync: bool) -> io::Result<()> {
        let first = self.pending.front().map_or(self.next, |record| record.sequence);
        if self.open.as_ref().is_some_and(|open| open.len >= limits::MEMORY_SEGMENT_BYTES) {
            self.close()?;
        }
        if self.open.is_none() {
            self.open = Some(self.begin(first)?);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let mut places = Vec::with_capacity(self.pending.len());
        let mut crc = open.crc;
        for record in &self.pending {
            let at = buffer.len();
            crc = record.emit_sealed(crc, self.keys.as_deref(), buffer)?;
            places.push((at, buffer.len() - at));
        }
        open.sink.write(buffer)?;
        if sync {
            open.sink.sync()?;
        }
        let (number, start) = (open.number, open.len);
        open.len += buffer.len() as u64;
        open.crc = crc;
        let len = open.len;
        for (record, (at, bytes)) in self.pending.iter().zip(&places) {
            let place = Place { number, at: (start as usize + at) as u32, len: *bytes as u32 };
            match record.content {
                Content::Void { .. } | Content::Erase => {}
                Content::Checkpoint(_) => note(&mut self.index, &record.device, record.at, place, true),
                Content::Operation(_) => note(&mut self.index, &record.device, record.at, place, false),
            }
        }
        let oldest = self.pending.iter().map(|record| record.at).min();
        if let Some(file) = self.files.last_mut() {
            file.end = len;
            file.sequences.1 = self.next;
            file.records += self.pending.len() as u64;
            file.oldest = file.oldest.min(oldest.unwrap_or(file.oldest));
        }
        Ok(())
    }

    /// Begins the next file, in which `first` will be the first sequence. It has its name only once it is whole.
    fn begin(&mut self, first: u64) -> io::Result<Open> {
        disk::make_folder(&self.dir)?;
        let number = self.files.last().map_or(1, |file| file.number + 1);
        let prev_end = self.files.last().map_or(0, |file| file.end);
        let header = Header { number, first, prev_end, is_whole: false, crc: 0 };
        let (draft, path) = (self.dir.join(name_of(number) + ".new"), self.dir.join(name_of(number)));
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        let crc = header.emit(&mut bytes);
        let mut sink = self.disk.create(&draft)?;
        let made = sink.write(&bytes).and_then(|()| sink.sync()).and_then(|()| std::fs::rename(&draft, &path));
        if let Err(error) = made.and_then(|()| self.disk.sync_folder(&self.dir)) {
            let _ = std::fs::remove_file(&draft);
            return Err(error);
        }
        let (header, len) = (Some(Header { crc, ..header }), HEADER_BYTES as u64);
        self.files.push(SegmentFile {
            number,
            path,
            header,
            end: len,
            sequences: (first, first),
            records: 0,
            oldest: UnixMs(u64::MAX),
        });
        Ok(Open { number, sink, len, crc })
    }

    /// Ends the file that is written to; the next record begins a new one.
    pub(super) fn close(&mut self) -> io::Result<()> {
        match self.open.take() {
            Some(mut open) => open.sink.sync(),
            None => Ok(()),
        }
    }

    /// The dialogue of a device, as far as it was taken; reads a few records from disk.
    pub fn recall(&mut self, device: &str) -> Recalled {
        let mut recalled = Recalled::default();
        let Some(known) = self.index.get(device) else { return recalled };
        recalled.at = known.last_at;
        let places: Vec<Place> = known.checkpoint.iter().chain(&known.since).copied().collect();
        for place in places {
            if let Some(record) = self.read(place).filter(|record| &*record.device == device) {
                self.replay(&mut recalled, &record);
            }
        }
        let pending = std::mem::take(&mut self.pending);
        pending.iter().filter(|record| &*record.device == device).for_each(|r| self.replay(&mut recalled, r));
        self.pending = pending;
        recalled
    }

    fn replay(&self, recalled: &mut Recalled, record: &Record) {
        match &record.content {
            Content::Operation(operation) => recalled.dialogue.apply(record.at, operation, self.bounds),
            Content::Checkpoint(dialogue) => recalled.dialogue = (**dialogue).clone(),
            Content::Void { .. } | Content::Erase => return,
        }
        recalled.at = recalled.at.max(record.at);
    }

    fn read(&mut self, place: Place) -> Option<Record> {
        let path = &self.files.iter().find(|file| file.number == place.number)?.path;
        let file = match self.readers.entry(place.number) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(File::open(path).ok()?),
        };
        let mut bytes = vec![0; place.len as usize];
        file.read_exact_at(&mut bytes, u64::from(place.at)).ok()?;
        frame::parse(&bytes)?.open(self.keys.as_deref())
    }

    /// Devices that are remembered.
    pub fn devices(&self) -> usize {
        self.index.len()
    }

    /// Operations that were kept and not understood.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// The sequence of the next record.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Removes everything of a device, from every file, damaged originals included. Returns how many records that were.
    ///
    /// # Errors
    /// The system's; the rest is removed when the log is next opened.
    pub fn erase(&mut self, device: &str) -> io::Result<u64> {
        let (at, session) = (UnixMs::now(), SessionId(0));
        self.take(Record { sequence: 0, at, session, turn: 0, device: device.into(), content: Content::Erase });
        self.commit(true)?;
        self.close()?;
        self.index.remove(device);
        let fate = |frame: &Frame<'_>| if frame.device == device { Fate::Drop } else { Fate::Keep };
        let removed = self.rewrite(&mut |frame, _| fate(frame))?;
        self.reindex()?;
        cleaning::purge_quarantine(&self.dir, device)?;
        // The order itself is one of them.
        Ok(removed.saturating_sub(1))
    }

    /// Removes records whose time is over. Returns how many.
    ///
    /// # Errors
    /// The system's; what could not be removed is there still.
    pub fn retain(&mut self, keep: &Retention, now: UnixMs) -> io::Result<u64> {
        let horizon = keep.horizon(now);
        if !self.files.iter().any(|file| file.oldest < horizon) {
            return Ok(0);
        }
        self.commit(true)?;
        self.close()?;
        let (index, keys) = (std::mem::take(&mut self.index), self.keys.clone());
        let is_current = |frame: &Frame<'_>, place: (u64, usize)| {
            let checkpoint = index.get(frame.device).and_then(|known| known.checkpoint);
            checkpoint.is_some_and(|it| (it.number, it.at as usize) == place)
        };
        let removed =
            self.rewrite(&mut |frame, place| keep.fate(frame, now, keys.as_deref(), || is_current(frame, place)));
        self.index = index;
        let removed = removed?;
        if removed > 0 {
            self.reindex()?;
            self.drop_empty_files()?;
        }
        Ok(removed)
    }

    /// Writes every file anew that holds something which is not to stay as it is. The index is to follow.
    fn rewrite(&mut self, fate: &mut cleaning::Judge<'_>) -> io::Result<u64> {
        self.readers.clear();
        let mut removed = 0;
        for file in &mut self.files {
            removed += cleaning::rewrite(&self.dir, &*self.disk, file, self.keys.as_deref(), fate)?;
        }
        Ok(removed)
    }

    /// The oldest files, as far as nothing is left in them, go.
    fn drop_empty_files(&mut self) -> io::Result<()> {
        let empty = self.files.iter().take_while(|file| file.records == 0).count();
        let empty = empty.min(self.files.len().saturating_sub(1));
        if empty == 0 {
            return Ok(());
        }
        self.base = self.files[empty].header.map_or(self.base, |header| header.first);
        let mark = Mark { base: self.base, acked: self.acked };
        self.disk.put(&self.dir.join(MARK), &mark.emit())?;
        File::open(self.dir.join(MARK))?.sync_all()?;
        for file in self.files.drain(..empty) {
            std::fs::remove_file(file.path)?;
        }
        self.disk.sync_folder(&self.dir)
    }

    /// Reads the log again: records have moved.
    fn reindex(&mut self) -> io::Result<()> {
        let mut index = HashMap::new();
        let read = reading::read(&self.dir, &mut |number, at, frame| index_of(&mut index, number, at, frame));
        let reading = read.map_err(|fault| io::Error::other(fault.to_string()))?;
        self.files = reading.files;
        self.index = index;
        Ok(())
    }

    /// Damaged files are copied aside and written anew from their good records; what is lost is named in its place.
    fn mend(&mut self, reading: &Reading) -> Result<(), StoreFault> {
        let dir = self.dir.clone();
        let named = |e| StoreFault::io(&dir, e);
        for index in 0..self.files.len() {
            let number = self.files[index].number;
            let is_damaged = reading.damage.iter().any(|(at, damage)| *at == number && damage.is_loss());
            if !is_damaged {
                continue;
            }
            if !cleaning::quarantine(&self.dir, &self.files[index].path).map_err(named)? {
                continue;
            }
            let until = match self.files.get(index + 1) {
                Some(after) => after.sequences.0,
                None => reading.next,
            };
            cleaning::mend(&self.dir, &*self.disk, &mut self.files[index], until).map_err(named)?;
        }
        if self.files.is_empty() && reading.next > 1 {
            let content = Content::Void { last: reading.next - 1, why: Gone::Lost };
            self.next = 1;
            self.take(Record {
                sequence: 0,
                at: UnixMs(0),
                session: SessionId(0),
                turn: 0,
                device: "".into(),
                content,
            });
            self.commit(true).map_err(named)?;
        }
        self.reindex().map_err(named)?;
        self.acknowledge();
        Ok(())
    }
}

/// Writes a record's place into the index.
fn note(index: &mut HashMap<Box<str>, Known>, device: &str, at: UnixMs, place: Place, is_checkpoint: bool) {
    let known = match index.get_mut(device) {
        Some(known) => known,
        None => index.entry(device.into()).or_default(),
    };
    known.last_at = known.last_at.max(at);
    known.waiting = known.waiting.saturating_sub(1);
    if is_checkpoint {
        known.checkpoint = Some(place);
        known.since = Vec::new();
    } else {
        known.since.push(place);
    }
}

/// The index of a log as it is read.
fn index_of(index: &mut HashMap<Box<str>, Known>, number: u64, at: usize, frame: &Frame<'_>) {
    let place = Place { number, at: at as u32, len: frame.len as u32 };
    match frame.is_void() || frame.is_erase() {
        true => {}
        false => note(index, frame.device, frame.at, place, frame.is_checkpoint()),
    }
}

fn lock(dir: &Path) -> Result<File, StoreFault> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|e| StoreFault::io(&path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreFault::Taken(dir.to_owned())),
        Err(TryLockError::Error(e)) => Err(StoreFault::io(&path, e)),
    }
}

/// Whether a reading is worth a word.
pub fn describe(reading: &Reading) -> Vec<String> {
    let of = |(number, damage): &(u64, Damage)| match number {
        0 => damage.to_string(),
        number => format!("{}: {damage}", name_of(*number)),
    };
    reading.damage.iter().map(of).collect()
}

#[cfg(test)]
mod tests;
