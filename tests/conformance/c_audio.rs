//! C. Audio input: what a device may send.
//!
//! The scripted recogniser says how long the utterance was that it was given, so that each test can compute what must be heard.

use crate::support::sound::{browser_packets, device_packets, framed_v2, framed_v3, pack, padded};
use crate::support::{Client, Rig, fresh_id};
use serde_json::json;

/// Sends these packets as one push-to-talk utterance, and returns what was recognised.
fn heard(client: &mut Client, packets: &[Vec<u8>]) -> String {
    client.listen("start", "manual");
    packets.iter().for_each(|packet| client.send_packet(packet));
    client.listen("stop", "");
    client.until("stt").pop().expect("stt").text().to_owned()
}

/// A client after both hellos with this binary framing; Opus both ways.
fn framed(rig: &Rig, version: u8) -> Client {
    let set = |request: &mut tungstenite::http::Request<()>| {
        request.headers_mut().insert("Protocol-Version", version.to_string().parse().unwrap());
    };
    let mut client = Client::connect_as(rig.device, &fresh_id(), set).expect("upgrade");
    client.hello(json!({"version": version}));
    client
}

#[test]
fn item_51_packets_of_20_40_and_60_ms_are_decoded_with_their_own_duration() {
    for packet_ms in [20, 40, 60] {
        let packets = device_packets(packet_ms, 600);
        assert_eq!(heard(&mut Rig::shared().opus_device(), &packets), "utterance of 600 ms", "{packet_ms} ms");
    }
}

#[test]
fn item_51_frame_count_codes_0_to_3_are_decoded_with_their_own_duration() {
    let singles = device_packets(20, 600);
    // Code 1 wants two frames of one length: the same one twice.
    let code_1: Vec<_> = singles.iter().map(|p| pack(1, &[p.clone(), p.clone()])).collect();
    let code_2: Vec<_> = singles.chunks_exact(2).map(|pair| pack(2, pair)).collect();
    let code_3: Vec<_> = singles.chunks_exact(3).map(|three| pack(3, three)).collect();
    for (code, packets, ms) in [(0, &singles, 600), (1, &code_1, 1_200), (2, &code_2, 600), (3, &code_3, 600)] {
        assert!(packets.iter().all(|packet| packet[0] & 3 == code));
        assert_eq!(heard(&mut Rig::shared().opus_device(), packets), format!("utterance of {ms} ms"), "code {code}");
    }
}

#[test]
fn item_51_the_browsers_packets_of_three_celt_frames_are_decoded() {
    let packets = browser_packets(600);
    let is_celt = |packet: &Vec<u8>| packet[0] >> 3 >= 16 && packet[0] & 3 == 3;
    assert!(packets.iter().all(is_celt), "{:02x?}", packets.iter().map(|p| p[0]).collect::<Vec<_>>());
    assert_eq!(heard(&mut Rig::shared().opus_device(), &packets), "utterance of 600 ms");
}

#[test]
fn item_52_a_packet_of_one_byte_is_a_full_frame() {
    let mut packets = device_packets(60, 600);
    packets.extend(vec![vec![0x58]; 5]);
    assert_eq!(heard(&mut Rig::shared().opus_device(), &packets), "utterance of 900 ms");
}

#[test]
fn item_52_empty_frames_are_skipped() {
    let mut packets = device_packets(60, 600);
    packets.insert(0, Vec::new());
    packets.insert(5, Vec::new());
    packets.push(Vec::new());
    assert_eq!(heard(&mut Rig::shared().opus_device(), &packets), "utterance of 600 ms");
}

#[test]
fn item_53_packets_of_4000_bytes_are_accepted() {
    let packets: Vec<_> = browser_packets(600).iter().map(|packet| padded(packet, 4_000)).collect();
    assert!(packets.iter().all(|packet| packet.len() == 4_000));
    assert_eq!(heard(&mut Rig::shared().opus_device(), &packets), "utterance of 600 ms");
}

#[test]
fn item_54_an_undecodable_packet_is_skipped_and_later_ones_work() {
    let mut packets = device_packets(60, 600);
    packets.insert(5, vec![0x5b, 63]); // 63 frames of 60 ms: more than Opus allows
    packets.insert(6, vec![0x49, 1, 2, 3]); // two frames of one length in three bytes
    packets.insert(7, vec![0x4a, 200]); // a first frame longer than the packet
    assert_eq!(heard(&mut Rig::shared().opus_device(), &packets), "utterance of 600 ms");
}

#[test]
fn item_55_the_gateways_headers_with_zeros_are_accepted() {
    let zeroed = |packet: &Vec<u8>| {
        let mut message = framed_v2(packet, 0);
        message[..8].fill(0);
        message
    };
    let packets: Vec<_> = device_packets(60, 600).iter().map(zeroed).collect();
    assert_eq!(heard(&mut framed(Rig::shared(), 2), &packets), "utterance of 600 ms");
}

#[test]
fn item_56_a_version_2_frame_shorter_than_its_size_is_dropped_and_no_more() {
    let mut packets: Vec<_> = device_packets(60, 600).iter().map(|packet| framed_v2(packet, 1)).collect();
    for i in 0..48 {
        packets.insert(5, vec![0; i % 15 + 1]); // shorter than the header
        let mut beyond = framed_v2(&[0x58; 40], 1);
        beyond[15] = 41;
        packets.insert(6, beyond); // one byte more than there is
    }
    let mut huge = framed_v2(&[0x58; 40], 1);
    huge[12..16].fill(0xff);
    packets.insert(7, huge);
    let mut client = framed(Rig::shared(), 2);
    assert_eq!(heard(&mut client, &packets), "utterance of 600 ms");
    client.is_alive();
}

#[test]
fn item_56_a_version_3_frame_shorter_than_its_size_is_dropped_and_no_more() {
    let mut packets: Vec<_> = device_packets(60, 600).iter().map(|packet| framed_v3(packet)).collect();
    for i in 0..48 {
        packets.insert(5, vec![0; i % 3 + 1]);
        packets.insert(6, vec![0, 0, 0xff, 0xff, 0x58]);
    }
    let mut client = framed(Rig::shared(), 3);
    assert_eq!(heard(&mut client, &packets), "utterance of 600 ms");
    client.is_alive();
}

#[test]
fn item_56_bytes_behind_the_packet_are_ignored() {
    let trailing = |packet: &Vec<u8>| {
        let mut message = framed_v3(packet);
        message.extend_from_slice(&[0xaa; 7]);
        message
    };
    let packets: Vec<_> = device_packets(60, 600).iter().map(trailing).collect();
    assert_eq!(heard(&mut framed(Rig::shared(), 3), &packets), "utterance of 600 ms");
}
