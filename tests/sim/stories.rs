//! Single stories, told on good links, where it is known to the message what has to happen.

use std::time::Duration;

use super::net::Quality;
use super::ua::{Script, State};
use super::world::{Grade, World};

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn script() -> Script {
    Script {
        ring_after: Duration::from_millis(100),
        answer_after: Duration::from_millis(400),
        refuses: None,
        early_media: false,
        patience: seconds(60),
        talks: seconds(2),
        holds_after: None,
        mute: false,
    }
}

/// Does not hang up first.
pub fn patient() -> Script {
    Script {
        talks: seconds(400),
        ..script()
    }
}

#[test]
fn a_strict_call_is_recorded_from_end_to_end() {
    let mut world = World::new(1, Quality::PERFECT);
    let pair = world.pair(Duration::ZERO, Grade::Strict, script(), patient());
    world.run_to_rest();
    assert_eq!(
        world.caller(pair).status,
        Some(200),
        "{}",
        world.complaint("not answered")
    );
    assert_eq!(world.callee(pair).state, State::Ended);
    assert!(world.callee(pair).heard.len() > 90 && world.caller(pair).heard.len() > 90);
    world.audit();
}
