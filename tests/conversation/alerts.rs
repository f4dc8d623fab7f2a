//! Who is not looking is told: once that it fires, once that it is over, by webhook and by command.

use crate::support::{PATIENCE, Rig};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Instant;

/// The body of the next request; it is answered with 204.
fn posted(listener: &TcpListener) -> Value {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    let body = loop {
        let mut some = [0; 4_096];
        let read = stream.read(&mut some).unwrap();
        bytes.extend_from_slice(&some[..read]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((_, body)) = text.split_once("\r\n\r\n")
            && let Ok(notice) = serde_json::from_str(body)
        {
            break notice;
        }
        assert!(read > 0, "{text}");
    };
    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
    body
}

struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn what_fires_and_what_is_over_is_told_once_each() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let webhook = format!("\"http://{}/alert\"", listener.local_addr().unwrap());
    let file = File(std::env::temp_dir().join(format!("voxlane-alert-{}", std::process::id())));
    let command = format!("[\"sh\", \"-c\", \"cat >> {0}; echo >> {0}\"]", file.0.display());
    let rig = Rig::with(&[
        ("alerts.rules", r#"['talking: voxlane_sessions >= 1 for 0s', 'odd: voxlane_sesions > 0 for 1s']"#),
        ("alerts.webhook", &webhook),
        ("alerts.command", &command),
    ]);
    assert_eq!(rig.metric("voxlane_alerts_firing", ""), 0.0);
    let client = rig.device();
    let firing = posted(&listener);
    assert_eq!(
        (&firing["alert"], &firing["state"], &firing["value"]),
        (&"talking".into(), &"firing".into(), &1.0.into())
    );
    rig.metric_becomes("voxlane_alerts_firing", "", |firing| firing == 1.0);
    drop(client);
    let over = posted(&listener);
    assert_eq!((&over["alert"], &over["state"]), (&"talking".into(), &"over".into()));
    rig.metric_becomes("voxlane_alerts_firing", "", |firing| firing == 0.0);
    // Two notices, each by both ways.
    rig.metric_becomes("voxlane_alert_notices_total", r#"result="told""#, |told| told == 4.0);
    let begin = Instant::now();
    let lines = loop {
        let text = std::fs::read_to_string(&file.0).unwrap_or_default();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if lines.len() == 2 {
            break lines;
        }
        assert!(begin.elapsed() < PATIENCE, "{text}");
    };
    assert_eq!(lines, [firing, over], "the command is given the same");
}

#[test]
fn notices_leave_no_faster_than_allowed_and_who_cannot_be_told_is_counted() {
    let rig = Rig::with(&[
        (
            "alerts.rules",
            r#"['a: voxlane_sessions >= 0 for 0s', 'b: voxlane_sessions >= 0 for 0s', 'c: voxlane_sessions >= 0 for 0s']"#,
        ),
        ("alerts.command", r#"["/nonexistent/program"]"#),
        ("alerts.per_minute", "2"),
    ]);
    rig.metric_becomes("voxlane_alerts_firing", "", |firing| firing == 3.0);
    rig.metric_becomes("voxlane_alert_notices_total", r#"result="failed""#, |failed| failed == 2.0);
    assert_eq!(rig.metric("voxlane_alert_notices_total", r#"result="held_back""#), 1.0);
}
