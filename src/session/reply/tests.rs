use super::*;
use proptest::prelude::*;

const NEVER: Instant = Instant::NEVER;

fn packet(reply: &mut Reply, sentence: u16, bytes: &[u8]) -> Packed {
    let blocks: Vec<_> = PacketBlock::cut(sentence, bytes).collect();
    blocks.iter().fold(Packed::Late, |_, block| reply.packet(block, NEVER, 1_000))
}

/// Everything that comes out now: texts and packets.
fn read(reply: &mut Reply) -> Vec<String> {
    let mut out = Vec::new();
    loop {
        match reply.poll_next() {
            Next::Packet => {
                let taken = reply.take_packet().expect("a packet is ready");
                out.extend(taken.begins.map(str::to_string));
                out.push(String::from_utf8_lossy(taken.packet).into_owned());
            }
            Next::Text => out.extend(reply.take_text()),
            Next::Wait => return out,
            Next::End => {
                out.push("END".into());
                return out;
            }
        }
    }
}

#[test]
fn what_was_added_before_the_end_is_delivered_before_the_end() {
    let mut reply = Reply::default();
    assert_eq!(reply.add("A", "a"), Ok(0));
    assert_eq!(reply.add("B", ""), Ok(1));
    reply.end();
    assert_eq!(reply.add("C", "c"), Err(NotAdded::Ended));
    assert_eq!(reply.added_late(), 1);
    assert_eq!(read(&mut reply), [""; 0]);
    packet(&mut reply, 0, b"a0");
    assert_eq!(read(&mut reply), ["A", "a0"]);
    reply.speech_end(0);
    assert_eq!(read(&mut reply), ["B", "END"]);
}

#[test]
fn a_full_stream_makes_its_writer_wait() {
    let mut reply = Reply::default();
    for i in 0..limits::REPLY_SENTENCES {
        assert_eq!(reply.add("x", "x"), Ok(i as u16));
    }
    assert_eq!(reply.add("x", "x"), Err(NotAdded::Full));
    reply.speech_failed(0);
    assert_eq!(read(&mut reply), ["x"]);
    assert!(reply.has_room());

    let mut reply = Reply::default();
    let long = "x".repeat(limits::REPLY_WAITING_BYTES / 2);
    reply.add(&long, &long).unwrap();
    assert!(!reply.has_room());
}

#[test]
fn audio_is_bounded_in_bytes_in_packets_and_in_one_packet() {
    let mut reply = Reply::default();
    reply.add("A", "a").unwrap();
    while reply.has_audio_room(0) {
        assert_eq!(packet(&mut reply, 0, &[0; 4_000]), Packed::Whole);
    }
    reply.take_packet().unwrap();
    reply.take_packet().unwrap();
    assert!(reply.has_audio_room(0), "taking makes room");
    assert_eq!(packet(&mut reply, 0, &vec![0; limits::PACKET_BYTES + 1]), Packed::TooMuch);
    let block = PacketBlock::cut(0, b"x").next().unwrap();
    assert_eq!(reply.packet(&block, NEVER, 1), Packed::TooMuch);
}

#[test]
fn bytes_that_were_taken_are_forgotten() {
    let mut reply = Reply::default();
    reply.add("A", "a").unwrap();
    for i in 0..1_000u32 {
        packet(&mut reply, 0, &[i as u8; 2_880]);
        let taken = reply.take_packet().unwrap();
        assert_eq!(taken.packet, [i as u8; 2_880]);
    }
    let Audio::Own(packets) = &reply.ring[0].audio else { panic!() };
    assert!(packets.bytes.len() <= limits::REPLY_AUDIO_BYTES);
}

#[test]
fn cancel_has_a_reason_and_nothing_comes_after_it() {
    let mut reply = Reply::default();
    reply.add("A", "a").unwrap();
    assert_eq!(reply.next_to_speak(), Some(0));
    reply.asked(0, Cancel::new(), NEVER);
    packet(&mut reply, 0, b"a0");
    reply.cancel(CancelReason::BargeIn);
    reply.cancel(CancelReason::Close);
    assert_eq!(reply.cancelled(), Some(CancelReason::BargeIn));
    assert_eq!(reply.take_dropped().count(), 1);
    assert_eq!(read(&mut reply), ["END"]);
    assert_eq!(reply.add("B", "b"), Err(NotAdded::Cancelled));
    assert_eq!(packet(&mut reply, 0, b"a1"), Packed::Late);
}

#[test]
fn what_was_heard_ends_between_words() {
    let mut reply = Reply::default();
    reply.add("One two three.", "x").unwrap();
    reply.add("四五六七。", "x").unwrap();
    for sentence in [0, 1] {
        (0..10).for_each(|_| {
            packet(&mut reply, sentence, b"p");
        });
        reply.speech_end(sentence);
    }
    reply.end();
    read(&mut reply);
    let heard: Vec<_> = [0, 1, 4, 6, 10, 11, 14, 20].map(|played| reply.heard(played)).into();
    assert_eq!(
        heard,
        [
            "",
            "",
            "One",
            "One two",
            "One two three.",
            "One two three.",
            "One two three.四五",
            "One two three.四五六七。"
        ]
    );
    assert_eq!(reply.delivered(), heard[7]);
}

#[derive(Clone, Debug)]
enum Op {
    Add,
    Ask,
    Packet(u16, u8),
    Done(u16),
    Failed(u16),
    Read(u8),
    End,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let sentence = 0u16..14;
    let op = prop_oneof![
        4 => Just(Op::Add),
        4 => Just(Op::Ask),
        8 => (sentence.clone(), any::<u8>()).prop_map(|(s, b)| Op::Packet(s, b)),
        3 => sentence.clone().prop_map(Op::Done),
        1 => sentence.prop_map(Op::Failed),
        6 => (0u8..6).prop_map(Op::Read),
        1 => Just(Op::End),
    ];
    prop::collection::vec(op, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]
    /// Against a model that keeps every sentence for ever: what comes out is what went in, in order, and each job ends once.
    #[test]
    fn nothing_is_lost_doubled_or_overtaken(ops in ops()) {
        #[derive(Default)]
        struct Model { packets: Vec<u8>, complete: bool, job: Option<Cancel> }
        let mut reply = Reply::default();
        let mut model: Vec<Model> = Vec::new();
        let mut ended = false;
        let (mut at, mut of_it) = (0, 0);
        for op in ops {
            match op {
                Op::Add => {
                    let text = model.len().to_string();
                    let added = reply.add(&text, &text);
                    let open = model.len() - usize::from(reply.head());
                    match added {
                        Ok(index) => {
                            prop_assert_eq!(usize::from(index), model.len());
                            prop_assert!(!ended && open < limits::REPLY_SENTENCES);
                            model.push(Model::default());
                        }
                        Err(NotAdded::Full) => prop_assert!(!ended && open >= limits::REPLY_SENTENCES),
                        Err(other) => prop_assert!(ended, "{:?}", other),
                    }
                }
                Op::Ask => if let Some(index) = reply.next_to_speak() {
                    prop_assert!(usize::from(index - reply.head()) <= limits::SENTENCES_AHEAD);
                    prop_assert_eq!(reply.speech(index), index.to_string());
                    let job = Cancel::new();
                    reply.asked(index, job.clone(), NEVER);
                    prop_assert!(model[usize::from(index)].job.replace(job).is_none(), "asked twice");
                },
                Op::Packet(sentence, byte) => {
                    let taken = packet(&mut reply, sentence, &[byte]);
                    let place = model.get_mut(usize::from(sentence)).filter(|m| !m.complete && sentence >= reply.head());
                    prop_assert_eq!(taken == Packed::Whole, place.is_some());
                    if let Some(place) = place {
                        place.packets.push(byte);
                    }
                }
                Op::Done(sentence) | Op::Failed(sentence) => {
                    let failed = matches!(op, Op::Failed(_));
                    let known = if failed { reply.speech_failed(sentence) } else { reply.speech_end(sentence) };
                    if known {
                        model[usize::from(sentence)].complete = true;
                    }
                }
                Op::Read(times) => for _ in 0..times {
                    match reply.poll_next() {
                        Next::Packet => {
                            let taken = reply.take_packet().unwrap();
                            while of_it == model[at].packets.len() {
                                prop_assert!(model[at].complete && of_it > 0, "a sentence was skipped");
                                (at, of_it) = (at + 1, 0);
                            }
                            prop_assert_eq!(taken.packet, &[model[at].packets[of_it]][..]);
                            let begins = (of_it == 0).then(|| at.to_string());
                            prop_assert_eq!(taken.begins.map(str::to_string), begins);
                            of_it += 1;
                        }
                        Next::Text => {
                            if of_it > 0 {
                                prop_assert!(model[at].complete && of_it == model[at].packets.len());
                                (at, of_it) = (at + 1, 0);
                            }
                            prop_assert_eq!(reply.take_text().unwrap(), at.to_string());
                            prop_assert!(model[at].complete && model[at].packets.is_empty());
                            at += 1;
                        }
                        Next::Wait => break,
                        Next::End => {
                            prop_assert!(ended && (at == model.len() || (at + 1 == model.len() && of_it == model[at].packets.len())));
                            break;
                        }
                    }
                },
                Op::End => {
                    reply.end();
                    ended = true;
                }
            }
        }
        reply.cancel(CancelReason::Close);
        reply.take_dropped().for_each(|job| job.cancel());
        for sentence in &model {
            let Some(job) = &sentence.job else { continue };
            prop_assert!(sentence.complete || job.is_cancelled(), "a job was forgotten");
        }
    }
}
