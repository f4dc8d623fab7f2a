//! The device's side of the wire: upgrade, masked frames, binary framing. Written from the protocol, not from the server's code.

/// WebSocket opcodes.
pub const TEXT: u8 = 1;
/// See [`TEXT`].
pub const BINARY: u8 = 2;
/// See [`TEXT`].
pub const CLOSE: u8 = 8;
/// See [`TEXT`].
pub const PING: u8 = 9;
/// See [`TEXT`].
pub const PONG: u8 = 10;

/// How an alert of TLS begins: the answer of a server that was to be greeted in TLS.
const ALERT: [u8; 2] = [21, 3];

/// Longest frame a server may send us.
const FRAME_MAX: usize = 1 << 20;

/// Appends one masked frame.
pub fn frame(opcode: u8, payload: &[&[u8]], key: u32, out: &mut Vec<u8>) {
    let len: usize = payload.iter().map(|part| part.len()).sum();
    out.push(0x80 | opcode);
    match len {
        0..126 => out.push(0x80 | len as u8),
        126..65_536 => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    let key = key.to_be_bytes();
    out.extend(key);
    let at = out.len();
    payload.iter().for_each(|part| out.extend_from_slice(part));
    mask(&mut out[at..], key);
}

/// Eight bytes at a time: the key fits twice into each.
fn mask(content: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let twice = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut eights = content.chunks_exact_mut(8);
    for eight in &mut eights {
        let masked = u64::from_ne_bytes((&*eight).try_into().expect("chunks of eight")) ^ twice;
        eight.copy_from_slice(&masked.to_ne_bytes());
    }
    eights.into_remainder().iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
}

/// Appends one audio packet in the binary framing 1 to 3.
pub fn audio(framing: u8, packet: &[u8], key: u32, out: &mut Vec<u8>) {
    match framing {
        2 => {
            let mut head = [0; 16];
            head[1] = 2;
            head[12..].copy_from_slice(&(packet.len() as u32).to_be_bytes());
            frame(BINARY, &[&head, packet], key, out);
        }
        3 => {
            let len = (packet.len() as u16).to_be_bytes();
            frame(BINARY, &[&[0, 0, len[0], len[1]], packet], key, out);
        }
        _ => frame(BINARY, &[packet], key, out),
    }
}

/// The packet in a binary frame; `None` when its header lies: a device would read past its end.
pub fn packet(framing: u8, payload: &[u8]) -> Option<&[u8]> {
    let (header, size) = match framing {
        2 => (16, u32::from_be_bytes(*payload.get(12..16)?.first_chunk()?) as usize),
        3 => (4, usize::from(u16::from_be_bytes(*payload.get(2..4)?.first_chunk()?))),
        _ => return Some(payload),
    };
    payload.get(header..).filter(|packet| packet.len() == size)
}

/// A frame from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its opcode.
    pub opcode: u8,
    /// Its content.
    pub payload: &'a [u8],
    /// Bytes of the buffer that it took.
    pub len: usize,
}

/// The first frame in a buffer: `Ok(None)` when it is not whole yet. Servers send neither masked nor split frames to devices.
pub fn parse(buffer: &[u8]) -> Result<Option<Frame<'_>>, &'static str> {
    let [first, second, ..] = *buffer else { return Ok(None) };
    if second & 0x80 != 0 {
        return Err("a masked frame from the server");
    }
    if first & 0xF0 != 0x80 {
        return Err("a frame in pieces or with reserved bits");
    }
    let (head, len) = match second {
        126 => match buffer.get(2..4) {
            Some(b) => (4, usize::from(u16::from_be_bytes([b[0], b[1]]))),
            None => return Ok(None),
        },
        127 => match buffer.get(2..10).and_then(|b| b.first_chunk()) {
            Some(b) => (10, usize::try_from(u64::from_be_bytes(*b)).unwrap_or(usize::MAX)),
            None => return Ok(None),
        },
        len => (2, usize::from(len)),
    };
    if len > FRAME_MAX {
        return Err("a frame of more than 1 MiB");
    }
    let payload = buffer.get(head..head + len);
    Ok(payload.map(|payload| Frame { opcode: first & 15, payload, len: head + len }))
}

/// What a device says of itself in the upgrade.
#[derive(Clone, Debug)]
pub struct Introduction<'a> {
    /// Host and port as in the URL.
    pub host: &'a str,
    /// Path with a leading slash.
    pub path: &'a str,
    /// A MAC address.
    pub device_id: &'a str,
    /// A UUID.
    pub client_id: &'a str,
    /// Without `Bearer`; empty sends no header.
    pub token: &'a str,
    /// Binary framing.
    pub framing: u8,
}

/// The upgrade request.
pub fn upgrade(i: &Introduction<'_>) -> String {
    let token = if i.token.is_empty() { String::new() } else { format!("Authorization: Bearer {}\r\n", i.token) };
    format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dm94bGFuZS1sb2FkLTAwMA==\r\n{token}Protocol-Version: {}\r\nDevice-Id: {}\r\nClient-Id: {}\r\n\r\n",
        i.path, i.host, i.framing, i.device_id, i.client_id
    )
}

/// The status of an answer and the length of its head; `Ok(None)` when it is not whole yet.
pub fn answer(buffer: &[u8]) -> Result<Option<(u16, usize)>, &'static str> {
    if buffer.starts_with(&ALERT) {
        return Err("the server speaks TLS here: use wss://");
    }
    let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else {
        return if buffer.len() > 8_192 { Err("an endless answer to the upgrade") } else { Ok(None) };
    };
    let status =
        std::str::from_utf8(buffer.get(..12).unwrap_or_default()).ok().and_then(|line| line.strip_prefix("HTTP/1.1 "));
    let status = status.and_then(|s| s.parse().ok()).ok_or("no HTTP answer to the upgrade")?;
    Ok(Some((status, end + 4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server makes of a frame: opcode and content.
    fn unmasked(bytes: &[u8]) -> (u8, Vec<u8>) {
        let (head, len) = match bytes[1] & 127 {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 => (10, u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize),
            len => (2, usize::from(len)),
        };
        let key = &bytes[head..head + 4];
        let content = &bytes[head + 4..];
        assert_eq!(content.len(), len);
        (bytes[0] & 15, content.iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect())
    }

    #[test]
    fn frames_of_every_length_are_masked() {
        for len in (0..40).chain([125, 126, 65_535, 65_536]) {
            let content: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
            let mut out = Vec::new();
            frame(BINARY, &[&content], 0xA1B2_C3D4, &mut out);
            assert_eq!(unmasked(&out), (BINARY, content));
        }
    }

    #[test]
    fn framings_wrap_and_unwrap() {
        for framing in 1..=3 {
            let mut out = Vec::new();
            audio(framing, b"opus", 9, &mut out);
            assert_eq!(packet(framing, &unmasked(&out).1), Some(&b"opus"[..]), "{framing}");
        }
        assert_eq!(packet(3, &[0, 0, 0, 9, 1]), None);
        assert_eq!(packet(2, &[0; 3]), None);
    }

    #[test]
    fn a_frame_comes_whole_or_not_at_all() {
        let text = [&[0x81, 5][..], b"hello", &[0x82]].concat();
        for len in 0..7 {
            assert_eq!(parse(&text[..len]), Ok(None));
        }
        assert_eq!(parse(&text), Ok(Some(Frame { opcode: TEXT, payload: b"hello", len: 7 })));
        assert!(parse(&[0x81, 0x85, 0, 0]).is_err() && parse(&[0x01, 0x05]).is_err());
    }

    #[test]
    fn an_answer_has_a_status() {
        assert_eq!(answer(b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\nrest"), Ok(Some((101, 42))));
        assert_eq!(answer(b"HTTP/1.1 401 "), Ok(None));
        assert!(answer(b"SSH-2.0\r\n\r\n").is_err());
        assert!(answer(&[21, 3, 3, 0, 2, 2, 50]).unwrap_err().contains("wss://"));
    }
}
