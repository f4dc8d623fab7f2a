//! The device token (protocol.md 6.1): proof that this server handed it out to this device and client, and when.
//!
//! `base64url(HMAC-SHA256(key, client "|" device "|" ts)) "." ts`. A device gets one at each boot and shows the same one until
//! its next, so it must outlive uptime: 30 days, and a grace in which it is let in and the caller is told.

#[cfg(test)]
mod tests;

use crate::limits::{TOKEN_GRACE, TOKEN_LIFETIME};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;

/// Secrets in force, the newest first: it signs, all verify. Taking a key away ends the tokens it signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    secrets: Vec<Box<[u8]>>,
    /// Tokens older than this are refused whoever signed them: the epoch of the last revocation, Unix seconds.
    not_before_s: u64,
}

impl Keys {
    /// Keys of at least 16 bytes each, the newest first. `not_before_s`: Unix seconds of the last revocation, or 0.
    /// `None` if there is no key or one is too short to be a secret.
    pub fn new(secrets: Vec<Box<[u8]>>, not_before_s: u64) -> Option<Keys> {
        let is_usable = !secrets.is_empty() && secrets.iter().all(|secret| secret.len() >= 16);
        is_usable.then_some(Keys { secrets, not_before_s })
    }
}

/// Never shows a secret.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("count", &self.secrets.len()).field("not_before_s", &self.not_before_s).finish()
    }
}

/// How good a genuine token still is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Within its lifetime.
    Valid,
    /// Past its lifetime, within the grace.
    Grace,
}

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenFault {
    /// Not of our form.
    Malformed,
    /// Not signed by a key in force for these ids.
    Forged,
    /// Genuine, but older than lifetime and grace.
    Expired,
    /// Genuine, but from before the last revocation.
    Revoked,
}

/// Makes a token for a client on a device, ids as the device sends them. `now_s` is Unix seconds.
pub fn issue(keys: &Keys, client_id: &str, device_id: &str, now_s: u64) -> String {
    let stamp = now_s.to_string();
    let mut token = String::with_capacity(64);
    if let Some(mac) = keys.secrets.first().and_then(|secret| mac(secret, client_id, device_id, &stamp)) {
        URL_SAFE_NO_PAD.encode_string(mac.finalize().into_bytes(), &mut token);
    }
    token.push('.');
    token.push_str(&stamp);
    token
}

/// Checks a token (without `Bearer `) against the ids as sent. The comparison takes the same time whatever differs.
/// A token from the future passes: clocks are set back.
///
/// # Errors
/// [`TokenFault`]; age is judged only of a genuine token, so a forger learns nothing from it.
pub fn verify(keys: &Keys, token: &str, client_id: &str, device_id: &str, now_s: u64) -> Result<Standing, TokenFault> {
    let (signature, stamp) = token.split_once('.').ok_or(TokenFault::Malformed)?;
    if stamp.is_empty() || !stamp.bytes().all(|b| b.is_ascii_digit()) {
        return Err(TokenFault::Malformed);
    }
    let issued_s: u64 = stamp.parse().map_err(|_| TokenFault::Malformed)?;
    let mut signed = [0; 48];
    let signed_len = URL_SAFE_NO_PAD.decode_slice(signature, &mut signed).map_err(|_| TokenFault::Malformed)?;
    let signed = signed.get(..signed_len).filter(|bytes| bytes.len() == 32).ok_or(TokenFault::Malformed)?;

    let is_signed_by =
        |secret: &[u8]| mac(secret, client_id, device_id, stamp).is_some_and(|mac| mac.verify_slice(signed).is_ok());
    if !keys.secrets.iter().any(|secret| is_signed_by(secret)) {
        return Err(TokenFault::Forged);
    }
    if issued_s < keys.not_before_s {
        return Err(TokenFault::Revoked);
    }
    match now_s.saturating_sub(issued_s) {
        age if age <= TOKEN_LIFETIME.as_secs() => Ok(Standing::Valid),
        age if age <= (TOKEN_LIFETIME + TOKEN_GRACE).as_secs() => Ok(Standing::Grace),
        _ => Err(TokenFault::Expired),
    }
}

/// What stands behind `Bearer ` in an Authorization value; `None` for another scheme.
pub fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The digest over the ids and the stamp. `None` for ids with the separator in them, which could pass for other ids.
fn mac(secret: &[u8], client_id: &str, device_id: &str, stamp: &str) -> Option<Hmac<Sha256>> {
    if client_id.contains('|') || device_id.contains('|') {
        return None;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
    for piece in [client_id, "|", device_id, "|", stamp] {
        mac.update(piece.as_bytes());
    }
    Some(mac)
}
