//! Where the world's people live and what the product is told about them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use onrecord::engine::Engine;
use onrecord::model::Timestamp;

use super::disk::Disk;
use super::world::Grade;

pub const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
pub const LAG_MAX: Duration = Duration::from_secs(1);
/// Longest after the last phone rests: 64 × T1 of our own transactions, the ports' cool-down, sealing.
pub const TIDY_UP: Duration = Duration::from_secs(90);
pub const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 5060);
const CALLERS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1));
const CALLEES: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 1));
/// Pairs that the grants know.
const PAIRS_MAX: usize = 32;

/// SIP address, media address, and where it sends to. All callees live behind one address, as on a real trunk.
pub fn addresses(pair: usize, is_caller: bool) -> [SocketAddr; 3] {
    let pair = pair as u16;
    if is_caller {
        [SocketAddr::new(CALLERS, 6000 + pair), SocketAddr::new(CALLERS, 20_000 + 2 * pair), PROXY]
    } else {
        [SocketAddr::new(CALLEES, 5060), SocketAddr::new(CALLEES, 20_000 + 2 * pair), PROXY]
    }
}

pub fn caller(grade: Grade, pair: usize) -> String {
    let grade = match grade {
        Grade::Strict => "strict",
        Grade::Lenient => "lenient",
        Grade::Exempt => "exempt",
    };
    format!("sip:{grade}{pair}@sim.example")
}

pub fn callee(pair: usize) -> String {
    format!("callee{pair}x")
}

fn policy(id: &str, required: bool) -> String {
    format!(
        "[policy]\nid = \"{id}\"\ndescription = \"simulated\"\nenabled = true\nrecord = [\"audio\"]\n\
         [[policy.recorder]]\nid = \"embedded\"\nrequired_before_call_establishment = {required}\n\
         required_during_call = {required}\n"
    )
}

fn grants() -> String {
    ["strict", "lenient"]
        .map(|grade| {
            let users: Vec<String> = (0..PAIRS_MAX).map(|n| format!("\"user:{grade}{n}@sim.example\"")).collect();
            format!("[[grant]]\npolicy = \"{grade}\"\nto = [{}]\n", users.join(", "))
        })
        .concat()
}
