//! An identity through a whole server: spoken as a tone, shown as a word, heard again as a tone.

#[path = "../../../tests/support/mod.rs"]
mod support;

use support::sound::encode;
use support::{Client, Got, Rig};
use voxlane::audio::opus::{Decoder, EncoderSettings};
use voxlane_standins::profile::Profile;
use voxlane_standins::{Config, Handle, Standins, identity};

/// Where replies are passed on as they come, so are utterances.
fn rig(standins: &Handle, format: &str) -> Rig {
    let upload = if format == "opus" { r#""opus""# } else { r#""wav""# };
    let (openai, url, model, format) =
        (r#""openai""#, format!("{:?}", standins.base_url()), r#""standin""#, format!("{format:?}"));
    let mut overrides = vec![("tts.format", format.as_str()), ("tts.rate", "24000"), ("asr.upload", upload)];
    for [provider, address, name] in [
        ["asr.provider", "asr.base_url", "asr.model"],
        ["llm.provider", "llm.base_url", "llm.model"],
        ["tts.provider", "tts.base_url", "tts.model"],
    ] {
        overrides.extend([(provider, openai), (address, url.as_str()), (name, model)]);
    }
    Rig::with(&overrides)
}

/// A device with PCM or Opus both ways.
struct Device {
    client: Client,
    is_opus: bool,
    rate: u32,
}

impl Device {
    fn new(rig: &Rig, is_opus: bool) -> Device {
        let mut client = Client::connect(rig.device);
        let format = if is_opus { "opus" } else { "pcm" };
        let hello = client.hello(serde_json::json!({
            "audio_params": {"format": format, "sample_rate": 16_000, "channels": 1, "frame_duration": 60}
        }));
        let rate = hello["audio_params"]["sample_rate"].as_u64().expect("a rate") as u32;
        Device { client, is_opus, rate }
    }

    /// Asks something in manual mode.
    fn ask(&mut self, id: u16) {
        self.client.listen("start", "manual");
        let mut pcm = vec![0; 960];
        pcm.extend(identity::tone(id, 16_000));
        pcm.extend((0..19_200).map(|n| if n / 40 % 2 == 0 { 6_000 } else { -6_000 }));
        pcm.resize(pcm.len().next_multiple_of(960), 0);
        let device = EncoderSettings { dtx: false, ..EncoderSettings::device(16_000) };
        let packets = match self.is_opus {
            true => encode(device, 60, &pcm),
            false => pcm.chunks(960).map(|p| p.iter().flat_map(|sample| sample.to_le_bytes()).collect()).collect(),
        };
        packets.iter().for_each(|packet| self.client.send_packet(packet));
        self.client.listen("stop", "");
    }

    /// The identities heard in the packets of a reply.
    fn heard(&self, got: &[Got]) -> Vec<u16> {
        let mut decoder = Decoder::new(self.rate).unwrap();
        let mut listener = identity::Listener::new(self.rate).unwrap();
        let mut samples = vec![0; decoder.samples_max()];
        let mut all = Vec::new();
        // As 60 ms may hold the end of one hearing and the beginning of the next, both of the same code.
        let mut since = 10;
        for one in got {
            let Got::Packet(bytes) = one else { continue };
            let found = if self.is_opus {
                let len = decoder.decode(bytes, &mut samples).unwrap();
                listener.hear(&samples[..len])
            } else {
                let pcm: Vec<i16> = bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
                listener.hear(&pcm)
            };
            since += 1;
            if let Some(id) = found {
                if since > 3 {
                    all.push(id);
                }
                since = 0;
            }
        }
        all
    }
}

fn text_of<'a>(got: &'a [Got], kind: &str) -> Vec<&'a str> {
    got.iter().filter(|one| one.kind() == kind && !one.text().is_empty()).map(Got::text).collect()
}

fn check(format: &str, is_opus: bool) {
    let standins = Standins::start(Config::new(Profile { speech_ms: 1_000, ..Profile::R1 })).unwrap();
    let rig = rig(&standins, format);
    let ids = [3, 40_000, 777];
    let mut devices = ids.map(|_| Device::new(&rig, is_opus));
    devices.iter_mut().zip(ids).for_each(|(device, id)| device.ask(id));
    let mut heard = 0;
    for (device, id) in devices.iter_mut().zip(ids) {
        let got = device.client.until("tts:stop");
        let said = text_of(&got, "stt");
        assert_eq!(said.iter().map(|text| identity::find(text)).collect::<Vec<_>>(), [Some(id)], "{format}: {said:?}");
        let shown = text_of(&got, "tts:sentence_start");
        assert_eq!(shown.len(), 3, "{format}: {shown:?}");
        assert!(shown.iter().all(|text| identity::find(text) == Some(id)), "{format}: {shown:?}");
        let tones = device.heard(&got);
        assert!(tones.iter().all(|&tone| tone == id), "{format}: {tones:?} instead of {id}");
        heard += tones.len();
    }
    // libopus spoils one or two in a hundred when the server encodes, some more when it saves processor time.
    let least = if is_opus { 6 } else { 9 };
    assert!((least..=9).contains(&heard), "{format}: {heard} of 9 tones are heard");
}

#[test]
fn words_and_tones_come_back_to_who_spoke() {
    check("wav", false);
    check("pcm", false);
    check("opus", false);
}

#[test]
fn they_do_so_through_the_codec_too() {
    check("pcm", true);
    check("opus", true);
}
