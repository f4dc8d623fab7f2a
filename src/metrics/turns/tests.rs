use super::*;
use std::sync::atomic::AtomicBool;

fn record(n: u32) -> TurnRecord {
    let ms = |ms: u32| Duration::from_millis(u64::from(ms));
    TurnRecord {
        device: DeviceTag::new(&format!("device-{n}")),
        turn: n,
        began: Instant::from_ms(u64::from(n) * 10),
        speech: ms(1_200),
        milestones: [Some(ms(n)), Some(ms(n + 1)), None, Some(ms(n + 3)), Some(ms(n + 4)), Some(ms(n + 5)), None],
        length: ms(n + 9),
        end: "failed",
        stage: "tts",
        cause: "timeout",
        language: *b"zh",
        heard_bytes: n,
        said_bytes: n.wrapping_mul(3),
        sentences: 700,
        underruns: 5,
    }
}

fn all(log: &TurnLog) -> Vec<TurnRecord> {
    let mut turns = Vec::new();
    log.read(0, |turn| turns.push(turn));
    turns
}

#[test]
fn a_turn_is_read_as_it_was_written() {
    let log = TurnLog::default();
    assert_eq!((all(&log), log.written()), (vec![], 0));
    log.write(&record(7));
    assert_eq!(all(&log), [record(7)]);
    assert_eq!(all(&log), [record(7)], "reading takes nothing away");
    log.write(&TurnRecord::default());
    assert_eq!(all(&log)[1], TurnRecord::default());
    assert_eq!((record(1).language(), TurnRecord::default().language()), (Some("zh"), None));
}

#[test]
fn the_last_ones_are_kept_and_a_reader_goes_on_where_it_was() {
    let log = TurnLog::default();
    (0..KEPT as u32 + 10).for_each(|n| log.write(&record(n)));
    let kept = all(&log);
    assert_eq!((kept.len(), kept[0].turn, kept[KEPT - 1].turn), (KEPT, 10, KEPT as u32 + 9));
    let mut seen = Vec::new();
    let next = log.read(KEPT as u64 + 8, |turn| seen.push(turn.turn));
    assert_eq!((seen, next), (vec![KEPT as u32 + 8, KEPT as u32 + 9], KEPT as u64 + 10));
    assert_eq!(log.read(next, |_| panic!("nothing is new")), next);
}

#[test]
fn what_does_not_fit_is_cut_and_not_mixed_up() {
    let tag = DeviceTag::new("0123456789012345678901é and more");
    assert_eq!(tag.text(), "0123456789012345678901é");
    assert_eq!(DeviceTag::new("01234567890123456789012é").text(), "01234567890123456789012", "no half of a character");
    let log = TurnLog::default();
    let long = Duration::from_secs(9_000);
    log.write(&TurnRecord { speech: long, milestones: [Some(long); 7], end: "no such word", ..record(1) });
    let read = all(&log)[0];
    assert_eq!((read.end, read.speech), ("", Duration::from_micros(u64::from(NEVER) - 1)));
    assert!(read.milestones.iter().all(Option::is_some), "a long time is not taken for never");
}

#[test]
fn a_reader_never_sees_half_of_two_turns() {
    let (log, done) = (TurnLog::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Relaxed) || seen == 0 {
                log.read(0, |turn| {
                    assert_eq!(turn, record(turn.turn));
                    seen += 1;
                });
            }
            seen
        });
        (0..100_000).for_each(|n| log.write(&record(n)));
        done.store(true, Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
}
