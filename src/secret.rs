//! Values that must not be seen: they print as `***`, and are compared in a time that tells nothing.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// A secret. `Debug` and `Display` print `***`, so that no log line, error or printed configuration can hold it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Masked(String);

impl Masked {
    /// Takes the secret in.
    pub fn new(secret: impl Into<String>) -> Masked {
        Masked(secret.into())
    }

    /// The secret itself. Whoever calls this answers for where it goes.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `given` is the secret. Both go through a keyed digest, so the time depends neither on where they differ nor on
    /// the secret's length. An empty secret matches nothing.
    pub fn matches(&self, given: &[u8]) -> bool {
        let digest = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).ok().map(|mac| mac.chain_update(b"voxlane"));
        let (Some(ours), Some(theirs)) = (digest(self.0.as_bytes()), digest(given)) else { return false };
        let same = ours.verify_slice(&theirs.finalize().into_bytes()).is_ok();
        // HMAC pads its key with zeros: without the length, "key" and "key\0" would be one.
        same & (self.0.len() == given.len()) & !self.0.is_empty()
    }
}

impl fmt::Display for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl From<String> for Masked {
    fn from(secret: String) -> Masked {
        Masked(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let key = Masked::new("sk-canary");
        assert_eq!(format!("{key} {key:?} {:?}", Some(&key)), "*** *** Some(***)");
        assert_eq!(key.reveal(), "sk-canary");
    }

    #[test]
    fn only_the_secret_matches() {
        let key = Masked::new("correct horse");
        assert!(key.matches(b"correct horse"));
        for wrong in ["", "correct", "correct horsf", "correct horse\0", "CORRECT HORSE"] {
            assert!(!key.matches(wrong.as_bytes()), "{wrong}");
        }
        assert!(!Masked::default().matches(b""), "no secret lets nobody in");
        let long = "x".repeat(200);
        assert!(Masked::new(long.clone()).matches(long.as_bytes()));
    }
}
