//! Any bytes as checks of ways (STUN), as fingerprints, and as handshake datagrams, each behind its length in two bytes: nothing panics, nobody
//! gets a key. Then two ends shake hands while some datagrams are bent, four bytes for each: the first says which, and whether the bent
//! one comes instead of the true one or before it, the next ones where.
#![no_main]

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use onrecord::model::{Handshake, Identity, SrtpKey, Timestamp};
use onrecord::rtp::{Association, BindingRequest, Sender, Shaken, identity_of, is_stun};
use onrecord::sdp::{Setup, read_fingerprint};

/// Of both ends.
static OURS: LazyLock<Arc<Identity>> = LazyLock::new(|| {
    let certificate = include_bytes!("p256.cert.der").to_vec();
    let key = include_bytes!("p256.key.der").to_vec();
    Arc::new(identity_of(certificate, key).expect("an identity"))
});
const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
const DATAGRAMS_MAX: usize = 32;
const BENDS_MAX: usize = 8;

fn peer() -> Sender {
    Sender {
        at: ([192, 0, 2, 1], 4_000).into(),
        is_proved: false,
    }
}

fn association(is_client: bool) -> Association {
    let handshake = Handshake {
        ours: Arc::clone(&OURS),
        theirs: vec![*OURS.fingerprint()],
        tls_id: None,
        is_client,
        round: 0,
    };
    Association::new(NOW, Arc::new(handshake), peer().at).expect("an association")
}

/// What it sends now, and the keys that it came to.
fn drain(end: &mut Association, keys: &mut Option<(SrtpKey, SrtpKey)>) -> VecDeque<Vec<u8>> {
    let mut sent = VecDeque::new();
    while let Some(said) = end.poll_output() {
        match said {
            Shaken::Send { bytes, .. } => sent.push_back(bytes),
            Shaken::Keys { theirs, ours } => *keys = Some((theirs, ours)),
            Shaken::Failed(_) => {}
        }
    }
    sent
}

fn strange(is_client: bool, bytes: &[u8]) {
    let (mut end, mut keys, mut rest) = (association(is_client), None, bytes);
    for _ in 0..DATAGRAMS_MAX {
        let Some((length, more)) = rest.split_first_chunk() else {
            break;
        };
        let (datagram, left) = more.split_at(usize::from(u16::from_be_bytes(*length)).min(more.len()));
        end.handle_packet(NOW, peer(), datagram);
        drain(&mut end, &mut keys);
        rest = left;
    }
    end.handle_timeout(NOW + Duration::from_secs(3));
    drain(&mut end, &mut keys);
    assert!(keys.is_none(), "of a stranger");
}

fn bent(bytes: &[u8]) {
    let (bends, _) = bytes.as_chunks::<4>();
    let mut ends = [association(true), association(false)];
    let mut keys = [None, None];
    let mut count = 0;
    for _ in 0..8 {
        for from in 0..2 {
            for datagram in drain(&mut ends[from], &mut keys[from]) {
                let mut is_lost = false;
                for [which, high, low, flip] in bends.iter().take(BENDS_MAX) {
                    if which % 16 != count || datagram.is_empty() {
                        continue;
                    }
                    let mut forged = datagram.clone();
                    let at = usize::from(u16::from_be_bytes([*high, *low])) % forged.len();
                    forged[at] ^= flip;
                    ends[1 - from].handle_packet(NOW, peer(), &forged);
                    is_lost |= which & 0x80 == 0;
                }
                count = (count + 1).min(0x7f);
                if !is_lost {
                    ends[1 - from].handle_packet(NOW, peer(), &datagram);
                }
            }
        }
    }
    if let [Some((theirs, ours)), Some((other_theirs, other_ours))] = keys {
        assert!(theirs == other_ours && ours == other_theirs, "one handshake");
    }
}

fuzz_target!(|bytes: &[u8]| {
    if is_stun(bytes)
        && let Some(request) = BindingRequest::parse(bytes)
    {
        assert!(!request.is_signed_by("a password that nobody was told"));
        let _ = request.answer(([192, 0, 2, 1], 4_000).into(), "a password that nobody was told");
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = (read_fingerprint(text), Setup::parse(text));
    }
    strange(true, bytes);
    strange(false, bytes);
    bent(bytes);
});
