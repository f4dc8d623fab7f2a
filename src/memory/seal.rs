//! Encryption at rest, if the operator has given a key: what was said is sealed, device by device.
//!
//! Each device has a key of its own, HMAC-SHA256 of its id under the operator's secret; each record a random nonce (96 bits: no
//! device speaks the 2^32 turns after which one might come twice). A record's head (sequence, time, session, turn, what kind it is,
//! whose it is) stays readable, since files are mended, cleaned and erased from by it; it is authenticated with the content, so that
//! a sealed content fits its own head only.

use super::fault::StoreFault;
use super::frame::Frame;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac::{self, HMAC_SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use std::path::Path;

/// Says what the keys are for: the same secret elsewhere gives other keys.
const PURPOSE: &[u8] = b"voxlane memory 1\0";

/// The operator's secret, from which each device's key is made.
pub struct Keys {
    secret: hmac::Key,
    dice: SystemRandom,
}

impl Keys {
    /// Keys of this secret.
    pub fn new(secret: &[u8]) -> Keys {
        Keys { secret: hmac::Key::new(HMAC_SHA256, secret), dice: SystemRandom::new() }
    }

    fn of(&self, device: &str) -> Option<LessSafeKey> {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(PURPOSE);
        context.update(device.as_bytes());
        UnboundKey::new(&AES_256_GCM, context.sign().as_ref()).ok().map(LessSafeKey::new)
    }

    /// Seals `content`: nonce, what it is turned into, tag. `None` if the system gives no randomness.
    pub(super) fn seal(&self, device: &str, head: &[u8], content: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        self.dice.fill(&mut nonce).ok()?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + content.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(content);
        let nonce_of = Nonce::assume_unique_for_key(nonce);
        self.of(device)?.seal_in_place_append_tag(nonce_of, Aad::from(head), &mut sealed).ok()?;
        sealed.splice(..0, nonce);
        Some(sealed)
    }

    /// What was sealed; `None` if it was by another key, or does not belong to this head.
    pub(super) fn open(&self, device: &str, head: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, content) = sealed.split_at_checked(NONCE_LEN)?;
        let (nonce, mut content) = (Nonce::try_assume_unique_for_key(nonce).ok()?, content.to_vec());
        let len = self.of(device)?.open_in_place(nonce, Aad::from(head), &mut content).ok()?.len();
        content.truncate(len);
        Some(content)
    }
}

/// Without the secret.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// Whether the keys are those by which records are sealed: the first of them tells.
pub struct KeyCheck<'a> {
    keys: Option<&'a Keys>,
    is_open: Option<bool>,
}

impl<'a> KeyCheck<'a> {
    /// A check of these keys.
    pub fn new(keys: Option<&'a Keys>) -> KeyCheck<'a> {
        KeyCheck { keys, is_open: None }
    }

    /// Looks at a record.
    pub fn look(&mut self, frame: &Frame<'_>) {
        if frame.is_sealed && self.is_open.is_none() {
            self.is_open = Some(frame.open(self.keys).is_some());
        }
    }

    /// Whether all is well.
    ///
    /// # Errors
    /// [`StoreFault::Sealed`].
    pub fn verdict(&self, dir: &Path) -> Result<(), StoreFault> {
        match self.is_open {
            Some(false) => Err(StoreFault::Sealed { path: dir.to_owned(), has_key: self.keys.is_some() }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_device_and_head_open_it() {
        let keys = Keys::new(b"a secret of the operator");
        let sealed = keys.seal("a", b"head", b"my name is Ada").unwrap();
        assert_eq!(keys.open("a", b"head", &sealed).as_deref(), Some(&b"my name is Ada"[..]));
        assert_eq!(keys.open("b", b"head", &sealed), None);
        assert_eq!(keys.open("a", b"heaD", &sealed), None);
        assert_eq!(Keys::new(b"another").open("a", b"head", &sealed), None);
        assert_ne!(keys.seal("a", b"head", b"my name is Ada").unwrap(), sealed, "a nonce of its own");
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert_eq!(keys.open("a", b"head", &bad), None, "{at}");
        }
        (0..sealed.len()).for_each(|len| assert_eq!(keys.open("a", b"head", &sealed[..len]), None));
    }
}
