//! Durations as they stand in the JSON of a run: how many in which bucket. Small, and readable by anybody.

use crate::slo::Statistic;
use serde::{Deserialize, Serialize};

/// A distribution of durations, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    /// The largest, exact.
    pub max_us: u64,
    /// The sum, for the mean.
    pub sum_us: u64,
    /// Upper bound of a bucket in microseconds, and how many lie in it; rising, without empty ones.
    pub buckets: Vec<(u64, u64)>,
}

impl Distribution {
    /// Of durations in microseconds, each its own bucket: for few values.
    pub fn of(values: impl IntoIterator<Item = u64>) -> Distribution {
        let mut values: Vec<u64> = values.into_iter().collect();
        values.sort_unstable();
        let mut distribution = Distribution { sum_us: values.iter().sum(), ..Distribution::default() };
        for value in values {
            distribution.max_us = value;
            match distribution.buckets.last_mut() {
                Some((bound, count)) if *bound == value => *count += 1,
                _ => distribution.buckets.push((value, 1)),
            }
        }
        distribution
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|b| b.1).sum()
    }

    /// A percentile, 0 to 100, in ms; `None` of nothing.
    pub fn percentile(&self, percentile: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        // A little less, so that 99.9 % of 1,000 is the 999th however the product is rounded.
        let rank = ((percentile / 100.0 * count as f64 - 1e-6).ceil() as u64).clamp(1, count);
        let mut seen = 0;
        let bucket = self.buckets.iter().find(|(_, n)| {
            seen += n;
            seen >= rank
        });
        bucket.map(|(bound, _)| (*bound).min(self.max_us) as f64 / 1e3)
    }

    /// A figure in ms, or how many.
    pub fn statistic(&self, statistic: Statistic) -> Option<f64> {
        match statistic {
            Statistic::Percentile(p) => self.percentile(p),
            Statistic::Count => Some(self.count() as f64),
            _ if self.buckets.is_empty() => None,
            Statistic::Mean => Some(self.sum_us as f64 / self.count() as f64 / 1e3),
            Statistic::Max => Some(self.max_us as f64 / 1e3),
            Statistic::Value => None,
        }
    }

    /// The part of it above a bound, 0 to 1; `None` of nothing.
    pub fn share_above(&self, us: u64) -> Option<f64> {
        let above: u64 = self.buckets.iter().filter(|(bound, _)| *bound > us).map(|b| b.1).sum();
        (self.count() > 0).then(|| above as f64 / self.count() as f64)
    }

    /// What has come since `earlier`, a reading of the same distribution; of the largest only its bucket is known.
    pub fn since(&self, earlier: &Distribution) -> Distribution {
        let before = |bound: u64| earlier.buckets.iter().find(|(b, _)| *b == bound).map_or(0, |(_, n)| *n);
        let grown = self.buckets.iter().map(|(bound, n)| (*bound, n.saturating_sub(before(*bound))));
        let buckets: Vec<(u64, u64)> = grown.filter(|(_, n)| *n > 0).collect();
        let max_us = buckets.last().map_or(0, |(bound, _)| self.max_us.min(*bound));
        Distribution { max_us, sum_us: self.sum_us.saturating_sub(earlier.sum_us), buckets }
    }

    /// Points of its curve: percentile, ms. As many as it takes to show its tail.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        let count = self.count();
        let steps = (0..100).map(f64::from).chain((0..10).map(|i| 99.0 + f64::from(i) / 10.0));
        let steps = steps.chain((0..10).map(|i| 99.9 + f64::from(i) / 100.0)).chain([99.99, 99.999]);
        // Beyond 1 - 1/n a percentile is only the largest value again.
        let end = 100.0 - 100.0 / count.max(1) as f64;
        steps.filter(|p| *p <= end).chain([end]).filter_map(|p| Some((p, self.percentile(p)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let d = Distribution::of((1..=1_000).map(|ms| ms * 1_000));
        assert_eq!(d.percentile(50.0), Some(500.0));
        assert_eq!(d.percentile(99.9), Some(999.0));
        assert_eq!(d.percentile(0.0), Some(1.0));
        assert_eq!(d.statistic(Statistic::Max), Some(1_000.0));
        assert_eq!(d.statistic(Statistic::Mean), Some(500.5));
        assert_eq!(d.share_above(900_000), Some(0.1));
        assert_eq!(Distribution::default().percentile(50.0), None);
        assert_eq!(Distribution::default().statistic(Statistic::Mean), None);
    }

    #[test]
    fn a_bucket_never_tells_more_than_the_largest() {
        let d = Distribution { max_us: 5_100, sum_us: 10_000, buckets: vec![(4_000, 1), (6_000, 1)] };
        assert_eq!(d.percentile(100.0), Some(5.1));
    }

    #[test]
    fn of_two_readings_the_difference_is_what_came_between() {
        let earlier = Distribution::of([5, 7_000, 9_000]);
        let later = Distribution::of([5, 5, 6, 7_000, 9_000]);
        assert_eq!(later.since(&earlier), Distribution::of([5, 6]));
        assert_eq!(later.since(&later), Distribution::default());
        assert_eq!(later.since(&Distribution::default()), later);
    }

    #[test]
    fn a_curve_ends_where_the_measurement_does() {
        let d = Distribution::of([1, 2, 3, 4].map(|ms| ms * 1_000));
        assert_eq!(d.curve().last(), Some(&(75.0, 3.0)));
        assert!(Distribution::default().curve().is_empty());
    }
}
