//! Whom to ask first when there are several: in order, or the healthier and faster the likelier.

use crate::time::Duration;

/// How the first is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The first in order; the others are asked when it fails.
    #[default]
    Ordered,
    /// Any of them, weighted by health and latency.
    Weighted,
}

/// How a provider has been doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Good calls of the last time, per cent.
    pub health: u32,
    /// How long its first results take; zero while nobody knows, which counts as fast, so that it becomes known.
    pub latency: Duration,
}

/// Latencies below this are as good as none: nobody hears 50 ms.
const LEAST: Duration = Duration::from_millis(50);

/// One of `forms` by the dice; 0 if there are none. Each is as likely as its health (squared: one call in two is much worse than
/// half as good) over its latency.
pub fn weighted(forms: &[Form], dice: u64) -> usize {
    let weight = |form: &Form| {
        let health = u128::from(form.health.clamp(1, 100));
        health * health * 1_000_000 / form.latency.max(LEAST).as_micros()
    };
    let sum: u128 = forms.iter().map(weight).sum();
    let mut at = (sum * u128::from(dice >> 32)) >> 32;
    for (i, form) in forms.iter().enumerate() {
        match at.checked_sub(weight(form)) {
            Some(rest) => at = rest,
            None => return i,
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often each is chosen of a thousand times, with dice spread evenly.
    fn shares(forms: &[(u32, u64)]) -> Vec<usize> {
        let forms: Vec<Form> =
            forms.iter().map(|&(health, ms)| Form { health, latency: Duration::from_millis(ms) }).collect();
        let mut counts = vec![0; forms.len()];
        (0..1_000_u64).for_each(|i| counts[weighted(&forms, u64::MAX / 1_000 * i + (1 << 53))] += 1);
        counts
    }

    #[test]
    fn the_faster_and_the_healthier_are_asked_more() {
        assert_eq!(shares(&[(100, 200), (100, 200)]), [500, 500]);
        assert_eq!(shares(&[(100, 100), (100, 300)]), [750, 250]);
        assert_eq!(shares(&[(100, 200), (50, 200)]), [800, 200]);
        assert_eq!(shares(&[(100, 1), (100, 40)]), [500, 500], "nobody hears the difference");
    }

    #[test]
    fn the_sick_are_asked_now_and_then_and_the_unknown_too() {
        let counts = shares(&[(100, 200), (0, 200)]);
        assert!(counts[1] <= 1, "{counts:?}");
        assert_eq!(shares(&[(100, 0), (100, 50)]), [500, 500]);
        assert_eq!(shares(&[(0, 0)]), [1_000]);
        assert_eq!(weighted(&[], 7), 0);
    }
}
