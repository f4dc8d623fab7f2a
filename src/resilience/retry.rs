//! What follows from a failed call: nothing, another provider, or the same once more.
//!
//! Another provider goes first: it costs nobody a pause and the troubled one no second call. The same provider is asked once
//! more only for trouble that passes, after a pause that the dice choose (full jitter: callers that failed together do not come
//! back together), while there is time for it, and within the budget: an outage is not made worse by everybody asking twice.

use super::fault::{Cause, Fault};
use super::share;
use crate::time::Duration;

/// How a call went wrong, and what is left for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// Some of the answer has gone out: what was said stands.
    pub has_output: bool,
    /// Asking twice does nothing twice. A question does not; a tool that switches something may.
    pub is_idempotent: bool,
    /// Another provider can be asked.
    pub has_other: bool,
    /// It is a service that may answer the second time. A program that said no here says no again.
    pub may_repeat: bool,
    /// Repetitions so far.
    pub repeated: u32,
    /// Until the answer is of no use any more.
    pub left: Duration,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The fault is the answer.
    GiveUp,
    /// Ask another provider, now.
    Other,
    /// Ask the same one, after this pause.
    Again(Duration),
}

impl Next {
    /// The word in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Next::GiveUp => "none",
            Next::Other => "another",
            Next::Again(_) => "again",
        }
    }
}

/// How repetitions are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Repetitions of one call at one provider.
    pub most: u32,
    /// The longest first pause; each further one may be twice as long.
    pub pause: Duration,
    /// Less than this after the pause is no time for an answer.
    pub least: Duration,
}

/// Decides.
pub fn next(fault: &Fault, now: &Situation, rules: &Rules, budget: &mut Budget, dice: u64) -> Next {
    if fault.cause == Cause::Cancelled || now.has_output || !now.is_idempotent {
        return Next::GiveUp;
    }
    if now.has_other {
        return Next::Other;
    }
    if !fault.cause.is_transient() || !now.may_repeat || now.repeated >= rules.most {
        return Next::GiveUp;
    }
    let jitter = share(rules.pause.saturating_mul(1 << now.repeated.min(16)), dice);
    // The service's own word is the least; the dice come on top, or all would be back at that instant.
    let pause = fault.retry_after.unwrap_or_default() + jitter;
    if pause + rules.least > now.left || !budget.take() {
        return Next::GiveUp;
    }
    Next::Again(pause)
}

/// How many repetitions there may be: a share of the calls, and one to begin with.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Of a repetition, per call.
    permille: u32,
    /// Thousandths of repetitions that may be made now.
    saved: u32,
}

/// Thousandths of one repetition.
const ONE: u32 = 1_000;
/// Repetitions saved in quiet times; no more, or a long calm would pay for a storm.
const SAVED_MOST: u32 = 10 * ONE;

impl Budget {
    /// `percent` repetitions per hundred calls.
    pub fn new(percent: u32) -> Budget {
        Budget { permille: percent * 10, saved: if percent > 0 { ONE } else { 0 } }
    }

    /// A call was made that is no repetition.
    pub fn called(&mut self) {
        self.saved = (self.saved + self.permille).min(SAVED_MOST);
    }

    /// Takes one repetition, if there is one.
    pub fn take(&mut self) -> bool {
        let has = self.saved >= ONE;
        self.saved -= if has { ONE } else { 0 };
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { most: 2, pause: Duration::from_millis(200), least: Duration::from_millis(300) };
    const ALONE: Situation = Situation {
        has_output: false,
        is_idempotent: true,
        has_other: false,
        may_repeat: true,
        repeated: 0,
        left: Duration::from_secs(5),
    };

    fn fault(cause: Cause) -> Fault {
        Fault::new(cause, "x")
    }

    fn decide(fault: &Fault, now: Situation, dice: u64) -> Next {
        next(fault, &now, &RULES, &mut Budget::new(10), dice)
    }

    #[test]
    fn another_provider_is_asked_whatever_went_wrong() {
        for cause in Cause::ALL {
            let expected = if cause == Cause::Cancelled { Next::GiveUp } else { Next::Other };
            assert_eq!(decide(&fault(cause), Situation { has_other: true, ..ALONE }, 0), expected, "{cause:?}");
        }
    }

    #[test]
    fn the_same_one_is_asked_again_only_for_trouble_that_passes() {
        for cause in Cause::ALL {
            let passes = matches!(cause, Cause::Overload | Cause::Timeout | Cause::Unavailable);
            let expected = if passes { Next::Again(Duration::ZERO) } else { Next::GiveUp };
            assert_eq!(decide(&fault(cause), ALONE, 0), expected, "{cause:?}");
        }
    }

    #[test]
    fn never_after_output_never_for_what_must_not_happen_twice() {
        for has_other in [false, true] {
            for wrong in [Situation { has_output: true, ..ALONE }, Situation { is_idempotent: false, ..ALONE }] {
                let now = Situation { has_other, ..wrong };
                assert_eq!(decide(&fault(Cause::Unavailable), now, 0), Next::GiveUp, "{now:?}");
            }
        }
        let now = Situation { may_repeat: false, ..ALONE };
        assert_eq!(decide(&fault(Cause::Unavailable), now, 0), Next::GiveUp);
    }

    #[test]
    fn pauses_are_anything_up_to_a_bound_that_doubles() {
        let pause = |repeated, dice| match decide(&fault(Cause::Timeout), Situation { repeated, ..ALONE }, dice) {
            Next::Again(pause) => Some(pause.as_millis()),
            _ => None,
        };
        assert_eq!([pause(0, 0), pause(0, 1 << 63), pause(0, u64::MAX)], [Some(0), Some(100), Some(199)]);
        assert_eq!([pause(1, 1 << 63), pause(1, u64::MAX)], [Some(200), Some(399)]);
        assert_eq!(pause(2, 0), None, "not a third time");
    }

    #[test]
    fn a_pause_that_leaves_no_time_is_not_made() {
        let left = |ms| Situation { left: Duration::from_millis(ms), ..ALONE };
        assert_eq!(decide(&fault(Cause::Timeout), left(299), 0), Next::GiveUp);
        assert_eq!(decide(&fault(Cause::Timeout), left(300), 0), Next::Again(Duration::ZERO));
    }

    #[test]
    fn the_services_own_pause_is_kept() {
        let busy = |secs| fault(Cause::Overload).wait(Some(Duration::from_secs(secs)));
        assert_eq!(decide(&busy(2), ALONE, 1 << 63), Next::Again(Duration::from_millis(2_100)));
        assert_eq!(decide(&busy(60), ALONE, 0), Next::GiveUp, "too long to wait for");
    }

    #[test]
    fn in_an_outage_at_most_a_tenth_is_asked_again() {
        let mut budget = Budget::new(10);
        let mut repeated = 0;
        for i in 0..10_000 {
            budget.called();
            let next = next(&fault(Cause::Unavailable), &ALONE, &RULES, &mut budget, 0);
            repeated += u32::from(next != Next::GiveUp);
            assert!(repeated <= 1 + (i + 1) / 10, "{repeated} of {i}");
        }
        assert!(repeated >= 999, "{repeated}");
        // What calm times save is bounded.
        let mut budget = Budget::new(10);
        (0..10_000).for_each(|_| budget.called());
        assert_eq!((0..100).filter(|_| budget.take()).count(), 10);
        assert!(!Budget::new(0).take());
    }
}
