//! Two of us shake hands, in virtual time.

#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::model::SrtpSuite;

mod floods;
mod forged;
mod rsa;

pub fn identity() -> Arc<Identity> {
    let signer = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let params = rcgen::CertificateParams::new(vec!["onrecord".to_owned()]).unwrap();
    let certificate = params.self_signed(&signer).unwrap();
    Arc::new(identity_of(certificate.der().to_vec(), signer.serialize_der()).unwrap())
}

pub fn handshake(ours: &Arc<Identity>, theirs: &Identity, is_client: bool) -> Arc<Handshake> {
    Arc::new(Handshake {
        ours: Arc::clone(ours),
        theirs: vec![*theirs.fingerprint()],
        tls_id: None,
        is_client,
        round: 0,
    })
}

/// One end, and what it has come to.
pub struct End {
    pub association: Association,
    pub keys: Option<(SrtpKey, SrtpKey)>,
    pub failed: Option<KeyingFault>,
    /// Whom it told something last.
    told: Option<SocketAddr>,
}

impl End {
    pub fn new(now: Timestamp, handshake: Arc<Handshake>) -> Self {
        Self {
            association: Association::new(now, handshake, SOMEWHERE.at).unwrap(),
            keys: None,
            failed: None,
            told: None,
        }
    }

    /// What it sends now.
    pub fn sends(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        while let Some(said) = self.association.poll_output() {
            match said {
                Shaken::Send { to, bytes } => {
                    self.told = Some(to);
                    sent.push(bytes);
                }
                Shaken::Keys { theirs, ours } => assert!(self.keys.replace((theirs, ours)).is_none(), "once"),
                Shaken::Failed(fault) => assert!(self.failed.replace(fault).is_none(), "once"),
            }
        }
        sent
    }
}

const SOMEWHERE: Sender = sender(Ipv4Addr::LOCALHOST, 9);
const ELSEWHERE: Sender = sender(Ipv4Addr::LOCALHOST, 10);
/// Another host.
const ABROAD: Sender = sender(Ipv4Addr::new(192, 0, 2, 1), 9);
const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);

const fn sender(ip: Ipv4Addr, port: u16) -> Sender {
    Sender {
        at: SocketAddr::new(IpAddr::V4(ip), port),
        is_proved: false,
    }
}

fn pair() -> (End, End) {
    let (a, b) = (identity(), identity());
    let client = End::new(START, handshake(&a, &b, true));
    (client, End::new(START, handshake(&b, &a, false)))
}

/// Until nobody has anything to say. `lose`: which datagrams do not arrive.
fn talk(now: Timestamp, client: &mut End, server: &mut End, mut lose: impl FnMut() -> bool) {
    loop {
        let (up, down) = (client.sends(), server.sends());
        if up.is_empty() && down.is_empty() {
            return;
        }
        for bytes in up.iter().filter(|_| !lose()) {
            server.association.handle_packet(now, SOMEWHERE, bytes);
        }
        for bytes in down.iter().filter(|_| !lose()) {
            client.association.handle_packet(now, SOMEWHERE, bytes);
        }
    }
}

#[test]
fn both_ends_have_the_same_keys_crosswise() {
    let (mut client, mut server) = pair();
    talk(START, &mut client, &mut server, || false);
    let (theirs, ours) = client.keys.take().unwrap();
    assert_eq!(server.keys, Some((ours, theirs.clone())));
    assert_eq!(theirs.suite(), SrtpSuite::AeadAes256Gcm);
    assert_eq!((client.association.poll_timeout(), client.failed), (None, None));
}

#[test]
fn lost_datagrams_are_sent_again_when_their_time_has_come() {
    let (mut client, mut server) = pair();
    let (mut now, mut count) = (START, 0);
    while client.keys.is_none() || server.keys.is_none() {
        talk(now, &mut client, &mut server, || {
            count += 1;
            count % 3 == 0
        });
        let due = [&client, &server].map(|end| end.association.poll_timeout());
        let Some(next) = due.into_iter().flatten().min() else {
            break;
        };
        assert!(next > now || client.keys.is_some());
        now = next;
        client.association.handle_timeout(now);
        server.association.handle_timeout(now);
        assert!(now.since(START) < HANDSHAKE_MAX);
    }
    assert!(
        client.keys.is_some() && server.keys.is_some() && count >= 6,
        "two are lost at least"
    );
}

#[test]
fn who_has_another_certificate_than_was_signalled_gets_no_keys() {
    for is_client in [true, false] {
        let (a, b, stranger) = (identity(), identity(), identity());
        let mut ours = End::new(START, handshake(&a, &b, is_client));
        let mut theirs = End::new(START, handshake(&stranger, &a, !is_client));
        let (client, server) = if is_client {
            (&mut ours, &mut theirs)
        } else {
            (&mut theirs, &mut ours)
        };
        talk(START, client, server, || false);
        // To a server anybody may come: the peer has until the end.
        assert_eq!(ours.failed.is_some(), is_client);
        ours.association.handle_timeout(START + HANDSHAKE_MAX);
        ours.sends();
        assert_eq!((ours.keys, ours.failed), (None, Some(KeyingFault::Certificate)));
        assert!(!ours.association.handle_packet(START, SOMEWHERE, b"\x16"), "it is over");
    }
}

#[test]
fn a_strangers_whole_handshake_takes_nothing_from_the_peers_before_or_after_it_began() {
    for is_peer_first in [true, false] {
        let (mut client, mut server) = pair();
        let ours = Arc::clone(&server.association.handshake.ours);
        let mut stranger = End::new(START, handshake(&identity(), &ours, true));
        let hellos = if is_peer_first { client.sends() } else { Vec::new() };
        for hello in hellos {
            server.association.handle_packet(START, ELSEWHERE, &hello);
        }
        let verifies = server.sends();
        talk(START, &mut stranger, &mut server, || false);
        assert!(stranger.keys.is_some(), "it has shaken hands");
        for verify in verifies {
            client.association.handle_packet(START, SOMEWHERE, &verify);
        }
        let later = START + Duration::from_secs(1);
        loop {
            let (up, down) = (client.sends(), server.sends());
            if up.is_empty() && down.is_empty() {
                break;
            }
            for bytes in up {
                server.association.handle_packet(later, ELSEWHERE, &bytes);
            }
            for bytes in down {
                client.association.handle_packet(later, SOMEWHERE, &bytes);
            }
        }
        assert!(client.keys.is_some() && server.keys.is_some());
        assert_eq!((server.failed, server.association.poll_timeout()), (None, None));
    }
}

/// What two others say to each other from one end's side, without hellos.
fn answers_of_strangers(is_client: bool) -> Vec<Vec<u8>> {
    let (mut client, mut server) = pair();
    let mut said = Vec::new();
    loop {
        let (up, down) = (client.sends(), server.sends());
        if up.is_empty() && down.is_empty() {
            return said;
        }
        for bytes in up {
            server.association.handle_packet(START, SOMEWHERE, &bytes);
            said.extend(Some(bytes).filter(|bytes| is_client && Hello::parse(bytes).is_none()));
        }
        for bytes in down {
            client.association.handle_packet(START, SOMEWHERE, &bytes);
            said.extend(Some(bytes).filter(|_| !is_client));
        }
    }
}

#[test]
fn what_others_say_that_is_no_hello_spoils_no_handshake_and_draws_nothing_to_them() {
    let (of_clients, of_servers) = (answers_of_strangers(true), answers_of_strangers(false));
    assert!(!of_clients.is_empty() && !of_servers.is_empty());
    let (mut client, mut server) = pair();
    loop {
        let (up, down) = (client.sends(), server.sends());
        if up.is_empty() && down.is_empty() {
            break;
        }
        for bytes in up {
            server.association.handle_packet(START, SOMEWHERE, &bytes);
            for forged in &of_clients {
                assert!(!server.association.handle_packet(START, ELSEWHERE, forged));
            }
        }
        for forged in &of_servers {
            assert!(!client.association.handle_packet(START, ABROAD, forged));
        }
        for bytes in down {
            client.association.handle_packet(START, ELSEWHERE, &bytes);
        }
    }
    assert!(client.keys.is_some() && server.keys.is_some());
    assert_eq!((client.told, server.told), (Some(ELSEWHERE.at), Some(SOMEWHERE.at)));
}

#[test]
fn a_peer_that_has_proved_to_be_elsewhere_by_now_is_followed() {
    let (mut client, mut server) = pair();
    let moved = Sender {
        is_proved: true,
        ..ABROAD
    };
    loop {
        let (up, down) = (client.sends(), server.sends());
        if up.is_empty() && down.is_empty() {
            break;
        }
        for bytes in up {
            let from = if Hello::parse(&bytes).is_some() {
                SOMEWHERE
            } else {
                moved
            };
            assert!(server.association.handle_packet(START, from, &bytes));
        }
        for bytes in down {
            client.association.handle_packet(START, SOMEWHERE, &bytes);
        }
    }
    assert!(client.keys.is_some() && server.keys.is_some());
    assert_eq!(server.told, Some(moved.at));
}

#[test]
fn a_peer_that_has_proved_to_be_elsewhere_before_it_was_answered_is_answered_there() {
    let (mut client, mut server) = pair();
    let [here, there] = [SOMEWHERE, ABROAD].map(|at| Sender { is_proved: true, ..at });
    for bytes in client.sends() {
        server.association.handle_packet(START, here, &bytes);
    }
    for bytes in server.sends() {
        client.association.handle_packet(START, SOMEWHERE, &bytes);
    }
    let second = client.sends();
    second
        .iter()
        .for_each(|bytes| _ = server.association.handle_packet(START, here, bytes));
    assert!(!server.sends().is_empty(), "which is lost");
    let later = START + Duration::from_secs(1);
    client.association.handle_timeout(later);
    for bytes in client.sends() {
        server.association.handle_packet(later, there, &bytes);
    }
    server.association.handle_timeout(later);
    assert!(!server.sends().is_empty());
    assert_eq!(server.told, Some(there.at));
}

#[test]
fn a_peer_that_never_shakes_hands_is_given_up() {
    let (mut client, mut server) = pair();
    for end in [&mut client, &mut server] {
        end.sends();
        let mut now = START;
        while let Some(due) = end.association.poll_timeout() {
            assert!(due >= now && due <= START + HANDSHAKE_MAX);
            now = due.max(now + Duration::from_millis(1));
            end.association.handle_timeout(now);
            end.sends();
        }
        assert_eq!(end.failed, Some(KeyingFault::Timeout));
    }
}

#[test]
fn a_flood_of_hellos_costs_its_share_and_ends_nothing() {
    let (mut client, mut server) = pair();
    let attacker = identity();
    let forge = || {
        let hello = End::new(START, handshake(&attacker, &attacker, true)).sends();
        hello.into_iter().next().unwrap()
    };
    let forged = forge();
    let mut looked_at = 0;
    for _ in 0..10_000 {
        looked_at += u32::from(server.association.handle_packet(START, SOMEWHERE, &forged));
    }
    assert_eq!(looked_at, DATAGRAMS_A_SECOND_MAX);
    server.sends();
    // The true client's two hellos, with some of strangers between them.
    let now = START + Duration::from_secs(1);
    for hello in client.sends() {
        server.association.handle_packet(now, SOMEWHERE, &hello);
        for _ in 0..ATTEMPTS_MAX - 1 {
            server.association.handle_packet(now, SOMEWHERE, &forge());
        }
    }
    talk(now, &mut client, &mut server, || false);
    assert!(client.keys.is_some() && server.keys.is_some());
    let later = START + Duration::from_secs(2);
    for _ in 0..10_000 {
        assert!(
            !server.association.handle_packet(later, SOMEWHERE, &forged),
            "there is nobody else now"
        );
    }
    assert!(server.sends().is_empty());
    assert_eq!((server.failed, server.association.poll_timeout()), (None, None));
}

#[test]
fn an_identity_has_a_key_that_can_sign() {
    assert!(identity_of(vec![1], vec![2]).is_none());
    let rsa = "not a key";
    assert!(identity_of(Vec::new(), rsa.as_bytes().to_vec()).is_none());
}
