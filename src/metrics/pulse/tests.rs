use super::*;
use serde_json::{Value, json};

struct Ward {
    registry: Registry,
    pulse: Pulse,
    second: u64,
}

impl Ward {
    fn new() -> Ward {
        Ward { registry: Registry::new(UnixMs(1_000_000)), pulse: Pulse::default(), second: 0 }
    }

    fn beat(&mut self) -> Value {
        self.second += 1;
        let wall = UnixMs(1_000_000 + self.second * 1_000);
        serde_json::to_value(self.pulse.beat(&self.registry, Instant::from_ms(self.second * 1_000), wall)).unwrap()
    }
}

#[test]
fn what_happened_before_the_first_beat_is_no_news() {
    let mut ward = Ward::new();
    let shard = ward.registry.panel(Home::Shard(ShardId(0)));
    shard.add(Counter::TurnsComplete, 1_000);
    shard.record(Series::FrameLateness, Duration::from_millis(50));
    let beat = ward.beat();
    assert_eq!((&beat["second"]["complete"], &beat["minute"]["complete"]), (&json!(0.0), &json!(0)));
    assert_eq!((&beat["minute"]["frames"], &beat["first_audio"]), (&json!(0), &Value::Null));
    assert_eq!((&beat["shards"][0]["busy"], &beat["uptime_s"]), (&Value::Null, &json!(1.0)));
}

#[test]
fn a_second_is_the_difference_of_two_beats_and_a_minute_of_sixty() {
    let mut ward = Ward::new();
    let shards = [0, 1].map(|id| ward.registry.panel(Home::Shard(ShardId(id))));
    ward.beat();
    for second in 1..=100u64 {
        shards[0].add(Counter::TurnsComplete, 2);
        shards[1].count(Counter::TurnsFailed);
        shards[1].add(Counter::DroppedBlock, u64::from(second == 10));
        for late in [1, 4, 6, 80] {
            shards[0].record(Series::FrameLateness, Duration::from_millis(late));
        }
        shards[0].add(Counter::Busy, 250_000);
        shards[1].record(Series::LoopLateness, Duration::from_micros(1_000));
        let beat = ward.beat();
        assert_eq!((&beat["second"]["complete"], &beat["second"]["failed"]), (&json!(2.0), &json!(1.0)));
        assert_eq!((&beat["second"]["frames"], &beat["second"]["late"]), (&json!(4.0), &json!(2.0)), "beyond 5 ms");
        assert_eq!(beat["shards"][0]["busy"], 0.25);
        assert_eq!(beat["shards"][1]["busy"], 0.0);
        let late = beat["shards"][1]["late_ms"].as_f64().unwrap();
        assert!((late - 1.0).abs() < 0.02 && beat["shards"][0]["late_ms"].is_null(), "{beat}");
        let seconds = second.min(60);
        assert_eq!(beat["minute"]["complete"], 2 * seconds);
        assert_eq!(beat["minute"]["frames_late"], 2 * seconds);
        assert_eq!(beat["minute"]["span_s"], seconds as f64);
        if second >= 10 {
            let drops =
                json!([{ "item": "block", "cause": "queue_full", "total": 1, "minute": u8::from(second < 70) }]);
            assert_eq!(beat["drops"], drops, "second {second}");
        }
    }
    assert_eq!(ward.pulse.readings.len(), READINGS);
}

#[test]
fn after_a_rest_of_the_machine_rates_are_by_the_time_that_has_passed() {
    let mut ward = Ward::new();
    let shard = ward.registry.panel(Home::Shard(ShardId(0)));
    ward.beat();
    shard.add(Counter::TurnsComplete, 50);
    shard.add(Counter::Busy, 5_000_000);
    ward.second += 9;
    let beat = ward.beat();
    assert_eq!((&beat["second"]["complete"], &beat["shards"][0]["busy"]), (&json!(5.0), &json!(0.5)));
    assert_eq!((&beat["minute"]["complete"], &beat["minute"]["span_s"]), (&json!(50), &json!(10.0)));
}

#[test]
fn pools_are_told_by_the_minute_with_their_means() {
    let mut ward = Ward::new();
    let worker = ward.registry.panel(Home::Worker("llm"));
    worker.add(Counter::JobsOk, 7);
    ward.beat();
    worker.add(Counter::JobsOk, 3);
    worker.count(Counter::JobsTimeout);
    worker.set(Gauge::WorkersBusy, 1);
    worker.record(Series::JobFirst, Duration::from_millis(100));
    worker.record(Series::JobFirst, Duration::from_millis(300));
    let pool = &ward.beat()["pools"][0];
    assert_eq!((&pool["pool"], &pool["threads"], &pool["busy"]), (&json!("llm"), &json!(1), &json!(1)));
    assert_eq!((&pool["results"]["ok"], &pool["results"]["timeout"]), (&json!(3), &json!(1)));
    assert_eq!((&pool["first_ms"], &pool["wait_ms"]), (&json!(200.0), &Value::Null));
    assert_eq!((&pool["degraded"], &pool["providers"]), (&Value::Null, &json!([])));
    let probe = |name, labels: &'static str| {
        ward.registry.watch(crate::metrics::registry::Probe {
            name,
            labels: labels.into(),
            help: "x",
            value: Box::new(|| 2),
        });
    };
    probe("voxlane_degraded", r#"stage="llm""#);
    probe("voxlane_provider_state", r#"stage="llm",provider="openai""#);
    probe("voxlane_provider_state", r#"stage="asr",provider="other""#);
    drop(worker);
    let pool = &ward.beat()["pools"][0];
    assert_eq!((&pool["degraded"], &pool["providers"]), (&json!(2), &json!([{ "name": "openai", "state": 2 }])));
    assert_eq!((&pool["threads"], &pool["busy"]), (&json!(0), &json!(0)), "the thread has ended");
}

#[test]
fn queues_have_bounds_that_grow_with_the_shards() {
    let mut ward = Ward::new();
    let shards = [0, 1].map(|id| ward.registry.panel(Home::Shard(ShardId(id))));
    shards.iter().for_each(|shard| shard.set(Gauge::LlmWaiting, 3));
    shards[1].set(Gauge::Thinking, 5);
    let beat = ward.beat();
    assert_eq!(beat["second"]["thinking"], 5);
    let queues = beat["queues"].as_array().unwrap();
    let llm = queues.iter().find(|queue| queue["name"] == "llm jobs").unwrap();
    assert_eq!((&llm["depth"], &llm["bound"]), (&json!(6), &json!(2 * limits::WAITING_JOBS)));
}

#[test]
fn the_past_has_columns_of_one_length_and_a_bound() {
    let mut ward = Ward::new();
    let shards = [0, 1].map(|id| ward.registry.panel(Home::Shard(ShardId(id))));
    for second in 0..limits::LIVE_SECONDS + 20 {
        shards[0].set(Gauge::Connections, second as i64);
        ward.beat();
    }
    let past = serde_json::to_value(ward.pulse.past()).unwrap();
    for (name, column) in past.as_object().unwrap() {
        let wanted = if name == "shards" { 2 } else { limits::LIVE_SECONDS };
        assert_eq!(column.as_array().map(Vec::len), Some(wanted), "{name}");
    }
    assert_eq!(past["connections"][limits::LIVE_SECONDS - 1], limits::LIVE_SECONDS + 19);
    assert_eq!(past["shards"][1]["busy"].as_array().map(Vec::len), Some(limits::LIVE_SECONDS));
    // Every point of a beat has its column.
    let beat = ward.beat();
    assert!(beat["second"].as_object().unwrap().keys().all(|name| past.get(name).is_some()), "{beat}");
}
