//! `tools/bench-all --smoke`: every step for some seconds with few devices, against the programs that were built with these tests.
//! It gates on that all of it works, and on no figure.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Removed however the test ends.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_step_works_and_the_page_is_left_alone() {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        // Server and load want a core each; the tool says so, and there is nothing to see here.
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository");
    let programs = Path::new(env!("CARGO_BIN_EXE_voxlane-load")).parent().expect("a folder");
    // Without them there is nothing to measure with; `cargo test --workspace` has built them.
    for program in ["voxlane", "voxlane-floor"] {
        assert!(programs.join(program).is_file(), "{program} is not built: cargo build --workspace");
    }
    let folder = Folder(std::env::temp_dir().join(format!("voxlane-bench-all-{}", std::process::id())));
    let page = || std::fs::read(root.join("BENCHMARKS.md")).expect("the page");
    let before = page();
    let mut command = Command::new(root.join("tools/bench-all"));
    command.arg("--smoke").arg("--programs").arg(programs).arg("--folder").arg(&folder.0);
    let output = command.output().expect("bash");
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}(the programs are those of {})", programs.display());
    assert_eq!(before, page(), "a page of worthless figures");

    let read =
        |name: &str| std::fs::read_to_string(folder.0.join(name)).unwrap_or_else(|e| panic!("{name}: {e}: {told}"));
    let done = read("steps.tsv");
    let steps = Command::new(root.join("tools/bench-all")).arg("--list").output().expect("bash").stdout;
    let steps = String::from_utf8(steps).expect("names");
    let result = |step: &str| {
        let row = done.lines().find(|line| line.split('\t').next() == Some(step));
        row.unwrap_or_else(|| panic!("{step} was not done: {done}")).split('\t').nth(1).expect("a result")
    };
    assert!(steps.lines().count() >= 16, "{steps}");
    let skipped: Vec<&str> = steps.lines().filter(|step| result(step) == "skipped").collect();
    for step in ["capacity-2-shards", "setting-spin", "setting-realtime", "scaling", "counts"] {
        // What a small machine does not allow, and what would have to be compiled.
        assert!(steps.contains(step));
    }
    assert!(skipped.len() <= 5, "{skipped:?}");
    for name in [
        "start",
        "capacity-passed",
        "added-encoded-50",
        "floor-passed",
        "connect",
        "connect-tls",
        "storm",
        "storm.herd",
        "idle",
        "page",
    ] {
        let json: Value =
            serde_json::from_str(&read(&format!("{name}.json"))).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(json.is_object(), "{name}");
    }
    let report = read("report.md");
    for title in [
        "Measured on",
        "Conversations of one busy core",
        "The floor",
        "Arrivals",
        "Idle devices",
        "Scaling",
        "The program",
        "Commands",
    ] {
        assert!(report.contains(&format!("## {title}\n")), "{title} in {report}");
    }
}

#[test]
fn wrong_use_is_told() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (options, what) in [
        (&["--onyl", "x"][..], "--onyl is no option"),
        (&["--only", "x"], "no step begins with x"),
        (&["--soak", "long"], "--soak wants minutes, not long"),
        (&["--programs", "/nowhere", "--folder", "/tmp"], "/nowhere/voxlane is not there"),
    ] {
        let output = Command::new(root.join("tools/bench-all")).args(options).output().expect("bash");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), told.contains(what)), (Some(2), true), "{told}");
    }
}
