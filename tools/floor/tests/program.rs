//! The program as scripts use it: one JSON object on stdout, whether or not it believes its own measurement.

use serde_json::Value;
use std::process::Command;

#[test]
fn a_short_run_prints_one_object_with_what_the_ratio_needs() {
    let short =
        ["run", "--conversations", "2", "--seconds", "1", "--listening", "17", "--waiting", "14", "--speaking", "12"];
    for manner in [&["--complexity", "0"][..], &["--pass-through"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_voxlane-floor")).args(short).args(manner).arg("--json").output();
        let output = output.expect("the program");
        let told = String::from_utf8_lossy(&output.stderr);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {told}"));
        assert!(report["with_detection"]["cpu_us_per_turn"].as_f64() > Some(0.0), "{report}");
        assert_eq!((&report["conversations"], report["doubts"].is_array()), (&2.into(), true));
        // A busy machine is a doubt, and a doubt is exit code 1.
        assert_eq!(output.status.success(), report["trusted"] == true, "{told}");
    }
}
