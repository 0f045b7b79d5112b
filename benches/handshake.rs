//! What a handshake of DTLS-SRTP costs: both ends are ours, on one thread, without a socket. `cargo bench --bench handshake`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod counting;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use onrecord::model::{Handshake, Identity, Timestamp};
use onrecord::rtp::{Association, Sender, Shaken, identity_of};

const ROUNDS: u32 = 1_000;
const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4_000))
}

fn ours() -> Arc<Identity> {
    let certificate = include_bytes!("../fuzz/fuzz_targets/p256.cert.der").to_vec();
    let key = include_bytes!("../fuzz/fuzz_targets/p256.key.der").to_vec();
    Arc::new(identity_of(certificate, key).unwrap())
}

fn end(ours: &Arc<Identity>, is_client: bool) -> Association {
    let handshake = Handshake {
        ours: Arc::clone(ours),
        theirs: vec![*ours.fingerprint()],
        tls_id: None,
        is_client,
        round: 0,
    };
    Association::new(NOW, Arc::new(handshake), peer()).unwrap()
}

/// Both ends, and how many of them have keys.
fn shake(ours: &Arc<Identity>) -> ([Association; 2], usize) {
    let mut ends = [end(ours, true), end(ours, false)];
    let mut keys = 0;
    loop {
        let mut said = false;
        for from in 0..2 {
            while let Some(output) = ends[from].poll_output() {
                said = true;
                match output {
                    Shaken::Send { bytes, .. } => {
                        let sender = Sender {
                            at: peer(),
                            is_proved: false,
                        };
                        ends[1 - from].handle_packet(NOW, sender, &bytes);
                    }
                    Shaken::Keys { .. } => keys += 1,
                    Shaken::Failed(_) => {}
                }
            }
        }
        if !said {
            return (ends, keys);
        }
    }
}

fn main() {
    let ours = ours();
    for _ in 0..20 {
        assert_eq!(shake(&ours).1, 2);
    }
    let (taken, began) = (counting::allocations(), Instant::now());
    for _ in 0..ROUNDS {
        assert_eq!(shake(&ours).1, 2);
    }
    let spent = began.elapsed() / ROUNDS;
    let taken = (counting::allocations() - taken) / u64::from(ROUNDS);
    let before = counting::held();
    let kept = shake(&ours);
    let held = (counting::held() - before) / 2;
    println!("handshake, both ends: {spent:?}, {taken} allocations; {held} bytes held by an end that is done");
    drop(kept);
    let before = counting::held();
    let waiting: Vec<Association> = (0..100).map(|_| end(&ours, false)).collect();
    println!("a server that waits: {} bytes", (counting::held() - before) / 100);
    drop(waiting);
}
