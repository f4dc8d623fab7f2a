//! How sure a ratio is: a bootstrap over rounds. Rounds of A and B are neighbours in time, so a disturbance hits both; the ratio
//! is taken of each pair, and the pairs are drawn again and again with replacement. Where the middle 95 % of the results lie is
//! the interval.

/// A ratio of B to A and how far it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The median of the pairs' ratios.
    pub ratio: f64,
    /// The 95 % interval.
    pub low: f64,
    /// See `low`.
    pub high: f64,
}

/// Resamples; the ends of a 95 % interval are then averages of tens of them.
const DRAWS: usize = 4_000;
/// With fewer pairs an interval would be a pretence.
pub const PAIRS_MIN: usize = 3;

impl Ratio {
    /// Of pairs of (A, B) measured in the same round. `None` with fewer than [`PAIRS_MIN`] usable pairs; a pair with a zero or
    /// missing A is not usable.
    pub fn of(pairs: &[(f64, f64)]) -> Option<Ratio> {
        let usable = |(a, b): &(f64, f64)| a.is_finite() && b.is_finite() && *a > 0.0;
        let ratios: Vec<f64> = pairs.iter().filter(|p| usable(p)).map(|(a, b)| b / a).collect();
        if ratios.len() < PAIRS_MIN {
            return None;
        }
        // The seed is fixed: the same rounds give the same interval.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as usize % ratios.len()
        };
        let mut medians: Vec<f64> =
            (0..DRAWS).map(|_| median((0..ratios.len()).map(|_| ratios[draw()]).collect())).collect();
        medians.sort_by(f64::total_cmp);
        let at = |share: f64| medians[(share * (DRAWS - 1) as f64).round() as usize];
        Some(Ratio { ratio: median(ratios.clone()), low: at(0.025), high: at(0.975) })
    }

    /// Whether the interval lies on one side of "no difference".
    pub fn is_difference(&self) -> bool {
        self.low > 1.0 || self.high < 1.0
    }
}

/// The middle value; of an even number the mean of the two. NaN of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rounds_are_no_difference() {
        let pairs = [(10.0, 10.0), (11.0, 10.8), (9.0, 9.3), (10.0, 9.9), (12.0, 12.1)];
        let r = Ratio::of(&pairs).unwrap();
        assert!(!r.is_difference(), "{r:?}");
        assert!((r.ratio - 1.0).abs() < 0.02);
    }

    #[test]
    fn a_steady_gain_is_one_even_when_both_drift() {
        let pairs: Vec<_> = (0..6).map(|i| (10.0 + f64::from(i), (10.0 + f64::from(i)) * 0.8)).collect();
        let r = Ratio::of(&pairs).unwrap();
        assert!(r.is_difference() && (r.ratio - 0.8).abs() < 1e-9, "{r:?}");
        assert_eq!((r.low, r.high), (r.ratio, r.ratio));
    }

    #[test]
    fn one_odd_round_widens_the_interval_but_does_not_move_the_ratio() {
        let mut pairs = vec![(10.0, 9.0); 6];
        pairs.push((10.0, 30.0));
        let r = Ratio::of(&pairs).unwrap();
        assert!((r.ratio - 0.9).abs() < 1e-9 && r.high >= 0.9 && r.low <= 0.9);
    }

    #[test]
    fn too_few_or_unusable_rounds_give_none() {
        assert_eq!(Ratio::of(&[(1.0, 1.0), (1.0, 1.0)]), None);
        assert_eq!(Ratio::of(&[(0.0, 1.0), (f64::NAN, 1.0), (1.0, 1.0), (1.0, 1.0)]), None);
    }

    #[test]
    fn an_interval_covers_the_truth_about_as_often_as_it_says() {
        let mut state = 7_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f64 / (1_u64 << 24) as f64 - 0.5
        };
        let covered = (0..200).filter(|_| {
            let pairs: Vec<_> = (0..9).map(|_| (10.0, 8.0 * (1.0 + 0.2 * noise()))).collect();
            let r = Ratio::of(&pairs).unwrap();
            r.low <= 0.8 && 0.8 <= r.high
        });
        let covered = covered.count();
        assert!((170..=200).contains(&covered), "{covered} of 200");
    }
}
