//! While somebody is asked, the parties do not hear each other, nor the key that answers.

use super::super::*;
use super::{Heard, PROMPT_FRAMES, asking, notice, prompt, talk};

#[test]
fn who_is_asked_and_the_other_do_not_hear_each_other_until_nobody_is() {
    let mut world = World::call(Recorded::Strict);
    notice(&mut world, "PCMU", [Some(prompt()), None], true);
    world.command(asking(true));
    let [a, b] = talk(&mut world, 0..100, [true, true]);
    assert!(a.iter().all(Heard::is_prompt) && b.is_empty());
    assert_eq!(a.len(), PROMPT_FRAMES);
    world.command(asking(false));
    let [a, b] = talk(&mut world, 100..150, [true, true]);
    assert_eq!((a.len(), b.len()), (50, 50));
    assert!(world.close().hushed > 0);
}

#[test]
fn the_key_that_answers_is_hushed_to_its_last_packet_and_the_next_one_crosses() {
    let mut world = World::call(Recorded::Strict);
    notice(&mut world, "PCMU", [None, None], true);
    let event = |sequence: u16, timestamp: u32| {
        let mut packet = rtp(1, sequence);
        packet[1] = 101;
        packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
        packet
    };
    let is_hushed = |verdict| match verdict {
        Verdict::Drop(why) => why == Dropped::Hushed,
        _ => false,
    };
    world.command(asking(true));
    let press = |world: &mut World, sequence, timestamp| {
        let port = world.port(0, Leg::B, Channel::Rtp);
        is_hushed(world.send(port, B, &event(sequence, timestamp)))
    };
    assert!(press(&mut world, 10, 1_600));
    world.command(asking(false));
    let rest: Vec<bool> = (11..17).map(|sequence| press(&mut world, sequence, 1_600)).collect();
    assert_eq!(rest, [true; 6], "updates and the end, three times");
    let voice = world.talk(Leg::B, B, 17);
    assert!(!is_hushed(voice), "what is said meanwhile crosses");
    assert!(!press(&mut world, 18, 3_200), "and so does the next key");
    assert!(press(&mut world, 19, 1_600), "a late end of the first does not");
    let mut of_a = event(20, 1_600);
    of_a[8..12].copy_from_slice(&7_u32.to_be_bytes());
    let port = world.port(0, Leg::A, Channel::Rtp);
    assert!(!is_hushed(world.send(port, A, &of_a)), "nor is A's key B's");
    assert_eq!(world.close().accepted, 11, "all of it is recorded");
}
