//! Masking: every client byte is XORed with a key of four bytes (RFC 6455, 5.3).

/// Takes the mask off `payload`, in place, eight bytes at a time. `key` begins at the payload's first byte.
pub fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, k) in tail.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= k;
    }
}

/// The key as it continues after `done` bytes of the payload.
pub(super) fn rotate(mut key: [u8; 4], done: usize) -> [u8; 4] {
    key.rotate_left(done % 4);
    key
}
