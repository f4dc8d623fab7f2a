//! Whole turns: what the device says reaches the workers, what they answer reaches the device, in time and nobody else.

use super::rig::{Device, Rig, Said, pcm};
use crate::format::Lang;
use crate::job::{Job, Outcome, PacketBlock, ReplyEnd, Stage, TextBlock, Transcript, Work};
use crate::metrics::{Counter, Gauge, Series};
use crate::time::{Duration, Instant};
use serde_json::json;

fn transcript(text: &str) -> Outcome {
    Outcome::Transcript(Box::new(Transcript { text: text.into(), language: Some(Lang::EN), confidence: None }))
}

/// Says something in manual mode, up to the recogniser's job.
fn ask(rig: &mut Rig, device: &Device) -> Job {
    device.text(&json!({"type": "listen", "state": "start", "mode": "manual"}));
    for _ in 0..15 {
        device.audio(&pcm(true));
        rig.wait_ms(60);
    }
    device.text(&json!({"type": "listen", "state": "stop"}));
    rig.run();
    rig.job(Stage::Asr).expect("a job for the recogniser")
}

/// Up to a reply whose one sentence has `packets` packets, all of them at the shard.
pub fn begin_reply(rig: &mut Rig, device: &Device, packets: u32) -> Job {
    let asr = ask(rig, device);
    rig.answer(&asr, transcript("what time is it"));
    let llm = rig.job(Stage::Llm).expect("a job for the model");
    rig.answer(&llm, Outcome::Token(TextBlock::split_from("It is late, my friend, very late.").0));
    rig.answer(&llm, Outcome::ReplyEnd(ReplyEnd::Complete));
    let tts = rig.job(Stage::Tts).expect("a job for the voice");
    let Work::Speak(speak) = &tts.work else { panic!("{:?}", tts.work) };
    let sentence = speak.sentence;
    for _ in 0..packets {
        for block in PacketBlock::cut(sentence, &[7; 240]) {
            rig.answer(&tts, Outcome::Packet(block));
        }
    }
    rig.answer(&tts, Outcome::SpeechEnd { sentence, packets });
    tts
}

#[test]
fn a_turn_goes_round() {
    let mut rig = Rig::new();
    let mut device = rig.device("aa:bb");
    let asr = ask(&mut rig, &device);
    let mut blocks = Vec::new();
    rig.desk(Stage::Asr).next_blocks(100, Duration::ZERO, &mut blocks);
    assert!(blocks.len() >= 12, "{} blocks", blocks.len());
    assert!(blocks.iter().all(|block| block.ticket == asr.ticket));
    assert!(blocks.last().unwrap().last && blocks.iter().filter(|block| block.last).count() == 1);
    rig.answer(&asr, transcript("what time is it"));
    assert_eq!(device.words(), ["stt", "tts start"]);
    let llm = rig.job(Stage::Llm).expect("a job for the model");
    rig.answer(&llm, Outcome::Token(TextBlock::split_from("It is late, my friend.").0));
    rig.answer(&llm, Outcome::ReplyEnd(ReplyEnd::Complete));
    let mut audio = 0;
    while let Some(tts) = rig.job(Stage::Tts) {
        let Work::Speak(speak) = &tts.work else { panic!() };
        for _ in 0..10 {
            PacketBlock::cut(speak.sentence, &[7; 240]).for_each(|block| rig.answer(&tts, Outcome::Packet(block)));
            audio += 1;
        }
        rig.answer(&tts, Outcome::SpeechEnd { sentence: speak.sentence, packets: 10 });
    }
    rig.wait_ms(5_000);
    let words = device.words();
    assert_eq!(words.iter().filter(|word| *word == "audio").count(), audio);
    assert_eq!(words.iter().filter(|word| *word == "tts stop").count(), 1);
    assert_eq!(words.last().map(String::as_str), Some("tts stop"));
    assert_eq!((rig.count(Counter::TurnsStarted), rig.count(Counter::TurnsComplete)), (1, 1));
    assert_eq!(rig.gauge(Gauge::Speaking), 0);
    let mut turns = Vec::new();
    rig.panel.turns().read(0, |turn| turns.push(turn));
    let [turn] = turns[..] else { panic!("{turns:?}") };
    assert_eq!((turn.device.text(), turn.end, turn.language()), ("aa:bb", "complete", Some("en")));
    assert_eq!((turn.heard_bytes, turn.said_bytes as usize), (15, "It is late, my friend.".len()));
    let reached: Vec<Duration> = turn.milestones.iter().flatten().copied().collect();
    assert!(reached.len() == 7 && reached.is_sorted(), "{reached:?}");
    assert!(turn.speech >= Duration::from_millis(600) && turn.length > reached[6], "{turn:?}");
}

#[test]
fn frames_leave_at_their_instants() {
    let mut rig = Rig::new();
    let mut device = rig.device("aa:bb");
    begin_reply(&mut rig, &device, 100);
    let mut times: Vec<u64> = Vec::new();
    for _ in 0..7_000 {
        while let Some(said) = device.next() {
            if matches!(said, Said::Audio(_)) {
                times.push(rig.now.as_ms());
            }
        }
        rig.wait_ms(1);
    }
    assert_eq!(times.len(), 100);
    let spread = times[99] - times[0];
    assert!((5_700..=5_940).contains(&spread), "100 packets of 60 ms within {spread} ms");
    let lateness = rig.panel.series(Series::FrameLateness).snapshot();
    assert_eq!(lateness.count(), 100);
    assert!(lateness.max() <= Duration::from_millis(1), "{:?}", lateness.max());
}

#[test]
fn abort_silences_and_takes_the_queue_back() {
    let mut rig = Rig::new();
    let mut device = rig.device("aa:bb");
    begin_reply(&mut rig, &device, 50);
    rig.wait_ms(600);
    device.far.set_room(0);
    rig.wait_ms(600);
    device.words();
    device.text(&json!({"type": "abort"}));
    rig.run();
    assert!(rig.count(Counter::DroppedReplyOver) > 5, "what the socket had not taken is taken back");
    device.far.set_room(usize::MAX);
    rig.wait_ms(2_000);
    assert_eq!(device.words(), ["tts stop"]);
}

#[test]
fn a_device_that_does_not_read_loses_old_audio_and_little_else() {
    let mut rig = Rig::new();
    let mut device = rig.device("aa:bb");
    begin_reply(&mut rig, &device, 80);
    device.far.set_room(0);
    rig.wait_ms(4_500);
    assert!(rig.count(Counter::DroppedReplyFull) > 20);
    device.far.set_room(usize::MAX);
    rig.wait_ms(3_000);
    let words = device.words();
    assert_eq!(words.iter().filter(|word| *word == "tts start").count(), 1);
    assert_eq!(words.last().map(String::as_str), Some("tts stop"));
}

#[test]
fn a_late_answer_reaches_nobody() {
    let mut rig = Rig::new();
    let device = rig.device("aa:bb");
    let asr = ask(&mut rig, &device);
    device.far.close();
    rig.run();
    assert!(asr.cancel.is_cancelled());
    let mut heir = rig.device("cc:dd");
    assert_eq!(heir.key.slot, device.key.slot);
    // The job is cancelled, so the desk would not publish for it; a worker that had not looked would.
    let other = Job { cancel: Default::default(), ..asr };
    rig.answer(&other, transcript("a secret"));
    assert_eq!(heir.words().len(), 0);
    assert_eq!(rig.count(Counter::DroppedLateOutcome), 1);
}

#[test]
fn a_full_pool_is_heard_of() {
    let mut rig = Rig::new();
    rig.shard.pools.retain(|pool| pool.stage() != Stage::Llm);
    let mut device = rig.device("aa:bb");
    let asr = ask(&mut rig, &device);
    rig.answer(&asr, transcript("hello"));
    rig.wait_ms(5_000);
    let words = device.words();
    assert_eq!(rig.count(Counter::DroppedJobFull), 1);
    assert_eq!(words.iter().filter(|word| *word == "tts stop").count(), 1, "{words:?}");
}

#[test]
fn audio_that_found_its_lane_full_is_offered_again_without_being_asked() {
    let mut rig = Rig::new();
    let device = rig.device("aa:bb");
    device.text(&json!({"type": "listen", "state": "start", "mode": "manual"}));
    for _ in 0..450 {
        device.audio(&pcm(true));
        rig.wait_ms(60);
    }
    device.text(&json!({"type": "listen", "state": "stop"}));
    rig.run();
    let poured = rig.count(Counter::BlocksFed);
    assert!(poured >= crate::limits::PCM_RING as u64);
    rig.job(Stage::Asr).unwrap();
    let mut blocks = Vec::new();
    rig.desk(Stage::Asr).next_blocks(1_000, Duration::ZERO, &mut blocks);
    rig.wait_ms(50);
    rig.desk(Stage::Asr).next_blocks(1_000, Duration::ZERO, &mut blocks);
    assert!(rig.count(Counter::BlocksFed) > poured);
    assert!(blocks.last().unwrap().last, "{} blocks", blocks.len());
}

#[test]
fn the_next_deadline_is_the_next_frame() {
    let mut rig = Rig::new();
    let device = rig.device("aa:bb");
    begin_reply(&mut rig, &device, 40);
    rig.wait_ms(500);
    let next = rig.shard.next_deadline(rig.now);
    assert!(next > rig.now && next <= rig.now + Duration::from_millis(60));
    assert_ne!(next, Instant::NEVER);
}
