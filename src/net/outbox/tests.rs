use super::*;
use crate::net::memory;
use proptest::prelude::*;

fn push(outbox: &mut Outbox, class: Class, bytes: &[u8]) -> Pushed {
    outbox.push(class, Instant::ZERO, |out| out.extend_from_slice(bytes))
}

#[test]
fn the_oldest_whole_audio_goes_first_and_control_stays() {
    let (pipe, far) = memory::pair();
    let mut stream = Stream::Memory(Box::new(pipe));
    let mut outbox = Outbox::default();
    assert_eq!(push(&mut outbox, Class::Audio, b"aaaa"), Pushed::Queued(0));
    far.set_room(2);
    outbox.flush(Instant::ZERO, &mut stream, &mut |_| panic!("not whole yet")).unwrap();
    push(&mut outbox, Class::Control, b"CC");
    for i in 0..38 {
        assert_eq!(push(&mut outbox, Class::Audio, &[b'0' + i]), Pushed::Queued(0));
    }
    // The first frame is half sent, so the second audio frame is the oldest that can go.
    assert_eq!(push(&mut outbox, Class::Audio, b"z"), Pushed::Queued(1));
    far.set_room(usize::MAX);
    let mut sent = 0;
    let flushed = outbox.flush(Instant::ZERO, &mut stream, &mut |_| sent += 1).unwrap();
    assert!(flushed.empty);
    assert_eq!(sent, 39);
    let text = far.take();
    assert!(text.starts_with(b"aaaaCC12"), "{text:?}");
    assert!(text.ends_with(b"z"));
}

#[test]
fn a_queue_full_of_control_says_so() {
    let mut outbox = Outbox::default();
    for _ in 0..limits::SEND_QUEUE_FRAMES {
        assert_eq!(push(&mut outbox, Class::Control, b"x"), Pushed::Queued(0));
    }
    assert_eq!(push(&mut outbox, Class::Audio, b"x"), Pushed::Dropped(1));
    assert_eq!(push(&mut outbox, Class::Control, b"x"), Pushed::Full);
    assert_eq!(outbox.waiting_bytes(), limits::SEND_QUEUE_FRAMES);
}

#[test]
fn a_peer_that_takes_nothing_is_given_up_and_progress_starts_the_wait_anew() {
    let (pipe, far) = memory::pair();
    let mut stream = Stream::Memory(Box::new(pipe));
    let mut outbox = Outbox::default();
    far.set_room(0);
    push(&mut outbox, Class::Control, b"abc");
    let at = |ms| Instant::from_ms(ms);
    outbox.flush(at(1_000), &mut stream, &mut |_| ()).unwrap();
    outbox.flush(at(2_000), &mut stream, &mut |_| ()).unwrap();
    assert_eq!(outbox.unwritable_at(), Some(at(6_000)));
    far.set_room(1);
    outbox.flush(at(3_000), &mut stream, &mut |_| ()).unwrap();
    assert_eq!(outbox.unwritable_at(), Some(at(8_000)));
    far.set_room(9);
    assert!(outbox.flush(at(4_000), &mut stream, &mut |_| ()).unwrap().empty);
    assert_eq!(outbox.unwritable_at(), None);
}

#[test]
fn a_big_outbox_is_not_kept() {
    let mut shelf = Shelf::default();
    let mut big = shelf.take();
    push(&mut big, Class::Control, &[0; 20_000]);
    shelf.give_back(big);
    assert!(shelf.spare.is_empty());
    let mut small = shelf.take();
    push(&mut small, Class::Control, b"rest");
    shelf.give_back(small);
    assert!(shelf.take().is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Push(bool, usize),
    Write(usize),
    DropAudio,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<bool>(), 4usize..9_000).prop_map(|(audio, len)| Step::Push(audio, len)),
        3 => (0usize..20_000).prop_map(Step::Write),
        1 => Just(Step::DropAudio),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is pushed, written and dropped: the bounds hold, what arrives is whole frames in order, and no control that
    /// was taken is missing.
    #[test]
    fn bounds_hold_and_only_whole_audio_is_lost(steps in prop::collection::vec(step(), 1..120)) {
        let (pipe, far) = memory::pair();
        let mut stream = Stream::Memory(Box::new(pipe));
        let mut outbox = Outbox::default();
        let (mut number, mut control) = (0u32, Vec::new());
        let mut lengths = Vec::new();
        let mut sent_audio = 0;
        for step in steps {
            match step {
                Step::Push(audio, len) => {
                    // A frame: its number in four bytes, repeated to its length.
                    let class = if audio { Class::Audio } else { Class::Control };
                    let frame: Vec<u8> = number.to_be_bytes().iter().copied().cycle().take(len).collect();
                    if matches!(push(&mut outbox, class, &frame), Pushed::Queued(_)) && !audio { control.push(number) }
                    lengths.push(len);
                    number += 1;
                }
                Step::Write(room) => {
                    far.set_room(room);
                    outbox.flush(Instant::ZERO, &mut stream, &mut |_| sent_audio += 1).unwrap();
                }
                Step::DropAudio => { outbox.drop_audio(); }
            }
            prop_assert!(outbox.waiting_bytes() <= limits::SEND_QUEUE_BYTES);
            prop_assert!(outbox.waiting_frames() <= limits::SEND_QUEUE_FRAMES);
        }
        far.set_room(usize::MAX);
        while !outbox.flush(Instant::ZERO, &mut stream, &mut |_| sent_audio += 1).unwrap().empty {}
        let bytes = far.take();
        let (mut at, mut last, mut arrived_control, mut arrived_audio) = (0, None, Vec::new(), 0);
        while at < bytes.len() {
            let n = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            let frame: Vec<u8> = n.to_be_bytes().iter().copied().cycle().take(lengths[n as usize]).collect();
            prop_assert!(bytes[at..].starts_with(&frame), "frame {} is cut", n);
            prop_assert!(last < Some(n));
            last = Some(n);
            if control.contains(&n) { arrived_control.push(n) } else { arrived_audio += 1 }
            at += frame.len();
        }
        prop_assert_eq!(arrived_control, control);
        prop_assert_eq!(arrived_audio, sent_audio);
    }
}
