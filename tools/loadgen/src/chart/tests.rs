use super::*;

fn line(name: &str, points: &[(f64, f64)]) -> Line {
    Line { name: name.into(), points: points.to_vec(), colour: 0, is_second: false }
}

fn lines(x_scale: Scale, y_scale: Scale, lines: Vec<Line>) -> String {
    Lines { title: "a < b".into(), x: "x".into(), y: "ms".into(), x_scale, y_scale, lines }.svg().unwrap()
}

#[test]
fn a_chart_names_its_axes_lines_and_itself() {
    let svg = lines(Scale::Even, Scale::Even, vec![line("one", &[(0.0, 1.0), (1.0, 2.0)]), line("two", &[(0.0, 3.0)])]);
    for wanted in ["<svg ", "</svg>", "aria-label=\"a &lt; b\"", "one", "two", "ms", "prefers-color-scheme:dark"] {
        assert!(svg.contains(wanted), "{wanted} is not in {svg}");
    }
    assert_eq!(svg.matches("<svg").count(), 1);
}

#[test]
fn every_colour_is_left_to_the_style_sheet() {
    let all = (0..9).map(|i| Line { colour: i, ..line("l", &[(0.0, 1.0), (1.0, 2.0)]) }).collect();
    let svg = lines(Scale::Even, Scale::Even, all);
    let fixed = svg.split("</style>").nth(1).unwrap();
    for c in ["#0101", "#0202", "#0300"] {
        assert!(!fixed.contains(c), "{c} was left in {fixed}");
    }
    assert!(fixed.contains("vl-s2") && fixed.contains("vl-s9"));
}

#[test]
fn percentiles_stand_a_nine_apart() {
    assert!((nines(90.0) - 1.0).abs() < 1e-9 && (nines(99.0) - 2.0).abs() < 1e-9);
    let svg = lines(Scale::Percentile, Scale::Log, vec![line("l", &[(0.0, 1.0), (50.0, 10.0), (99.9, 100.0)])]);
    for label in ["p50", "p90", "p99", "p99.9", "100"] {
        assert!(svg.contains(&format!("\n{label}\n")), "{label} is not in {svg}");
    }
}

#[test]
fn nothing_and_nonsense_give_an_empty_chart() {
    for points in [&[][..], &[(f64::NAN, 1.0)], &[(0.0, f64::INFINITY)], &[(1.0, 0.0)]] {
        let svg = lines(Scale::Even, Scale::Log, vec![line("l", points)]);
        assert!(svg.contains("</svg>"));
    }
}

#[test]
fn a_long_line_is_thinned_and_keeps_its_peak() {
    let points: Vec<_> = (0..10_000).map(|i| (f64::from(i), if i == 7_777 { 9.0 } else { 1.0 })).collect();
    let thin = thinned(points);
    assert!(thin.len() <= POINTS_MAX);
    assert!(thin.contains(&(7_777.0, 9.0)));
}

#[test]
fn bars_stand_in_a_row() {
    let bars = Bars {
        title: "stages".into(),
        x: "ms".into(),
        pieces: vec!["asr".into(), "llm".into()],
        bars: vec![("p50".into(), vec![120.0, 220.0]), ("p95".into(), vec![150.0])],
    };
    let svg = bars.svg().unwrap();
    for wanted in ["p50", "p95", "asr", "llm", "vl-f2", "vl-f3"] {
        assert!(svg.contains(wanted), "{wanted} is not in {svg}");
    }
}

#[test]
fn numbers_are_written_plainly() {
    assert_eq!([0.0, 0.25, 5.0, 1_500.0, 2e6].map(plain), ["0", "0.25", "5", "1500", "2M"]);
    assert_eq!([0.3, 1.0, 13.0, 450.0].map(step), [0.5, 1.0, 20.0, 500.0]);
}
