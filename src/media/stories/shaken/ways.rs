//! Where a peer is that tries its ways (RFC 8445): where it has proved that it is.

use super::*;

const ELSEWHERE: &str = "203.0.113.9:61000";

#[test]
fn a_way_that_its_peer_has_proved_counts_and_no_address_that_was_signalled() {
    let mut call = Shaken::new(true, true);
    let port = call.port();
    assert!(call.world.sent.is_empty(), "nobody is there yet");
    let hello = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0];
    call.own(A, &hello);
    call.own(A, &check("ours:phone", "not the password of ours, is it", &[NOMINATED]));
    assert!(call.world.sent.is_empty());
    assert_eq!(call.world.send(port, A, &rtp(7, 1)), Verdict::Drop(Dropped::Foreign));
    call.own(ELSEWHERE, &check("ours:phone", PASSWORD, &[NOMINATED]));
    let (_, to, answer) = call.world.sent.remove(0);
    assert_eq!((to, &answer[..2]), (address(ELSEWHERE), &[1, 1][..]));
    call.talk(ELSEWHERE);
    call.assert_talks(ELSEWHERE);
    assert_eq!(call.world.close().foreign, 3);
}

/// With other credentials and another certificate, as a page has them that begins anew.
fn anew(call: &mut Shaken) -> Box<MediaPlan> {
    let theirs = identity();
    let ours = Arc::clone(&call.ours);
    call.phone = End::new(call.world.now, handshake(&theirs, &ours, false));
    let mut plan = Shaken::plan(handshake(&ours, &theirs, true), true);
    plan.keys[0].ice[0] = Some(Arc::new(IceLite {
        theirs: "anew".to_owned(),
        ..(*lite()).clone()
    }));
    plan
}

#[test]
fn a_peer_that_begins_anew_is_said_hello_to_where_it_is_now() {
    let mut call = Shaken::new(true, true);
    call.own(A, &check("ours:phone", PASSWORD, &[NOMINATED]));
    call.world.sent.remove(0);
    call.talk(A);
    call.assert_talks(A);
    let plan = anew(&mut call);
    call.world.command(MediaCommand::Open(plan));
    call.tick(Duration::from_secs(5));
    assert!(call.world.sent.is_empty(), "nothing goes to where it was");
    call.own(ELSEWHERE, &check("ours:anew", PASSWORD, &[]));
    call.world.sent.remove(0);
    call.talk(ELSEWHERE);
    call.own(ELSEWHERE, &check("ours:anew", PASSWORD, &[NOMINATED]));
    call.world.sent.clear();
    call.assert_talks(ELSEWHERE);
}

#[test]
fn a_hello_without_an_answer_follows_the_way_that_the_peer_nominates() {
    let mut call = Shaken::new(true, true);
    call.own(A, &check("ours:phone", PASSWORD, &[]));
    assert_eq!(
        call.world.sent.len(),
        2,
        "the check is answered, and a hello said, which is lost"
    );
    call.world.sent.clear();
    call.own(ELSEWHERE, &check("ours:phone", PASSWORD, &[NOMINATED]));
    call.world.sent.clear();
    call.phone.sends();
    call.tick(Duration::from_secs(2));
    call.talk(ELSEWHERE);
    call.assert_talks(ELSEWHERE);
}

#[test]
fn media_follows_the_nominated_way() {
    let mut call = Shaken::new(false, true);
    call.own(A, &check("ours:phone", PASSWORD, &[NOMINATED]));
    call.world.sent.clear();
    call.talk(A);
    call.own(ELSEWHERE, &check("ours:phone", PASSWORD, &[NOMINATED]));
    call.world.sent.clear();
    call.assert_talks(ELSEWHERE);
    let tally = call.world.close();
    assert_eq!((tally.foreign, tally.forwarded), (0, 2));
}
