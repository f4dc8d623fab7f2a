use super::*;
use std::net::TcpListener;

fn pair() -> (Watcher, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let seat = Seats::take(&Arc::default()).unwrap();
    (Watcher::new(listener.accept().unwrap().0, seat).unwrap(), far)
}

fn at(seconds: u64) -> Instant {
    Instant::from_ms(seconds * 1_000)
}

/// Events far beyond what sockets take at once.
const LARGE: usize = 32 << 20;

#[test]
fn a_watcher_that_reads_nothing_misses_news_and_is_let_go() {
    let (mut watcher, _far) = pair();
    let (mut past, news) = (vec![b'p'; LARGE], vec![b'n'; 10]);
    let mut pasts = 0;
    let mut tell = |watcher: &mut Watcher, second| {
        watcher.tell(at(second), Some(&news), || {
            pasts += 1;
            &mut past
        })
    };
    assert_eq!(tell(&mut watcher, 10), Fate::Stays);
    let kept = watcher.rest.len();
    assert!(kept > 0);
    for second in 11..15 {
        assert_eq!(tell(&mut watcher, second), Fate::Stays);
        assert!(watcher.rest.len() <= kept, "news do not pile up");
    }
    assert_eq!(tell(&mut watcher, 15), Fate::Slow);
    assert_eq!(pasts, 1);
}

#[test]
fn a_watcher_that_catches_up_is_told_the_past_again() {
    let (mut watcher, mut far) = pair();
    let (mut long, mut short) = (vec![b'P'; LARGE], b"p".to_vec());
    assert_eq!(watcher.tell(at(1), None, || &mut long), Fate::Stays);
    assert_eq!(watcher.tell(at(2), Some(b"missed"), || unreachable!()), Fate::Stays);
    // The far end reads all there is, in step with what is written.
    far.set_nonblocking(true).unwrap();
    let (mut got, mut chunk) = (Vec::new(), vec![0; 1 << 20]);
    while got.last() != Some(&b'p') {
        assert_eq!(watcher.tell(at(3), None, || &mut short), Fate::Stays);
        while let Ok(n) = far.read(&mut chunk) {
            got.extend_from_slice(&chunk[..n]);
        }
    }
    assert_eq!(watcher.tell(at(4), Some(b"news"), || unreachable!()), Fate::Stays);
    far.set_nonblocking(false).unwrap();
    let mut news = [0; 4];
    far.read_exact(&mut news).unwrap();
    assert_eq!((got.len(), &news), (LARGE + 1, b"news"));
}

#[test]
fn who_has_left_is_gone_and_his_seat_free() {
    let (mut watcher, far) = pair();
    let seats = watcher._seat.0.clone();
    let mut past = b"p".to_vec();
    assert_eq!(watcher.tell(at(1), None, || &mut past), Fate::Stays);
    drop(far);
    while watcher.tell(at(1), Some(b"n"), || unreachable!()) == Fate::Stays {}
    assert_eq!(seats.taken.load(Relaxed), 1);
    drop(watcher);
    assert_eq!(seats.taken.load(Relaxed), 0);
}

#[test]
fn there_are_so_many_seats() {
    let seats = Arc::<Seats>::default();
    let taken: Vec<Seat> = (0..LIVE_WATCHERS).map(|_| Seats::take(&seats).unwrap()).collect();
    assert!(Seats::take(&seats).is_none() && seats.refused.load(Relaxed) == 1);
    drop(taken);
    assert!(Seats::take(&seats).is_some());
}

#[test]
fn an_event_is_one_line_whatever_a_device_calls_itself() {
    let text =
        String::from_utf8(event("beat", &serde_json::json!({ "device": "a\n\nevent: evil\r\u{2028}" }))).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.starts_with("event: beat\ndata: {") && text.ends_with("}\n\n"));
}
