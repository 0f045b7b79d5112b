#![allow(clippy::unwrap_used)]

use super::*;

const FINISHED: u8 = 20;
const HELLO: u8 = 1;

/// A record without encryption.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_record(&mut out, 7, kind, body);
    out
}

/// A fragment of a message of `length` bytes.
fn fragment(kind: u8, number: u8, length: u32, offset: u32, bytes: &[u8]) -> Vec<u8> {
    let three = |value: u32| value.to_be_bytes()[1..].to_vec();
    let size = u32::try_from(bytes.len()).unwrap();
    let header = [vec![kind], three(length), vec![0, number], three(offset), three(size)].concat();
    record(HANDSHAKE, &[header, bytes.to_vec()].concat())
}

fn message(kind: u8, number: u8, bytes: &[u8]) -> Vec<u8> {
    fragment(kind, number, u32::try_from(bytes.len()).unwrap(), 0, bytes)
}

/// The bodies of the messages in what the crate is told, and their records' numbers.
fn messages(told: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (mut rest, mut found) = (told, Vec::new());
    while let Some((header, more)) = rest.split_at_checked(HEADER_BYTES) {
        let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
        let (body, next) = more.split_at(length);
        found.push((header[10], body[MESSAGE_HEADER_BYTES..].to_vec()));
        rest = next;
    }
    found
}

#[test]
fn fragments_in_any_order_and_twice_become_messages_in_order_and_once() {
    let mut intake = Intake::new(false);
    assert!(intake.take(&message(HELLO, 1, b"second")).is_empty());
    assert!(intake.take(&fragment(HELLO, 0, 5, 3, b"st")).is_empty());
    assert!(intake.take(&fragment(HELLO, 0, 5, 3, b"st")).is_empty());
    assert!(intake.take(&fragment(HELLO, 0, 5, 0, b"fi")).is_empty());
    let told = intake.take(&fragment(HELLO, 0, 5, 1, b"irs"));
    assert_eq!(messages(&told), [(0, b"first".to_vec()), (1, b"second".to_vec())]);
    assert!(intake.take(&message(HELLO, 0, b"again")).is_empty(), "it was told");
    assert_eq!(
        messages(&intake.take(&message(14, 2, b""))),
        [(2, Vec::new())],
        "an empty one is one"
    );
}

#[test]
fn several_fragments_in_a_record_are_each_looked_at() {
    let mut intake = Intake::new(false);
    let both = [message(HELLO, 0, b"one"), message(HELLO, 1, b"two")];
    let both: Vec<u8> = both.iter().flat_map(|one| one[HEADER_BYTES..].to_vec()).collect();
    let told = intake.take(&record(HANDSHAKE, &both));
    assert_eq!(messages(&told), [(0, b"one".to_vec()), (1, b"two".to_vec())]);
}

#[test]
fn what_strangers_claim_takes_no_memory_beyond_a_handshakes() {
    let mut intake = Intake::new(false);
    let length = u32::try_from(MESSAGES_BYTES_MAX).unwrap();
    for (offset, length) in [(0, length + 1), (0, 0xff_ffff), (9, 10), (0xff_ffff, 4), (0, 1)] {
        assert!(intake.take(&fragment(HELLO, 0, length, offset, b"ab")).is_empty());
    }
    assert!(intake.waiting.is_empty(), "none is within its own message");
    for round in 0..u8::MAX {
        intake.take(&fragment(HELLO, round, length / 4, u32::from(round) * 4, b"ab"));
    }
    let kept: usize = intake.waiting.iter().map(|message| message.body.capacity()).sum();
    assert_eq!((intake.waiting.len(), kept), (4, MESSAGES_BYTES_MAX));
    for at in 0..length / 8 {
        intake.take(&fragment(HELLO, 1, length / 4, at * 4, b"a"));
    }
    assert!(intake.waiting.iter().all(|message| message.pieces.len() <= PIECES_MAX));
}

/// Up to where its end may come.
fn begun(is_server: bool) -> Intake {
    let mut intake = Intake::new(is_server);
    let (number, kind) = if is_server {
        (1, CLIENT_KEY_EXCHANGE)
    } else {
        (0, SERVER_HELLO_DONE)
    };
    assert!(!intake.take(&message(kind, number, b"")).is_empty());
    intake
}

#[test]
fn no_more_messages_or_encrypted_records_than_a_handshake_has_pass() {
    let mut intake = Intake::new(false);
    let told = (0..u8::MAX)
        .flat_map(|number| intake.take(&message(HELLO, number, b"x")))
        .count();
    assert_eq!(
        told,
        usize::from(MESSAGES_MAX) * (HEADER_BYTES + MESSAGE_HEADER_BYTES + 1)
    );
    let mut intake = begun(true);
    let changes = (0..1_000).filter(|_| !intake.take(&record(CHANGE_CIPHER_SPEC, &[1])).is_empty());
    assert_eq!(changes.count(), usize::from(CHANGES_MAX));
    for length in [0, 1, FINISHED_BYTES - 1, FINISHED_BYTES + 1] {
        for _ in 0..=SEALED_MAX {
            assert!(intake.take(&sealed(length)).is_empty(), "{length}: no Finished");
        }
    }
    for _ in 0..SEALED_MAX {
        assert!(!intake.take(&sealed(FINISHED_BYTES)).is_empty());
    }
    assert!(!intake.is_spoiled());
    assert!(intake.take(&sealed(FINISHED_BYTES)).is_empty());
    assert!(intake.is_spoiled());
}

#[test]
fn no_end_passes_before_what_makes_the_keys_and_what_came_too_early_spoils_nothing() {
    for is_server in [true, false] {
        let mut intake = Intake::new(is_server);
        for _ in 0..1_000 {
            assert!(intake.take(&record(CHANGE_CIPHER_SPEC, &[1])).is_empty());
            assert!(intake.take(&sealed(FINISHED_BYTES)).is_empty());
            assert!(!intake.counts());
        }
        let mut intake = begun(is_server);
        assert!(
            intake.take(&sealed(FINISHED_BYTES)).is_empty(),
            "nor before the cipher is changed"
        );
        assert!(!intake.take(&record(CHANGE_CIPHER_SPEC, &[1])).is_empty());
        assert!(!intake.take(&sealed(FINISHED_BYTES)).is_empty() && intake.counts());
        assert!(!intake.is_spoiled());
    }
    let mut client = begun(false);
    client.take(&record(CHANGE_CIPHER_SPEC, &[1]));
    assert!((0..1_000).all(|_| !client.take(&sealed(FINISHED_BYTES)).is_empty()));
    assert!(!client.is_spoiled(), "it has keys: the crate keeps none");
}

/// A record that claims to be encrypted.
fn sealed(length: usize) -> Vec<u8> {
    let mut sealed = record(HANDSHAKE, &vec![7; length]);
    sealed[4] = 1;
    sealed
}

#[test]
fn what_is_encrypted_is_counted_no_more_once_it_is_done() {
    let mut intake = Intake::new(false);
    intake.finish();
    assert!((0..1_000).all(|_| !intake.take(&sealed(FINISHED_BYTES)).is_empty()));
    assert!(!intake.is_spoiled());
}

#[test]
fn whoever_claims_room_first_keeps_it_from_no_message_that_comes_before_or_that_is_another_of_its_number() {
    let length = u32::try_from(MESSAGES_BYTES_MAX).unwrap();
    for number in 0..MESSAGES_MAX {
        let mut intake = Intake::new(false);
        let number = u8::try_from(number).unwrap();
        assert!(intake.take(&fragment(HELLO, number, length, 0, b"")).is_empty());
        let told: Vec<u8> = (0..number + 1)
            .flat_map(|number| intake.take(&message(HELLO, number, b"true")))
            .collect();
        assert_eq!(messages(&told).len(), usize::from(number) + 1);
        assert_eq!((intake.begun, intake.waiting.len()), (4 * messages(&told).len(), 0));
    }
    let mut intake = Intake::new(false);
    for at in 0..=u32::try_from(PIECES_MAX).unwrap() {
        intake.take(&fragment(HELLO, 0, 99, 2 * at, b"?"));
    }
    assert!(intake.take(&fragment(HELLO, 0, 99, 0, &[1; 50])).is_empty());
    let told = intake.take(&fragment(HELLO, 0, 99, 50, &[1; 49]));
    assert_eq!(messages(&told), [(0, vec![1; 99])]);
}

#[test]
fn a_certificate_whose_lengths_are_lies_is_as_if_it_had_not_come() {
    let mut intake = Intake::new(false);
    for lie in [
        &[0, 0, 3, 0xff, 0xff, 0xff][..],
        &[0, 0, 9, 0, 0, 0],
        &[0, 0, 4, 0, 0, 2, 7],
        &[0, 0],
        &[],
    ] {
        assert!(intake.take(&message(CERTIFICATE, 0, lie)).is_empty(), "{lie:?}");
    }
    assert_eq!((intake.begun, intake.waiting.len()), (0, 0));
    for truth in [&[0, 0, 0][..], &[0, 0, 9, 0, 0, 1, 7, 0, 0, 2, 8, 9]] {
        let told = Intake::new(false).take(&message(CERTIFICATE, 0, truth));
        assert_eq!(messages(&told), [(0, truth.to_vec())]);
    }
}

#[test]
fn alerts_and_data_are_not_let_in_and_neither_is_anything_but_an_end_once_it_is_done() {
    let mut intake = begun(false);
    for (kind, epoch) in [(21, 0), (21, 1), (23, 1), (HANDSHAKE, 2), (CHANGE_CIPHER_SPEC, 1)] {
        let mut other = record(kind, &[1]);
        other[4] = epoch;
        assert!(intake.take(&other).is_empty(), "{kind} {epoch}");
    }
    assert!(intake.take(&record(CHANGE_CIPHER_SPEC, &[2])).is_empty());
    assert!(!intake.take(&record(CHANGE_CIPHER_SPEC, &[1])).is_empty());
    intake.finish();
    assert!(intake.take(&record(CHANGE_CIPHER_SPEC, &[1])).is_empty());
    assert!(intake.take(&message(FINISHED, 0, b"x")).is_empty());
    let end = sealed(FINISHED_BYTES);
    assert_eq!(intake.take(&end), end);
}

#[test]
fn records_are_renumbered_unless_they_are_encrypted() {
    let mut sealed = record(HANDSHAKE, b"abc");
    sealed[4] = 1;
    let mut datagram = [
        record(HANDSHAKE, b"a"),
        sealed.clone(),
        record(CHANGE_CIPHER_SPEC, &[1]),
        vec![1, 2],
    ]
    .concat();
    renumber(&mut datagram, 0x1_0000);
    let (first, rest) = datagram.split_at(HEADER_BYTES + 1);
    let (second, third) = rest.split_at(sealed.len());
    assert_eq!(
        (&first[5..11], second, &third[5..11]),
        (&[0, 0, 0, 1, 0, 7][..], &sealed[..], &[0, 0, 0, 1, 0, 7][..])
    );
}
