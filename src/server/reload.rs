//! A changed configuration in a running server: what can be changed takes effect, what cannot is named, and a configuration with a
//! mistake changes nothing.
//!
//! All of it is worked out before any of it is told to anybody, and a shard takes it over between two passes, as a whole.

use super::{Server, StartFault, shard_rules};
use crate::config::{Config, Known};
use crate::shard;
use std::sync::Arc;

/// When a changed key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// At once.
    Live,
    /// For devices that connect from now on.
    NextSession,
    /// When the server is started anew.
    Restart,
}

impl Reach {
    /// Of a key. The words stand beside each section in `config/voxlane.toml`.
    pub fn of(section: &str, key: &str) -> Reach {
        match (section, key) {
            ("limits", "connections_per_address") => Reach::Restart,
            ("limits" | "auth", _) => Reach::Live,
            ("listen", "lenient" | "tls_cert" | "tls_key") => Reach::Live,
            ("session" | "audio", _) => Reach::NextSession,
            _ => Reach::Restart,
        }
    }

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Reach::Live => "live",
            Reach::NextSession => "next session",
            Reach::Restart => "restart",
        }
    }
}

/// What differs between two configurations: each key, and when it takes effect. Secrets are masked in both, so that a changed one
/// is not among them.
pub fn changes(before: &[Known], after: &[Known]) -> Vec<(&'static str, &'static str, Reach)> {
    let was = |known: &Known| before.iter().find(|old| (old.section, old.key) == (known.section, known.key));
    let changed = after.iter().filter(|known| was(known).is_none_or(|old| old.value != known.value));
    changed.map(|known| (known.section, known.key, Reach::of(known.section, known.key))).collect()
}

/// The configuration in force after a reload: of `new` what can be changed, of `old` the rest.
pub fn merged(old: &Config, new: &Config) -> Config {
    let mut config = old.clone();
    config.session = new.session.clone();
    config.auth = new.auth.clone();
    let per_address = old.limits.connections_per_address;
    config.limits = new.limits.clone();
    config.limits.connections_per_address = per_address;
    config.listen.lenient = new.listen.lenient;
    // Whether there is TLS at all is told to devices that check in, and to a listener that is open already.
    if old.listen.tls.is_some() && new.listen.tls.is_some() {
        config.listen.tls = new.listen.tls.clone();
    }
    config
}

impl Server {
    /// Has a configuration, made by [`merged`], take effect.
    ///
    /// # Errors
    /// A certificate, a secret cannot be used; nothing is changed then.
    pub fn reload(&self, config: &Config) -> Result<(), StartFault> {
        let rules = shard::Rules { relay: self.asr.takes_packets, ..shard_rules(config, self.asr.is_local)? };
        let rules = Arc::new(rules);
        *self.rules.lock() = Arc::clone(&rules);
        self.watchdog.set_budget(config.limits.memory_mb);
        self.shards.reload(&rules);
        Ok(())
    }
}

/// What rules are made with besides the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct AsrKind {
    pub is_local: bool,
    pub takes_packets: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, parse};
    use std::path::Path;

    fn loaded(text: &str) -> crate::config::Loaded {
        parse(Some((Path::new("v.toml"), text)), &Environment::new()).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    #[test]
    fn each_change_is_named_with_when_it_takes_effect() {
        let before = loaded("[limits]\nconnections = 5\n[session]\nidle_s = 7\n");
        let after = loaded("[limits]\nconnections = 6\n[session]\nidle_s = 8\n[llm]\nworkers = 3\n");
        assert_eq!(changes(&before.keys, &before.keys), []);
        assert_eq!(
            changes(&before.keys, &after.keys),
            [
                ("session", "idle_s", Reach::NextSession),
                ("llm", "workers", Reach::Restart),
                ("limits", "connections", Reach::Live)
            ]
        );
        let merged = merged(&before.config, &after.config);
        assert_eq!((merged.limits.connections, merged.llm.workers), (6, 0));
        assert_eq!(merged.session.idle.as_secs(), 8);
    }

    #[test]
    fn the_example_says_of_every_section_when_a_change_takes_effect() {
        let example = include_str!("../../config/voxlane.toml");
        let keys = loaded("").keys;
        let mut sections: Vec<&str> = keys.iter().map(|known| known.section).collect();
        sections.dedup();
        for section in sections {
            let at = example.find(&format!("\n[{section}]\n")).unwrap_or_else(|| panic!("no [{section}]"));
            let about = example[..at].lines().next_back().unwrap_or_default();
            // "# Change: usual." or "# Change: usual (key, key: other)."
            let said = about.strip_prefix("# Change: ").unwrap_or_else(|| panic!("above [{section}]: {about}"));
            let (usual, rest) = said.trim_end_matches('.').split_once(" (").unwrap_or((said.trim_end_matches('.'), ""));
            let (others, word) = rest.trim_end_matches(')').split_once(": ").unwrap_or_default();
            for known in keys.iter().filter(|known| known.section == section) {
                let is_other = others.split(", ").any(|key| key == known.key);
                let expected = if is_other { word } else { usual };
                assert_eq!(Reach::of(section, known.key).name(), expected, "{section}.{}", known.key);
            }
        }
    }
}
