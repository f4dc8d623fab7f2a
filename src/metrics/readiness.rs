//! Whether the server can do its work, part by part: what `/readyz` tells.
//!
//! A part that needs time, such as a worker that loads a model, takes a [`Ready`] when it is set up and says so when it is done,
//! or why it is not. Not on any hot path.

use parking_lot::Mutex;
use std::sync::Arc;

/// All parts. Clones are the same list.
#[derive(Clone, Default)]
pub struct Readiness {
    parts: Arc<Mutex<Vec<Part>>>,
}

struct Part {
    name: Box<str>,
    /// Why not; `None` once ready.
    reason: Option<Box<str>>,
}

/// One part's say.
#[derive(Clone)]
pub struct Ready {
    parts: Arc<Mutex<Vec<Part>>>,
    index: usize,
}

impl Readiness {
    /// A new part, not ready for `reason`.
    pub fn part(&self, name: impl Into<Box<str>>, reason: impl Into<Box<str>>) -> Ready {
        let mut parts = self.parts.lock();
        parts.push(Part { name: name.into(), reason: Some(reason.into()) });
        Ready { parts: self.parts.clone(), index: parts.len() - 1 }
    }

    /// Name and reason of every part that is not ready. Empty: the server is.
    pub fn missing(&self) -> Vec<(Box<str>, Box<str>)> {
        let parts = self.parts.lock();
        parts.iter().filter_map(|part| Some((part.name.clone(), part.reason.clone()?))).collect()
    }
}

impl Ready {
    /// The part can do its work.
    pub fn ready(&self) {
        self.set(None);
    }

    /// The part cannot; the reason is shown to the operator and holds no secret.
    pub fn not_ready(&self, reason: impl Into<Box<str>>) {
        self.set(Some(reason.into()));
    }

    fn set(&self, reason: Option<Box<str>>) {
        self.parts.lock()[self.index].reason = reason;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_every_part_is() {
        let readiness = Readiness::default();
        assert!(readiness.missing().is_empty());
        let asr = readiness.part("asr", "loading the model");
        let shards = readiness.part("shards", "starting");
        shards.ready();
        assert_eq!(readiness.missing(), [("asr".into(), "loading the model".into())]);
        asr.clone().ready();
        assert!(readiness.missing().is_empty());
        asr.not_ready("tensor 7 is cut off");
        assert_eq!(readiness.clone().missing().len(), 1);
    }
}
