use super::*;
use voxlane::audio::opus::{Application, Decoder, ENCODED_BYTES_MAX, Encoder, EncoderSettings};

const ENGLISH: &[u8] = include_bytes!("../../../../tests/data/en-librispeech-1995-1837-0001.wav");
const CHINESE: &[u8] = include_bytes!("../../../../tests/data/zh-aishell-BAC009S0724W0121.wav");

/// The recordings are plain: 44 bytes of head, then 16 kHz mono.
fn samples(wav: &[u8]) -> Vec<i16> {
    wav[44..].chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect()
}

/// Some numbers spread over all there are, and some at the edge.
fn ids() -> impl Iterator<Item = u16> {
    (0..200_u16).map(|n| n.wrapping_mul(40_503)).chain([1, 2, 3, 0xFFFE, 0xFFFF])
}

fn through_opus(pcm: &[i16], settings: EncoderSettings, heard_rate: u32) -> Vec<i16> {
    let mut encoder = Encoder::with(settings).unwrap();
    let mut decoder = Decoder::new(heard_rate).unwrap();
    let mut packet = [0; ENCODED_BYTES_MAX];
    let mut out = vec![0; decoder.samples_max()];
    let mut all = Vec::new();
    for frame in pcm.chunks_exact((settings.rate * 60 / 1_000) as usize) {
        let len = encoder.encode(frame, &mut packet).unwrap();
        let samples = decoder.decode(&packet[..len], &mut out).unwrap();
        all.extend_from_slice(&out[..samples]);
    }
    all
}

/// Silence, the code, then `after`, beginning `offset` samples in.
fn placed(id: u16, rate: u32, offset: usize, after: &[i16]) -> Vec<i16> {
    let mut pcm = vec![0; offset];
    pcm.extend(tone(id, rate));
    pcm.extend_from_slice(after);
    pcm
}

#[test]
fn a_code_is_heard_at_every_rate_wherever_it_begins() {
    for rate in RATES {
        for (id, offset) in ids().zip((0..).step_by(37)) {
            let pcm = placed(id, rate, offset, &vec![0; rate as usize / 50]);
            assert_eq!(heard(&pcm, rate), Some(id), "{rate} Hz, {offset} samples in");
        }
    }
}

#[test]
fn a_code_survives_the_codec_of_a_device_and_of_a_reply() {
    // How many of 100 may be lost; a wrong number is another matter.
    let check = |settings: EncoderSettings, lost_max: usize| {
        let frame = (settings.rate * 60 / 1_000) as usize;
        let mut lost = 0;
        for (id, offset) in ids().zip((0..frame).step_by(53).cycle()).take(100) {
            let pcm = placed(id, settings.rate, frame * 4 + offset, &vec![0; frame * 2]);
            match heard(&through_opus(&pcm, settings, settings.rate), settings.rate) {
                None => lost += 1,
                heard => assert_eq!(heard, Some(id), "{settings:?}, {offset}"),
            }
        }
        assert!(lost <= lost_max, "{lost} of 100 lost by {settings:?}");
    };
    for bitrate in [16_000, 24_000] {
        check(EncoderSettings { bitrate, dtx: false, ..EncoderSettings::device(16_000) }, 0);
        check(EncoderSettings { bitrate, ..EncoderSettings::device(16_000) }, 4);
    }
    for application in [Application::Audio, Application::Voip] {
        check(EncoderSettings { application, ..EncoderSettings::reply(24_000, 0) }, 12);
        check(EncoderSettings { application, ..EncoderSettings::reply(24_000, 5) }, 4);
    }
}

#[test]
fn a_code_is_heard_before_speech() {
    for speech in [samples(ENGLISH), samples(CHINESE)] {
        for (id, offset) in ids().step_by(5).zip((0..).step_by(71)) {
            let pcm = placed(id, 16_000, offset, &speech[..16_000]);
            let device = EncoderSettings { dtx: false, ..EncoderSettings::device(16_000) };
            let pcm = through_opus(&pcm, device, 16_000);
            assert_eq!(heard(&pcm, 16_000), Some(id), "before");
        }
    }
}

#[test]
fn speech_noise_and_steady_tones_are_no_code() {
    for speech in [samples(ENGLISH), samples(CHINESE)] {
        assert_eq!(heard(&speech, 16_000), None);
        assert_eq!(heard(&through_opus(&speech, EncoderSettings::device(16_000), 16_000), 16_000), None);
    }
    let mut state = 1_u64;
    let noise: Vec<i16> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 49) as i16
    })
    .take(320_000)
    .collect();
    assert_eq!(heard(&noise, 16_000), None);
    for tenths in 10_000..30_000 {
        let step = std::f32::consts::TAU * tenths as f32 / 160_000.0;
        if tenths % 250 == 0 {
            let sine: Vec<i16> = (0..8_000).map(|n| ((n as f32 * step).sin() * 8_000.0) as i16).collect();
            assert_eq!(heard(&sine, 16_000), None, "{tenths}/10 Hz");
        }
    }
    assert_eq!(heard(&vec![0; 32_000], 16_000), None);
}

/// A wrong number would be a false alarm of cross-talk, so every code is heard at every place within a hop.
#[test]
fn no_code_is_ever_taken_for_another() {
    for id in 0..=u16::MAX {
        let pcm = placed(id, 8_000, usize::from(id) % 80, &[0; 160]);
        assert_eq!(heard(&pcm, 8_000), Some(id));
    }
}

#[test]
fn a_stream_may_come_in_pieces_and_holds_code_after_code() {
    let mut pcm = placed(7, 24_000, 100, &[0; 24_000]);
    pcm.extend(placed(8, 24_000, 0, &[0; 2_400]));
    for piece in [1, 7, 1_440] {
        let mut listener = Listener::new(24_000).unwrap();
        let mut ids: Vec<u16> = pcm.chunks(piece).filter_map(|piece| listener.hear(piece)).collect();
        // Windows on either side of the beat may hear the same code once more.
        ids.dedup();
        assert_eq!(ids, [7, 8], "pieces of {piece}");
    }
    assert!(Listener::new(22_050).is_none());
}

#[test]
fn every_number_has_a_word_of_its_own() {
    for id in 0..=u16::MAX {
        let word = words(id);
        assert_eq!((word.len(), find(&word)), (8, Some(id)), "{word}");
    }
}

#[test]
fn a_word_is_found_whatever_is_made_of_the_sentence() {
    let (one, two) = (words(17), words(40_000));
    for text in [
        format!("Hello {one}, how are you?"),
        format!("**{}**!", one.to_uppercase()),
        format!("你好，{one}。"),
        format!("“{}”…", one.to_lowercase()),
    ] {
        assert_eq!(find(&text), Some(17), "{text}");
        let shown = voxlane::session::spoken::shown(&text);
        assert_eq!(find(&voxlane::session::spoken::spoken(&shown)), Some(17), "{shown}");
    }
    let text = format!("{one} and {two}.");
    assert_eq!(find_all(&text).collect::<Vec<_>>(), [17, 40_000]);
    assert_eq!(find("Minimums of sorrows, divided by habitual monotone paragraphs."), None);
    // One letter wrong in each place: never another device's.
    for at in 0..8 {
        for letter in b'a'..=b'z' {
            let mut wrong = one.clone().into_bytes();
            wrong[at] = letter;
            let found = find(std::str::from_utf8(&wrong).unwrap());
            assert!(found.is_none() || found == Some(17), "{at} {letter}");
        }
    }
}
