//! JSON read with a light hand: members are kept as raw text and looked at one by one, so that a member of the wrong type
//! spoils only itself; and one object written at a time.

use crate::limits::JSON_DEPTH;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A member as raw text; `None` where it is absent or null.
pub(super) type Member<'a> = Option<&'a RawValue>;

/// Whether brackets nest at most [`JSON_DEPTH`] deep. Builds nothing.
pub(super) fn is_shallow(text: &str) -> bool {
    if has_few_brackets(text.as_bytes()) {
        return true;
    }
    let mut depth = 0usize;
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > JSON_DEPTH {
            return false;
        }
    }
    true
}

/// Whether there are at most [`JSON_DEPTH`] opening brackets: these cannot nest deeper, wherever they stand. True of nearly
/// every message, and counted many bytes at a time where following strings goes byte by byte.
fn has_few_brackets(text: &[u8]) -> bool {
    let mut count = 0;
    for run in text.chunks(255) {
        // `[` and `{` differ in one bit. At most 255 of them: a byte holds the count of a run and cannot wrap.
        let in_run = run.iter().fold(0u8, |n, byte| n.wrapping_add(u8::from(byte | 0x20 == b'{')));
        count += usize::from(in_run);
        if count > JSON_DEPTH {
            return false;
        }
    }
    true
}

/// Whether the text is a JSON object by its first character; serde would take an array for a struct as well.
pub(super) fn is_object(text: &str) -> bool {
    text.trim_ascii_start().starts_with('{')
}

/// The members of an object; all absent where `member` is no object.
pub(super) fn members<'a, T: Deserialize<'a> + Default>(member: Member<'a>) -> T {
    let object = member.map(RawValue::get).filter(|text| is_object(text));
    object.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// A member that is a string.
pub(super) fn string(member: Member<'_>) -> Option<String> {
    serde_json::from_str(member?.get()).ok()
}

/// A member that is a whole number from 0 to 2³² − 1; `16000.0` counts.
pub(super) fn number(member: Member<'_>) -> Option<u32> {
    let value: f64 = serde_json::from_str(member?.get()).ok()?;
    (value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value)).then_some(value as u32)
}

/// A member that is true or false.
pub(super) fn truth(member: Member<'_>) -> Option<bool> {
    serde_json::from_str(member?.get()).ok()
}

/// Writes one object, members in the order they are given. Names are ours and need no escape.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    is_empty: bool,
}

impl<'o> Object<'o> {
    /// Opens an object at the end of `out`.
    pub(super) fn open(out: &'o mut Vec<u8>) -> Object<'o> {
        out.push(b'{');
        Object { out, is_empty: true }
    }

    /// A string, escaped.
    pub(super) fn string(&mut self, name: &str, value: &str) -> &mut Self {
        self.name(name);
        let written = serde_json::to_writer(&mut *self.out, value);
        debug_assert!(written.is_ok(), "writing a string to a Vec cannot fail");
        self
    }

    /// A value that is JSON already.
    pub(super) fn raw(&mut self, name: &str, json: &str) -> &mut Self {
        self.name(name);
        self.out.extend_from_slice(json.as_bytes());
        self
    }

    /// A whole number.
    pub(super) fn number(&mut self, name: &str, value: i64) -> &mut Self {
        self.raw(name, &value.to_string())
    }

    /// An object inside.
    pub(super) fn object(&mut self, name: &str, write: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        self.name(name);
        let mut inner = Object::open(self.out);
        write(&mut inner);
        inner.close();
        self
    }

    /// The closing brace.
    pub(super) fn close(&mut self) {
        self.out.push(b'}');
    }

    fn name(&mut self, name: &str) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}
