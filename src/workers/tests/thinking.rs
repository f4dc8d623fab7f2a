//! The language model's worker, and what all workers have in common.

use super::*;
use crate::job::ReplyEnd;
use crate::providers::{Call, Flow, LanguageModel};

/// What a scripted model does.
type Script = fn(&Call, &mut dyn FnMut(&str) -> Flow) -> Result<ReplyEnd, Fault>;

struct Model(Script);

impl LanguageModel for Model {
    fn converse(
        &mut self,
        _ask: &Converse,
        call: &Call,
        on_text: &mut dyn FnMut(&str) -> Flow,
    ) -> Result<ReplyEnd, Fault> {
        (self.0)(call, on_text)
    }
}

fn rig(size: Size, script: Script) -> Rig {
    let factory: Factory<dyn LanguageModel> = Arc::new(move |_| Ok(Box::new(Model(script))));
    Rig::new(|base, _| start_llm(size, factory, base))
}

impl Rig {
    fn ask(&mut self, slot: u32) -> Cancel {
        let by = self.clock.now() + LONG;
        let ask = Converse { dialogue: Vec::new(), language: Lang::EN, first_token_by: by };
        self.submit(self.job(slot, Work::Converse(Box::new(ask))))
    }
}

fn text(answers: &[Answer]) -> String {
    let text = |answer: &Answer| match &answer.outcome {
        Outcome::Token(block) => block.text().to_owned(),
        _ => String::new(),
    };
    answers.iter().map(text).collect()
}

fn ending(answers: &[Answer]) -> &Outcome {
    &answers.last().unwrap().outcome
}

#[test]
fn an_answer_streams_back_and_is_counted() {
    let mut rig = rig(ONE, |_, on_text| {
        for piece in ["Good ", "morning", "。"] {
            assert_eq!(on_text(piece), Flow::Continue);
        }
        Ok(ReplyEnd::Complete)
    });
    rig.ask(1);
    let answers = rig.finals(1);
    assert_eq!(text(&answers), "Good morning。");
    assert!(matches!(ending(&answers), Outcome::ReplyEnd(ReplyEnd::Complete)));
    let registry = rig.end();
    assert_eq!(registry.total(Counter::JobsOk), 1);
    let mut threads = Vec::new();
    registry.probes(|probe| threads.push((probe.labels.to_string(), (probe.value)())));
    assert!(threads.contains(&(r#"pool="llm",event="started""#.to_owned(), 1)), "{threads:?}");
    let sums = registry.sums();
    let llm = sums.iter().find(|sum| sum.home == Home::Worker("llm")).unwrap();
    for series in [Series::JobWait, Series::JobFirst, Series::JobDuration] {
        assert_eq!(llm.series(series).count(), 1, "{series:?}");
    }
}

#[test]
fn an_endless_answer_is_cut_at_the_bound() {
    let mut rig = rig(ONE, |_, on_text| {
        while on_text("漫长的") == Flow::Continue {}
        Ok(ReplyEnd::Complete)
    });
    rig.ask(1);
    let answers = rig.finals(1);
    let text = text(&answers);
    assert!(text.len() <= limits::REPLY_BYTES && text.len() > limits::REPLY_BYTES - 3);
    assert!(matches!(ending(&answers), Outcome::ReplyEnd(ReplyEnd::Length)));
}

#[test]
fn a_fault_before_text_fails_and_after_text_cuts() {
    let refuse: Script = |_, _| Err(Fault::new(Cause::Refused, "401"));
    let mut before = rig(ONE, refuse);
    before.ask(1);
    let failure = before.failure();
    assert_eq!((failure.stage, failure.fault.cause), (Stage::Llm, Cause::Refused));
    assert_eq!(before.counted(Counter::JobsRefused), 1);

    let mut after = rig(ONE, |_, on_text| {
        on_text("Half of");
        Err(Fault::new(Cause::Unavailable, "reset"))
    });
    after.ask(1);
    let answers = after.finals(1);
    assert_eq!(text(&answers), "Half of");
    assert!(matches!(ending(&answers), Outcome::ReplyEnd(ReplyEnd::Cut)));
}

#[test]
fn an_answer_without_text_is_malformed() {
    let mut rig = rig(ONE, |_, _| Ok(ReplyEnd::Complete));
    rig.ask(1);
    assert_eq!(rig.failure().fault.cause, Cause::Malformed);
}

#[test]
fn a_panic_fails_its_job_and_a_new_provider_does_the_next() {
    struct Once(bool);
    impl LanguageModel for Once {
        fn converse(
            &mut self,
            _: &Converse,
            _: &Call,
            on_text: &mut dyn FnMut(&str) -> Flow,
        ) -> Result<ReplyEnd, Fault> {
            assert!(!self.0, "this one breaks");
            on_text("fine");
            Ok(ReplyEnd::Complete)
        }
    }
    let built = Arc::new(AtomicU32::new(0));
    let count = built.clone();
    let factory: Factory<dyn LanguageModel> =
        Arc::new(move |_| Ok(Box::new(Once(count.fetch_add(1, Ordering::SeqCst) == 0))));
    let mut rig = Rig::new(|base, _| start_llm(ONE, factory, base));
    rig.ask(1);
    assert_eq!(rig.failure().fault.cause, Cause::Internal);
    rig.ask(2);
    assert_eq!(text(&rig.finals(1)), "fine");
    assert_eq!(built.load(Ordering::SeqCst), 2);
    assert_eq!(rig.crew.as_ref().unwrap().state().died, 0, "the thread lives on");
}

#[test]
fn a_provider_that_cannot_be_made_fails_every_job_as_unavailable() {
    let factory: Factory<dyn LanguageModel> = Arc::new(|_| Err(Fault::new(Cause::Refused, "no key")));
    let mut rig = Rig::new(|base, _| start_llm(ONE, factory, base));
    for slot in 1..=2 {
        rig.ask(slot);
        assert_eq!(rig.failure().fault, Fault::new(Cause::Unavailable, "no key"));
    }
}

#[test]
fn a_job_taken_back_or_late_before_it_starts_never_reaches_the_provider() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let mut rig = rig(ONE, |_, on_text| {
        CALLS.fetch_add(1, Ordering::SeqCst);
        on_text("called");
        Ok(ReplyEnd::Complete)
    });
    // One that works first, so that the worker is known to be free.
    rig.ask(1);
    rig.finals(1);
    let ask = Converse { dialogue: Vec::new(), language: Lang::EN, first_token_by: Instant::ZERO };
    let work = || Work::Converse(Box::new(ask.clone()));
    let taken_back = rig.job(2, work());
    taken_back.cancel.cancel();
    rig.submit(taken_back);
    assert_eq!(rig.failure().fault.cause, Cause::Cancelled);
    let late = Job { deadline: rig.clock.now(), ..rig.job(3, work()) };
    rig.submit(late);
    assert_eq!(rig.failure().fault.cause, Cause::Timeout);
    assert_eq!(CALLS.load(Ordering::SeqCst), 1);
}

#[test]
fn a_cancel_ends_a_running_call_with_one_final_outcome() {
    let mut rig = rig(ONE, |call, on_text| {
        on_text("begun");
        let parker = Parker::new();
        let unparker = parker.unparker().clone();
        assert!(call.cancel.on_cancel(move || unparker.unpark()));
        parker.park_timeout(call.left());
        Err(Fault::new(Cause::Unavailable, "socket shut down"))
    });
    let cancel = rig.ask(1);
    rig.until(|got| !got.is_empty());
    cancel.cancel();
    assert_eq!(rig.failure().fault.cause, Cause::Cancelled);
    assert_eq!(rig.counted(Counter::JobsCancelled), 1);
}

#[test]
fn as_many_calls_run_at_once_as_the_pool_may_grow_to() {
    // Each call waits for all others: only five at once can finish.
    static ARRIVED: std::sync::Barrier = std::sync::Barrier::new(5);
    let mut rig = rig(Size { min: 1, max: 5 }, |_, on_text| {
        ARRIVED.wait();
        on_text("together");
        Ok(ReplyEnd::Complete)
    });
    (1..=5).for_each(|slot| {
        rig.ask(slot);
    });
    assert_eq!(rig.finals(5).len(), 10);
    assert_eq!(rig.crew.as_ref().unwrap().state().workers, 5);
    rig.end();
}
