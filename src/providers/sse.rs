//! Server-sent events, read from bytes however they are cut. Pure; after the WHATWG rules for `text/event-stream`.

use super::Flow;
use crate::limits;
use crate::resilience::fault::{Cause, Fault};

/// Reads a stream of events. Lines end with LF, CR or CRLF; an event ends with an empty line.
#[derive(Debug, Default)]
pub struct EventStream {
    /// The line that is coming.
    line: Vec<u8>,
    /// The data lines of the event that is coming, joined by LF.
    data: Vec<u8>,
    /// Whether the event has data: it may be empty.
    has_data: bool,
    /// The last line ended with CR: an LF right after it belongs to it.
    after_cr: bool,
    /// Past the first line, before which there may be a byte order mark.
    begun: bool,
}

impl EventStream {
    /// A stream at its beginning.
    pub fn new() -> EventStream {
        EventStream::default()
    }

    /// Takes the next bytes and gives the data of each event that is complete to `on_data`. Bytes that are not UTF-8 come as
    /// replacement characters. After `Flow::Stop` the rest of `bytes` is not looked at.
    ///
    /// # Errors
    /// Malformed: a line or the data of an event is longer than [`limits::SSE_EVENT_BYTES`].
    pub fn push(&mut self, bytes: &[u8], on_data: &mut dyn FnMut(&str) -> Flow) -> Result<Flow, Fault> {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
            let part = &rest[..end.unwrap_or(rest.len())];
            if self.line.len() + part.len() > limits::SSE_EVENT_BYTES {
                return Err(Fault::new(Cause::Malformed, "event stream: line too long"));
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else { break };
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if self.end_line(on_data)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Continue)
    }

    /// The stream has ended: gives the last event even if its empty line is missing, as some services leave it out.
    ///
    /// # Errors
    /// As [`EventStream::push`].
    pub fn finish(&mut self, on_data: &mut dyn FnMut(&str) -> Flow) -> Result<Flow, Fault> {
        if !self.line.is_empty() && self.end_line(on_data)? == Flow::Stop {
            return Ok(Flow::Stop);
        }
        Ok(self.end_event(on_data))
    }

    fn end_line(&mut self, on_data: &mut dyn FnMut(&str) -> Flow) -> Result<Flow, Fault> {
        let mut line = self.line.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            self.line.clear();
            return Ok(self.end_event(on_data));
        }
        // Comments have no name before their colon; event names, ids and retry times mean nothing here.
        if let Some(value) = field(line, b"data") {
            if self.data.len() + value.len() + 1 > limits::SSE_EVENT_BYTES {
                return Err(Fault::new(Cause::Malformed, "event stream: event too long"));
            }
            if self.has_data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value);
            self.has_data = true;
        }
        self.line.clear();
        Ok(Flow::Continue)
    }

    fn end_event(&mut self, on_data: &mut dyn FnMut(&str) -> Flow) -> Flow {
        if !std::mem::take(&mut self.has_data) {
            return Flow::Continue;
        }
        let flow = on_data(&String::from_utf8_lossy(&self.data));
        self.data.clear();
        flow
    }
}

/// The value of a line if it has that name: what follows the colon, less one blank.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(name)?;
    if rest.is_empty() {
        return Some(rest);
    }
    let value = rest.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let mut stream = EventStream::new();
        let mut out = Vec::new();
        let mut keep = |data: &str| {
            out.push(data.to_owned());
            Flow::Continue
        };
        for piece in pieces {
            stream.push(piece, &mut keep).unwrap();
        }
        stream.finish(&mut keep).unwrap();
        out
    }

    const STREAM: &[u8] =
        "\u{feff}: hello\n\ndata: {\"a\":\"你好\"}\n\nevent: x\r\ndata:one\r\ndata: two\r\n\r\nid: 7\rdata\r\r\
        database: no\n\ndata:  two blanks\n\ndata: \u{1f600}\n\ndata: [DONE]\n\ndata: last"
            .as_bytes();
    const EXPECTED: [&str; 7] = ["{\"a\":\"你好\"}", "one\ntwo", "", " two blanks", "\u{1f600}", "[DONE]", "last"];

    #[test]
    fn every_split_gives_the_same_events() {
        for at in 0..=STREAM.len() {
            assert_eq!(events(&[&STREAM[..at], &STREAM[at..]]), EXPECTED, "split at {at}");
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(events(&bytes), EXPECTED);
    }

    #[test]
    fn line_ends_may_be_of_three_kinds() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = ["data: a", "", "data: b", "data: c", "", ""].join(end);
            for at in 0..=stream.len() {
                let (left, right) = stream.as_bytes().split_at(at);
                assert_eq!(events(&[left, right]), ["a", "b\nc"], "{end:?} split at {at}");
            }
        }
    }

    #[test]
    fn what_is_too_long_is_refused_at_a_bound() {
        let mut stream = EventStream::new();
        let long = vec![b'x'; limits::SSE_EVENT_BYTES];
        assert!(stream.push(&long, &mut |_| Flow::Continue).is_ok());
        assert_eq!(stream.push(b"x", &mut |_| Flow::Continue).unwrap_err().cause, Cause::Malformed);

        let mut stream = EventStream::new();
        let line = [b"data: ".as_slice(), &[b'x'; 1_000], b"\n"].concat();
        let refused = (0..100).find_map(|_| stream.push(&line, &mut |_| Flow::Continue).err());
        assert_eq!(refused.map(|f| f.cause), Some(Cause::Malformed));
    }

    #[test]
    fn it_stops_when_told() {
        let mut stream = EventStream::new();
        let mut seen = 0;
        let flow = stream.push(b"data: a\n\ndata: b\n\n", &mut |_| {
            seen += 1;
            Flow::Stop
        });
        assert_eq!((flow, seen), (Ok(Flow::Stop), 1));
    }

    proptest! {
        #[test]
        fn no_bytes_can_hurt_it(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let whole = pieces.concat();
            prop_assert_eq!(events(&pieces), events(&[&whole]));
        }
    }
}
