use super::*;
use crate::engine::Phases;

fn glance() -> Glance {
    Glance {
        second: 15,
        duration_ms: 60_000,
        warmup_ms: 10_000,
        devices: 100,
        phases: Phases { coming: 4, talking: 40, waiting: 6, hearing: 49, idle: 1, done: 0 },
        turns: 20,
        failures: [("silence", 1), ("refused", 3)].into(),
        first_audio: Some([812.4, 1_012.0, 1_100.0]),
        lateness: Some([0.12, 0.9, 2.1]),
        late: Some(0.000_12),
        own_cores: 0.171,
        server_cores: Some(0.4123),
        rss: Some(41 << 20),
        shards: vec![0.41, 0.38],
    }
}

#[test]
fn the_page_tells_everything() {
    let page = page("run ws://127.0.0.1:8000/", &glance(), 100, false);
    assert_eq!(
        page,
        [
            "run ws://127.0.0.1:8000/",
            "[#######.......................] 15/60 s, measuring",
            "devices      96 of 100: 40 talking, 6 waiting, 49 hearing, 1 idle",
            "turns        20, 4.0 a second",
            "first audio  p50 812  p95 1012  p99 1100 ms",
            "lateness     p50 0.12  p95 0.90  p99 2.10 ms, 0.012 % over 5 ms",
            "failures     4 failures: refused 3, silence 1",
            "server       0.412 cores, 41.0 MiB, shards busy 41 %, 38 %",
            "load tool    17 % of a core",
        ]
    );
}

#[test]
fn what_is_not_known_yet_has_no_line() {
    let page = page("x", &Glance { devices: 5, duration_ms: 9_000, ..Glance::default() }, 80, false);
    assert_eq!(page.len(), 6, "{page:?}");
    assert!(page.iter().all(|line| !line.contains("NaN") && !line.contains("server")));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    for width in [1, 5, 12, 20, 40, 79] {
        let plain = page("run ws://bücher.example/ä/", &glance(), width, false);
        assert!(plain.iter().all(|line| line.chars().count() <= width), "{width}: {plain:?}");
        // Colour adds nothing that is seen.
        let coloured = page("run ws://bücher.example/ä/", &glance(), width, true);
        for (plain, coloured) in plain.iter().zip(&coloured) {
            let mut seen = coloured.clone();
            for code in ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[31m"] {
                seen = seen.replace(code, "");
            }
            assert_eq!(*plain, seen);
        }
    }
}

#[test]
fn a_title_cannot_move_the_cursor() {
    let page = page("a\x1b[2Jb\nc", &glance(), 80, false);
    assert_eq!(page[0], "a[2Jbc");
}

#[test]
fn failures_and_a_tool_at_its_end_are_red() {
    let busy = Glance { own_cores: 0.9, ..glance() };
    let page = page("x", &busy, 80, true);
    assert!(page.iter().filter(|line| line.contains("\x1b[31m")).count() == 2, "{page:?}");
    assert!(page.last().unwrap().contains("more than it may use"));
}

#[test]
fn a_line_for_logs_has_the_same_figures() {
    let line = line(&glance());
    assert_eq!(
        line,
        "  15/60 s measuring 96 devices, 20 turns, first audio p95 1012 ms, 0.012 % late, 4 failures: refused 3, silence 1, \
         server 0.412 cores"
    );
}

#[test]
fn the_bar_is_never_longer_than_it_is() {
    for second in [0, 30, 60, 85, u32::MAX] {
        let bar = progress(&Glance { second, ..glance() }, 60);
        assert_eq!(bar.matches(['#', '.']).count(), BAR, "{bar}");
        let bar = progress(&Glance { second, ..glance() }, 30);
        assert!((1..BAR).contains(&bar.matches(['#', '.']).count()) || bar.len() > 30, "{bar}");
    }
    assert_eq!(progress(&glance(), 10), "15/60 s, measuring", "no room for a bar");
}
