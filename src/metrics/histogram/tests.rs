use super::*;
use proptest::prelude::*;

fn us(n: u64) -> Option<Duration> {
    Some(Duration::from_micros(n))
}

fn of(values: impl IntoIterator<Item = u64>) -> Snapshot {
    let histogram = Histogram::default();
    values.into_iter().for_each(|v| histogram.record(v));
    histogram.snapshot()
}

#[test]
fn nothing_recorded_has_no_percentile() {
    let empty = of([]);
    assert_eq!((empty.count(), empty.mean(), empty.max()), (0, None, Duration::ZERO));
    assert_eq!((empty.percentile(50.0), empty.recent_percentile(50.0)), (None, None));
    assert_eq!(empty.cumulative(), [0; BOUNDS_US.len()]);
}

#[test]
fn one_value_is_every_percentile() {
    let one = of([1_234]);
    for p in [0.0, 50.0, 95.0, 99.0, 100.0] {
        assert_eq!(one.recent_percentile(p), us(1_234), "p{p}");
        assert_eq!(one.percentile(p), us(1_234), "p{p}");
    }
}

#[test]
fn percentiles_are_nearest_rank() {
    // (values 1..=n, percentile, expected)
    let table = [
        (100, 0.0, 1),
        (100, 50.0, 50),
        (100, 95.0, 95),
        (100, 99.0, 99),
        (100, 100.0, 100),
        (1_000, 99.9, 999),
        (4, 50.0, 2),
        (5, 50.0, 3),
        (10, 95.0, 10),
        (3, -7.0, 1),
        (3, 700.0, 3),
        (3, f64::NAN, 1),
    ];
    for (n, p, expected) in table {
        assert_eq!(of((1..=n).rev()).recent_percentile(p), us(expected), "p{p} of {n}");
    }
}

#[test]
fn the_ring_forgets_all_but_the_last_thousand_and_the_histogram_nothing() {
    let snapshot = of(std::iter::repeat_n(9, 2_500).chain(std::iter::repeat_n(5, RECENT)));
    assert_eq!(snapshot.recent_count(), RECENT);
    assert_eq!(snapshot.recent_percentile(100.0), us(5));
    assert_eq!(snapshot.percentile(50.0), us(9));
    assert_eq!(snapshot.count(), 3_500);
    assert_eq!(snapshot.sum(), Duration::from_micros(2_500 * 9 + 5_000));
}

#[test]
fn merging_is_recording_together() {
    let mut merged = of([1, 70, 5_000]);
    merged.merge(&of([3, 90_000_000]));
    assert_eq!(merged, of([1, 70, 5_000, 3, 90_000_000]));
    assert_eq!(merged.max(), Duration::from_secs(90));
    assert_eq!(merged.mean(), us((1 + 70 + 5_000 + 3 + 90_000_000) / 5));
}

#[test]
fn buckets_follow_each_other_without_gap() {
    for bucket in 0..BUCKETS {
        assert_eq!(index(lower(bucket) as u32), bucket);
        assert_eq!(index(lower(bucket + 1) as u32 - 1), bucket, "last value of {bucket}");
    }
    assert_eq!(lower(BUCKETS), 100_000_000);
    assert_eq!(index(u32::MAX), BUCKETS - 1);
}

#[test]
fn sizes_are_as_stated() {
    assert_eq!(BUCKETS, 1_060);
    assert_eq!(std::mem::size_of::<Body>(), 8 + 1_060 * 8 + 4_000);
    assert!(std::mem::size_of::<Histogram>() <= 32, "an unused series costs next to nothing");
}

#[test]
fn bounds_of_the_exposition_ascend_are_borders_and_hold_the_targets() {
    assert!(BOUNDS_US.windows(2).all(|w| w[0] < w[1]));
    assert!(BOUNDS_US.iter().all(|bound| lower(index(*bound as u32)) == *bound));
    assert!([1_000, 5_000, 60_000, 600_000, 800_000].iter().all(|target| BOUNDS_US.contains(target)));
}

#[test]
fn a_value_beyond_any_is_kept_as_the_greatest() {
    let huge = of([u64::MAX, u64::MAX]);
    assert_eq!(huge.max(), Duration::from_micros(u32::MAX as u64));
    assert_eq!(huge.percentile(100.0), Some(huge.max()));
    assert_eq!(huge.cumulative()[20], 0);
}

#[test]
fn a_reader_beside_the_writer_always_sees_a_distribution_that_adds_up() {
    let histogram = Histogram::default();
    std::thread::scope(|threads| {
        let writer = threads.spawn(|| (0..200_000).for_each(|i| histogram.record(i % 3_000)));
        while !writer.is_finished() {
            let seen = histogram.snapshot();
            assert_eq!(seen.buckets.iter().sum::<u64>(), seen.count());
            assert!(seen.recent.iter().all(|v| *v < 3_000));
        }
    });
    assert_eq!(histogram.snapshot().count(), 200_000);
}

proptest! {
    #[test]
    fn the_lifetime_percentile_is_within_half_a_bucket_of_the_exact_one(
        mut values in prop::collection::vec(prop_oneof![0u64..2_000, 0u64..60_000_000], 1..300),
        p in 0.0f64..100.0,
    ) {
        let snapshot = of(values.iter().copied());
        values.sort_unstable();
        let exact = snapshot.recent_percentile(p).unwrap().as_micros() as f64;
        prop_assert_eq!(exact, values[nearest_rank(p, values.len() as u64).unwrap() as usize] as f64);
        let near = snapshot.percentile(p).unwrap().as_micros() as f64;
        prop_assert!((near - exact).abs() <= exact / 80.0 + 1.0, "{near} for {exact}");
        for (bound, below) in BOUNDS_US.into_iter().zip(snapshot.cumulative()) {
            prop_assert_eq!(below, values.iter().filter(|v| **v < bound).count() as u64);
        }
    }
}
