use super::*;

/// A run such as there might be.
pub(crate) fn sample(factor: f64) -> Outcome {
    let time =
        |ms: f64| Distribution::of((0..400_u32).map(|i| ((ms + f64::from(i * i) / 900.0) * factor * 1e3) as u64));
    let seconds = (0..60).map(|at| Second {
        at,
        devices: 40.min(at * 4 + 4),
        turns: 3 + at % 3,
        packets: 660,
        late: at % 7,
        first_audio_p50: Some(900.0 + f64::from(at % 9) * 10.0),
        first_audio_p95: (at % 2 == 0).then_some(1_020.0),
        server_cores: Some(0.12 * factor),
        own_cpu: 0.03,
        shards: vec![0.05 * factor, 0.04],
        failures: u32::from(at == 30),
    });
    let mut outcome = Outcome {
        schema: SCHEMA,
        tool: "0.1.0".into(),
        label: format!("sample {factor}"),
        target: "ws://127.0.0.1:8000/xiaozhi/v1/".into(),
        started_unix_ms: 1_790_000_000_000,
        took_ms: 61_234,
        times: [("first_audio", 880.0), ("stt", 700.0), ("hello", 0.8), ("lateness", 0.3), ("send_lag", 0.1)]
            .map(|(name, ms)| (name.to_owned(), time(ms)))
            .into(),
        shares: [("late", 0.000_4), ("failed", 0.004), ("own_cpu", 0.03)].map(|(n, v)| (n.to_owned(), v)).into(),
        counts: [("errors", 1.0), ("crosstalk", 0.0), ("turns", 236.0)].map(|(n, v)| (n.to_owned(), v)).into(),
        seconds: seconds.collect(),
        own: Own { threads: 1, tick_us: 500, cpu: 0.03, rss: 30 << 20 },
        server: Some(ServerSeen {
            cores: 0.12 * factor,
            kinds: [("shard", 0.05), ("tts", 0.06)].map(|(n, v)| (n.to_owned(), v)).into(),
            shards: vec![ShardSeen { busy: 0.05, lateness_p99: 0.4, ..ShardSeen::default() }],
            stages: [
                ("endpointing", 560.0, 610.0),
                ("asr", 121.0, 125.0),
                ("llm", 230.0, 320.0),
                ("tts", 124.0, 131.0),
            ]
            .map(|(name, a, b)| Stage { name: name.to_owned(), p50: a * factor, p95: b * factor })
            .into(),
            rss: 40 << 20,
            ..ServerSeen::default()
        }),
        ..Outcome::default()
    };
    outcome.fail("refused", || "device 17, 30.2 s: <connection refused>".into());
    outcome
}

#[test]
fn what_is_written_is_read_again() {
    let outcome = sample(1.0);
    assert_eq!(Outcome::read(&outcome.json()), Ok(outcome));
}

#[test]
fn a_broken_file_is_told_by_line_and_column() {
    let text = sample(1.0).json().replacen(",\"label\"", ",\n\"label\"", 1);
    let cut = &text[..text.len() - 40];
    assert!(Outcome::read(cut).unwrap_err().starts_with("2:"), "{:?}", Outcome::read(cut));
    let wrong = text.replace("\"took_ms\":61234", "\"took_ms\":\"long\"");
    let error = Outcome::read(&wrong).unwrap_err();
    assert!(error.starts_with("2:") && error.contains("invalid type: string \"long\", expected u64"), "{error}");
    assert!(Outcome::read("{\n\"a\": 1}").unwrap_err().starts_with("2:7: not the JSON of a run"));
    assert!(Outcome::read("").unwrap_err().starts_with("1:0: EOF"), "{:?}", Outcome::read(""));
    assert!(Outcome::read(&text.replacen("\"schema\":1", "\"schema\":9", 1)).unwrap_err().contains("shape 9"));
    let missing = Outcome::load(Path::new("/nowhere/run.json")).unwrap_err();
    assert!(missing.starts_with("/nowhere/run.json: No such file"), "{missing}");
}

#[test]
fn a_promise_is_judged_by_the_figures_of_the_run() {
    let outcome = sample(1.0);
    let verdict = |text: &str| outcome.judge(&Slo::parse(text).unwrap()).is_kept();
    assert!(verdict("first_audio.p50<1s,late<0.1%,errors<=1,turns>=200"));
    assert!(!verdict("errors=0"));
    assert!(!verdict("first_audio.p95<900ms"));
    assert!(!verdict("gap.p99<70ms"), "what was not measured is not kept");
}

#[test]
fn examples_are_bounded() {
    let mut outcome = Outcome::default();
    (0..100).for_each(|i| outcome.fail("closed", || format!("device {i}")));
    assert_eq!((outcome.failures["closed"].count, outcome.failures["closed"].examples.len()), (100, EXAMPLES_MAX));
}
