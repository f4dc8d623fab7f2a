mod kept;

use super::*;
use crate::audio::block::Speech;
use crate::format::{Lang, ReplyFormat};
use crate::ids::ShardId;
use crate::job::{Cancel, Converse, Recognise, ReplyEnd, Role, Said, Speak, Transcript};
use crate::metrics::registry::Registry;
use crate::metrics::{exposition, process::Usage};
use crate::providers::{Flow, LanguageModel, Recogniser, Sound, Synthesiser};
use crate::time::UnixMs;
use std::collections::VecDeque;

/// What a provider does with one call.
#[derive(Clone)]
enum Does {
    Answer,
    Fail(Cause),
    /// 429 with that Retry-After, seconds.
    Busy(u64),
    Panic,
    Cut,
    Nothing,
    /// Says nothing until it is taken back.
    Wait,
}

use Does::*;

/// A provider that does what its script says, then answers; it writes its name down at each call.
#[derive(Clone)]
struct Fake {
    name: &'static str,
    script: Arc<Mutex<VecDeque<Does>>>,
    asked: Arc<Mutex<Vec<&'static str>>>,
}

impl Fake {
    /// Whether there is anything to say; sets off what comes instead.
    fn act(&self) -> Result<Does, Fault> {
        self.asked.lock().push(self.name);
        match self.script.lock().pop_front().unwrap_or(Answer) {
            Fail(cause) => Err(Fault::new(cause, self.name)),
            Busy(secs) => Err(Fault::new(Cause::Overload, self.name).wait(Some(Duration::from_secs(secs)))),
            Panic => panic!("as told"),
            other => Ok(other),
        }
    }
}

impl Recogniser for Fake {
    fn recognise(&mut self, _: Speech<'_>, _: &Recognise, _: &Call) -> Result<Transcript, Fault> {
        self.act()?;
        Ok(Transcript { text: self.name.to_owned(), language: None, confidence: None })
    }
}

impl LanguageModel for Fake {
    fn converse(&mut self, _: &Converse, call: &Call, on: &mut dyn FnMut(&str) -> Flow) -> Result<ReplyEnd, Fault> {
        let does = self.act()?;
        if matches!(does, Wait) {
            Patience::new(call).wait_until(call.deadline, "a token")?;
        }
        if !matches!(does, Nothing) {
            on(self.name);
        }
        Ok(if matches!(does, Cut) { ReplyEnd::Cut } else { ReplyEnd::Complete })
    }
}

impl Synthesiser for Fake {
    fn speak(&mut self, _: &Speak, _: &Call, on: &mut dyn FnMut(Sound<'_>) -> Flow) -> Result<(), Fault> {
        let does = self.act()?;
        if !matches!(does, Nothing) {
            on(Sound { rate: 16_000, pcm: &[1, 2, 3], packet: None });
        }
        match does {
            Cut => Err(Fault::new(Cause::Unavailable, "broke off")),
            _ => Ok(()),
        }
    }
}

/// A row of fakes of one stage, and a place where they write down who was asked.
struct Rig<P: ?Sized> {
    line: Arc<Line<P>>,
    clock: Clock,
    asked: Arc<Mutex<Vec<&'static str>>>,
}

const RULES: Rules = Rules {
    budget: Duration::from_secs(4),
    retry_percent: 10,
    breaker_percent: 50,
    breaker_open: Duration::from_secs(10),
    choice: Choice::Ordered,
    hedge: None,
    is_aside: false,
};

fn rig<P: ?Sized + 'static>(
    stage: Stage,
    rules: Rules,
    scripts: &[(&'static str, Rung, &[Does])],
    boxed: fn(Fake) -> Box<P>,
) -> Rig<P> {
    let asked: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let specs = scripts.iter().map(|&(name, rung, script)| {
        let fake = Fake { name, script: Arc::new(Mutex::new(script.to_vec().into())), asked: asked.clone() };
        Spec {
            about: About { name, detail: String::new(), language: None },
            factory: Arc::new(move |_| Ok(boxed(fake.clone()))),
            is_service: rung.is_service(),
            places: 0,
            rung,
            voice: Some(Fingerprint::new(&[name])),
        }
    });
    let clock = Clock::start();
    Rig { line: Line::new(stage, specs.collect(), rules, clock), clock, asked }
}

impl<P: ?Sized> Rig<P> {
    fn chain(&self) -> Chain<P> {
        Chain::new(self.line.clone(), 0).unwrap()
    }

    fn call(&self, turn: u32) -> Call {
        let ticket = Ticket { shard: ShardId(0), slot: 1, generation: 1, turn: TurnId(turn) };
        Call { clock: self.clock, deadline: self.clock.now() + Duration::from_secs(60), cancel: Cancel::new(), ticket }
    }

    /// Who was asked since the last look.
    fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.asked.lock())
    }
}

fn asr(scripts: &[(&'static str, Rung, &[Does])]) -> Rig<dyn Recogniser> {
    rig(Stage::Asr, RULES, scripts, |fake| Box::new(fake))
}

fn llm(scripts: &[(&'static str, Rung, &[Does])]) -> Rig<dyn LanguageModel> {
    rig(Stage::Llm, RULES, scripts, |fake| Box::new(fake))
}

fn tts(rules: Rules, scripts: &[(&'static str, Rung, &[Does])]) -> Rig<dyn Synthesiser> {
    rig(Stage::Tts, rules, scripts, |fake| Box::new(fake))
}

fn hear(rig: &Rig<dyn Recogniser>, chain: &mut Chain<dyn Recogniser>) -> Result<String, Cause> {
    let how = Recognise { language: None, hint: Lang::EN };
    chain
        .recognise(Speech::Samples(&[]), &how, &rig.call(1))
        .map(|transcript| transcript.text)
        .map_err(|fault| fault.cause)
}

fn say(rig: &Rig<dyn LanguageModel>, chain: &mut Chain<dyn LanguageModel>) -> (String, Result<ReplyEnd, Cause>) {
    let dialogue = vec![Said { role: Role::User, text: "hm".to_owned() }];
    let first_token_by = rig.clock.now() + Duration::from_secs(5);
    let mut text = String::new();
    let end = chain.converse(&Converse { dialogue, language: Lang::EN, first_token_by }, &rig.call(1), &mut |piece| {
        text.push_str(piece);
        Flow::Continue
    });
    (text, end.map_err(|fault| fault.cause))
}

fn speak(rig: &Rig<dyn Synthesiser>, chain: &mut Chain<dyn Synthesiser>, turn: u32) -> Result<usize, Cause> {
    let first_byte_by = rig.clock.now() + Duration::from_secs(3);
    let format = ReplyFormat::DEFAULT;
    let what = Speak { sentence: 0, text: "hm".to_owned(), language: Lang::EN, format, first_byte_by };
    let mut samples = 0;
    let end = chain.speak(&what, &rig.call(turn), &mut |sound| {
        samples += sound.pcm.len();
        Flow::Continue
    });
    end.map(|()| samples).map_err(|fault| fault.cause)
}

#[test]
fn each_cause_of_failure_goes_to_the_backup() {
    for does in [Fail(Cause::Malformed), Fail(Cause::Refused), Fail(Cause::Timeout), Busy(5), Panic] {
        let rig = asr(&[("one", Rung::Primary, &[does]), ("two", Rung::Backup, &[])]);
        assert_eq!(hear(&rig, &mut rig.chain()).as_deref(), Ok("two"));
        assert_eq!(rig.asked(), ["one", "two"]);
        assert_eq!(rig.line.ladder.lock().rung(), Rung::Backup);
    }
}

#[test]
fn without_a_backup_the_same_one_is_asked_once_more_if_that_may_help() {
    let check = |script: &[Does], asked: usize, expected: Result<&str, Cause>| {
        let rig = asr(&[("one", Rung::Primary, script)]);
        assert_eq!(hear(&rig, &mut rig.chain()).as_deref().map_err(|cause| *cause), expected);
        assert_eq!(rig.asked().len(), asked);
    };
    check(&[Fail(Cause::Unavailable)], 2, Ok("one"));
    check(&[Fail(Cause::Unavailable), Fail(Cause::Timeout), Answer], 2, Err(Cause::Timeout));
    check(&[Fail(Cause::Refused), Answer], 1, Err(Cause::Refused));
    check(&[Fail(Cause::Cancelled), Answer], 1, Err(Cause::Cancelled));
    check(&[Busy(60), Answer], 1, Err(Cause::Overload));
}

#[test]
fn a_service_that_wants_to_be_left_alone_is() {
    let rig = asr(&[("one", Rung::Primary, &[Busy(3_600)]), ("two", Rung::Backup, &[])]);
    let mut chain = rig.chain();
    (0..50).for_each(|_| assert_eq!(hear(&rig, &mut chain).as_deref(), Ok("two")));
    assert_eq!(rig.asked().iter().filter(|name| **name == "one").count(), 1, "no call inside the window");
    assert_eq!(rig.line.members[0].gate.tally.left_alone.load(Relaxed), 49);
    assert_eq!(rig.line.members[0].gate.tally.failed.load(Relaxed), 0, "it is busy, not broken");
}

#[test]
fn after_five_failures_nobody_is_sent_there() {
    let broken = vec![Fail(Cause::Unavailable); 100];
    let rig = asr(&[("one", Rung::Primary, &broken), ("two", Rung::Backup, &[])]);
    let mut chain = rig.chain();
    (0..20).for_each(|_| assert_eq!(hear(&rig, &mut chain).as_deref(), Ok("two")));
    assert_eq!(rig.asked().iter().filter(|name| **name == "one").count(), 5);
    assert_eq!(rig.line.members[0].gate.state(rig.clock.now()), 2);
    assert_eq!(rig.line.members[0].gate.tally.opened.load(Relaxed), 1);
}

#[test]
fn in_an_outage_of_all_the_last_fault_is_told_and_calls_stay_few() {
    let broken = vec![Fail(Cause::Timeout); 1_000];
    let rig = asr(&[("one", Rung::Primary, &broken), ("two", Rung::Backup, &broken)]);
    let mut chain = rig.chain();
    assert_eq!(hear(&rig, &mut chain), Err(Cause::Timeout));
    for _ in 0..500 {
        assert!(hear(&rig, &mut chain).is_err());
    }
    let asked = rig.asked().len();
    // Five each until the breakers open, and the repetition that the budget begins with.
    assert!(asked <= 11, "{asked} calls");
    assert_eq!(hear(&rig, &mut chain), Err(Cause::Unavailable), "nobody is asked, and that is what is said");
    assert_eq!(rig.line.ladder.lock().rung(), Rung::Cached);
}

#[test]
fn a_model_that_gave_no_text_failed_and_one_that_broke_off_has_said_what_it_said() {
    let rig = llm(&[("one", Rung::Primary, &[Nothing, Cut]), ("two", Rung::Backup, &[])]);
    let mut chain = rig.chain();
    assert_eq!(say(&rig, &mut chain), ("two".to_owned(), Ok(ReplyEnd::Complete)));
    assert_eq!(say(&rig, &mut chain), ("one".to_owned(), Ok(ReplyEnd::Cut)));
    assert_eq!(rig.asked(), ["one", "two", "one"]);
    assert_eq!(rig.line.members[0].gate.tally.failed.load(Relaxed), 2, "breaking off is a failure all the same");
}

#[test]
fn offline_answers_when_nobody_can_and_the_user_is_told_once() {
    let script = [vec![Fail(Cause::Refused); 2], vec![Answer], vec![Fail(Cause::Refused)]].concat();
    let rig = llm(&[("one", Rung::Primary, &script), ("off", Rung::Offline, &[])]);
    let mut chain = rig.chain();
    let notice = crate::providers::builtin::outage(Lang::EN);
    let texts: Vec<String> = (0..4).map(|_| say(&rig, &mut chain).0).collect();
    assert_eq!(texts, [format!("{notice}off"), "off".to_owned(), "one".to_owned(), format!("{notice}off")]);
    let answers = |rung: Rung| rig.line.answers[rung as usize].load(Relaxed);
    assert_eq!((answers(Rung::Offline), answers(Rung::Primary)), (3, 1));
}

#[test]
fn an_answer_keeps_its_voice() {
    let rig = tts(RULES, &[("one", Rung::Primary, &[Fail(Cause::Timeout)]), ("two", Rung::Backup, &[])]);
    let mut chain = rig.chain();
    (0..3).for_each(|_| assert_eq!(speak(&rig, &mut chain, 7), Ok(3)));
    assert_eq!(rig.asked(), ["one", "two", "two", "two"], "the first is well again, and yet");
    assert_eq!(speak(&rig, &mut chain, 8), Ok(3));
    assert_eq!(rig.asked(), ["one"], "the next answer returns to it");
}

#[test]
fn a_voice_that_dies_within_an_answer_is_replaced_once_and_never_after_it_was_heard() {
    let rig = tts(RULES, &[("one", Rung::Primary, &[Answer, Nothing]), ("two", Rung::Backup, &[])]);
    let mut chain = rig.chain();
    (0..3).for_each(|_| assert_eq!(speak(&rig, &mut chain, 7), Ok(3)));
    assert_eq!(rig.asked(), ["one", "one", "two", "two"]);
    let rig = tts(RULES, &[("one", Rung::Primary, &[Cut]), ("two", Rung::Backup, &[])]);
    assert_eq!(speak(&rig, &mut rig.chain(), 7), Err(Cause::Unavailable));
    assert_eq!(rig.asked(), ["one"]);
}

#[test]
fn what_nobody_waits_for_teaches_nothing() {
    let broken = vec![Fail(Cause::Unavailable); 30];
    let rules = Rules { is_aside: true, ..RULES };
    let rig = tts(rules, &[("one", Rung::Primary, &broken), ("two", Rung::Backup, &[])]);
    let mut chain = rig.chain();
    (0..20).for_each(|turn| assert_eq!(speak(&rig, &mut chain, turn), Ok(3)));
    assert_eq!(rig.asked().len(), 40);
    assert_eq!(rig.line.members[0].gate.state(rig.clock.now()), 0);
}

#[test]
fn weighted_asks_the_healthier_more() {
    let broken = vec![Fail(Cause::Malformed); 4];
    let rules = Rules { choice: Choice::Weighted, breaker_percent: 100, ..RULES };
    let rig = tts(rules, &[("one", Rung::Primary, &broken), ("two", Rung::Backup, &[])]);
    let mut chain = rig.chain();
    (0..400).for_each(|turn| assert_eq!(speak(&rig, &mut chain, turn), Ok(3)));
    let asked = rig.asked();
    let of = |name| asked.iter().filter(|asked| **asked == name).count();
    assert!(of("one") > 4 && of("two") > 100, "{} and {}", of("one"), of("two"));
}

#[test]
fn a_provider_has_no_more_calls_than_places() {
    let rig = asr(&[("one", Rung::Primary, &[])]);
    let gate = Gate::new("asr", "one".to_owned(), breaker_rules(), 1);
    let call = rig.call(1);
    let by = rig.clock.now() + Duration::from_secs(60);
    let held = gate.enter(&call, by, true).unwrap();
    assert_eq!(gate.enter(&call, by, false).unwrap_err().cause, Cause::Overload);
    assert!(!gate.is_open(rig.clock.now()));
    // Who waits has the place when it is given back; who was taken back leaves.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| gate.enter(&rig.call(2), by, true).map(|permit| permit.settle(None, None)));
        let taken_back = rig.call(3);
        taken_back.cancel.cancel();
        assert_eq!(gate.enter(&taken_back, by, true).unwrap_err().cause, Cause::Cancelled);
        held.settle(None, None);
        assert_eq!(waiting.join().unwrap(), Ok(()));
    });
    assert_eq!(gate.tally.good.load(Relaxed), 2);
    assert_eq!(gate.inside(), 0);
}

#[test]
fn who_is_alone_is_spared_only_when_every_call_fails() {
    let half: Vec<Does> = (0..40).map(|i| if i % 2 == 0 { Fail(Cause::Refused) } else { Answer }).collect();
    let alone = asr(&[("one", Rung::Primary, &half)]);
    let mut chain = alone.chain();
    assert_eq!((0..40).filter(|_| hear(&alone, &mut chain).is_ok()).count(), 20);
    assert_eq!(alone.line.members[0].gate.tally.opened.load(Relaxed), 0);
    let most: Vec<Does> = (0..40).map(|i| if i % 5 == 0 { Answer } else { Fail(Cause::Refused) }).collect();
    let alone = asr(&[("one", Rung::Primary, &most)]);
    let mut chain = alone.chain();
    assert_eq!((0..40).filter(|_| hear(&alone, &mut chain).is_ok()).count(), 8, "one in five is better than none");
    let backed = asr(&[("one", Rung::Primary, &half), ("two", Rung::Backup, &[])]);
    let mut chain = backed.chain();
    assert_eq!((0..40).filter(|_| hear(&backed, &mut chain).is_ok()).count(), 40);
    assert_eq!(backed.line.members[0].gate.tally.opened.load(Relaxed), 1);
}

#[test]
fn slowness_counts_only_where_there_is_a_choice() {
    let slow = |rig: Rig<dyn Recogniser>| rig.line.members[0].gate.rules().slow;
    assert_eq!(slow(asr(&[("one", Rung::Primary, &[]), ("off", Rung::Offline, &[])])), Duration::MAX);
    assert_eq!(slow(asr(&[("one", Rung::Primary, &[]), ("two", Rung::Backup, &[])])), RULES.budget / 2);
}

#[test]
fn a_permit_that_says_nothing_counts_as_failed() {
    let gate = Gate::new("asr", "one".to_owned(), breaker_rules(), 1);
    let clock = Clock::start();
    let call = Call { clock, deadline: Instant::NEVER, cancel: Cancel::new(), ticket: Ticket::default() };
    drop(gate.enter(&call, Instant::NEVER, true));
    assert_eq!((gate.tally.failed.load(Relaxed), gate.inside()), (1, 0));
}

fn breaker_rules() -> breaker::Rules {
    asr(&[("one", Rung::Primary, &[])]).line.members[0].gate.rules()
}

fn hedged(scripts: &[(&'static str, Rung, &[Does])]) -> Rig<dyn LanguageModel> {
    let rules = Rules { hedge: Some(Duration::from_millis(1)), retry_percent: 100, ..RULES };
    rig(Stage::Llm, rules, scripts, |fake| Box::new(fake))
}

#[test]
fn when_the_first_token_is_late_another_is_asked_and_the_first_to_speak_is_heard() {
    let rig = hedged(&[("one", Rung::Primary, &[Wait]), ("two", Rung::Backup, &[])]);
    assert_eq!(say(&rig, &mut rig.chain()), ("two".to_owned(), Ok(ReplyEnd::Complete)));
    // Each on a thread of its own: who writes his name down first is chance.
    let mut asked = rig.asked();
    asked.sort_unstable();
    assert_eq!(asked, ["one", "two"]);
    let tally = |i: usize| &rig.line.members[i].gate.tally;
    assert_eq!((tally(1).hedged.load(Relaxed), tally(1).good.load(Relaxed)), (1, 1));
    assert_eq!(tally(0).failed.load(Relaxed), 0, "who was only late has not failed");
    assert_eq!(rig.line.answers[Rung::Backup as usize].load(Relaxed), 1);
    assert!(rig.line.members.iter().all(|member| member.gate.inside() == 0));
}

#[test]
fn the_same_service_is_asked_a_second_time_when_there_is_no_other() {
    let rig = hedged(&[("one", Rung::Primary, &[Wait])]);
    assert_eq!(say(&rig, &mut rig.chain()), ("one".to_owned(), Ok(ReplyEnd::Complete)));
    assert_eq!(rig.asked(), ["one", "one"]);
}

#[test]
fn under_load_nobody_is_asked_twice() {
    let rig = hedged(&[("one", Rung::Primary, &[Wait]), ("two", Rung::Backup, &[])]);
    let board = Arc::new(Board::new(1));
    rig.line.heed(board.clone());
    let hedge = || rig.line.hedge(0, &[1], rig.clock.now(), rig.clock.now() + Duration::from_secs(5)).is_some();
    assert!(hedge());
    board.tell(0, Level::NoExtras);
    assert!(!hedge());
}

#[test]
fn who_speaks_in_time_is_alone_and_who_fails_is_followed_as_without_a_hedge() {
    let rules = Rules { hedge: Some(Duration::from_secs(2)), ..RULES };
    let rig = rig(
        Stage::Llm,
        rules,
        &[("one", Rung::Primary, &[Answer, Fail(Cause::Refused), Panic, Cut]), ("two", Rung::Backup, &[])],
        |fake| Box::new(fake) as Box<dyn LanguageModel>,
    );
    let mut chain = rig.chain();
    let said: Vec<_> = (0..4).map(|_| say(&rig, &mut chain)).collect();
    let complete = |name: &str| (name.to_owned(), Ok(ReplyEnd::Complete));
    assert_eq!(said, [complete("one"), complete("two"), complete("two"), ("one".to_owned(), Ok(ReplyEnd::Cut))]);
    assert_eq!(rig.asked(), ["one", "one", "two", "one", "two", "one"]);
    assert_eq!(rig.line.members[0].gate.tally.failed.load(Relaxed), 3);
}

#[test]
fn hedges_are_paid_from_the_budget_of_repetitions() {
    let rules = Rules { hedge: Some(Duration::from_millis(1)), retry_percent: 0, ..RULES };
    let rig = rig(Stage::Llm, rules, &[("one", Rung::Primary, &[Wait]), ("two", Rung::Backup, &[])], |fake| {
        Box::new(fake) as Box<dyn LanguageModel>
    });
    let call = rig.call(1);
    let dialogue = vec![Said { role: Role::User, text: "hm".to_owned() }];
    let ask = Converse { dialogue, language: Lang::EN, first_token_by: rig.clock.now() + Duration::from_millis(200) };
    let call = Call { deadline: rig.clock.now() + Duration::from_millis(50), ..call };
    let end = rig.chain().converse(&ask, &call, &mut |_| Flow::Continue);
    assert!(end.is_ok(), "{end:?}");
    assert_eq!(rig.line.members[1].gate.tally.hedged.load(Relaxed), 0, "it is the backup's turn only after the fault");
}

#[test]
fn a_hedged_question_is_taken_back_as_a_whole() {
    let rig = hedged(&[("one", Rung::Primary, &[Wait]), ("two", Rung::Backup, &[Wait])]);
    let call = rig.call(1);
    let dialogue = vec![Said { role: Role::User, text: "hm".to_owned() }];
    let ask = Converse { dialogue, language: Lang::EN, first_token_by: rig.clock.now() + Duration::from_secs(50) };
    let cancel = call.cancel.clone();
    let end = std::thread::scope(|scope| {
        let answer = scope.spawn(|| rig.chain().converse(&ask, &call, &mut |_| Flow::Continue));
        while rig.asked.lock().len() < 2 {
            std::thread::yield_now();
        }
        cancel.cancel();
        answer.join().unwrap()
    });
    assert_eq!(end.unwrap_err().cause, Cause::Cancelled);
    assert!(rig.line.members.iter().all(|member| member.gate.inside() == 0));
}

#[test]
fn all_of_it_is_shown() {
    let rig = asr(&[("one", Rung::Primary, &[Fail(Cause::Timeout)]), ("one", Rung::Backup, &[])]);
    let registry = Registry::new(UnixMs(0));
    rig.line.watch(&registry);
    assert!(hear(&rig, &mut rig.chain()).is_ok());
    let text = exposition::prometheus(&registry, &Usage::default());
    for line in [
        r#"voxlane_degraded{stage="asr"} 1"#,
        r#"voxlane_outage{stage="asr"} 0"#,
        r#"voxlane_answers_total{stage="asr",rung="backup"} 1"#,
        r#"voxlane_provider_calls_total{stage="asr",provider="one",result="failed"} 1"#,
        r#"voxlane_provider_faults_total{stage="asr",provider="one",cause="timeout"} 1"#,
        r#"voxlane_provider_faults_total{stage="asr",provider="one",cause="refused"} 0"#,
        r#"voxlane_provider_calls_total{stage="asr",provider="one-1",result="good"} 1"#,
        r#"voxlane_provider_state{stage="asr",provider="one"} 0"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
