//! What crosses is what came, byte by byte, and so is what is kept: whatever it may be.

use super::*;

/// Two words of one-byte elements (RFC 8285 §4.2): the audio level (RFC 6464) and a number.
const EXTENSION: [u8; 12] = [0xbe, 0xde, 0, 2, 0x10, 0x9e, 0x21, 0x12, 0x34, 0, 0, 0];

/// With a contributing source, the extension, and three bytes of padding.
fn with_everything(phone: &mut Phone) -> Vec<u8> {
    let plain = phone.next(&[0x2b; 160]);
    let (header, payload) = plain.split_at(12);
    let mut packet = [header, &[0, 0, 0, 7], &EXTENSION, payload, &[0, 0, 3]].concat();
    packet[0] |= 0x31;
    packet[1] |= 0x80;
    packet
}

#[test]
fn every_kind_of_packet_goes_on_and_is_kept_as_it_came() {
    let mut world = World::call(Recorded::Strict);
    let mut phone = Phone::new(Leg::A, 0);
    let of = |payload_type: u8, payload: &[u8]| {
        let mut other = Phone::new(Leg::A, payload_type);
        other.ssrc = u32::from(payload_type);
        other.next(payload)
    };
    let sent = [
        with_everything(&mut phone),
        phone.next(&[0x2b; 240]),                   // longer than before (ptime)
        phone.next(&[]),                            // nothing in it
        of(101, &[5, 0x8a, 0, 160]),                // a key (RFC 4733)
        of(13, &[60, 1, 2]),                        // comfort noise (RFC 3389)
        of(98, b"\xe2\x00\x00\x01\x62ab"),          // text (RFC 4103)
        of(97, &[0x7c, 0x85, 1, 2, 3]),             // video (H.264, FU-A)
        of(45, &[0x90, 0x80, 0x12, 0x34]),          // video (AV1 or VP8: nobody said)
        b"\x00\x01\x06\xe0\x00\x00\x01\x00".into(), // T.38 by UDPTL
        b"\r\n\r\n".into(),                         // keep-alive
        vec![0x01; 4_000],                          // whatever
    ];
    let port = world.port(0, Leg::A, Channel::Rtp);
    for packet in &sent {
        assert_eq!(
            world.send(port, A, packet),
            Verdict::Forward {
                via: port.far_by(port.channel()),
                to: address(B)
            }
        );
    }
    let kept: Vec<_> = world.shelf.kept.iter().map(|(.., bytes)| bytes.clone()).collect();
    assert_eq!(kept, sent);
    let kinds: Vec<_> = world.shelf.kept.iter().map(|(_, _, kind, _)| *kind).collect();
    assert_eq!(
        kinds,
        [[PacketKind::Rtp; 8].as_slice(), &[PacketKind::Other; 3]].concat()
    );
    let tally = world.close();
    assert_eq!((tally.accepted, tally.forwarded), (11, 11));
    let streams: Vec<_> = tally.streams.iter().map(|s| (s.payload_type, s.packets)).collect();
    assert_eq!(streams, [(0, 3), (101, 1), (13, 1), (98, 1), (97, 1), (45, 1)]);
}
