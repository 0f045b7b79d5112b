//! REFER executed by us: who asked for it leaves, or is let go, before all is said to it.

use std::time::Duration;

use onrecord::model::Fault;

use super::bench::{B, PROXY, SDP, answer};
use super::executed::{assert_told_last, refers, strict};
use super::party::{ALICE, BOB, CAROL, DAVE};

#[test]
fn a_re_invite_to_a_transferor_that_hangs_up_is_acknowledged_when_its_2xx_comes() {
    let mut bench = strict();
    let [alice, mut bob] = bench.talk(ALICE, BOB, "call-1", "");
    bench.wait(Duration::from_secs(912));
    bench.answers(ALICE, "INVITE", 200, SDP);
    let refresh = bench.newest(B, "INVITE");
    let refer = bob.request("REFER", &format!("Refer-To: <sip:carol@{PROXY}>\r\n"), "");
    bench.from(B, refer);
    bench.answers(BOB, "NOTIFY", 200, "");
    let bye = bob.request("BYE", "", "");
    bench.from(B, bye);
    bench.answers(CAROL, "INVITE", 200, SDP);
    bench.answers(ALICE, "INVITE", 200, SDP);
    bench.answers(BOB, "NOTIFY", 481, "");
    bench.wait(Duration::from_secs(1));
    bench.to_b.clear();
    bench.from(B, answer(&refresh, 200, &bob.local_tag, B, SDP));
    let ack = bench.newest(B, "ACK");
    assert_eq!(ack.headers.cseq().number, refresh.headers.cseq().number);
    bench.hangs_up(alice, CAROL);
    bench.assert_nothing_left();
}

#[test]
fn a_transferor_that_answers_no_notify_is_let_go_at_once_when_the_recorder_is_lost() {
    let mut bench = strict();
    let [mut alice, _] = bench.talk(ALICE, BOB, "call-1", "");
    refers(&mut bench, &mut alice, "");
    bench.answers(DAVE, "INVITE", 200, SDP);
    bench.answers(BOB, "INVITE", 200, SDP);
    bench.story.clear();
    bench.recorder_fails(Fault::DiskFull);
    assert_told_last(&bench, "SIP/2.0 200 OK");
    // Dave, who is of Alice's trunk, and she herself.
    let let_go = bench.story.iter().filter(|rung| *rung == "BYE → A");
    assert_eq!(let_go.count(), 2, "{:#?}", bench.story);
    bench.answers(BOB, "BYE", 200, "");
    bench.assert_nothing_left();
}
