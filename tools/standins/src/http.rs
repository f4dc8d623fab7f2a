//! HTTP/1.1 as far as clients of these services speak it: a head, then a body by its length or in chunks, taken as it comes.

/// Longest head, bytes: keys and proxies make some kilobytes.
pub const HEAD_BYTES: usize = 16 * 1024;
/// Most header lines.
const HEADERS_MAX: usize = 64;
/// Longest line that begins a chunk, bytes: sixteen digits and some extension.
const CHUNK_LINE_BYTES: usize = 256;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// `GET` or `POST`, and whatever else comes.
    pub method: String,
    /// Without a query.
    pub path: String,
    /// Whether the connection stays.
    pub keep: bool,
    /// Whether the client waits to be told to go on (`Expect: 100-continue`).
    pub expects: bool,
}

/// Parses the head in front of `bytes`; `None` while it is not all there. Returns it, how its body comes, and its length.
///
/// # Errors
/// It is none, or too long.
pub fn parse(bytes: &[u8]) -> Result<Option<(Head, Framing, usize)>, &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let len = match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) => return Err("the head is too long"),
        Err(_) => return Err("no HTTP request"),
    };
    let value = |name: &str| {
        let header = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let keep = value("connection").map_or(request.version == Some(1), |v| !v.eq_ignore_ascii_case("close"));
    let framing = match (value("transfer-encoding"), value("content-length")) {
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => Framing::Line(Vec::new()),
        (Some(_), _) => return Err("a transfer coding that is not chunked"),
        (None, Some(len)) => Framing::of_length(len.parse().map_err(|_| "the content length is no number")?),
        (None, None) => Framing::Done,
    };
    let path = request.path.unwrap_or("/").split('?').next().unwrap_or("/").to_owned();
    let expects = value("expect").is_some_and(|v| v.eq_ignore_ascii_case("100-continue"));
    Ok(Some((Head { method: request.method.unwrap_or("").to_owned(), path, keep, expects }, framing, len)))
}

/// How much of a body is to come, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// The line before a chunk; what of it has come.
    Line(Vec<u8>),
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line end behind a chunk: so many bytes of it.
    ChunkEnd(u8),
    /// Lines behind the last chunk; length of the line that is coming.
    Trailer(usize),
    /// Nothing.
    Done,
}

impl Framing {
    fn of_length(len: u64) -> Framing {
        if len == 0 { Framing::Done } else { Framing::Length(len) }
    }

    /// Takes bytes of the body and gives its content to `on_content`. Returns how many were of this body; all of them unless it
    /// is done.
    ///
    /// # Errors
    /// A chunk has no length.
    pub fn take(&mut self, bytes: &[u8], on_content: &mut dyn FnMut(&[u8])) -> Result<usize, &'static str> {
        let mut at = 0;
        while at < bytes.len() && *self != Framing::Done {
            let rest = &bytes[at..];
            match self {
                Framing::Length(left) => {
                    let len = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    on_content(&rest[..len]);
                    at += len;
                    *self = Framing::of_length(*left - len as u64);
                }
                Framing::Line(line) => {
                    at += 1;
                    if rest[0] != b'\n' {
                        line.push(rest[0]);
                        if line.len() > CHUNK_LINE_BYTES {
                            return Err("a chunk without a length");
                        }
                        continue;
                    }
                    let digits = std::str::from_utf8(line).ok().and_then(|l| l.trim().split(';').next()).unwrap_or("");
                    let len = u64::from_str_radix(digits.trim(), 16).map_err(|_| "a chunk without a length")?;
                    *self = if len == 0 { Framing::Trailer(0) } else { Framing::Chunk(len) };
                }
                Framing::Chunk(left) => {
                    let len = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    on_content(&rest[..len]);
                    at += len;
                    *left -= len as u64;
                    if *left == 0 {
                        *self = Framing::ChunkEnd(2);
                    }
                }
                Framing::ChunkEnd(left) => {
                    at += 1;
                    *left -= 1;
                    if *left == 0 {
                        *self = Framing::Line(Vec::new());
                    }
                }
                Framing::Trailer(len) => {
                    at += 1;
                    match rest[0] {
                        b'\n' if *len == 0 => *self = Framing::Done,
                        b'\n' => *len = 0,
                        b'\r' => {}
                        _ => *len += 1,
                    }
                }
                Framing::Done => {}
            }
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(head: &str, body: &[u8], piece: usize) -> Result<(Vec<u8>, usize), &'static str> {
        let (_, mut framing, len) = parse(head.as_bytes())?.expect("a whole head");
        assert_eq!(len, head.len());
        let (mut out, mut taken) = (Vec::new(), 0);
        for piece in body.chunks(piece) {
            taken += framing.take(piece, &mut |bytes| out.extend_from_slice(bytes))?;
        }
        assert!(framing == Framing::Done);
        Ok((out, taken))
    }

    #[test]
    fn bodies_come_by_length_and_in_chunks_however_they_are_cut() {
        let length = "POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\n";
        let chunked = "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        for piece in 1..20 {
            assert_eq!(content(length, b"helloNEXT", piece), Ok((b"hello".to_vec(), 5)));
            let body = b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX: y\r\n\r\nNEXT";
            assert_eq!(content(chunked, body, piece), Ok((b"hello".to_vec(), body.len() - 4)));
        }
        assert!(content(chunked, b"zz\r\n", 4).is_err());
        assert!(content(chunked, &[b'1'; 300], 300).is_err());
    }

    #[test]
    fn heads_are_read_or_refused() {
        let head = |text: &str| parse(text.as_bytes()).map(|found| found.map(|(head, _, _)| (head.path, head.keep)));
        assert_eq!(head("GET /v1/models?x HTTP/1.1\r\n\r\n"), Ok(Some(("/v1/models".to_owned(), true))));
        assert_eq!(head("GET /a HTTP/1.1\r\nConnection: Close\r\n\r\n"), Ok(Some(("/a".to_owned(), false))));
        assert_eq!(head("GET /a HTTP/1.0\r\n\r\n"), Ok(Some(("/a".to_owned(), false))));
        assert_eq!(head("GET /a HTTP/1.1\r\nHos"), Ok(None));
        assert!(head("\u{16}\u{3}nonsense\r\n\r\n").is_err());
        assert!(head(&format!("GET /{} HTTP/1.1\r\n", "a".repeat(HEAD_BYTES))).is_err());
        assert!(head("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n").is_err());
        assert!(head("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n").is_err());
    }
}
