//! Whole ears: packets in, edges and blocks out.

use super::signals::{clicks, pink, recording, tone, white};
use crate::audio::ear::{Ear, EarPool, Edge, Listening, PacketFault, Utterance};
use crate::audio::endpoint::EndpointRules;
use crate::audio::opus::{Decoder, ENCODED_BYTES_MAX, Encoder, EncoderSettings};
use crate::audio::resample::Resampler;
use crate::audio::vad::Engine;
use crate::format::{Codec, UplinkFormat};
use crate::ids::{Ticket, TurnId};
use crate::time::Duration;
use proptest::prelude::*;

const OPUS: UplinkFormat = UplinkFormat { codec: Codec::Opus, rate: 16_000, channels: 1 };
const PCM: UplinkFormat = UplinkFormat { codec: Codec::Pcm, rate: 16_000, channels: 1 };
const EN: &str = "en-librispeech-1995-1837-0001.wav";
const ZH: &str = "zh-aishell-BAC009S0724W0121.wav";

fn ear(engine: Engine, format: UplinkFormat) -> Box<Ear> {
    EarPool::new(engine, EndpointRules::default(), 1).take(format)
}

fn opus(pcm: &[i16], settings: EncoderSettings, ms: usize) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::with(settings).unwrap();
    let mut packet = [0; ENCODED_BYTES_MAX];
    pcm.chunks_exact(settings.rate as usize / 1_000 * ms)
        .map(|frame| {
            let len = encoder.encode(frame, &mut packet).unwrap();
            packet[..len].to_vec()
        })
        .collect()
}

/// PCM packets of 60 ms in any rate, mono or stereo.
fn pcm(pcm: &[i16], rate: u32, channels: usize) -> Vec<Vec<u8>> {
    let mut at_rate = Vec::new();
    let mut resampler = Resampler::new(16_000, rate).unwrap();
    resampler.process(pcm, &mut at_rate);
    let bytes = |frame: &[i16]| frame.iter().flat_map(|s| s.to_le_bytes().repeat(channels)).collect();
    at_rate.chunks(rate as usize * 6 / 100).map(bytes).collect()
}

/// Silence, the samples, silence.
fn between_pauses(pcm: &[i16], before_ms: usize, after_ms: usize) -> Vec<i16> {
    [white(9, 0.000_3, before_ms * 16), pcm.to_vec(), white(10, 0.000_3, after_ms * 16)].concat()
}

/// Edges with the audio time (ms) at which each came.
fn edges(ear: &mut Ear, packets: &[Vec<u8>]) -> Vec<(u32, Edge)> {
    let (mut at, mut edges) = (0, Vec::new());
    for packet in packets {
        let heard = ear.hear(packet).unwrap();
        at += heard.ms;
        edges.extend(heard.edge.map(|edge| (at, edge)));
    }
    edges
}

fn one_utterance(edges: &[(u32, Edge)], what: &str) -> (u32, u32, Utterance) {
    match edges {
        [(onset, Edge::Onset), (end, Edge::End(utterance))] => (*onset, *end, *utterance),
        other => panic!("{what}: {other:?}"),
    }
}

/// Everything that waits: samples, blocks, and how many said `last`.
fn pour(ear: &mut Ear) -> (Vec<i16>, usize, usize) {
    let ticket = Ticket { turn: TurnId(7), ..Ticket::default() };
    let (mut pcm, mut blocks, mut last) = (Vec::new(), 0, 0);
    assert!(ear.pour(ticket, &mut |block| {
        assert_eq!((block.ticket, block.gap), (ticket, false));
        pcm.extend_from_slice(block.words());
        blocks += 1;
        last += usize::from(block.last);
        true
    }));
    (pcm, blocks, last)
}

#[test]
fn real_speech_gives_one_utterance_in_every_encoding() {
    for (name, speech_ms) in [(EN, 9_000), (ZH, 2_500)] {
        let speech = recording(name);
        let pcm16 = between_pauses(&speech, 1_000, 1_500);
        let mut cases: Vec<(String, UplinkFormat, Vec<Vec<u8>>)> = Vec::new();
        for ms in [20, 40, 60, 120] {
            cases.push((format!("opus {ms} ms"), OPUS, opus(&pcm16, EncoderSettings::device(16_000), ms)));
        }
        cases.push(("opus celt".into(), OPUS, opus(&pcm16, EncoderSettings::reply(16_000, 5), 20)));
        for (rate, channels) in [(8_000, 1), (16_000, 2), (24_000, 1), (44_100, 1), (48_000, 1)] {
            let format = UplinkFormat { codec: Codec::Pcm, rate, channels };
            cases.push((format!("pcm {rate} {channels}"), format, pcm(&pcm16, rate, channels as usize)));
        }
        for (what, format, packets) in cases {
            let mut ear = ear(Engine::Auto, format);
            let (onset, end, utterance) = one_utterance(&edges(&mut ear, &packets), &format!("{name}, {what}"));
            let length = utterance.length.as_millis();
            assert!((1_000..2_400).contains(&onset), "{name}, {what}: onset at {onset} ms");
            assert!(
                u128::from(end - onset) <= length && length <= u128::from(end),
                "{name}, {what}: {utterance:?}, {end}"
            );
            assert!(utterance.voiced.as_millis() > speech_ms / 2 && !utterance.cut, "{name}, {what}: {utterance:?}");
            assert!((500..=640).contains(&utterance.wait.as_millis()), "{name}, {what}: {utterance:?}");
            let (pcm, _, last) = pour(&mut ear);
            assert_eq!((pcm.len() as u128 / 16, last), (length, 1), "{name}, {what}");
        }
    }
}

#[test]
fn how_the_audio_is_packed_moves_no_border_by_more_than_a_packet() {
    let pcm16 = between_pauses(&recording(ZH), 700, 1_200);
    let at = |ms: usize| {
        let packets: Vec<Vec<u8>> =
            pcm16.chunks(ms * 16).map(|c| c.iter().flat_map(|s| s.to_le_bytes()).collect()).collect();
        one_utterance(&edges(&mut ear(Engine::Auto, PCM), &packets), "packing")
    };
    let (onset, end, fine) = at(5);
    for ms in [10, 20, 60, 100, 120] {
        let (o, e, utterance) = at(ms);
        assert!(o >= onset && o - onset < ms as u32 && e >= end && e - end < ms as u32, "{ms} ms: {o} {e}");
        assert_eq!(utterance.voiced, fine.voiced);
    }
    assert_eq!(at(60), at(60), "same packets, same edges");
}

#[test]
fn noise_silence_and_clicks_start_nothing() {
    const TEN_SECONDS: usize = 160_000;
    for (what, signal) in [
        ("silence", vec![0; TEN_SECONDS]),
        ("hiss", white(1, 0.001, TEN_SECONDS)),
        ("white noise, -30 dB", white(2, 0.055, TEN_SECONDS)),
        ("white noise, -14 dB", white(3, 0.35, TEN_SECONDS)),
        ("pink noise, soft", pink(4, 0.05, TEN_SECONDS)),
        ("pink noise, loud", pink(5, 0.4, TEN_SECONDS)),
        ("key clicks", clicks(6, 0.5, 180, TEN_SECONDS)),
        ("fast key clicks", clicks(7, 0.9, 90, TEN_SECONDS)),
        ("a hum", tone(16_000, 50.0, 0.3, TEN_SECONDS)),
    ] {
        for (format, packets) in
            [(OPUS, opus(&signal, EncoderSettings::device(16_000), 60)), (PCM, pcm(&signal, 16_000, 1))]
        {
            let found = edges(&mut ear(Engine::Auto, format), &packets);
            assert!(found.is_empty(), "{what}, {:?}: {found:?}", format.codec);
        }
    }
}

#[test]
fn speech_is_found_in_noise_and_its_end_too() {
    let speech = recording(EN);
    for (what, noise) in
        [("white", white(1, 0.01, speech.len() + 64_000)), ("pink", pink(2, 0.03, speech.len() + 64_000))]
    {
        let mut mixed = noise;
        for (slot, sample) in mixed[32_000..].iter_mut().zip(&speech) {
            *slot = slot.saturating_add(*sample);
        }
        let found = edges(&mut ear(Engine::Auto, OPUS), &opus(&mixed, EncoderSettings::device(16_000), 60));
        let (onset, end, _) = one_utterance(&found, what);
        assert!((2_000..3_200).contains(&onset) && end > 11_000, "{what}: {onset} {end}");
    }
}

#[test]
fn a_short_word_right_after_listening_starts_is_an_utterance() {
    // 0.3 s of a voiced word of each recording, at once after the start.
    for (name, from_ms) in [(EN, 1_000), (EN, 4_000), (ZH, 1_000)] {
        let word = &recording(name)[from_ms * 16..(from_ms + 300) * 16];
        let packets = opus(&between_pauses(word, 0, 900), EncoderSettings::device(16_000), 60);
        let (onset, end, utterance) =
            one_utterance(&edges(&mut ear(Engine::Auto, OPUS), &packets), &format!("{name} {from_ms}"));
        assert!(onset <= 240 && end <= 1_140, "{name} {from_ms}: {onset} {end} {utterance:?}");
    }
}

#[test]
fn the_first_syllable_is_in_the_utterance() {
    let signal = [vec![0; 16_000], tone(16_000, 300.0, 0.3, 8_000), vec![0; 16_000]].concat();
    let mut ear = ear(Engine::Level, PCM);
    let (_, _, utterance) = one_utterance(&edges(&mut ear, &pcm(&signal, 16_000, 1)), "tone");
    let (heard, _, _) = pour(&mut ear);
    let loud_at = |pcm: &[i16]| pcm.iter().position(|s| *s != 0).unwrap();
    let (first, said) = (loud_at(&heard), loud_at(&signal));
    assert!((384 * 16..=416 * 16).contains(&first), "{first} samples of pre-roll");
    assert_eq!(heard[first..first + 8_000], signal[said..said + 8_000]);
    assert!(utterance.voiced >= Duration::from_millis(490));
}

#[test]
fn a_false_start_is_taken_back_and_the_next_word_counts() {
    let blip = tone(16_000, 300.0, 0.3, 1_920);
    let signal = [blip.clone(), vec![0; 16_000], tone(16_000, 300.0, 0.3, 4_800), vec![0; 16_000]].concat();
    let mut ear = ear(Engine::Level, PCM);
    let found = edges(&mut ear, &pcm(&signal, 16_000, 1));
    assert!(
        matches!(found[..], [(_, Edge::Onset), (_, Edge::FalseStart), (_, Edge::Onset), (_, Edge::End(_))]),
        "{found:?}"
    );
    let totals = ear.take_totals();
    assert_eq!((totals.dropped, totals.overflows), ((0, 0), 0), "nothing was lost to a bound");
}

#[test]
fn what_lies_on_the_shelf_is_the_pre_roll() {
    for (level, name) in [(0.0, "in silence"), (0.003, "in a room"), (0.02, "in noise")] {
        let mut speech = between_pauses(&recording(ZH), 3_000, 1_200);
        let noise = pink(5, level, speech.len());
        speech.iter_mut().zip(noise).for_each(|(a, b)| *a = a.saturating_add(b));
        let packets = opus(&speech, EncoderSettings::device(16_000), 60);
        // The same samples as PCM: there every packet is heard.
        let (mut decoder, mut decoded) = (Decoder::new(16_000).unwrap(), vec![0; 1_920]);
        let heard: Vec<i16> = packets
            .iter()
            .flat_map(|packet| {
                let samples = decoder.decode(packet, &mut decoded).unwrap();
                decoded[..samples].to_vec()
            })
            .collect();
        let (mut lazy, mut diligent) = (ear(Engine::Auto, OPUS), ear(Engine::Auto, PCM));
        let mut audio = [Vec::new(), Vec::new()];
        let mut found = [Vec::new(), Vec::new()];
        for (n, (ear, packets)) in
            [(&mut lazy, packets), (&mut diligent, pcm(&heard, 16_000, 1))].into_iter().enumerate()
        {
            found[n] = edges(ear, &packets);
            audio[n] = pour(ear).0;
        }
        let [(onset, end, u), (onset_all, end_all, all)] = found.each_ref().map(|edges| one_utterance(edges, name));
        assert!(onset.abs_diff(onset_all) <= 60 && end.abs_diff(end_all) <= 60, "{name}: {found:?}");
        assert!(u.length.abs_diff(all.length) <= Duration::from_millis(60), "{name}: {u:?}, {all:?}");
        assert!(audio[0].len().abs_diff(audio[1].len()) <= 960, "{name}");
    }
}

#[test]
fn the_button_rules_in_manual_mode() {
    let speech = recording(ZH);
    let packets = opus(&between_pauses(&speech, 1_200, 1_800), EncoderSettings::device(16_000), 60);
    let mut ear = ear(Engine::Auto, OPUS);
    ear.restart(Listening::Manual, Duration::ZERO);
    let found = edges(&mut ear, &packets);
    assert!(matches!(found[..], [(_, Edge::Onset)]), "a pause ends nothing: {found:?}");
    let utterance = ear.finish().unwrap();
    let (pcm, _, last) = pour(&mut ear);
    assert_eq!((pcm.len(), last), (packets.len() * 960, 1), "all since the start");
    assert_eq!(utterance.length.as_millis() as usize, packets.len() * 60);
    assert!(utterance.wait >= Duration::from_millis(1_500), "{utterance:?}");
    assert_eq!(ear.finish(), None, "only once");

    for silent in [white(3, 0.003, 48_000), clicks(4, 0.5, 180, 48_000), vec![0; 48_000]] {
        ear.restart(Listening::Manual, Duration::ZERO);
        let found = edges(&mut ear, &opus(&silent, EncoderSettings::device(16_000), 60));
        assert!(found.is_empty(), "{found:?}, peak {:?}", silent.iter().max());
        assert_eq!(ear.finish(), None);
        assert_eq!(pour(&mut ear).0.len(), 0);
    }
}

#[test]
fn no_utterance_is_longer_than_its_bound() {
    let signal = tone(16_000, 300.0, 0.3, 16_000 * 35);
    for listening in [Listening::Endpointed, Listening::Manual] {
        let mut ear = ear(Engine::Level, PCM);
        ear.restart(listening, Duration::ZERO);
        let (_, _, utterance) = one_utterance(&edges(&mut ear, &pcm(&signal, 16_000, 1)), "long");
        assert!(utterance.cut && utterance.length <= Duration::from_secs(30), "{utterance:?}");
        assert!(utterance.length > Duration::from_millis(29_800));
        assert_eq!(pour(&mut ear).0.len() as u128 / 16, utterance.length.as_millis());
    }
    // A button held for two minutes without a word costs no more than 30 s of it.
    let mut ear = ear(Engine::Level, PCM);
    ear.restart(Listening::Manual, Duration::ZERO);
    let quiet = vec![0; 1_920];
    for _ in 0..2_000 {
        assert_eq!(ear.hear(&quiet).unwrap().edge, None);
    }
    assert_eq!(ear.finish(), None);
}

#[test]
fn a_stalled_device_ends_its_utterance() {
    let mut ear = ear(Engine::Level, PCM);
    assert_eq!(ear.finish(), None, "nothing was said");
    let found = edges(&mut ear, &pcm(&tone(16_000, 300.0, 0.3, 8_000), 16_000, 1));
    assert!(matches!(found[..], [(_, Edge::Onset)]));
    let utterance = ear.finish().unwrap();
    assert_eq!((utterance.cut, pour(&mut ear).2), (false, 1));
    assert!(utterance.wait < Duration::from_millis(60));
}

#[test]
fn an_utterance_is_played_again_for_another_recogniser() {
    let mut ear = ear(Engine::Level, PCM);
    assert!(!ear.rewind());
    let signal = [tone(16_000, 300.0, 0.3, 16_000), vec![0; 16_000]].concat();
    let mut first = Vec::new();
    for packet in pcm(&signal, 16_000, 1) {
        ear.hear(&packet).unwrap();
        first.extend(pour(&mut ear).0);
    }
    assert!(ear.rewind());
    let (again, blocks, last) = pour(&mut ear);
    assert_eq!((again, last), (first, 1));
    assert!(blocks <= 40);
    assert!(ear.rewind(), "as often as needed");
    ear.restart(Listening::Endpointed, Duration::ZERO);
    assert!(!ear.rewind(), "until the next one");
}

#[test]
fn the_tail_of_a_wake_word_is_not_heard() {
    let signal = [tone(16_000, 300.0, 0.3, 4_800), vec![0; 16_000]].concat();
    let mut ear = ear(Engine::Level, PCM);
    ear.restart(Listening::Endpointed, Duration::from_millis(300));
    assert!(edges(&mut ear, &pcm(&signal, 16_000, 1)).is_empty());
    let speech = [vec![0; 1_920], tone(16_000, 300.0, 0.3, 8_000), vec![0; 16_000]].concat();
    one_utterance(&edges(&mut ear, &pcm(&speech, 16_000, 1)), "after the mute");
}

#[test]
fn bad_packets_are_refused_and_the_next_good_one_is_heard() {
    let mut pcm_ear = ear(Engine::Level, PCM);
    assert_eq!(pcm_ear.hear(&[1, 2, 3]), Err(PacketFault::Length));
    assert_eq!(pcm_ear.hear(&[0; 3_842]), Err(PacketFault::Length), "more than 120 ms");
    assert_eq!(pcm_ear.hear(&[0; 3_840]).map(|h| h.ms), Ok(120));
    assert_eq!(pcm_ear.hear(&[]).map(|h| h.ms), Ok(0));
    let mut stereo = ear(Engine::Level, UplinkFormat { channels: 2, ..PCM });
    assert_eq!(stereo.hear(&[0; 6]), Err(PacketFault::Length));
    let mut strange = ear(Engine::Level, UplinkFormat { rate: 1, ..PCM });
    assert_eq!(strange.hear(&[0; 2]), Err(PacketFault::Undecodable));
    let mut opus_ear = ear(Engine::Auto, OPUS);
    assert_eq!(opus_ear.hear(&[0x5b, 63]), Err(PacketFault::Undecodable));
    assert_eq!(opus_ear.hear(&[0x58]).map(|h| h.ms), Ok(60), "discontinuous transmission");
}

#[test]
fn a_lent_ear_knows_nothing_of_the_session_before() {
    let packets = opus(&between_pauses(&recording(ZH), 500, 1_000), EncoderSettings::device(16_000), 60);
    let mut pool = EarPool::new(Engine::Auto, EndpointRules::default(), 1);
    let mut run = |noise: bool| {
        let mut ear = pool.take(OPUS);
        if noise {
            edges(&mut ear, &opus(&pink(1, 0.3, 64_000), EncoderSettings::device(16_000), 60));
        }
        let found = edges(&mut ear, &packets);
        pool.give_back(ear);
        found
    };
    let first = run(false);
    run(true);
    assert_eq!(run(false), first);
    assert_eq!(pool.bytes(), 0, "a spare ear holds no audio");
}

/// What somebody may do to an ear: (kind, number, bytes).
fn deeds() -> impl Strategy<Value = Vec<(u8, u16, Vec<u8>)>> {
    prop::collection::vec((0_u8..12, any::<u16>(), prop::collection::vec(any::<u8>(), 0..400)), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Any packets in any order, in any format a hello may name: no panic, edges in their order, the books balance.
    #[test]
    fn no_packet_breaks_an_ear(
        deeds in deeds(),
        opus_uplink in any::<bool>(),
        rate in prop_oneof![Just(16_000_u32), Just(48_000), Just(44_100), any::<u32>()],
        channels in 0_u8..4,
        level in any::<bool>(),
    ) {
        let codec = if opus_uplink { Codec::Opus } else { Codec::Pcm };
        let mut ear = ear(if level { Engine::Level } else { Engine::Auto }, UplinkFormat { codec, rate, channels });
        let (mut open, mut total) = (false, [0_u64; 3]);
        for (kind, number, bytes) in deeds {
            match kind {
                0 => {
                    let listening = if number % 2 == 0 { Listening::Manual } else { Listening::Endpointed };
                    ear.restart(listening, Duration::from_millis(u64::from(number % 200)));
                    open = false;
                }
                1 => {
                    let ended = ear.finish();
                    prop_assert!(open || ended.is_none());
                    open = false;
                }
                // Something loud and long, so that there is something to cut.
                2..=6 => {
                    let loud: Vec<u8> = bytes.repeat(9).into_iter().take(1_920).collect();
                    let packet = if opus_uplink { &bytes } else { &loud };
                    if let Ok(heard) = ear.hear(packet) {
                        match heard.edge {
                            Some(Edge::Onset) => prop_assert!(!std::mem::replace(&mut open, true)),
                            Some(Edge::FalseStart) => prop_assert!(std::mem::replace(&mut open, false)),
                            Some(Edge::End(utterance)) => {
                                prop_assert!(std::mem::replace(&mut open, false));
                                prop_assert!(utterance.voiced <= utterance.length);
                            }
                            None => {}
                        }
                    }
                }
                7 => {
                    ear.rewind();
                }
                _ => {
                    let mut room = number % 5;
                    ear.pour(Ticket::default(), &mut |_| {
                        room = room.saturating_sub(1);
                        room > 0
                    });
                }
            }
            let news = ear.take_totals();
            for (sum, add) in total.iter_mut().zip([news.received.0, news.processed.0, news.dropped.0]) {
                *sum += add;
            }
            prop_assert!(total[0] >= total[1] + total[2]);
        }
        ear.restart(Listening::Endpointed, Duration::ZERO);
        let news = ear.take_totals();
        prop_assert_eq!(total[0] + news.received.0, total[1] + news.processed.0 + total[2] + news.dropped.0);
    }
}
