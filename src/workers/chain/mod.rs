//! The providers of one stage in a row, as one provider.
//!
//! ```text
//!   call --> primary: door open? --> ask --ok--> answer
//!               | no, or it failed before any output
//!               v
//!            backup: door open?  --> ask --ok--> answer
//!               | none left: the last one once more, if that may help and the budget has a repetition
//!               v
//!            offline responder (language model only), else the fault: the session apologises from kept speech, or shows the text
//! ```
//!
//! Deadlines are handed down: who has another behind him gets half of what is left, the last one all of it. One answer keeps
//! one voice: its sentences go to whom the first one went, and change only if that one fails, never back.

mod gate;
mod hedge;
mod keeping;
mod stages;
#[cfg(test)]
mod tests;
mod told;

pub use stages::{Behind, language_models, recognisers, synthesisers};

use super::shelf::Shelf;
use crate::audio::phrase::EncodedSpeech;
use crate::ids::{Ticket, TurnId};
use crate::job::Stage;
use crate::limits;
use crate::providers::patience::Patience;
use crate::providers::{About, Call, Fingerprint};
use crate::resilience::admission::{Board, Level};
use crate::resilience::breaker;
use crate::resilience::choice::{Choice, weighted};
use crate::resilience::fault::{Cause, Fault, PANICKED};
use crate::resilience::ladder::{Ladder, Rung};
use crate::resilience::retry::{self, Budget, Next, Situation};
use crate::time::{Clock, Duration, Instant};
use gate::{Gate, Permit};
use hedge::Hedge;
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

/// One provider of a stage.
pub struct Spec<P: ?Sized> {
    /// Who it is.
    pub about: About,
    /// Makes it.
    pub factory: super::Factory<P>,
    /// A service over the network: asking it once more may help.
    pub is_service: bool,
    /// Calls at once; 0 is any number.
    pub places: u32,
    /// What its answers are.
    pub rung: Rung,
    /// Whose voice it has, where what it says may be kept.
    pub voice: Option<Fingerprint>,
}

impl<P: ?Sized> Clone for Spec<P> {
    fn clone(&self) -> Spec<P> {
        Spec {
            about: self.about.clone(),
            factory: self.factory.clone(),
            voice: self.voice.clone(),
            is_service: self.is_service,
            places: self.places,
            rung: self.rung,
        }
    }
}

/// How the providers of a stage stand in for each other.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Of the stage, to its first result: half of it is slow, for who has somebody behind him.
    pub budget: Duration,
    /// Repetitions per hundred calls.
    pub retry_percent: u32,
    /// Failed calls per cent, of at least [`limits::BREAKER_VOLUME`] in the window, that open a breaker where another provider can
    /// be asked.
    pub breaker_percent: u32,
    /// How long it stays open at first.
    pub breaker_open: Duration,
    /// Whom to ask first.
    pub choice: Choice,
    /// A first token that is later than this has another provider asked too; `None`: never. For language models.
    pub hedge: Option<Duration>,
    /// Nobody waits for the answer: every provider is asked whatever its breaker says, and none learns from it.
    pub is_aside: bool,
}

/// The providers of a stage; shared by its workers.
pub struct Line<P: ?Sized> {
    stage: Stage,
    members: Vec<Member<P>>,
    rules: Rules,
    clock: Clock,
    /// What load makes us give up.
    board: OnceLock<Arc<Board>>,
    budget: Mutex<Budget>,
    ladder: Mutex<Ladder>,
    /// Answers by what gave them, in the order of [`Rung::ALL`].
    answers: [AtomicU64; Rung::ALL.len()],
    /// Who speaks in which turn.
    voices: Mutex<Kept<(TurnId, usize)>>,
    /// Who has been told of which outage.
    told: Mutex<Kept<u64>>,
    /// Where what was said is kept.
    shelf: OnceLock<Arc<Shelf>>,
}

struct Member<P: ?Sized> {
    spec: Spec<P>,
    gate: Gate,
    /// Made and not in use: all but the primary's, which each worker has for itself.
    shelf: Mutex<Vec<Box<P>>>,
}

/// Something for each session. Bounded: when full it is emptied, which costs a repeated notice or a second voice.
struct Kept<T>(HashMap<(u16, u32, u32), T>);

impl<T> Kept<T> {
    fn put(&mut self, ticket: Ticket, value: T) -> Option<T> {
        if self.0.len() >= limits::SESSIONS_KEPT {
            self.0.clear();
        }
        self.0.insert(session(ticket), value)
    }

    fn get(&self, ticket: Ticket) -> Option<&T> {
        self.0.get(&session(ticket))
    }
}

fn session(ticket: Ticket) -> (u16, u32, u32) {
    (ticket.shard.0, ticket.slot, ticket.generation)
}

impl<P: ?Sized> Line<P> {
    /// Puts them in a row; there is at least one.
    pub fn new(stage: Stage, specs: Vec<Spec<P>>, rules: Rules, clock: Clock) -> Arc<Line<P>> {
        // Where nobody else can be asked, a slow answer is better than none, and half of the answers better than none of them:
        // only who fails every time is left to recover then.
        let has_choice = specs.iter().filter(|spec| spec.rung.is_service()).count() > 1;
        let breaker = breaker::Rules {
            window: limits::BREAKER_WINDOW,
            volume: limits::BREAKER_VOLUME,
            failed_percent: if has_choice { rules.breaker_percent } else { 100 },
            // A failed call counts as slow too.
            slow_percent: if has_choice { limits::BREAKER_SLOW_PERCENT } else { 100 },
            slow: if has_choice { rules.budget / 2 } else { Duration::MAX },
            open: rules.breaker_open,
            open_most: limits::BREAKER_OPEN_MOST.max(rules.breaker_open),
            probes: limits::BREAKER_PROBES,
            settle: limits::BREAKER_SETTLE,
        };
        let member = |(rank, spec): (usize, Spec<P>)| {
            let name = if rank == 0 { spec.about.name.to_owned() } else { format!("{}-{rank}", spec.about.name) };
            Member { gate: Gate::new(stage.name(), name, breaker, spec.places), spec, shelf: Mutex::default() }
        };
        Arc::new(Line {
            stage,
            members: specs.into_iter().enumerate().map(member).collect(),
            rules,
            clock,
            board: OnceLock::new(),
            budget: Mutex::new(Budget::new(rules.retry_percent)),
            ladder: Mutex::new(Ladder::new(limits::RUNG_HOLD)),
            answers: Default::default(),
            voices: Mutex::new(Kept(HashMap::new())),
            told: Mutex::new(Kept(HashMap::new())),
            shelf: OnceLock::new(),
        })
    }

    /// Hedges are given up from now on while this board says so.
    pub fn heed(&self, board: Arc<Board>) {
        let _ = self.board.set(board);
    }

    /// In which order they are asked; the offline responder is none of them.
    fn order(&self, ticket: Ticket, now: Instant) -> Vec<usize> {
        let mut order: Vec<usize> =
            (0..self.members.len()).filter(|&i| self.members[i].spec.rung.is_service()).collect();
        let voice = self.voices.lock().get(ticket).filter(|(turn, _)| *turn == ticket.turn).map(|&(_, i)| i);
        let first = match voice {
            Some(voice) => order.iter().position(|&i| i == voice),
            None if self.rules.choice == Choice::Weighted => {
                let open: Vec<usize> = (0..order.len()).filter(|&i| self.members[order[i]].gate.is_open(now)).collect();
                let forms: Vec<_> = open.iter().map(|&i| self.members[order[i]].gate.form(now)).collect();
                open.get(weighted(&forms, dice())).copied()
            }
            None => None,
        };
        order.rotate_left(first.unwrap_or(0));
        order
    }

    /// Asks at the door of one of them.
    fn enter(&self, i: usize, call: &Call, by: Instant, may_wait: bool) -> Result<Option<Permit<'_>>, Fault> {
        if self.rules.is_aside {
            return Ok(None);
        }
        self.members[i].gate.enter(call, by, may_wait).map(Some)
    }

    /// Whom to ask too when this one is late: the next that is well, else a service itself.
    fn hedge(&self, i: usize, others: &[usize], now: Instant, by: Instant) -> Option<Hedge> {
        let at = now + self.rules.hedge?;
        if self.board.get().is_some_and(|board| board.level() >= Level::NoExtras) {
            return None;
        }
        let other = others.iter().copied().find(|&other| self.members[other].gate.is_open(now));
        let member = other.or_else(|| self.members[i].spec.is_service.then_some(i))?;
        (self.stage == Stage::Llm && at < by).then_some(Hedge { at, member })
    }

    /// The reply's other sentences go to whom this one went.
    fn keep_voice(&self, ticket: Ticket, i: usize) {
        if self.members.len() > 1 {
            self.voices.lock().put(ticket, (ticket.turn, i));
        }
    }

    /// Notes who answered.
    fn note(&self, rung: Rung) {
        if self.rules.is_aside {
            return;
        }
        self.answers[rung as usize].fetch_add(1, Relaxed);
        let before = self.ladder.lock().note(self.clock.now(), rung);
        let (stage, now) = (self.stage.name(), rung.name());
        match before {
            Some(before) if before < rung => tracing::warn!(stage, before = before.name(), now, "answers get worse"),
            Some(before) => tracing::info!(stage, before = before.name(), now, "answers get better"),
            None => {}
        }
    }

    /// Whether the session is to be told of the outage; each is told once.
    fn is_news(&self, ticket: Ticket) -> bool {
        let Some(outage) = self.ladder.lock().outage() else { return false };
        self.told.lock().put(ticket, outage) != Some(outage)
    }
}

/// The row as one worker has it.
pub struct Chain<P: ?Sized> {
    line: Arc<Line<P>>,
    index: usize,
    /// Those before this one are not asked.
    from: usize,
    primary: Option<Box<P>>,
    /// Who gave the last answer.
    spoke: Option<usize>,
    /// What was said before in place of an answer that nobody gave.
    instead: Option<Arc<EncodedSpeech>>,
}

/// One call to one provider.
pub struct Attempt {
    /// The job's call; its deadline is the job's.
    pub call: Call,
    /// The first result must have come by then.
    pub by: Instant,
    /// The offline responder is to say that there is an outage.
    pub is_news: bool,
    hedge: Option<Hedge>,
    first: Cell<Option<Instant>>,
    broke_off: Cell<bool>,
    winner: Cell<Option<usize>>,
}

impl Attempt {
    /// The first result is there: from now on what is out is out.
    pub fn first(&self) {
        if self.first.get().is_none() {
            self.first.set(Some(self.call.clock.now()));
        }
    }

    /// Whether there was a first result.
    fn has_first(&self) -> bool {
        self.first.get().is_some()
    }

    /// Another one answered in its place.
    fn won_by(&self, winner: Option<usize>) {
        self.winner.set(winner);
    }

    /// What came is worth something, yet the provider broke off.
    pub fn broke_off(&self) {
        self.broke_off.set(true);
    }
}

/// How a provider is called.
type Once<'a, P, T> = &'a mut dyn FnMut(&mut P, &Attempt) -> Result<T, Fault>;

impl<P: ?Sized> Chain<P> {
    /// For the worker of that number.
    ///
    /// # Errors
    /// The only provider cannot be made.
    pub fn new(line: Arc<Line<P>>, index: usize) -> Result<Chain<P>, Fault> {
        let primary = match (line.members[0].spec.factory)(index) {
            Ok(primary) => Some(primary),
            Err(fault) if line.members.len() == 1 => return Err(fault),
            // Tried again at the next call.
            Err(_) => None,
        };
        Ok(Chain { line, index, from: 0, primary, spoke: None, instead: None })
    }

    /// The row without its first.
    fn behind(line: Arc<Line<P>>) -> Chain<P> {
        Chain { line, index: 0, from: 1, primary: None, spoke: None, instead: None }
    }

    /// Asks one after the other until one answers, whose first result must come by `by`. `left` says what is left if none does.
    fn run<T>(
        &mut self,
        call: &Call,
        by: Instant,
        once: Once<'_, P, T>,
        left: impl FnOnce(&mut Chain<P>) -> Rung,
    ) -> Result<T, Fault> {
        (self.spoke, self.instead) = (None, None);
        let line = self.line.clone();
        let offline = line.members.iter().position(|member| member.spec.rung == Rung::Offline);
        let services_by = if offline.is_some() { by - limits::OFFLINE_RESERVE } else { by };
        line.budget.lock().called();
        let fault = match self.ask_services(call, services_by, once) {
            Ok(answer) => return Ok(answer),
            Err(Failed { fault, is_final: true }) => return Err(fault),
            Err(Failed { fault, .. }) => fault,
        };
        if let Some(offline) = offline {
            line.note(Rung::Offline);
            let is_news = line.is_news(call.ticket);
            return self.attempt(offline, call, How { by, is_news, hedge: None }, once).result;
        }
        // That nobody behind the first could help tells nothing of the stage: the first is at work.
        if self.from == 0 {
            line.note(left(self));
        }
        Err(fault)
    }

    /// Asks the services in order.
    fn ask_services<T>(&mut self, call: &Call, by: Instant, once: Once<'_, P, T>) -> Result<T, Failed> {
        let line = self.line.clone();
        let mut order = line.order(call.ticket, call.clock.now());
        order.retain(|&i| i >= self.from);
        let mut asked = Asked { by, tries: 0, told: None };
        for (place, &i) in order.iter().enumerate() {
            if let Some((answer, whose)) = self.ask_one(i, &order[place + 1..], call, &mut asked, once)? {
                line.note(line.members[whose].spec.rung);
                self.spoke = Some(whose);
                if line.stage == Stage::Tts {
                    line.keep_voice(call.ticket, i);
                }
                return Ok(answer);
            }
        }
        let fault = asked.told.unwrap_or_else(|| Fault::new(Cause::Unavailable, "no provider"));
        Err(Failed { fault, is_final: false })
    }

    /// Asks one of them, once more if that may help: the answer and whose it is. `None`: it is the next one's turn.
    fn ask_one<T>(
        &mut self,
        i: usize,
        others: &[usize],
        call: &Call,
        asked: &mut Asked,
        once: Once<'_, P, T>,
    ) -> Result<Option<(T, usize)>, Failed> {
        let line = self.line.clone();
        let member = &line.members[i];
        for repeated in 0.. {
            let now = call.clock.now();
            let has_other = others.iter().any(|&other| line.members[other].gate.is_open(now));
            let share = if has_other { now + asked.by.until(now) / 2 } else { asked.by };
            let permit = match line.enter(i, call, share, !has_other) {
                Ok(permit) => permit,
                Err(fault) if fault.cause == Cause::Cancelled => return Err(Failed::now(fault)),
                Err(fault) => {
                    // What a provider said weighs more than that another was not asked.
                    asked.told.get_or_insert(fault);
                    return Ok(None);
                }
            };
            asked.tries += 1;
            let how = How { by: share, is_news: false, hedge: line.hedge(i, others, now, share) };
            let tried = self.attempt(i, call, how, once);
            if let Some(permit) = permit {
                let is_late = call.clock.now() + limits::ANSWER_MARGIN >= share;
                permit.settle(tried.first, tried.blame(is_late).as_ref());
            }
            let fault = match tried.result {
                Ok(answer) => return Ok(Some((answer, tried.winner.unwrap_or(i)))),
                Err(fault) => fault,
            };
            let situation = Situation {
                has_output: tried.first.is_some(),
                is_idempotent: true,
                has_other,
                may_repeat: member.spec.is_service && !line.rules.is_aside && asked.tries < limits::CALL_TRIES,
                repeated,
                left: asked.by.until(call.clock.now()),
            };
            if situation.has_output || fault.cause == Cause::Cancelled {
                return Err(Failed::now(fault));
            }
            let next = retry::next(&fault, &situation, &RETRY, &mut line.budget.lock(), dice());
            let (stage, provider) = (line.stage.name(), member.gate.name.as_str());
            tracing::warn!(stage, provider, %fault, next = next.name(), "a provider failed");
            asked.told = Some(fault);
            let Next::Again(pause) = next else { return Ok(None) };
            member.gate.tally.repeated.fetch_add(1, Relaxed);
            let patience = Patience::new(call);
            patience.wait_until(call.clock.now() + pause, "the pause before a repetition").map_err(Failed::now)?;
        }
        Ok(None)
    }

    /// One call to one of them. A panic is a fault like another, and the provider is made anew.
    fn attempt<T>(&mut self, i: usize, call: &Call, how: How, once: Once<'_, P, T>) -> Tried<T> {
        let attempt = Attempt {
            call: call.clone(),
            by: how.by,
            is_news: how.is_news,
            hedge: how.hedge,
            first: Cell::new(None),
            broke_off: Cell::new(false),
            winner: Cell::new(None),
        };
        let result = self.take(i).and_then(|mut provider| {
            let result = catch_unwind(AssertUnwindSafe(|| once(&mut provider, &attempt)));
            result.map_or_else(
                |_| Err(Fault::new(Cause::Internal, PANICKED)),
                |result| {
                    self.put_back(i, provider);
                    result
                },
            )
        });
        let (first, broke_off, winner) = (attempt.first.get(), attempt.broke_off.get(), attempt.winner.get());
        Tried { result, first, broke_off, winner }
    }

    fn take(&mut self, i: usize) -> Result<Box<P>, Fault> {
        let member = &self.line.members[i];
        let kept = if i == 0 { self.primary.take() } else { member.shelf.lock().pop() };
        let made = kept.map_or_else(|| (member.spec.factory)(self.index), Ok);
        made.map_err(|fault| Fault::new(Cause::Unavailable, fault.detail))
    }

    fn put_back(&mut self, i: usize, provider: Box<P>) {
        match i {
            0 => self.primary = Some(provider),
            _ => self.line.members[i].shelf.lock().push(provider),
        }
    }
}

/// How an attempt is made.
struct How {
    by: Instant,
    is_news: bool,
    hedge: Option<Hedge>,
}

/// How far the asking has come.
struct Asked {
    by: Instant,
    tries: u32,
    /// What the last one said that was asked.
    told: Option<Fault>,
}

/// No service answered.
struct Failed {
    fault: Fault,
    /// Nobody else is to be asked either.
    is_final: bool,
}

impl Failed {
    fn now(fault: Fault) -> Failed {
        Failed { fault, is_final: true }
    }
}

/// What became of an attempt.
struct Tried<T> {
    result: Result<T, Fault>,
    first: Option<Instant>,
    broke_off: bool,
    /// Who answered in his place.
    winner: Option<usize>,
}

impl<T> Tried<T> {
    /// What the provider is to be blamed for. Taken back when its time was up it failed: the session's clock was only first.
    fn blame(&self, is_late: bool) -> Option<Fault> {
        match &self.result {
            Err(fault) if fault.cause == Cause::Cancelled && is_late && self.first.is_none() => {
                Some(Fault::timeout("taken back when its time was up"))
            }
            Err(fault) => Some(fault.clone()),
            Ok(_) if self.broke_off => Some(Fault::new(Cause::Unavailable, "broke off")),
            Ok(_) => None,
        }
    }
}

const RETRY: retry::Rules =
    retry::Rules { most: limits::RETRY_MOST, pause: limits::RETRY_PAUSE, least: limits::RETRY_LEAST };

/// Any 64 bits; for jitter, where even the same ones do no harm.
fn dice() -> u64 {
    getrandom::u64().unwrap_or_default()
}
