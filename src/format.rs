//! Values of sound and speech that several rooms speak: encodings, and languages.

/// Encoding of reply audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplyFormat {
    /// Opus or PCM16 little-endian, mono.
    pub codec: Codec,
    /// Samples per second.
    pub rate: u32,
    /// Duration of a packet, ms.
    pub frame_ms: u16,
}

impl ReplyFormat {
    /// 24 kHz, 60 ms Opus: what every known device plays (decision 1).
    pub const DEFAULT: ReplyFormat = ReplyFormat { codec: Codec::Opus, rate: 24_000, frame_ms: 60 };

    /// Samples in one packet.
    pub const fn frame_samples(self) -> usize {
        self.rate as usize * self.frame_ms as usize / 1_000
    }
}

/// How audio is encoded on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Opus packets.
    Opus,
    /// 16-bit little-endian samples.
    Pcm,
}

/// Encoding of a device's uplink, as its hello says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UplinkFormat {
    /// Opus (rate and duration then come from each packet) or PCM16 little-endian.
    pub codec: Codec,
    /// Samples per second; for PCM 8,000 to 48,000.
    pub rate: u32,
    /// 1, or 2 folded to 1; PCM only (an Opus packet says itself).
    pub channels: u8,
}

/// A language by its two-letter ISO 639-1 code, lower case. Our own phrases exist in [`Lang::EN`] and [`Lang::ZH`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Lang([u8; 2]);

impl Lang {
    /// English.
    pub const EN: Lang = Lang(*b"en");
    /// Chinese (Mandarin).
    pub const ZH: Lang = Lang(*b"zh");

    /// Takes the primary part of a tag as devices send it (`zh-CN`, `en_US`, `EN`); `None` if it is not two letters.
    pub fn parse(tag: &str) -> Option<Lang> {
        let primary = tag.split(['-', '_', ',', ';']).next()?.trim();
        let [a, b] = primary.as_bytes() else { return None };
        (a.is_ascii_alphabetic() && b.is_ascii_alphabetic())
            .then(|| Lang([a.to_ascii_lowercase(), b.to_ascii_lowercase()]))
    }

    /// The code.
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("en")
    }

    /// The code's two letters.
    pub const fn bytes(self) -> [u8; 2] {
        self.0
    }

    /// The language our own phrases are spoken in for a user of this one: Chinese for Chinese, English for all others.
    pub fn phrase_language(self) -> Lang {
        if self == Lang::ZH { Lang::ZH } else { Lang::EN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_tag_is_cut_to_its_primary_part() {
        assert_eq!(Lang::parse("zh-CN"), Some(Lang::ZH));
        assert_eq!(Lang::parse("EN_us"), Some(Lang::EN));
        assert_eq!(Lang::parse("chinese"), None);
        assert_eq!(Lang::parse(""), None);
    }
}
