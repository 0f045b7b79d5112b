//! A session's m-lines come, are refused, and move to other ports and addresses of ours.

use super::*;

#[test]
fn a_re_invite_adds_a_line_and_its_frames_carry_the_lines_index() {
    let mut world = World::call(Recorded::Strict);
    world.modify(
        Recorded::Strict,
        vec![
            line(0, remote(A), remote(B)),
            line(1, remote("192.0.2.1:4100"), remote("198.51.100.1:6100")),
        ],
    );
    assert_eq!(world.events(), [MediaEvent::Opened { session: SESSION }]);
    assert_eq!(world.bound.len(), 8);
    let video = world.port(1, Leg::B, Channel::Rtp);
    assert_eq!(
        goes_to(world.send(video, "198.51.100.1:6100", &rtp(9, 1))),
        "192.0.2.1:4100"
    );
    assert_eq!(world.shelf.kept[0].1, 1);
    assert_eq!(world.close().streams[0].line, 1);
}

#[test]
fn a_refused_line_takes_no_ports_until_it_has_some() {
    let mut world = World::new();
    let mut refused = line(1, None, None);
    refused.a.local.set_port(0);
    refused.b.local.set_port(0);
    world.command(MediaCommand::Open(plan(
        Recorded::Strict,
        vec![line(0, remote(A), remote(B)), refused],
    )));
    assert_eq!(world.bound.len(), 4);
    world.modify(
        Recorded::Strict,
        vec![line(0, remote(A), remote(B)), line(1, remote(A), remote(B))],
    );
    assert_eq!(world.bound.len(), 8);
    world.close();
}

#[test]
fn a_port_that_is_taken_ends_the_opening_and_leaves_nothing_bound() {
    let mut world = World::new();
    world.taken = vec![address("10.0.0.1:40002")];
    world.command(MediaCommand::Open(plan(
        Recorded::Strict,
        vec![line(0, remote(A), remote(B))],
    )));
    let failed = MediaEvent::OpenFailed {
        session: SESSION,
        local: address("10.0.0.1:40002"),
    };
    assert_eq!(world.events(), [failed]);
    assert!(world.plane.is_empty() && world.bound.is_empty() && world.shelf.slots.is_empty());
    world.command(MediaCommand::Close { session: SESSION });
    assert_eq!(world.events(), [], "no Closed follows");
}

#[test]
fn a_line_that_cannot_be_bound_leaves_the_call_as_it_was() {
    let mut world = World::call(Recorded::Strict);
    world.taken = vec![address("10.0.0.1:40007")];
    let moved = remote("192.0.2.9:7000");
    world.modify(
        Recorded::Strict,
        vec![line(0, moved, remote(B)), line(1, remote(A), remote(B))],
    );
    let failed = MediaEvent::OpenFailed {
        session: SESSION,
        local: address("10.0.0.1:40007"),
    };
    assert_eq!(world.events(), [failed]);
    assert_eq!(world.bound.len(), 4);
    assert_eq!(goes_to(world.talk(Leg::A, A, 1)), B, "the old place");
    world.taken.clear();
    world.modify(
        Recorded::Strict,
        vec![line(0, moved, remote(B)), line(1, remote(A), remote(B))],
    );
    assert_eq!(world.events(), [MediaEvent::Opened { session: SESSION }]);
    assert_eq!(goes_to(world.talk(Leg::A, "192.0.2.9:7000", 2)), B);
    world.close();
}

#[test]
fn a_plan_that_cannot_be_relayed_is_refused() {
    let mut world = World::new();
    let many = (0..=LINES_MAX as u16)
        .map(|index| line(index, remote(A), remote(B)))
        .collect();
    world.command(MediaCommand::Open(plan(Recorded::Strict, many)));
    assert!(matches!(world.events().as_slice(), [MediaEvent::OpenFailed { .. }]));
    assert!(world.plane.is_empty() && world.bound.is_empty());
}

/// One line whose B faces us at our IPv6 address, at the same ports.
fn faced_by_ipv6(b: Option<Remote>) -> LinePlan {
    let mut faced = line(0, remote(A), b);
    faced.b.local = address("[2001:db8::1]:40002");
    faced
}

#[test]
fn a_side_moves_to_our_other_address_and_the_old_one_is_free() {
    let mut world = World::call(Recorded::Strict);
    let old = world.port(0, Leg::B, Channel::Rtp);
    world.modify(Recorded::Strict, vec![faced_by_ipv6(None)]);
    assert_eq!(world.events(), [MediaEvent::Opened { session: SESSION }]);
    let mut bound: Vec<_> = world.bound.iter().map(|(_, at)| at.to_string()).collect();
    bound.sort();
    let of_a = ["10.0.0.1:40000", "10.0.0.1:40001"];
    assert_eq!(bound, [of_a[0], of_a[1], "[2001:db8::1]:40002", "[2001:db8::1]:40003"]);
    assert_eq!(
        world.talk(Leg::A, A, 1),
        Verdict::Drop(Dropped::Early),
        "the party who was there is gone"
    );
    assert_eq!(world.send(old, B, &rtp(1, 1)), Verdict::Drop(Dropped::Foreign));
    world.modify(Recorded::Strict, vec![faced_by_ipv6(remote("[2001:db8::9]:6000"))]);
    assert_eq!(goes_to(world.talk(Leg::A, A, 2)), "[2001:db8::9]:6000");
    assert_eq!(goes_to(world.talk(Leg::B, "[2001:db8::9]:6000", 2)), A);
    let tally = world.close();
    assert_eq!((tally.accepted, tally.early, tally.foreign), (2, 1, 1));
}

#[test]
fn a_side_that_cannot_move_has_no_port_and_may_be_moved_again() {
    let mut world = World::call(Recorded::Strict);
    world.taken = vec![address("[2001:db8::1]:40003")];
    world.modify(Recorded::Strict, vec![faced_by_ipv6(remote("[2001:db8::9]:6000"))]);
    let local = address("[2001:db8::1]:40003");
    assert_eq!(
        world.events(),
        [MediaEvent::OpenFailed {
            session: SESSION,
            local
        }]
    );
    assert_eq!(world.bound.len(), 2, "A's");
    assert_eq!(world.talk(Leg::A, A, 1), Verdict::Drop(Dropped::Early));
    world.modify(Recorded::Strict, vec![line(0, remote(A), remote(B))]);
    assert_eq!(world.events(), [MediaEvent::Opened { session: SESSION }]);
    assert_eq!(goes_to(world.talk(Leg::A, A, 2)), B);
    world.close();
}
