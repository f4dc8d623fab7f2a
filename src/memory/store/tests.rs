//! The promise: an acknowledged record is found again, once; or its sequence is named as lost. Broken disks, torn files, flipped
//! bits.

use super::*;
use crate::memory::rig::{Folder, Trick};
use crate::memory::segment::Damage;
use crate::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::Ordering;

fn open(folder: &Folder) -> (Store, Reading) {
    Store::open(&folder.0, Bounds::default(), Box::new(Trick::roomy())).unwrap_or_else(|fault| panic!("{fault}"))
}

fn said(device: &str, user: &str) -> Entry {
    let operation = Operation::Turn { user: user.into(), reply: format!("re: {user}"), complete: true };
    Entry { at: UnixMs(1_000_000), device: device.into(), session: SessionId(1), turn: 1, operation }
}

/// Every turn in the log, by sequence: what the user said. A sequence that comes twice fails.
fn turns(folder: &Folder) -> (BTreeMap<u64, String>, Reading) {
    let mut turns = BTreeMap::new();
    let reading = reading::read(&folder.0, &mut |_, _, frame| {
        if let Some(Content::Operation(Operation::Turn { user, .. })) = frame.decode().map(|record| record.content) {
            assert!(turns.insert(frame.sequence, user).is_none(), "{} twice", frame.sequence);
        }
    });
    (turns, reading.unwrap_or_else(|fault| panic!("{fault}")))
}

fn named(reading: &Reading, sequence: u64) -> bool {
    reading.damage.iter().any(|(_, damage)| match damage {
        Damage::Missing { first, last } => (*first..=*last).contains(&sequence),
        _ => false,
    })
}

/// A log of `count` turns of three devices, each committed alone: by sequence, the file it lies in, where it ends there, and the
/// words.
type Acked = BTreeMap<u64, (u64, u64, String)>;

fn log(folder: &Folder, count: usize) -> Acked {
    let mut acked = BTreeMap::new();
    let (mut store, _) = open(folder);
    for i in 0..count {
        if i == count / 2 {
            // A second file, as after a restart.
            drop(store);
            store = open(folder).0;
        }
        let words = format!("turn {i} {}", "长".repeat(i % 7));
        let sequence = store.append(said(["a", "b", "c"][i % 3], &words)).unwrap();
        store.commit(true).unwrap();
        let file = store.files.last().unwrap();
        acked.insert(sequence, (file.number, file.end, words));
    }
    acked
}

#[test]
fn what_was_said_is_found_again_as_it_was() {
    let folder = Folder::new("again");
    let mut live = Dialogue::default();
    let (mut store, _) = open(&folder);
    for i in 0..100 {
        let entry = said("a", &format!("turn {i}"));
        live.apply(entry.at, &entry.operation, Bounds::default());
        store.append(entry).unwrap();
        store.append(said("b", "other")).unwrap();
        if i % 10 == 0 {
            store.commit(true).unwrap();
        }
        if i % 30 == 0 {
            assert_eq!(store.recall("a").dialogue, live, "with what is not written yet, at {i}");
        }
    }
    store.commit(true).unwrap();
    drop(store);
    let (mut store, reading) = open(&folder);
    assert!(reading.damage.is_empty(), "{:?}", reading.damage);
    assert_eq!(store.recall("a").dialogue, live);
    assert!(store.index["a"].checkpoint.is_some(), "not all of it is read");
    assert!(store.index["a"].since.len() <= limits::MEMORY_CHECKPOINT_TURNS);
    assert!(store.recall("nobody").dialogue.is_empty());
}

#[test]
fn a_log_cut_at_any_byte_keeps_what_lies_before_and_names_the_rest() {
    let folder = Folder::new("cut");
    let acked = log(&folder, 24);
    let last = folder.segments().pop().unwrap();
    let (number, whole) = (acked.values().next_back().unwrap().0, fs::read(&last).unwrap());
    for cut in 0..whole.len() {
        for has_mark in [true, false] {
            let copy = folder.copy();
            fs::write(copy.0.join(last.file_name().unwrap()), &whole[..cut]).unwrap();
            if !has_mark {
                // As after a power cut: the mark is not synced.
                fs::remove_file(copy.0.join(MARK)).unwrap();
            }
            let (found, before) = turns(&copy);
            let (mut store, _) = open(&copy);
            let next = store.append(said("a", "afterwards")).unwrap();
            store.commit(true).unwrap();
            drop(store);
            let (after, again) = turns(&copy);
            assert!(again.damage.iter().all(|(_, damage)| !damage.is_loss()), "mended: {:?}", again.damage);
            for (sequence, (file, end, words)) in &acked {
                let is_there = *file < number || *end <= cut as u64;
                assert_eq!(found.get(sequence) == Some(words), is_there, "{sequence} at {cut}");
                assert!(is_there || !has_mark || named(&before, *sequence), "{sequence} at {cut} is not named");
                assert_eq!(found.get(sequence), after.get(sequence).filter(|_| is_there), "{sequence} at {cut}");
            }
            assert!(!has_mark || next > *acked.keys().next_back().unwrap(), "a sequence is used again");
        }
    }
}

#[test]
fn every_flipped_bit_is_found_and_costs_one_record_that_is_named() {
    let folder = Folder::new("flip");
    let acked = log(&folder, 40);
    let mut files = folder.segments();
    files.push(folder.0.join(MARK));
    let sizes: Vec<usize> = files.iter().map(|file| fs::read(file).unwrap().len()).collect();
    let bits: usize = sizes.iter().sum::<usize>() * 8;
    let mut dice = 0x5eed_u64;
    for round in 0..10_000 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut bit = (dice >> 20) as usize % bits;
        let which = sizes.iter().position(|size| {
            let here = bit < size * 8;
            bit -= if here { 0 } else { size * 8 };
            here
        });
        let path = &files[which.unwrap()];
        let mut bytes = fs::read(path).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(path, &bytes).unwrap();
        let (found, reading) = turns(&folder);
        let place = format!("round {round}: {} bit {bit}: {:?}", path.display(), reading.damage);
        assert!(reading.damage.iter().any(|(_, damage)| damage.is_loss()), "not found, {place}");
        let lost: Vec<u64> = acked.keys().copied().filter(|sequence| !found.contains_key(sequence)).collect();
        assert!(lost.len() <= 1 && lost.iter().all(|sequence| named(&reading, *sequence)), "{lost:?} {place}");
        assert!(found.iter().all(|(sequence, words)| acked[sequence].2 == *words), "{place}");
        if round % 100 == 0 {
            let copy = folder.copy();
            let (store, _) = open(&copy);
            let originals = fs::read_dir(copy.0.join(reading::QUARANTINE)).map_or(0, Iterator::count);
            // Two where the last record of a file is damaged: the next one names it.
            assert!((1..=2).contains(&originals) || path.ends_with(MARK), "{place}");
            drop(store);
            let (mended, after) = turns(&copy);
            assert_eq!((mended, after.damage), (found, Vec::new()), "{place}");
        }
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(path, &bytes).unwrap();
    }
}

#[test]
fn blocks_that_were_swapped_or_written_twice_are_found() {
    let folder = Folder::new("swap");
    let words = "as long as the other";
    {
        let (mut store, _) = open(&folder);
        for _ in 0..6 {
            store.append(said("a", words)).unwrap();
        }
        store.commit(true).unwrap();
    }
    let path = folder.segments().pop().unwrap();
    let good = fs::read(&path).unwrap();
    let one = (good.len() - HEADER_BYTES) / 6;
    let block = |n: usize| HEADER_BYTES + n * one..HEADER_BYTES + (n + 1) * one;
    let mut swapped = good.clone();
    swapped[block(1)].copy_from_slice(&good[block(3)]);
    swapped[block(3)].copy_from_slice(&good[block(1)]);
    fs::write(&path, &swapped).unwrap();
    let (found, reading) = turns(&folder);
    assert_eq!(found.len(), 6, "all are good");
    assert!(
        reading.damage.iter().any(|(_, damage)| matches!(damage, Damage::Misplaced { .. })),
        "{:?}",
        reading.damage
    );
    let mut double = good.clone();
    double[block(4)].copy_from_slice(&good[block(2)]);
    fs::write(&path, &double).unwrap();
    let (found, reading) = turns(&folder);
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4, 6]);
    assert!(named(&reading, 5), "{:?}", reading.damage);
    // A file that vanished.
    drop(open(&folder).0);
    let (mut store, _) = open(&folder);
    store.append(said("a", "later")).unwrap();
    store.commit(true).unwrap();
    drop(store);
    fs::remove_file(&folder.segments()[0]).unwrap();
    let (found, reading) = turns(&folder);
    assert_eq!(found.len(), 1);
    assert!((1..=6).all(|sequence| named(&reading, sequence)), "{:?}", reading.damage);
}

#[test]
fn a_full_or_broken_disk_acknowledges_nothing_and_loses_nothing() {
    for break_sync in [false, true] {
        let folder = Folder::new("full");
        let disk = Trick::roomy();
        let (mut store, _) = Store::open(&folder.0, Bounds::default(), Box::new(disk.clone())).unwrap();
        store.append(said("a", "before")).unwrap();
        store.commit(true).unwrap();
        for i in 0..20 {
            store.append(said("a", &format!("meanwhile {i}"))).unwrap();
        }
        match break_sync {
            true => disk.bad_syncs.store(2, Ordering::Relaxed),
            // Half of the records fit: they are whole on disk, and not acknowledged.
            false => disk.room.store(1_000, Ordering::Relaxed),
        }
        assert!(store.commit(true).is_err());
        assert!(store.commit(true).is_err(), "the next file fails as well");
        assert_eq!(store.recall("a").dialogue.len(), 20, "it is remembered all the same");
        disk.room.store(i64::MAX, Ordering::Relaxed);
        assert_eq!(store.commit(true).unwrap(), 21);
        assert_eq!(folder.segments().len(), 2, "a file that failed is not written to again");
        drop(store);
        let (found, reading) = turns(&folder);
        assert!(reading.damage.is_empty(), "{:?}", reading.damage);
        let expected: Vec<_> =
            ["before".to_owned()].into_iter().chain((0..20).map(|i| format!("meanwhile {i}"))).collect();
        assert_eq!(found.into_values().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn what_waits_for_the_disk_is_bounded() {
    let folder = Folder::new("bound");
    let (mut store, _) = open(&folder);
    let taken = (0..).take_while(|_| store.append(said("a", "x")).is_ok()).count();
    // Checkpoints wait among them.
    assert!(store.waiting() == limits::MEMORY_PENDING && taken > limits::MEMORY_PENDING * 9 / 10, "{taken}");
    assert_eq!(store.append(said("a", "x")), Err(Full::Pending));
    store.commit(true).unwrap();
    assert!(store.append(said("a", "x")).is_ok());
}

#[test]
fn an_erased_device_leaves_no_trace() {
    let folder = Folder::new("erase");
    log(&folder, 30);
    let count = |folder: &Folder, words: &str| {
        let all = folder.segments().into_iter().map(|path| fs::read(path).unwrap());
        let all = all.chain(
            fs::read_dir(folder.0.join("quarantine"))
                .into_iter()
                .flatten()
                .map(|e| fs::read(e.unwrap().path()).unwrap()),
        );
        all.map(|bytes| bytes.windows(words.len()).filter(|w| *w == words.as_bytes()).count()).sum::<usize>()
    };
    let (mut store, _) = open(&folder);
    store.append(said("secret device", "a secret word")).unwrap();
    store.commit(true).unwrap();
    drop(store);
    // A damaged original that holds it.
    let path = folder.segments().pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (mut store, _) = open(&folder);
    store.append(said("secret device", "a secret word")).unwrap();
    assert_ne!(count(&folder, "secret"), 0);
    assert_eq!(store.erase("secret device").unwrap(), 1);
    assert_eq!(count(&folder, "secret"), 0);
    assert!(store.recall("secret device").dialogue.is_empty());
    assert_eq!(store.recall("a").dialogue.len(), 10, "nobody else lost anything");
    store.append(said("secret device", "anew")).unwrap();
    store.commit(true).unwrap();
    drop(store);
    let (found, reading) = turns(&folder);
    assert_eq!((found.len(), reading.damage), (31, Vec::new()), "and no loss is told");
}

#[test]
fn an_erasure_that_was_interrupted_is_ended_at_the_next_start() {
    let folder = Folder::new("half");
    log(&folder, 12);
    let (mut store, _) = open(&folder);
    // As if the process had ended right after the order was written.
    let (at, session, turn) = (UnixMs(1), SessionId(0), 0);
    store.take(Record { sequence: 0, at, session, turn, device: "b".into(), content: Content::Erase });
    store.commit(true).unwrap();
    drop(store);
    let (mut store, _) = open(&folder);
    assert!(store.recall("b").dialogue.is_empty());
    assert_eq!(turns(&folder).0.len(), 8);
}

#[test]
fn records_go_when_their_time_is_over() {
    let folder = Folder::new("retain");
    let (mut store, _) = open(&folder);
    let at = |ms: u64, device: &str| Entry { at: UnixMs(ms), ..said(device, &format!("at {ms}")) };
    for i in 0..50 {
        store.append(at(i, "a")).unwrap();
    }
    for i in 0..3 {
        store.append(at(i, "gone")).unwrap();
    }
    let summary = Operation::Summary("tea".into());
    store.append(Entry { operation: summary, ..at(2, "a") }).unwrap();
    store.commit(true).unwrap();
    store.close().unwrap();
    for i in 50..100 {
        store.append(at(i, "a")).unwrap();
    }
    let ms = crate::time::Duration::from_millis;
    let keep = Retention { turns: ms(30), summaries: ms(1_000), events: ms(1_000) };
    store.retain(&keep, UnixMs(100)).unwrap();
    let times = |folder: &Folder| turns(folder).0.into_values().collect::<Vec<_>>();
    assert_eq!(times(&folder), (70..100).map(|i| format!("at {i}")).collect::<Vec<_>>());
    assert!(store.recall("gone").dialogue.is_empty());
    let dialogue = store.recall("a").dialogue;
    assert!(dialogue.turns().all(|turn| turn.at.0 >= 70) && dialogue.len() == 20);
    assert_eq!(store.retain(&keep, UnixMs(100)).unwrap(), 0);
    // All of it.
    assert!(store.retain(&keep, UnixMs(5_000)).unwrap() > 0);
    assert!(times(&folder).is_empty() && store.devices() == 0);
    assert_eq!(folder.segments().len(), 1, "files without anything in them go, but for the last");
    let next = store.next();
    drop(store);
    let (mut store, reading) = open(&folder);
    assert_eq!((reading.next, reading.damage), (next, Vec::new()));
    store.append(said("a", "anew")).unwrap();
    store.commit(true).unwrap();
}

#[test]
fn what_is_not_ours_is_refused_and_not_touched() {
    let refused = |folder: &Folder| match Store::open(&folder.0, Bounds::default(), Box::new(disk::Real)) {
        Ok(_) => panic!("it was opened"),
        Err(fault) => fault.to_string(),
    };
    let folder = Folder::new("foreign");
    fs::write(&folder.0, "a letter").unwrap();
    assert!(refused(&folder).contains("no memory of voxlane"));
    assert_eq!(fs::read_to_string(&folder.0).unwrap(), "a letter");
    fs::remove_file(&folder.0).unwrap();
    fs::create_dir_all(&folder.0).unwrap();
    fs::write(folder.0.join("photo.jpg"), "x").unwrap();
    assert!(refused(&folder).contains("photo.jpg"));
    fs::remove_file(folder.0.join("photo.jpg")).unwrap();
    fs::write(folder.0.join("0000000001.seg"), "somebody else's segment, which is long enough for a header").unwrap();
    assert!(refused(&folder).contains("no memory of voxlane"));
    // A newer version's: its CRC is right.
    let mut header = b"VXLNMEM\n".to_vec();
    header.extend_from_slice(&9u32.to_le_bytes());
    header.resize(40, 0);
    header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
    fs::write(folder.0.join("0000000001.seg"), &header).unwrap();
    assert!(refused(&folder).contains("newer voxlane (layout 9"), "{}", refused(&folder));
    assert_eq!(fs::read(folder.0.join("0000000001.seg")).unwrap(), header);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing was put there");
}

#[test]
fn a_second_server_is_refused() {
    let folder = Folder::new("second");
    let (store, _) = open(&folder);
    let second = Store::open(&folder.0, Bounds::default(), Box::new(disk::Real));
    assert!(matches!(second, Err(StoreFault::Taken(_))));
    drop(store);
    assert!(Store::open(&folder.0, Bounds::default(), Box::new(disk::Real)).is_ok());
}

#[test]
fn a_sealed_log_is_read_with_its_key_only_and_holds_no_word() {
    let folder = Folder::new("sealed");
    let keys = |secret: &str| Some(Arc::new(Keys::new(secret.as_bytes())));
    let open = |keys| Store::open_sealed(&folder.0, Bounds::default(), Box::new(Trick::roomy()), keys);
    let users = |store: &mut Store| store.recall("a").dialogue.turns().map(|t| t.user.clone()).collect::<Vec<_>>();
    let mut store = open(None).unwrap().0;
    store.append(said("a", "open words")).unwrap();
    store.commit(true).unwrap();
    drop(store);
    // A key that is given later seals what comes after it; enough turns make checkpoints too.
    let mut store = open(keys("one")).unwrap().0;
    for i in 0..100 {
        store.append(said("a", &format!("my secret {i}"))).unwrap();
        store.append(said("b", "another's secret")).unwrap();
        store.commit(true).unwrap();
    }
    let before = users(&mut store);
    assert_eq!(before.last().map(String::as_str), Some("my secret 99"));
    drop(store);
    let on_disk = || -> Vec<u8> { folder.segments().iter().flat_map(|path| fs::read(path).unwrap()).collect() };
    let holds = |word: &[u8]| on_disk().windows(word.len()).any(|window| window == word);
    assert!(holds(b"open words") && !holds(b"secret"));
    assert!(matches!(open(None), Err(StoreFault::Sealed { has_key: false, .. })));
    assert!(matches!(open(keys("two")), Err(StoreFault::Sealed { has_key: true, .. })));
    let mut store = open(keys("one")).unwrap().0;
    assert_eq!(users(&mut store), before);
    // Files that are written anew are sealed as before; checkpoints that lose turns are sealed anew.
    let keep = Retention { turns: Duration::from_millis(1), ..Retention::default() };
    let now = UnixMs(1_000_000 + 2);
    assert!(store.retain(&keep, now).unwrap() > 0);
    assert!(store.erase("b").unwrap() > 0);
    drop(store);
    let mut store = open(keys("one")).unwrap().0;
    assert!(users(&mut store).is_empty() && !holds(b"secret"));
}
