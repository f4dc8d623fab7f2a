//! Flame graphs over a socket. One test takes them, as there is one profiling timer in a process; it takes a second.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

const ONE: &str = "/debug/flamegraph?seconds=1&thread=burner";

#[test]
fn a_picture_shows_the_thread_that_was_asked_for_one_at_a_time_while_other_pages_answer() {
    let stand = Stand::admin(None, Readiness::default());
    let is_over = AtomicBool::new(false);
    let (asked, healthy) = std::thread::scope(|scope| {
        let burn = || while !std::hint::black_box(is_over.load(Ordering::Relaxed)) {};
        std::thread::Builder::new().name("burner-1".into()).spawn_scoped(scope, burn).unwrap();
        let askers = [0, 1].map(|_| scope.spawn(|| stand.get(ONE)));
        // More than there are threads to answer: none of them waits for a picture.
        let healthy = (0..8).all(|_| status(&stand.get("/healthz")) == "200");
        let mut asked = askers.map(|asker| asker.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
        asked.sort();
        (asked, healthy)
    });
    assert!(healthy);
    assert_eq!(asked.each_ref().map(|answer| status(answer)), ["200", "409"], "{asked:?}");
    let svg = body(&asked[0]);
    assert!(asked[0].contains("image/svg+xml") && svg.contains("<svg") && svg.contains("burner-1"), "{svg}");
    assert!(!svg.contains("test-reader"), "other threads are left out");
}

#[test]
fn mistakes_and_strangers_get_no_picture() {
    let stand = Stand::admin(Some("s3cret"), Readiness::default());
    let ask = |method: &str, lines: &str, path: &str| {
        let answer = stand.ask(&format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"));
        status(&answer).to_owned()
    };
    let token = "Authorization: Bearer s3cret\r\n";
    assert_eq!(ask("GET", token, "/debug/flamegraph?seconds=3600"), "400");
    assert_eq!(ask("GET", token, "/debug/flamegraph?thread=a%20b"), "400");
    assert_eq!(ask("POST", token, ONE), "405");
}
