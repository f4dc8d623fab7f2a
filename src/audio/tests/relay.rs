//! Ears that pass packets on: the same borders as ears that hear everything, and the packets as they came.

use super::signals::{pink, recording, white};
use crate::audio::block::Speech;
use crate::audio::ear::{Ear, EarPool, Edge, Listening, Utterance};
use crate::audio::endpoint::EndpointRules;
use crate::audio::opus::{ENCODED_BYTES_MAX, Encoder, EncoderSettings};
use crate::audio::vad::Engine;
use crate::format::{Codec, UplinkFormat};
use crate::ids::Ticket;
use crate::time::Duration;

const OPUS: UplinkFormat = UplinkFormat { codec: Codec::Opus, rate: 16_000, channels: 1 };
const EN: &str = "en-librispeech-1995-1837-0001.wav";
const ZH: &str = "zh-aishell-BAC009S0724W0121.wav";

/// The English speaker pauses for half a second in the middle: the usual silence would be a coin tossed.
const SILENCE_MS: u32 = 800;

fn ear(relays: bool) -> Box<Ear> {
    let rules = EndpointRules { silence_ms: SILENCE_MS, ..EndpointRules::default() };
    EarPool::new(Engine::Auto, rules, 1).with_relay(relays).take(OPUS)
}

fn encoded(pcm: &[i16], settings: EncoderSettings, ms: usize) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::with(settings).unwrap();
    let mut packet = [0; ENCODED_BYTES_MAX];
    let encode = |frame: &[i16]| {
        let len = encoder.encode(frame, &mut packet).unwrap();
        packet[..len].to_vec()
    };
    pcm.chunks_exact(16 * ms).map(encode).collect()
}

/// Speech between pauses, in a room of that noise.
fn in_a_room(name: &str, noise: &[i16], after_ms: usize) -> Vec<i16> {
    let speech = recording(name);
    let mut pcm = [vec![0; 16_000], speech, vec![0; after_ms * 16]].concat();
    for (sample, noise) in pcm.iter_mut().zip(noise.iter().cycle()) {
        *sample = sample.saturating_add(*noise);
    }
    pcm
}

/// Edges with the number of the packet at which each came.
fn edges(ear: &mut Ear, packets: &[Vec<u8>]) -> Vec<(usize, Edge)> {
    let hear = |(n, packet): (usize, &Vec<u8>)| ear.hear(packet).unwrap().edge.map(|edge| (n, edge));
    packets.iter().enumerate().filter_map(hear).collect()
}

fn poured(ear: &mut Ear) -> Vec<Vec<u8>> {
    let (mut words, mut last) = (Vec::new(), 0);
    assert!(ear.pour(Ticket::default(), &mut |block| {
        assert_eq!((block.codec, block.gap), (Codec::Opus, false));
        words.extend_from_slice(block.words());
        last += usize::from(block.last);
        true
    }));
    assert_eq!(last, 1);
    let mut packets = Vec::new();
    Speech::Packets(&words).packets().unwrap().each(|packet| packets.push(packet.to_vec()));
    packets
}

fn utterance(edges: &[(usize, Edge)], what: &str) -> (usize, usize, Utterance) {
    match edges {
        [(onset, Edge::Onset), (end, Edge::End(utterance))] => (*onset, *end, *utterance),
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn what_is_not_heard_delays_no_border_by_more_than_a_packet() {
    let rooms = [
        ("a still room", white(9, 0.000_3, 16_000)),
        ("hiss", white(1, 0.004, 16_000)),
        ("pink noise", pink(2, 0.02, 16_000)),
    ];
    for (room, noise) in &rooms {
        for name in [EN, ZH] {
            let pcm = in_a_room(name, noise, 1_500);
            for ms in [20, 40, 60] {
                let what = format!("{name}, {room}, {ms} ms");
                let packets = encoded(&pcm, EncoderSettings::device(16_000), ms);
                let all = edges(&mut ear(false), &packets);
                let (onset, end, whole) = utterance(&all, &what);
                let mut relay = ear(true);
                let (relay_onset, relay_end, relayed) = utterance(&edges(&mut relay, &packets), &what);
                assert!(onset.abs_diff(relay_onset) * ms <= 60, "{what}: onset at {relay_onset}, not {onset}");
                // The packets' encoder lets go of a voice sooner than the detectors: of one that fades into a room they hold on to
                // the room for 0.2 s.
                let sooner = (end as i64 - relay_end as i64) * ms as i64;
                assert!((-60..=240).contains(&sooner), "{what}: end at {relay_end}, not {end}");
                assert!(
                    (0..=200).contains(&(relayed.wait.as_millis() as i64 - i64::from(SILENCE_MS))),
                    "{what}: {relayed:?}"
                );
                let voiced = relayed.voiced.as_millis() as f64 / whole.voiced.as_millis() as f64;
                assert!((0.75..1.25).contains(&voiced), "{what}: {relayed:?}, not {whole:?}");
                // What goes on is what came, from before the onset to the end.
                let sent = poured(&mut relay);
                let from = relay_end + 1 - sent.len();
                assert_eq!(sent, packets[from..=relay_end], "{what}");
                assert_eq!(relayed.length.as_millis(), (sent.len() * ms) as u128, "{what}");
                let preroll = (relay_onset + 1 - from) * ms;
                assert!((496..=496 + 2 * ms).contains(&preroll), "{what}: pre-roll {preroll} ms");
            }
        }
    }
}

#[test]
fn celt_and_dtx_are_passed_on_too() {
    let pcm = in_a_room(ZH, &white(9, 0.000_3, 16_000), 1_500);
    for (what, settings, ms) in [
        ("celt", EncoderSettings::reply(16_000, 5), 20),
        ("dtx", EncoderSettings { dtx: true, ..EncoderSettings::device(16_000) }, 60),
        ("no dtx", EncoderSettings { dtx: false, ..EncoderSettings::device(16_000) }, 60),
    ] {
        let packets = encoded(&pcm, settings, ms);
        let mut relay = ear(true);
        let (_, end, _) = utterance(&edges(&mut relay, &packets), what);
        let sent = poured(&mut relay);
        assert_eq!(sent, packets[end + 1 - sent.len()..=end], "{what}");
    }
}

#[test]
fn several_utterances_in_a_row_and_one_by_button() {
    let pcm = in_a_room(ZH, &white(9, 0.000_3, 16_000), 1_500);
    let packets = encoded(&pcm, EncoderSettings::device(16_000), 60);
    let mut relay = ear(true);
    for _ in 0..3 {
        relay.restart(Listening::Endpointed, Duration::ZERO);
        let (_, end, _) = utterance(&edges(&mut relay, &packets), "again");
        let sent = poured(&mut relay);
        assert_eq!(sent, packets[end + 1 - sent.len()..=end]);
    }
    relay.restart(Listening::Manual, Duration::ZERO);
    let half = &packets[..packets.len() / 2];
    assert!(matches!(edges(&mut relay, half)[..], [(_, Edge::Onset)]));
    let said = relay.finish().unwrap();
    assert_eq!(said.length.as_millis(), half.len() as u128 * 60);
    assert_eq!(poured(&mut relay), half);
    assert!(relay.rewind() && poured(&mut relay) == half, "and once more");
}

#[test]
fn speech_that_ends_by_the_clock_is_whole() {
    let pcm = in_a_room(EN, &white(9, 0.000_3, 16_000), 0);
    let packets = encoded(&pcm, EncoderSettings::device(16_000), 60);
    for stop in [45, 46, 47, 48, 49] {
        let mut relay = ear(true);
        assert!(matches!(edges(&mut relay, &packets[..stop])[..], [(_, Edge::Onset)]));
        let said = relay.finish().unwrap();
        assert!(said.voiced.as_millis() > 500 && said.wait.as_millis() < 400, "{said:?}");
        let sent = poured(&mut relay);
        assert_eq!(sent, packets[stop - sent.len()..stop]);
    }
}

#[test]
fn a_packet_longer_than_a_block_is_refused_and_pcm_is_not_relayed() {
    let mut relay = ear(true);
    assert!(relay.hear(&[0x78; 2_000]).is_err());
    let pcm = UplinkFormat { codec: Codec::Pcm, ..OPUS };
    let mut other = EarPool::new(Engine::Level, EndpointRules::default(), 1).with_relay(true).take(pcm);
    other.restart(Listening::Manual, Duration::ZERO);
    for _ in 0..5 {
        other.hear(&[0, 0x40].repeat(960)).unwrap();
    }
    other.finish().unwrap();
    let mut samples = 0;
    other.pour(Ticket::default(), &mut |block| {
        assert_eq!(block.codec, Codec::Pcm);
        samples += block.words().len();
        true
    });
    assert_eq!(samples, 4_800);
}
