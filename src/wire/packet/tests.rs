use super::*;
use proptest::prelude::*;

fn emit(version: Version, packet: &[u8], timestamp_ms: u32) -> Vec<u8> {
    let mut out = Vec::new();
    emit_header(version, packet.len(), timestamp_ms, &mut out);
    out.extend_from_slice(packet);
    out
}

const ALL: [Version; 3] = [Version::V1, Version::V2, Version::V3];

#[test]
fn layouts_are_the_devices_to_the_byte() {
    assert_eq!(emit(Version::V1, &[0xaa, 0xbb], 7), [0xaa, 0xbb]);
    let v2 = [0, 2, 0, 0, 0, 0, 0, 0, 0x01, 0x02, 0x03, 0x04, 0, 0, 0, 2, 0xaa, 0xbb];
    assert_eq!(emit(Version::V2, &[0xaa, 0xbb], 0x0102_0304), v2);
    assert_eq!(emit(Version::V3, &[0xaa, 0xbb], 7), [0, 0, 0, 2, 0xaa, 0xbb]);
    assert_eq!(timestamp_ms(Version::V2, &v2), 0x0102_0304);
    assert_eq!(timestamp_ms(Version::V3, &v2), 0);
    assert_eq!(timestamp_ms(Version::V2, &v2[..11]), 0);
}

#[test]
fn a_gateways_zeros_and_trailing_bytes_do_no_harm() {
    // protocol.md 5.4: bytes 0 to 7 are zero.
    let gateway = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0x58, 0xee, 0xee];
    assert_eq!(parse(Version::V2, &gateway), Ok(&[0x58][..]));
    assert_eq!(parse(Version::V3, &[1, 1, 0, 1, 0x58, 0xee]), Ok(&[0x58][..]));
}

#[test]
fn an_empty_message_or_packet_is_legal() {
    for version in ALL {
        assert_eq!(parse(version, &[]), Ok(&[][..]));
        assert_eq!(parse(version, &emit(version, &[], 1)), Ok(&[][..]));
    }
}

#[test]
fn a_message_shorter_than_it_claims_is_a_fault() {
    assert_eq!(parse(Version::V2, &[0; 15]), Err(PacketFault::Short));
    assert_eq!(parse(Version::V3, &[0; 3]), Err(PacketFault::Short));
    let v2 = emit(Version::V2, &[1, 2, 3], 0);
    assert_eq!(parse(Version::V2, &v2[..18]), Err(PacketFault::Beyond));
    let v3 = emit(Version::V3, &[1, 2, 3], 0);
    assert_eq!(parse(Version::V3, &v3[..6]), Err(PacketFault::Beyond));
    let mut huge = v2;
    huge[12..16].fill(0xff);
    assert_eq!(parse(Version::V2, &huge), Err(PacketFault::Beyond));
}

#[test]
fn a_packet_has_a_greatest_size() {
    let most = vec![0; PACKET_BYTES];
    let over = vec![0; PACKET_BYTES + 1];
    assert_eq!(parse(Version::V1, &most), Ok(&most[..]));
    assert_eq!(parse(Version::V1, &over), Err(PacketFault::TooLong));
    let mut v2 = emit(Version::V2, &most, 0);
    v2.push(0);
    assert_eq!(parse(Version::V2, &v2), Ok(&most[..]));
    v2[12..16].copy_from_slice(&(PACKET_BYTES as u32 + 1).to_be_bytes());
    assert_eq!(parse(Version::V2, &v2), Err(PacketFault::TooLong));
}

#[test]
fn versions_have_their_numbers() {
    for version in ALL {
        assert_eq!(Version::from_number(version.number()), Some(version));
        assert_eq!(emit(version, &[], 0).len(), version.header_bytes());
    }
    assert_eq!(Version::from_number(0), None);
    assert_eq!(Version::from_number(4), None);
}

#[test]
fn a_frame_is_one_binary_message() {
    let mut out = Vec::new();
    emit_frame(Version::V3, &[5; 200], 0, &mut out);
    assert_eq!(out[..8], [0x82, 126, 0, 204, 0, 0, 0, 200]);
    assert_eq!(out.len(), 4 + 204);
}

proptest! {
    #[test]
    fn what_is_emitted_is_parsed(packet in proptest::collection::vec(any::<u8>(), 0..2_000), stamp: u32, v in 0usize..3) {
        let version = ALL[v];
        let message = emit(version, &packet, stamp);
        prop_assert_eq!(parse(version, &message), Ok(&packet[..]));
        prop_assert_eq!(timestamp_ms(version, &message), if version == Version::V2 { stamp } else { 0 });
    }

    #[test]
    fn noise_never_panics_nor_grows(message in proptest::collection::vec(any::<u8>(), 0..64), v in 0usize..3) {
        if let Ok(packet) = parse(ALL[v], &message) {
            prop_assert!(packet.len() <= message.len());
        }
    }
}
