use super::*;
use proptest::prelude::*;

fn queue(items_max: usize, bytes_max: usize) -> AudioQueue {
    let rules = QueueRules { items_max, bytes_max, bytes_after_trim: bytes_max / 2 };
    AudioQueue::new(rules, Budget::new(limits::AUDIO_BUDGET_BYTES))
}

/// Takes everything that waits: the samples, and a line of marks with one letter for each block.
fn drain(queue: &mut AudioQueue) -> (Vec<i16>, String) {
    let (mut pcm, mut marks) = (Vec::new(), String::new());
    queue.get_batch(usize::MAX, Ticket::default(), &mut |block| {
        pcm.extend_from_slice(block.words());
        marks.push(match (block.gap, block.last) {
            (false, false) => '.',
            (true, false) => 'g',
            (false, true) => 'L',
            (true, true) => 'G',
        });
        true
    });
    (pcm, marks)
}

fn assert_balanced(queue: &AudioQueue) {
    let t = queue.totals();
    let (items, bytes) = queue.waiting();
    assert_eq!(t.received.0, t.processed.0 + t.dropped.0 + items as u64, "items: {t:?}");
    assert_eq!(t.received.1, t.processed.1 + t.dropped.1 + bytes as u64, "bytes: {t:?}");
    assert!(items <= queue.rules.items_max && queue.bytes() <= queue.rules.bytes_max);
}

#[test]
fn blocks_come_out_as_they_went_in_and_the_last_says_so() {
    let mut queue = queue(100, 1 << 20);
    let pcm: Vec<i16> = (0..2_000).collect();
    queue.push(&pcm);
    queue.finish();
    assert!(!queue.is_drained());
    assert_eq!(drain(&mut queue), (pcm, "..L".to_owned()));
    assert!(queue.is_drained());
    assert_eq!(drain(&mut queue), (vec![], String::new()), "the end is told once");
}

#[test]
fn an_end_that_comes_after_the_last_block_is_an_empty_block() {
    let mut queue = queue(100, 1 << 20);
    queue.push(&[1; 960]);
    assert_eq!(drain(&mut queue).1, ".");
    queue.finish();
    assert_eq!(drain(&mut queue), (vec![], "L".to_owned()));
    assert_balanced(&queue);
}

#[test]
fn a_batch_is_never_more_than_asked_and_a_refused_block_waits() {
    let mut queue = queue(100, 1 << 20);
    queue.push(&[7; 960 * 12]);
    assert_eq!(queue.get_batch(10, Ticket::default(), &mut |_| true), 10);
    assert_eq!(queue.get_batch(10, Ticket::default(), &mut |_| false), 0);
    assert_eq!(queue.get_batch(10, Ticket::default(), &mut |_| true), 2);
    assert_eq!(queue.get_batch(10, Ticket::default(), &mut |_| true), 0);
    assert_balanced(&queue);
}

#[test]
fn full_of_items_drops_the_oldest_and_marks_the_gap() {
    let mut queue = queue(3, 1 << 20);
    for n in 0..5 {
        queue.push(&[n; 10]);
    }
    assert_eq!(queue.totals().dropped, (2, 40));
    assert_eq!(queue.totals().overflows, 2);
    let (pcm, marks) = drain(&mut queue);
    assert_eq!((pcm[0], pcm.len(), marks.as_str()), (2, 30, "g.."));
    assert_balanced(&queue);
}

#[test]
fn full_of_bytes_keeps_the_newest_half_on_a_block_border() {
    // Room for 10 blocks of 960 samples.
    let mut queue = queue(100, 19_200);
    for n in 0..10 {
        queue.push(&[n; 960]);
    }
    assert_eq!((queue.totals().overflows, queue.waiting().0), (0, 10), "exactly full is not too full");
    queue.push(&[10; 960]);
    assert_eq!((queue.totals().overflows, queue.totals().dropped.0), (1, 5));
    let (pcm, marks) = drain(&mut queue);
    assert_eq!((pcm[0], pcm.len() / 960, marks.as_str()), (5, 6, "g....."));
    assert_balanced(&queue);
}

#[test]
fn a_piece_longer_than_the_queue_is_cut_to_its_newest_part() {
    let mut queue = queue(100, 19_200);
    queue.push(&[1; 500]);
    let long: Vec<i16> = (0..12_000).map(|n| (n / 960) as i16).collect();
    queue.push(&long);
    let (pcm, marks) = drain(&mut queue);
    assert_eq!((pcm[0], pcm.len()), (3, 12_000 - 3 * 960));
    assert!(marks.starts_with('g'));
    assert_balanced(&queue);
}

#[test]
fn an_utterance_can_be_played_again_until_it_is_forgotten() {
    let mut queue = queue(100, 1 << 20);
    let pcm: Vec<i16> = (0..3_000).collect();
    queue.push(&pcm);
    queue.get_batch(2, Ticket::default(), &mut |_| true);
    assert!(queue.rewind());
    queue.finish();
    assert_eq!(drain(&mut queue).0, pcm);
    assert!(queue.rewind());
    assert_eq!(drain(&mut queue), (pcm, "...L".to_owned()));
    assert_balanced(&queue);
    queue.clear();
    assert!(queue.rewind() && drain(&mut queue).0.is_empty(), "nothing is kept");
    assert_eq!(queue.budget.used(), 0);
}

#[test]
fn what_is_kept_goes_first_and_then_it_cannot_be_played_again() {
    let mut queue = queue(100, 19_200);
    queue.push(&[1; 9_600]);
    drain(&mut queue);
    queue.push(&[2; 960]);
    assert_eq!(queue.totals().dropped, (0, 0), "what was given out is not lost");
    assert!(!queue.rewind());
    assert_eq!(drain(&mut queue).0, [2; 960]);
    assert_balanced(&queue);
}

#[test]
fn the_budget_is_for_all_and_comes_back() {
    let budget = Budget::new(4_000);
    let rules = QueueRules::default();
    let (mut a, mut b) = (AudioQueue::new(rules, budget.clone()), AudioQueue::new(rules, budget.clone()));
    a.push(&[1; 960]);
    a.push(&[2; 960]);
    b.push(&[3; 960]);
    assert_eq!(b.totals().dropped.0, 1, "b has nothing old to give up");
    a.push(&[4; 960]);
    assert_eq!((a.totals().dropped.0, a.totals().overflows), (1, 1));
    assert_eq!(drain(&mut a).1, "g.");
    drop(a);
    assert_eq!(budget.used(), 0);
    b.push(&[5; 960]);
    assert_eq!(drain(&mut b).1, "g", "the loss before it is told");
    assert_balanced(&b);
    drop(b);
    assert_eq!(budget.used(), 0);
}

#[test]
fn totals_are_told_once() {
    let mut queue = queue(100, 1 << 20);
    queue.push(&[0; 1_000]);
    assert_eq!(queue.take_totals().received, (2, 2_000));
    assert_eq!(queue.take_totals(), QueueTotals::default());
    queue.clear();
    assert_eq!(queue.take_totals().processed, (2, 2_000));
}

#[derive(Clone, Debug)]
enum Op {
    Push(usize),
    Batch(usize),
    Rewind,
    Finish,
    Clear,
    Other(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0_usize..3_000).prop_map(Op::Push),
        1 => (0_usize..40_000).prop_map(Op::Push),
        6 => (0_usize..12).prop_map(Op::Batch),
        1 => Just(Op::Rewind),
        1 => Just(Op::Finish),
        1 => Just(Op::Clear),
        2 => (0_usize..5_000).prop_map(Op::Other),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Random operations on a queue whose every bound is near, next to another that eats the budget: the books balance after
    /// each step, and what comes out is in order, without a hole that no gap announces.
    #[test]
    fn nothing_is_ever_unaccounted_for(
        ops in prop::collection::vec(op(), 1..60),
        items_max in 1_usize..20,
        bytes_max in 2_000_usize..40_000,
        budget in 3_000_usize..60_000,
    ) {
        let budget = Budget::new(budget);
        let rules = QueueRules { items_max, bytes_max, bytes_after_trim: bytes_max / 2 };
        let mut queue = AudioQueue::new(rules, budget.clone());
        let mut other = AudioQueue::new(rules, budget.clone());
        let mut pushed = 0_i16;
        let mut expected: Option<i16> = None;
        for op in ops {
            match op {
                Op::Push(len) => {
                    let pcm: Vec<i16> = (0..len).map(|n| pushed.wrapping_add(n as i16)).collect();
                    pushed = pushed.wrapping_add(len as i16);
                    queue.push(&pcm);
                }
                Op::Batch(max) => {
                    let before = queue.waiting().0;
                    let mut blocks = 0;
                    let mut ended = false;
                    queue.get_batch(max, Ticket::default(), &mut |block| {
                        assert!(!ended, "nothing after the last block");
                        ended = block.last;
                        blocks += usize::from(block.len > 0);
                        if let (Some(first), false, Some(expected)) = (block.words().first(), block.gap, expected) {
                            assert_eq!(*first, expected, "a hole without a gap");
                        }
                        if let Some(end) = block.words().last() {
                            expected = Some(end.wrapping_add(1));
                        }
                        true
                    });
                    prop_assert_eq!(blocks, before.min(max));
                }
                // After these the next block's first sample is not foretold.
                Op::Rewind => {
                    if queue.rewind() {
                        expected = None;
                    }
                }
                Op::Clear => {
                    queue.clear();
                    expected = None;
                }
                Op::Finish => queue.finish(),
                Op::Other(len) => {
                    other.push(&vec![0; len]);
                    if len % 3 == 0 {
                        other.clear();
                    }
                }
            }
            assert_balanced(&queue);
            assert_balanced(&other);
            prop_assert_eq!(budget.used(), queue.bytes() + other.bytes());
            prop_assert!(budget.used() <= budget.max);
        }
        drop((queue, other));
        prop_assert_eq!(budget.used(), 0);
    }
}
