//! The floor beside a server: its measurement read, and compared only where replies were made alike.

use serde_json::Value;
use std::path::Path;

/// Of a server and of a floor that encode nothing.
pub const PASS_THROUGH: &str = "pass-through";

/// The effort of the encoders in a server's statistics, as `voxlane-floor run --effort` takes it.
pub fn effort_of(stats: &Value) -> Option<String> {
    let gauge = |name: &str| stats["elsewhere"][name].as_u64();
    let kind = if gauge("voxlane_opus_light")? > 0 { "light" } else { "full" };
    Some(format!("{kind}:{}", gauge("voxlane_opus_complexity")?))
}

/// What the floor program measured.
#[derive(Debug, PartialEq)]
pub struct Floor {
    /// CPU of a turn, us.
    pub us: f64,
    /// `pass-through`, or the effort.
    pub effort: String,
}

/// What is told beside the answer.
pub struct Told<'a> {
    pub floor: Option<&'a Floor>,
    /// The server's.
    pub effort: &'a str,
}

impl Told<'_> {
    /// The floor's microseconds, if it encoded as the server did: else the quotient would be of unlike things.
    pub fn comparable(&self) -> Option<f64> {
        self.floor.filter(|floor| floor.effort == self.effort).map(|floor| floor.us)
    }
}

/// The floor program's JSON; one that is older than efforts encoded fully.
pub fn read(path: &Path) -> Result<Floor, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let value: Value =
        serde_json::from_str(&text).map_err(|e| format!("{}:{}:{}: {e}", path.display(), e.line(), e.column()))?;
    let effort = match (value["mode"].as_str(), value["effort"].as_str(), value["opus_complexity"].as_u64()) {
        (Some(PASS_THROUGH), ..) => Some(PASS_THROUGH.to_owned()),
        (_, Some(effort), _) => Some(effort.to_owned()),
        (_, None, complexity) => complexity.map(|n| format!("full:{n}")),
    };
    let us = value["with_detection"]["cpu_us_per_turn"].as_f64().filter(|us| *us > 0.0);
    let floor = us.zip(effort).map(|(us, effort)| Floor { us, effort });
    floor.ok_or_else(|| format!("{}: not what voxlane-floor run --json writes", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_ratio_is_told_only_of_replies_that_were_made_alike() {
        let path = std::env::temp_dir().join(format!("voxlane-floor-{}.json", std::process::id()));
        let read = |text: &str| {
            std::fs::write(&path, text).expect("a file");
            super::read(&path)
        };
        let light = read(r#"{"mode":"encode","effort":"light:0","with_detection":{"cpu_us_per_turn":9000.0}}"#);
        let old = read(r#"{"mode":"encode","opus_complexity":5,"with_detection":{"cpu_us_per_turn":9000.0}}"#);
        let passed = read(r#"{"mode":"pass-through","with_detection":{"cpu_us_per_turn":7000.0}}"#);
        let not = read(r#"{"mode":"encode"}"#);
        std::fs::remove_file(&path).expect("ours");
        let stats = json!({ "elsewhere": { "voxlane_opus_complexity": 0, "voxlane_opus_light": 1 } });
        let effort = effort_of(&stats).expect("told");
        let ratio = |floor: Result<Floor, String>, effort: &str| {
            Told { floor: Some(&floor.expect("a floor")), effort }.comparable()
        };
        assert_eq!(ratio(light, &effort), Some(9_000.0));
        assert_eq!(ratio(old, &effort), None, "full and light are unlike");
        assert_eq!(ratio(passed, PASS_THROUGH), Some(7_000.0));
        assert!(not.is_err_and(|why| why.contains("voxlane-floor run --json")));
        assert_eq!(effort_of(&json!({})), None);
    }
}
