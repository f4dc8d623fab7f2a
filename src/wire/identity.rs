//! Who a request says it is from.
//!
//! The ids go into logs, tokens and maps, so only harmless characters pass: no line breaks, quotes, escapes or `|`. Their case
//! is kept, since the token is made over the ids as sent (protocol.md 6.1).

use super::http::{Head, Reply};
use crate::limits::ID_BYTES;

/// The Device-Id, from the header or else from the query; `None` if it is missing.
///
/// # Errors
/// A reply of 400 if it is too long or holds other characters than `A–Z a–z 0–9 : . _ - @`.
pub fn device_id(head: &Head<'_>) -> Result<Option<Box<str>>, Reply> {
    id(head, "device-id", Reply::new(400, "bad Device-Id\n"))
}

/// The Client-Id, likewise.
///
/// # Errors
/// As [`device_id`].
pub fn client_id(head: &Head<'_>) -> Result<Option<Box<str>>, Reply> {
    id(head, "client-id", Reply::new(400, "bad Client-Id\n"))
}

fn id(head: &Head<'_>, name: &str, refusal: Reply) -> Result<Option<Box<str>>, Reply> {
    match head.header_or_parameter(name) {
        None => Ok(None),
        Some(id) if is_safe(&id) => Ok(Some(id.into())),
        Some(_) => Err(refusal),
    }
}

/// Whether a text may serve as an id.
pub fn is_safe(id: &str) -> bool {
    let is_known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'.' | b'_' | b'-' | b'@');
    (1..=ID_BYTES).contains(&id.len()) && id.bytes().all(is_known)
}
