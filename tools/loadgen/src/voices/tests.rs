use super::*;
use std::path::PathBuf;
use voxlane::audio::ear::{EarPool, Edge, Listening};
use voxlane::audio::endpoint::EndpointRules;
use voxlane::audio::vad::Engine;
use voxlane::format::{Codec, UplinkFormat};
use voxlane::ids::Ticket;
use voxlane::time::Duration;

/// A folder of its own for a test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("voxlane-voices-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }

    fn files(&self) -> Vec<PathBuf> {
        std::fs::read_dir(&self.0).map_or(Vec::new(), |dir| dir.map(|e| e.unwrap().path()).collect())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Every speech there is: by espeak-ng where it is installed, and the recordings.
fn every_speech() -> &'static [Speech] {
    static ALL: std::sync::OnceLock<Vec<Speech>> = std::sync::OnceLock::new();
    ALL.get_or_init(|| gather(None).speeches.into_iter().chain(made::recorded()).collect())
}

/// What our own ear makes of packets: the audio time, ms, at which each edge was crossed.
fn edges<'a>(packets: impl IntoIterator<Item = &'a Box<[u8]>>) -> Vec<(u32, Edge)> {
    let format = UplinkFormat { codec: Codec::Opus, rate: RATE, channels: 1 };
    let mut ear = EarPool::new(Engine::default(), EndpointRules::default(), 1).take(format);
    ear.restart(Listening::Endpointed, Duration::ZERO);
    let (mut at, mut edges) = (0, Vec::new());
    for packet in packets {
        let heard = ear.hear(packet).unwrap();
        at += heard.ms;
        edges.extend(heard.edge.map(|edge| (at, edge)));
    }
    edges
}

#[test]
fn our_ear_hears_one_utterance_and_its_end_when_it_is() {
    let room = packets(&room().repeat(2)).unwrap();
    for speech in every_speech() {
        let spoken = packets(&speech.pcm).unwrap();
        let found = edges(room[..10].iter().chain(&spoken).chain(&room));
        let [(onset, Edge::Onset), (end, Edge::End(_))] = found[..] else {
            panic!("{}: {found:?}", speech.name);
        };
        let (began, ended) = (600.0, 600.0 + speech.ms());
        assert!(f64::from(onset) - began <= 320.0, "{}: onset at {onset}, speech at {began}", speech.name);
        // Half a second of silence, the detector's hangover, and the rest of a packet; one voice of 24 ends a packet later since
        // a clear voice is asked about less often.
        let wait = f64::from(end) - ended;
        assert!((500.0..=860.0).contains(&wait), "{}: {wait} ms after the end", speech.name);
    }
}

#[test]
fn speech_has_the_length_of_a_sentence_and_the_level_of_speech() {
    let speeches = every_speech();
    for speech in speeches {
        assert!((1_900.0..=4_100.0).contains(&speech.ms()), "{}: {} ms", speech.name, speech.ms());
        assert!(cut::longest_pause_ms(&speech.pcm) <= 350.0, "{} pauses too long", speech.name);
        let mean = (speech.pcm.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / speech.pcm.len() as f64).sqrt();
        assert!((1_200.0..=2_700.0).contains(&mean), "{}: level {mean}", speech.name);
    }
    let mean = speeches.iter().map(Speech::ms).sum::<f64>() / speeches.len() as f64;
    assert!((2_700.0..=3_300.0).contains(&mean), "the duty of a conversation is 3 s of speech, not {mean} ms");
}

#[test]
fn the_end_of_speech_is_the_last_sample() {
    for speech in every_speech() {
        let (first, last) = (speech.pcm[0].unsigned_abs(), speech.pcm[speech.pcm.len() - 1].unsigned_abs());
        assert!(first > cut::QUIET && last > cut::QUIET, "{}", speech.name);
    }
}

#[test]
fn the_second_run_says_what_the_first_said() {
    let folder = Folder::new("kept");
    let first = gather(Some(&folder.0));
    let second = gather(Some(&folder.0));
    assert_eq!(first.speeches, second.speeches);
    assert_eq!(first.speeches, gather(None).speeches, "the same recipe gives the same samples");
    assert_eq!(first.note.is_some(), folder.files().is_empty(), "what espeak-ng spoke is kept, recordings are not");
    let Some(file) = folder.files().pop() else { return };
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(first.speeches, gather(Some(&folder.0)).speeches, "a damaged file is made anew");
}

#[test]
fn a_cache_that_cannot_be_written_is_said_in_a_line() {
    let folder = Folder::new("file");
    std::fs::write(&folder.0, "a file where a folder should be").unwrap();
    let voices = gather(Some(&folder.0));
    let _ = std::fs::remove_file(&folder.0);
    assert!(voices.speeches.len() >= 2);
    assert!(voices.note.is_some_and(|note| note.lines().count() == 1));
}

#[test]
fn a_device_in_a_quiet_room_sends_little() {
    let silence = packets(&room().repeat(10)).unwrap();
    let small = silence.iter().filter(|p| p.len() <= 2).count();
    assert!(small * 10 >= silence.len() * 7, "{small} of {}", silence.len());
}

/// What a device sends for an utterance under this number, with a room around it: the packets, and when speech begins and ends
/// in them, ms.
fn stream(utterance: &Utterance, id: u16, room: &[Box<[u8]>]) -> (Vec<Box<[u8]>>, f64, f64) {
    let before = &room[..10];
    let packets = [before, &tone_packets(id).unwrap(), &utterance.packets, room].concat();
    let begins = f64::from(PACKET_MS) * before.len() as f64 + f64::from(TONE_PACKETS_MS);
    (packets, begins, f64::from(PACKET_MS) * before.len() as f64 + utterance.speech_end_ms)
}

#[test]
fn the_tone_before_speech_is_heard_by_the_recogniser_and_delays_nothing() {
    let room = packets(&room().repeat(2)).unwrap();
    let utterances: Vec<Utterance> = every_speech().iter().map(|s| Utterance::of(s).unwrap()).collect();
    for (i, utterance) in utterances.iter().enumerate() {
        let id = [0, 1, 777, 4_095, 30_000, 65_535][i % 6];
        let (packets, begins, ends) = stream(utterance, id, &room);
        let format = UplinkFormat { codec: Codec::Opus, rate: RATE, channels: 1 };
        let mut ear = EarPool::new(Engine::default(), EndpointRules::default(), 1).take(format);
        ear.restart(Listening::Endpointed, Duration::ZERO);
        let (mut at, mut edges, mut kept) = (0, Vec::new(), Vec::new());
        for packet in &packets {
            let heard = ear.hear(packet).unwrap();
            at += heard.ms;
            edges.extend(heard.edge.map(|edge| (f64::from(at), edge)));
            if !edges.is_empty() {
                ear.pour(Ticket::default(), &mut |block| {
                    kept.extend_from_slice(block.words());
                    true
                });
            }
        }
        let [(onset, Edge::Onset), (end, Edge::End(_))] = edges[..] else {
            panic!("{}: {edges:?}", utterance.name);
        };
        assert!(onset - begins <= 320.0, "{}: onset at {onset}, speech at {begins}", utterance.name);
        assert!((500.0..=800.0).contains(&(end - ends)), "{}: {} ms after the end", utterance.name, end - ends);
        assert_eq!(identity::heard(&kept, RATE), Some(id), "{}: what the recogniser gets", utterance.name);
    }
}

#[test]
fn utterances_know_their_end_and_share_their_packets() {
    for speech in every_speech() {
        let utterance = Utterance::of(speech).unwrap();
        assert_eq!(utterance.packets.len(), speech.pcm.len().div_ceil(PACKET));
        assert!((utterance.speech_end_ms - 360.0 - speech.ms()).abs() < 1e-9);
        let bytes: usize = utterance.packets.iter().map(|p| p.len()).sum();
        assert!(bytes < 16_000, "{}: {bytes} bytes", utterance.name);
    }
    let tone: usize = tone_packets(9).unwrap().iter().map(|p| p.len()).sum();
    assert!(tone < 1_500, "a device's own packets take {tone} bytes");
}
