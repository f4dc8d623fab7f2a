//! The worker of the language model: streams the answer back in blocks of text.

use super::bench::Bench;
use crate::job::{Converse, Job, Outcome, ReplyEnd, TextBlock, Work};
use crate::lanes::Gone;
use crate::limits;
use crate::providers::{Flow, LanguageModel};
use crate::resilience::fault::{Cause, Fault};

/// Answers one question. Text beyond [`limits::REPLY_BYTES`] is not asked for; what was said before a fault stands.
pub fn converse(model: &mut dyn LanguageModel, bench: &mut Bench, job: &Job) -> Result<Outcome, Fault> {
    let Work::Converse(ask) = &job.work else {
        return Err(Fault::new(Cause::Internal, "a job of another stage"));
    };
    let said = stream(model, bench, job, ask);
    // A stream that we broke off looks cut; it is taken back.
    if job.cancel.is_cancelled() || said.gone == Some(Gone::Cancelled) {
        return Err(Fault::cancelled());
    }
    match said {
        Said { capped: true, .. } => Ok(Outcome::ReplyEnd(ReplyEnd::Length)),
        Said { gone: Some(_), .. } => Ok(Outcome::ReplyEnd(ReplyEnd::Cut)),
        Said { result: Ok(_), bytes: 0, .. } => Err(Fault::new(Cause::Malformed, "an answer without text")),
        Said { result: Ok(end), .. } => Ok(Outcome::ReplyEnd(end)),
        Said { result: Err(fault), bytes: 0, .. } => Err(fault),
        Said { result: Err(_), .. } => Ok(Outcome::ReplyEnd(ReplyEnd::Cut)),
    }
}

/// How a stream ended.
struct Said {
    result: Result<ReplyEnd, Fault>,
    bytes: usize,
    capped: bool,
    gone: Option<Gone>,
}

fn stream(model: &mut dyn LanguageModel, bench: &mut Bench, job: &Job, ask: &Converse) -> Said {
    let call = bench.call(job, job.deadline);
    let (mut bytes, mut capped, mut gone) = (0, false, None);
    let mut on_text = |text: &str| {
        let room = floor_char(text, limits::REPLY_BYTES - bytes);
        capped |= room < text.len();
        let mut rest = &text[..room];
        while !rest.is_empty() {
            let (block, tail) = TextBlock::split_from(rest);
            if let Err(why) = bench.piece(job, Outcome::Token(block)) {
                gone = Some(why);
                return Flow::Stop;
            }
            bytes += rest.len() - tail.len();
            rest = tail;
        }
        if capped { Flow::Stop } else { Flow::Continue }
    };
    let result = model.converse(ask, &call, &mut on_text);
    Said { result, bytes, capped, gone }
}

/// The longest border between characters that is not beyond `max`, bytes.
pub(super) fn floor_char(text: &str, max: usize) -> usize {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    end
}
