//! Media that comes back to us goes round no further.

use super::*;

#[test]
fn an_sdp_that_names_our_own_ports_makes_no_loop() {
    let mut world = World::new();
    let ours = line(0, remote("10.0.0.1:40002"), remote("10.0.0.1:40000"));
    world.command(MediaCommand::Open(plan(Recorded::Strict, vec![ours])));
    assert_eq!(world.talk(Leg::A, "10.0.0.1:40002", 0), Verdict::Drop(Dropped::Foreign));
    world.modify(Recorded::Strict, vec![line(0, remote(A), remote("10.0.0.1:40001"))]);
    assert_eq!(world.talk(Leg::A, A, 0), Verdict::Drop(Dropped::Early));
}

#[test]
fn what_comes_from_ourselves_is_relayed_until_it_goes_round() {
    let mut world = World::new();
    let line = || line(0, remote("10.0.0.1:50000"), remote(B));
    world.command(MediaCommand::Open(plan(Recorded::Strict, vec![line()])));
    for sequence in 0..500 {
        assert_eq!(
            goes_to(world.talk(Leg::A, "10.0.0.1:50000", sequence)),
            B,
            "a call that passes us twice"
        );
        world.now = world.now + Duration::from_millis(1);
    }
    let round = (0..20_000).map(|sequence| world.talk(Leg::A, "10.0.0.1:50000", sequence));
    let forwarded = round
        .filter(|verdict| matches!(verdict, Verdict::Forward { .. }))
        .count();
    assert!((1_000..5_000).contains(&forwarded), "{forwarded}");
    world.now = world.now + Duration::from_secs(5);
    assert_eq!(
        world.talk(Leg::A, "10.0.0.1:50000", 0),
        Verdict::Drop(Dropped::Foreign),
        "it is seeded no more"
    );
    assert_eq!(goes_to(world.talk(Leg::B, B, 0)), "10.0.0.1:50000");
    world.modify(Recorded::Strict, vec![line()]);
    assert_eq!(goes_to(world.talk(Leg::A, "10.0.0.1:50000", 0)), B);
    assert!(world.close().excess > 10_000);
}

#[test]
fn what_goes_round_by_two_addresses_of_ours_is_cut_too() {
    let mut world = World::new();
    let mut between = line(0, remote("203.0.113.1:50002"), remote(B));
    between.b.local = address("203.0.113.1:40002");
    world.command(MediaCommand::Open(plan(Recorded::Strict, vec![between])));
    let round = (0..20_000).map(|sequence| world.talk(Leg::A, "203.0.113.1:50002", sequence));
    let forwarded = round
        .filter(|verdict| matches!(verdict, Verdict::Forward { .. }))
        .count();
    assert!((1_000..5_000).contains(&forwarded), "{forwarded}");
}
