//! A second question when the first token is late: whoever begins to answer first is heard, the other is taken back.
//!
//! ```text
//!   ask one --first token in time--> its answer
//!      | not yet after hedge_ms, and the budget of repetitions has one
//!      v
//!   ask another too; both answers come to this thread piece by piece; the first piece decides
//! ```
//!
//! Off by default: it buys the slowest answers with up to a tenth more questions, and a thread for each of them.

use super::Line;
use super::gate::Permit;
use crate::job::{Cancel, Converse, ReplyEnd};
use crate::limits;
use crate::providers::{Call, Flow, LanguageModel};
use crate::resilience::fault::{Cause, Fault, PANICKED};
use crate::time::Instant;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{Builder, Scope};

/// When to ask whom.
#[derive(Clone, Copy, Debug)]
pub struct Hedge {
    /// The first token is late then.
    pub at: Instant,
    /// Who is asked too, by rank; may be the same one.
    pub member: usize,
}

/// What a side says.
enum Said {
    Text(String),
    End(Result<ReplyEnd, Fault>),
}

/// The one that was asked first, and the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    First,
    Second,
}

/// How it went.
pub struct Raced {
    /// The answer's end.
    pub end: Result<ReplyEnd, Fault>,
    /// Who gave it, if it was the other.
    pub winner: Option<usize>,
    /// The one that was asked first failed or broke off, whoever gave the answer.
    pub has_failed: bool,
}

impl Raced {
    fn failed(fault: Fault) -> Raced {
        Raced { end: Err(fault), winner: None, has_failed: true }
    }
}

/// One race: what both sides share.
struct Race<'a> {
    ask: &'a Converse,
    calls: [Call; 2],
    said: Sender<(Side, Said)>,
}

/// Asks `model`, and from `hedge.at` on the other too.
pub fn race(
    line: &Line<dyn LanguageModel>,
    hedge: Hedge,
    model: &mut dyn LanguageModel,
    ask: &Converse,
    call: &Call,
    on_text: &mut dyn FnMut(&str) -> Flow,
) -> Raced {
    let (said, heard) = bounded(limits::HEDGE_PIECES);
    let own = || Call { cancel: Cancel::new(), ..call.clone() };
    let race = Race { ask, calls: [own(), own()], said };
    let cancels = race.calls.clone().map(|call| call.cancel);
    if !call.cancel.on_cancel(move || cancels.iter().for_each(Cancel::cancel)) {
        return Raced::failed(Fault::new(Cause::Internal, "no place for a hedge's cancel"));
    }
    let mut other = None;
    std::thread::scope(|scope| {
        if let Err(fault) = race.start(scope, Side::First, Box::new(move |ask, call, on| model.converse(ask, call, on)))
        {
            return Raced::failed(fault);
        }
        let mut permit = None;
        let mut may_hedge = true;
        let mut judge = Judge { first: None, ends: [None, None], running: 1, stopped: false };
        while judge.running > 0 {
            let wait = hedge.at.until(call.clock.now());
            let next = if may_hedge { heard.recv_timeout(wait) } else { receive(&heard) };
            match next {
                Ok((side, said)) => judge.hear(side, said, &race, on_text),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    if let Some((mut model, pass)) = second(line, hedge, &race.calls[1]) {
                        let ask =
                            Box::new(move |ask: &Converse, call: &Call, on: On<'_>| model.converse(ask, call, on));
                        permit = race.start(scope, Side::Second, ask).is_ok().then_some(pass);
                        judge.running += u32::from(permit.is_some());
                    }
                }
            }
            may_hedge &= permit.is_none() && judge.first.is_none() && hedge.at > call.clock.now();
        }
        let (raced, second) = judge.end(hedge.member);
        other = permit.zip(second);
        raced
    })
    .settled(other)
}

type On<'a> = &'a mut dyn FnMut(&str) -> Flow;
type Ask<'s> = Box<dyn FnMut(&Converse, &Call, On<'_>) -> Result<ReplyEnd, Fault> + Send + 's>;

impl Race<'_> {
    fn start<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        side: Side,
        mut ask: Ask<'scope>,
    ) -> Result<(), Fault> {
        let (said, call) = (self.said.clone(), &self.calls[side as usize]);
        let run = move || {
            let mut on_text = |text: &str| match said.send((side, Said::Text(text.to_owned()))) {
                Ok(()) if !call.cancel.is_cancelled() => Flow::Continue,
                _ => Flow::Stop,
            };
            let end = catch_unwind(AssertUnwindSafe(|| ask(self.ask, call, &mut on_text)));
            let end = end.unwrap_or_else(|_| Err(Fault::new(Cause::Internal, PANICKED)));
            let _ = said.send((side, Said::End(end)));
        };
        let thread = Builder::new().name("hedge".into()).stack_size(limits::POOL_STACK_BYTES);
        let spawned = thread.spawn_scoped(scope, run);
        spawned.map(drop).map_err(|_| Fault::new(Cause::Overload, "no thread for a hedge"))
    }
}

/// The other provider and the right to call it, if the budget and its door allow.
fn second<'a>(
    line: &'a Line<dyn LanguageModel>,
    hedge: Hedge,
    call: &Call,
) -> Option<(Box<dyn LanguageModel>, Permit<'a>)> {
    let member = &line.members[hedge.member];
    if !member.gate.is_open(call.clock.now()) || !line.budget.lock().take() {
        return None;
    }
    let permit = member.gate.enter(call, call.clock.now(), false).ok()?;
    match (member.spec.factory)(0) {
        Ok(model) => {
            member.gate.tally.hedged.fetch_add(1, Relaxed);
            Some((model, permit))
        }
        Err(_) => None,
    }
}

fn receive<T>(heard: &Receiver<T>) -> Result<T, RecvTimeoutError> {
    heard.recv().map_err(|_| RecvTimeoutError::Disconnected)
}

/// Who is ahead.
struct Judge {
    /// Who gave the first piece.
    first: Option<Side>,
    ends: [Option<Result<ReplyEnd, Fault>>; 2],
    running: u32,
    /// Nothing more is wanted.
    stopped: bool,
}

impl Judge {
    fn hear(&mut self, side: Side, said: Said, race: &Race<'_>, on_text: On<'_>) {
        match said {
            Said::Text(text) => {
                if self.first.is_none() {
                    self.first = Some(side);
                    let loser = if side == Side::First { Side::Second } else { Side::First };
                    race.calls[loser as usize].cancel.cancel();
                }
                if self.first == Some(side) && !self.stopped && on_text(&text) == Flow::Stop {
                    self.stopped = true;
                    race.calls[side as usize].cancel.cancel();
                }
            }
            Said::End(end) => {
                self.ends[side as usize] = Some(end);
                self.running -= 1;
            }
        }
    }

    /// The answer, and what became of the other side if it was asked.
    fn end(self, member: usize) -> (Raced, Option<Result<ReplyEnd, Fault>>) {
        let [first, second] = self.ends;
        // Who lost was taken back, which he may call a cut.
        let has_failed = match &first {
            Some(Err(fault)) => fault.cause != Cause::Cancelled,
            Some(Ok(ReplyEnd::Cut)) => self.first == Some(Side::First) && !self.stopped,
            Some(Ok(_)) => false,
            None => true,
        };
        let answer = if self.first == Some(Side::Second) { second.clone() } else { first };
        let end = match answer {
            // We broke it off: that is no fault of anybody.
            _ if self.stopped => Ok(ReplyEnd::Length),
            Some(end) => end,
            None => Err(Fault::new(Cause::Internal, "a race without an end")),
        };
        let winner = (self.first == Some(Side::Second)).then_some(member);
        (Raced { end, winner, has_failed }, second)
    }
}

impl Raced {
    /// Tells the other's door what became of its call.
    fn settled(self, other: Option<(Permit<'_>, Result<ReplyEnd, Fault>)>) -> Raced {
        if let Some((permit, end)) = other {
            // Who lost was taken back; who won is judged by his answer.
            permit.settle(None, end.err().as_ref());
        }
        self
    }
}
