//! The recognition worker.

use super::*;
use crate::audio::block::{AudioBlock, Speech};
use crate::format::Codec;
use crate::job::Transcript;
use crate::providers::{About, Call, Recogniser};
use crate::resilience::choice::Choice;
use crate::resilience::ladder::Rung;
use crate::workers::chain::{self, Line, Spec};

/// Says how many samples it was given, and the first and last of them.
struct Echo;

impl Recogniser for Echo {
    fn recognise(&mut self, speech: Speech<'_>, _: &Recognise, call: &Call) -> Result<Transcript, Fault> {
        assert!(call.left() > Duration::ZERO);
        let pcm = speech.samples();
        let (first, last) = (pcm.first().copied().unwrap_or(0), pcm.last().copied().unwrap_or(0));
        assert_ne!(first, 666, "this recogniser cannot bear it");
        let text = match first {
            1_000 => "长".repeat(limits::TRANSCRIPT_BYTES),
            _ => format!(" {} samples, {first} to {last}\n", pcm.len()),
        };
        Ok(Transcript { text, language: Some(Lang::EN), confidence: Some(-0.2) })
    }
}

fn rules() -> AsrRules {
    AsrRules { is_local: true, has_model: true, size: ONE, budget: limits::ASR_LOCAL }
}

fn rig(rules: AsrRules) -> Rig {
    let factory: Factory<dyn Recogniser> = Arc::new(|_| Ok(Box::new(Echo)));
    Rig::new(|base, readiness| start_asr(rules, factory, None, readiness.part("asr", "loading"), base))
}

impl Rig {
    fn hear(&mut self, slot: u32) -> Cancel {
        self.submit(self.job(slot, Work::Recognise(Recognise { language: None, hint: Lang::EN })))
    }

    /// Feeds a block, passing until there is room.
    fn feed(&mut self, block: &AudioBlock) {
        let deadline = self.clock.now() + LONG;
        while !self.pool().feed(block) {
            let now = self.clock.now();
            assert!(now < deadline);
            let (pool, got) = (self.pool.as_mut().unwrap(), &mut self.got);
            let take = &mut |answer| {
                got.push(answer);
                Taken::Yes
            };
            pool.drain(now, 1_000, take, &mut |_| {});
            pool.ring_doorbells();
            std::thread::yield_now();
        }
        self.pool().ring_doorbells();
    }
}

fn block(slot: u32, mark: i16, len: u16, last: bool) -> AudioBlock {
    AudioBlock { len, last, words: [mark; limits::PCM_BLOCK_SAMPLES], ..AudioBlock::empty(ticket(slot), Codec::Pcm) }
}

fn transcript(answers: &[Answer], slot: u32) -> String {
    let of_slot = answers.iter().find(|answer| answer.ticket.slot == slot);
    match of_slot.map(|answer| &answer.outcome) {
        Some(Outcome::Transcript(transcript)) => transcript.text.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn interleaved_utterances_are_put_together_each_for_itself() {
    for is_local in [true, false] {
        let mut rig = rig(AsrRules { is_local, size: Size { min: 2, max: 2 }, ..rules() });
        rig.hear(1);
        rig.hear(2);
        for (slot, mark) in [(1, 1), (2, 20), (2, 21), (1, 2), (2, 22)] {
            rig.feed(&block(slot, mark, 960, false));
        }
        rig.feed(&block(2, 29, 480, true));
        rig.feed(&block(1, 9, 0, true));
        let answers = rig.finals(2);
        assert_eq!(transcript(&answers, 1), "1920 samples, 1 to 2");
        assert_eq!(transcript(&answers, 2), "3360 samples, 20 to 29");
        assert!(rig.readiness.missing().is_empty());
        let registry = rig.end();
        assert_eq!(registry.total(Counter::JobsOk), 2);
    }
}

#[test]
fn more_blocks_than_the_ring_holds_get_through() {
    let mut rig = rig(rules());
    rig.hear(1);
    for i in 0..450 {
        rig.feed(&block(1, i as i16, 960, false));
    }
    rig.feed(&block(1, 7, 1, true));
    assert_eq!(transcript(&rig.finals(1), 1), format!("{} samples, 0 to 7", 450 * 960 + 1));
}

#[test]
fn an_utterance_has_a_longest_length() {
    let mut rig = rig(rules());
    rig.hear(1);
    for i in 0..600 {
        rig.feed(&block(1, i as i16, 960, i == 599));
    }
    assert_eq!(transcript(&rig.finals(1), 1), "496000 samples, 0 to 516");
}

#[test]
fn a_transcript_is_bounded_at_a_character() {
    let mut rig = rig(rules());
    rig.hear(1);
    rig.feed(&block(1, 1_000, 960, true));
    let text = transcript(&rig.finals(1), 1);
    assert!(text.len() <= limits::TRANSCRIPT_BYTES && text.len() > limits::TRANSCRIPT_BYTES - 3);
}

#[test]
fn an_utterance_that_never_ends_dies_at_its_deadline() {
    let mut rig = rig(rules());
    // One that works first, so that the worker is known to be up.
    rig.hear(2);
    rig.feed(&block(2, 1, 960, true));
    rig.finals(1);
    let work = Work::Recognise(Recognise { language: None, hint: Lang::EN });
    let job = Job { deadline: rig.clock.now() + Duration::from_secs(2), ..rig.job(1, work) };
    rig.submit(job);
    rig.feed(&block(1, 1, 960, false));
    let failure = rig.failure();
    assert_eq!((failure.stage, failure.fault.cause), (Stage::Asr, Cause::Timeout));
    assert!(!rig.pool().feed(&block(1, 1, 960, true)), "nobody hears it any more");
}

#[test]
fn an_open_utterance_taken_back_ends_when_the_worker_is_told() {
    let mut rig = rig(rules());
    let cancel = rig.hear(1);
    rig.feed(&block(1, 1, 960, false));
    cancel.cancel();
    rig.pool().withdraw(ticket(1));
    rig.pool().ring_doorbells();
    assert_eq!(rig.failure().fault.cause, Cause::Cancelled);
}

#[test]
fn a_panic_costs_one_utterance() {
    let mut rig = rig(rules());
    rig.hear(1);
    rig.feed(&block(1, 666, 960, true));
    assert_eq!(rig.failure().fault.cause, Cause::Internal);
    rig.hear(2);
    rig.feed(&block(2, 5, 960, true));
    assert_eq!(transcript(&rig.finals(1), 2), "960 samples, 5 to 5");
}

#[test]
fn a_model_that_cannot_be_loaded_is_told_and_every_job_fails() {
    let factory: Factory<dyn Recogniser> = Arc::new(|_| Err(Fault::new(Cause::Malformed, "tensor 7 is cut off")));
    let mut rig = Rig::new(|base, readiness| start_asr(rules(), factory, None, readiness.part("asr", "loading"), base));
    rig.hear(1);
    rig.feed(&block(1, 1, 960, true));
    assert_eq!(rig.failure().fault, Fault::new(Cause::Unavailable, "tensor 7 is cut off"));
    assert_eq!(rig.readiness.missing(), [("asr".into(), "tensor 7 is cut off".into())]);
}

#[test]
fn jobs_wait_while_the_model_is_loaded() {
    let (open, gate) = crossbeam::channel::bounded::<()>(1);
    let factory: Factory<dyn Recogniser> = Arc::new(move |_| {
        gate.recv_timeout(LONG).map_err(|_| Fault::timeout("the test"))?;
        Ok(Box::new(Echo))
    });
    let mut rig = Rig::new(|base, readiness| start_asr(rules(), factory, None, readiness.part("asr", "loading"), base));
    rig.hear(1);
    rig.feed(&block(1, 1, 960, true));
    assert_eq!(rig.readiness.missing().len(), 1);
    open.send(()).unwrap();
    assert_eq!(transcript(&rig.finals(1), 1), "960 samples, 1 to 1");
    assert!(rig.readiness.missing().is_empty());
}

/// As [`Echo`], each at its turn: it takes a word from the test.
struct Paced(crossbeam::channel::Receiver<()>);

impl Recogniser for Paced {
    fn recognise(&mut self, speech: Speech<'_>, how: &Recognise, call: &Call) -> Result<Transcript, Fault> {
        self.0.recv_timeout(call.left()).map_err(|_| Fault::timeout("recognition"))?;
        Echo.recognise(speech, how, call)
    }
}

/// A crew that recognises when it is told, and utterances 1 to `n`, complete, of which the first is being recognised.
fn queue(n: u32, budget: Duration) -> (Rig, crossbeam::channel::Sender<()>) {
    let (tell, told) = crossbeam::channel::unbounded();
    let factory: Factory<dyn Recogniser> = Arc::new(move |_| Ok(Box::new(Paced(told.clone()))));
    let rules = AsrRules { budget, ..rules() };
    let mut rig = Rig::new(|base, readiness| start_asr(rules, factory, None, readiness.part("asr", "loading"), base));
    for slot in 1..=n {
        let job = rig.job(slot, Work::Recognise(Recognise { language: None, hint: Lang::EN }));
        rig.submit(Job { deadline: rig.clock.now() + budget.max(LONG), ..job });
        rig.feed(&block(slot, slot as i16, 960, true));
    }
    (rig, tell)
}

fn causes(answers: &[Answer]) -> Vec<(u32, Option<Cause>)> {
    let cause = |answer: &Answer| match &answer.outcome {
        Outcome::Failed(failure) => Some(failure.fault.cause),
        _ => None,
    };
    let mut all: Vec<_> = answers.iter().map(|answer| (answer.ticket.slot, cause(answer))).collect();
    all.sort_by_key(|(slot, _)| *slot);
    all
}

#[test]
fn who_comes_too_late_in_the_queue_is_told_at_once_and_the_others_are_understood() {
    const N: u32 = 40;
    // Each is expected to take an eighth of the budget at first, and three quarters of that once the first took nothing: about
    // ten are kept. No other is recognised before the test says so, but the rest are answered. The budget is of a length beside
    // which nothing that holds up this machine counts.
    let (mut rig, tell) = queue(N, LONG * 360);
    tell.send(()).unwrap();
    let mut answers = rig.finals(N as usize - 11);
    (0..N).for_each(|_| tell.send(()).unwrap());
    while answers.len() < N as usize {
        answers.extend(rig.finals(1));
    }
    let causes = causes(&answers);
    let understood = causes.iter().take_while(|(_, cause)| cause.is_none()).count();
    assert!((4..=11).contains(&understood), "{causes:?}");
    assert!(causes[understood..].iter().all(|(_, cause)| *cause == Some(Cause::Overload)), "{causes:?}");
    let registry = rig.end();
    assert_eq!(registry.total(Counter::JobsOverload), u64::from(N) - understood as u64);
}

#[test]
fn who_has_waited_in_vain_was_in_a_queue_and_who_was_first_had_a_slow_recogniser() {
    let (mut rig, _tell) = queue(3, Duration::from_secs(2));
    let answers = rig.finals(3);
    let expected = [(1, Some(Cause::Timeout)), (2, Some(Cause::Overload)), (3, Some(Cause::Overload))];
    assert_eq!(causes(&answers), expected);
}

/// A crew with that recogniser on our own cores and another behind it, and utterances 1 to `n` as of [`queue`].
fn queue_with_another(
    n: u32,
    behind: fn() -> Box<dyn Recogniser>,
) -> (Rig, crossbeam::channel::Sender<()>, Arc<Line<dyn Recogniser>>) {
    let (tell, told) = crossbeam::channel::unbounded();
    let clock = Clock::start();
    let spec = |factory, rung| Spec::<dyn Recogniser> {
        about: About { name: "scripted", detail: String::new(), language: None },
        factory,
        is_service: false,
        places: 0,
        rung,
        voice: None,
    };
    let own: Factory<dyn Recogniser> = Arc::new(move |_| Ok(Box::new(Paced(told.clone()))));
    let other: Factory<dyn Recogniser> = Arc::new(move |_| Ok(behind()));
    let budget = LONG * 360;
    let chain_rules = chain::Rules {
        budget,
        retry_percent: 0,
        breaker_percent: 100,
        breaker_open: LONG,
        choice: Choice::Ordered,
        hedge: None,
        is_aside: false,
    };
    let line = Line::new(Stage::Asr, vec![spec(own, Rung::Primary), spec(other, Rung::Backup)], chain_rules, clock);
    let rules = AsrRules { budget, ..rules() };
    let (factory, behind) = (chain::recognisers(line.clone()), chain::Behind::of(&line));
    let mut rig = Rig::new(|base, readiness| start_asr(rules, factory, behind, readiness.part("asr", "loading"), base));
    line.watch(&rig.registry);
    for slot in 1..=n {
        let job = rig.job(slot, Work::Recognise(Recognise { language: None, hint: Lang::EN }));
        rig.submit(Job { deadline: rig.clock.now() + budget, ..job });
        rig.feed(&block(slot, slot as i16, 960, true));
    }
    (rig, tell, line)
}

/// Recognises with a word in front, so that it is known who it was.
struct Other;

impl Recogniser for Other {
    fn recognise(&mut self, speech: Speech<'_>, how: &Recognise, call: &Call) -> Result<Transcript, Fault> {
        let heard = Echo.recognise(speech, how, call)?;
        Ok(Transcript { text: format!("other: {}", heard.text.trim()), ..heard })
    }
}

struct Broken;

impl Recogniser for Broken {
    fn recognise(&mut self, _: Speech<'_>, _: &Recognise, _: &Call) -> Result<Transcript, Fault> {
        Err(Fault::new(Cause::Refused, "broken"))
    }
}

#[test]
fn who_would_wait_for_long_is_recognised_by_who_is_behind_the_model() {
    const N: u32 = 24;
    let (mut rig, tell, _line) = queue_with_another(N, || Box::new(Other));
    (0..N).for_each(|_| tell.send(()).unwrap());
    let answers = rig.finals(N as usize);
    let texts: Vec<String> = (1..=N).map(|slot| transcript(&answers, slot)).collect();
    let others = texts.iter().filter(|text| text.starts_with("other: 960 samples")).count();
    assert!(texts.iter().all(|text| text.contains("960 samples")), "{texts:?}");
    assert!((1..N as usize).contains(&others), "{texts:?}");
    let shown = crate::metrics::exposition::prometheus(&rig.registry, &Default::default());
    assert!(shown.contains(&format!(r#"voxlane_answers_total{{stage="asr",rung="backup"}} {others}"#)), "{shown}");
    let registry = rig.end();
    assert_eq!(registry.total(Counter::JobsElsewhere), others as u64);
    assert_eq!(registry.total(Counter::JobsOk), u64::from(N));
}

#[test]
fn when_nobody_behind_the_model_can_help_it_was_a_queue() {
    const N: u32 = 24;
    let (mut rig, tell, _line) = queue_with_another(N, || Box::new(Broken));
    (0..N).for_each(|_| tell.send(()).unwrap());
    let causes = causes(&rig.finals(N as usize));
    assert!(causes.iter().any(|(_, cause)| cause.is_none()), "{causes:?}");
    assert!(causes.iter().all(|(_, cause)| matches!(cause, None | Some(Cause::Overload))), "{causes:?}");
    let shown = crate::metrics::exposition::prometheus(&rig.registry, &Default::default());
    assert!(shown.contains(r#"voxlane_outage{stage="asr"} 0"#), "the model is at work");
    let registry = rig.end();
    // After a few of them he is left to recover, and the rest stays in the queue.
    assert!((1..u64::from(N)).contains(&registry.total(Counter::JobsElsewhere)));
}
