use super::*;

/// Reads a promise and shows it in its full form, or the column and words of what is wrong with it.
fn check(text: &str, expected: &str) {
    let found = match Slo::parse(text) {
        Ok(slo) => slo.to_string(),
        Err(fault) => fault.to_string(),
    };
    assert!(found.starts_with(expected), "{text}\n found: {found}\nwanted: {expected}");
}

#[test]
fn promises_are_read() {
    check("first_audio.p95<800ms,late<0.1%,errors=0", "first_audio.p95<800ms,late<0.1%,errors=0");
    check(" first_audio . p95 < 0.8 s , errors == 0 ", "--slo, column 14");
    check(" first_audio.p95 < 0.8 s , errors == 0 ", "first_audio.p95<800ms,errors=0");
    check("stt<=250", "stt.p95<=250ms");
    check("gap.p999<70ms,gap.p99.9<70ms,gap.p9999<1s", "gap.p99.9<70ms,gap.p99.9<70ms,gap.p99.99<1000ms");
    check("hello.max<2500us", "hello.max<2.5ms");
    check("late<0.001", "late<0.1%");
    check("first_audio.count>=100", "first_audio.count>=100");
    check("turns>10,devices>=2", "turns>10,devices>=2");
}

#[test]
fn a_mistake_is_shown_where_it_stands() {
    let shown = Slo::parse("errors=0,frist_audio.p95<800ms").unwrap_err().to_string();
    let wanted = "\
--slo, column 10: nothing is measured under the name frist_audio
  | errors=0,frist_audio.p95<800ms
  |          ^^^^^^^^^^^
  = did you mean first_audio? measured are first_audio, stt,";
    assert!(shown.starts_with(wanted), "{shown}");
}

#[test]
fn every_mistake_has_its_column() {
    check("", "--slo, column 1: a condition is missing here");
    check("errors=0,", "--slo, column 10: a condition is missing here");
    check("errors=0,,late<1%", "--slo, column 10: a condition is missing here");
    check("errors", "--slo, column 7: a relation is missing here");
    check("errors!0", "--slo, column 7: a relation is missing here");
    check("errors=", "--slo, column 8: a number is missing here");
    check("errors=none", "--slo, column 8: a number is missing here");
    check("errors=1.2.3", "--slo, column 8: a number is missing here");
    check("errors=0%", "--slo, column 9: % is no unit of errors");
    check("first_audio.p95<800m", "--slo, column 20: m is no unit of first_audio");
    check("first_audio.p95<800ms errors=0", "--slo, column 23: this was not expected");
    check("first_audio.p<800ms", "--slo, column 13: p is no statistic");
    check("first_audio.p101<800ms", "--slo, column 13: p101 is no statistic");
    check("first_audio.<800ms", "--slo, column 13: a statistic is missing");
    check("errors.p95=0", "--slo, column 7: errors is one number");
    check("late<5", "--slo, column 6: this is more than all of it");
    check("stt<-5ms", "--slo, column 5: nothing measured is below zero");
    check("früh=0", "--slo, column 1: nothing is measured under the name früh");
    check("stt<5µs,x=1", "--slo, column 9: nothing is measured under the name x");
}

#[test]
fn a_promise_is_judged_condition_by_condition() {
    let slo = Slo::parse("first_audio.p95<800ms,late<0.1%,errors=0,stt.mean<1s").unwrap();
    let verdict = slo.judge(|metric, statistic| match (metric.name, statistic) {
        ("first_audio", Statistic::Percentile(p)) => Some(p * 8.0),
        ("late", Statistic::Value) => Some(0.002),
        ("errors", Statistic::Value) => Some(0.0),
        _ => None,
    });
    assert!(!verdict.is_kept());
    let shown = verdict.to_string();
    assert_eq!(
        shown,
        "kept   first_audio.p95<800ms: 760ms\nBROKEN late<0.1%: 0.2%\nkept   errors=0: 0\nBROKEN stt.mean<1000ms: not measured\n"
    );
    assert_eq!(verdict.broken().count(), 2);
}

#[test]
fn borders_belong_to_at_most_and_at_least() {
    let kept = |text: &str| Slo::parse(text).unwrap().judge(|_, _| Some(5.0)).is_kept();
    assert!(kept("stt<=5") && kept("stt>=5") && kept("stt=5"));
    assert!(!kept("stt<5") && !kept("stt>5"));
}

#[test]
fn a_narrow_break_is_of_one_condition_and_by_less_than_its_double() {
    let is_narrow = |text: &str, value: f64| Slo::parse(text).unwrap().judge(|_, _| Some(value)).is_narrow();
    assert!(is_narrow("late<0.1%", 0.00101) && is_narrow("late<=0.1%", 0.00199));
    assert!(!is_narrow("late<0.1%", 0.002) && !is_narrow("late<0.1%", 0.0005), "far, and kept");
    assert!(is_narrow("turns>=100", 51.0) && !is_narrow("turns>=100", 50.0));
    for nothing_less in ["errors=0", "crosstalk<=0", "errors<0.1,late<0.1%"] {
        assert!(!is_narrow(nothing_less, 0.15), "{nothing_less}");
    }
    assert!(!Slo::parse("late<0.1%").unwrap().judge(|_, _| None).is_narrow());
}

#[test]
fn names_are_unique_and_explained() {
    for (i, metric) in METRICS.iter().enumerate() {
        assert!(METRICS[i + 1..].iter().all(|m| m.name != metric.name), "{}", metric.name);
        assert!(!metric.meaning.is_empty());
    }
    assert!(metrics_help().lines().count() == METRICS.len());
}
