//! WebSocket frames, as little of them as it takes: whole, short, unfragmented.

/// A masked frame, as a device sends it.
pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut out = Vec::with_capacity(payload.len() + 8);
    out.push(0x80 | opcode);
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
    }
    out.extend(KEY);
    out.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

/// Appends a frame as a server sends it.
pub fn plain(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        len @ 0..126 => out.push(len as u8),
        len => {
            out.push(126);
            out.extend((len as u16).to_be_bytes());
        }
    }
    out.extend(payload);
}

/// The masked frame that begins at `at`: its opcode and its payload, unmasked in place; `at` moves behind it. `None` when it is
/// not there as a whole.
pub fn next<'a>(bytes: &'a mut [u8], at: &mut usize) -> Option<(u8, &'a [u8])> {
    let head = bytes.get(*at..)?;
    let (&first, &second) = (head.first()?, head.get(1)?);
    let (len, mask) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes([*head.get(2)?, *head.get(3)?])), 4),
        127 => return None,
        len => (usize::from(len), 2),
    };
    let begin = *at + mask + 4;
    let key: [u8; 4] = bytes.get(*at + mask..begin)?.try_into().ok()?;
    let payload = bytes.get_mut(begin..begin + len)?;
    let (words, rest) = payload.as_chunks_mut::<4>();
    words.iter_mut().for_each(|word| *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(key)).to_ne_bytes());
    rest.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
    *at = begin + len;
    Some((first & 0x0f, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_masked_comes_back_whole_or_not_at_all() {
        for len in [0, 1, 125, 126, 4_000] {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let bytes = masked(2, &payload);
            for cut in 0..bytes.len() {
                assert_eq!(next(&mut bytes[..cut].to_vec(), &mut 0), None, "{len} bytes cut at {cut}");
            }
            let (mut two, mut at) = ([bytes.clone(), bytes].concat(), 0);
            assert_eq!(next(&mut two, &mut at), Some((2, &payload[..])));
            assert_eq!(next(&mut two, &mut at), Some((2, &payload[..])));
            assert_eq!(at, two.len());
        }
    }
}
