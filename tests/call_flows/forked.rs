//! One INVITE, several phones: early dialogs that live side by side, and the one that wins (RFC 3261 §13.2.2.4).

use super::bench::{Bench, SDP, audio_at};

fn b_port(bench: &Bench) -> Option<u16> {
    bench.plan().lines[0].b.remote.map(|remote| remote.rtp.port())
}

fn a_port(bench: &Bench) -> Option<u16> {
    bench.plan().lines[0].a.remote.map(|remote| remote.rtp.port())
}

/// Two phones sent early media; gives the tags that A knows them by.
fn two_forks(bench: &mut Bench) -> (String, String) {
    bench.invite(SDP, "Supported: 100rel\r\n");
    bench.fork_answers("fork-1", 183, "", &audio_at(5001));
    let first = bench.our_tag();
    bench.fork_answers("fork-2", 183, "", &audio_at(5002));
    (first, bench.our_tag())
}

#[test]
fn each_fork_is_an_early_dialog_of_its_own_and_the_newest_is_heard() {
    let mut bench = Bench::strict();
    let (first, second) = two_forks(&mut bench);
    assert_ne!(first, second);
    assert!(!bench.response_to_a().body.is_empty());
    assert_eq!(b_port(&bench), Some(5002));
    bench.fork_answers("fork-1", 180, "", "");
    assert_eq!(bench.our_tag(), first);
    assert_eq!(b_port(&bench), Some(5002), "ringing moves no media");
    bench.fork_answers("fork-3", 180, "", "");
    let third = bench.our_tag();
    assert!(third != first && third != second);
    assert_eq!(b_port(&bench), Some(5002));
}

#[test]
fn the_first_2xx_wins_under_the_tag_that_a_knows_it_by() {
    let mut bench = Bench::strict();
    let (first, _) = two_forks(&mut bench);
    bench.fork_answers("fork-1", 200, "", &audio_at(5001));
    assert_eq!((bench.response_to_a().status, bench.our_tag()), (200, first.clone()));
    assert_eq!(b_port(&bench), Some(5001));
    bench.a_requests_in(&first, 1, "ACK", "", "");
    assert_eq!(bench.request_to_b("ACK").headers.to().tag(), Some("fork-1"));
    bench.story.clear();
    bench.fork_answers("fork-2", 200, "", &audio_at(5002));
    assert_eq!(bench.story, ["B → 200", "ACK → B", "BYE → B"]);
    assert_eq!(bench.request_to_b("BYE").headers.to().tag(), Some("fork-2"));
    bench.b_agrees("BYE", 200, "");
    bench.a_requests_in(&first, 2, "BYE", "", "");
    assert_eq!(bench.request_to_b("BYE").headers.to().tag(), Some("fork-1"));
    bench.b_agrees("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_2xx_of_a_phone_that_never_rang_gets_a_tag_of_its_own() {
    let mut bench = Bench::strict();
    let (first, second) = two_forks(&mut bench);
    bench.fork_answers("fork-3", 200, "", &audio_at(5003));
    let third = bench.our_tag();
    assert!(third != first && third != second);
    assert_eq!(b_port(&bench), Some(5003));
    bench.a_requests_in(&third, 1, "ACK", "", "");
    bench.a_requests_in(&first, 2, "BYE", "", "");
    assert_eq!(bench.response_to_a().status, 481, "that early dialog is over");
    bench.a_requests_in(&third, 2, "BYE", "", "");
    bench.b_agrees("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn requests_of_either_side_find_their_fork() {
    let mut bench = Bench::strict();
    let (first, second) = two_forks(&mut bench);
    bench.a_requests_in(&first, 2, "INFO", "", "");
    let info = bench.request_to_b("INFO");
    assert_eq!(
        (info.headers.to().tag(), info.headers.cseq().number),
        (Some("fork-1"), 2)
    );
    bench.b_agrees("INFO", 200, "");
    bench.a_requests_in(&second, 2, "INFO", "", "");
    let info = bench.request_to_b("INFO");
    assert_eq!(
        (info.headers.to().tag(), info.headers.cseq().number),
        (Some("fork-2"), 2)
    );
    bench.fork_requests("fork-1", 1, "INFO", "", "");
    assert_eq!(bench.request_to_a("INFO").headers.from().tag(), Some(first.as_str()));
    bench.fork_requests("fork-9", 1, "INFO", "", "");
    assert_eq!(bench.response_to_b().status, 481);
}

#[test]
fn an_update_in_one_fork_does_not_touch_the_agreement_of_another() {
    let mut bench = Bench::strict();
    let (first, second) = two_forks(&mut bench);
    bench.a_requests_in(&first, 2, "UPDATE", "", &audio_at(4010));
    assert_eq!(bench.request_to_b("UPDATE").headers.to().tag(), Some("fork-1"));
    bench.b_agrees("UPDATE", 200, &audio_at(5011));
    assert_eq!(bench.response_to_a().headers.to().tag(), Some(first.as_str()));
    assert_eq!(b_port(&bench), Some(5011), "what agreed last is heard");
    assert_eq!(
        bench.plan().lines[0].a.remote.map(|remote| remote.rtp.port()),
        Some(4010)
    );
    bench.fork_answers("fork-2", 200, "", &audio_at(5002));
    assert_eq!(bench.our_tag(), second);
    assert_eq!(b_port(&bench), Some(5002));
    assert_eq!(
        bench.plan().lines[0].a.remote.map(|remote| remote.rtp.port()),
        Some(4000)
    );
}

#[test]
fn what_was_asked_in_a_fork_that_lost_is_answered() {
    let mut bench = Bench::strict();
    let (first, _) = two_forks(&mut bench);
    bench.a_requests_in(&first, 2, "UPDATE", "", &audio_at(4010));
    bench.fork_answers("fork-2", 200, "", &audio_at(5002));
    assert!(bench.story.contains(&"487 → A".to_owned()), "{:?}", bench.story);
    assert_eq!(bench.response_to_a().status, 200);
    assert_eq!(b_port(&bench), Some(5002));
}

#[test]
fn a_bye_ends_one_early_dialog_and_the_last_one_ends_the_call() {
    let mut bench = Bench::strict();
    let (first, second) = two_forks(&mut bench);
    bench.a_requests_in(&second, 2, "BYE", "", "");
    assert_eq!(bench.request_to_b("BYE").headers.to().tag(), Some("fork-2"));
    assert_eq!(b_port(&bench), Some(5001), "the one that is left is heard");
    assert!(!bench.story.contains(&"487 → A".to_owned()));
    bench.b_agrees("BYE", 200, "");
    bench.a_requests_in(&first, 2, "BYE", "", "");
    assert_eq!(bench.response_to_a().status, 487);
    assert!(bench.story.contains(&"CANCEL → B".to_owned()));
    bench.b_agrees("CANCEL", 200, "");
    bench.fork_answers("fork-1", 487, "", "");
    bench.a_requests_in(&first, 1, "ACK", "", "");
    bench.assert_nothing_left();
}

#[test]
fn a_hundred_forks_cost_sixteen_and_a_2xx_is_taken_from_any() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    for n in 0..100 {
        bench.fork_answers(&format!("fork-{n}"), 183, "", &audio_at(5000));
    }
    let rang = bench.story.iter().filter(|rung| *rung == "183 → A").count();
    assert_eq!(rang, 16);
    assert!(
        bench.signaling.leftovers()[3] <= 18,
        "tags: {:?}",
        bench.signaling.leftovers()
    );
    bench.fork_answers("fork-99", 200, "", &audio_at(5099));
    assert_eq!(bench.response_to_a().status, 200);
    assert_eq!(b_port(&bench), Some(5099));
    let winner = bench.our_tag();
    bench.a_requests_in(&winner, 1, "ACK", "", "");
    bench.a_requests_in(&winner, 2, "BYE", "", "");
    bench.b_agrees("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn a_cancel_ends_all_forks() {
    let mut bench = Bench::strict();
    let (first, _) = two_forks(&mut bench);
    let cancel = String::from_utf8(super::bench::invite(1, "a1", "", "", "").to_vec()).unwrap();
    bench.from(super::bench::A, cancel.replace("INVITE", "CANCEL").into());
    assert_eq!(bench.response_to_a().status, 487);
    bench.b_agrees("CANCEL", 200, "");
    bench.fork_answers("fork-2", 487, "", "");
    bench.a_requests_in(&first, 1, "ACK", "", "");
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn the_recorders_loss_gates_whatever_fork_is_heard() {
    let mut bench = Bench::strict();
    two_forks(&mut bench);
    bench.recorder_fails(onrecord::model::Fault::DiskFull);
    assert!(bench.story.contains(&"gated".to_owned()));
    assert!(bench.story.contains(&"603 → A".to_owned()), "{:?}", bench.story);
    assert!(bench.story.contains(&"CANCEL → B".to_owned()));
}

#[test]
fn an_offer_in_flight_in_one_fork_leaves_the_answer_of_another_as_it_is() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "Supported: 100rel\r\n");
    bench.fork_answers("fork-1", 183, "", &audio_at(5001));
    let first = bench.our_tag();
    bench.a_requests_in(&first, 2, "UPDATE", "", &audio_at(4010));
    bench.fork_answers("fork-2", 183, "", &audio_at(5002));
    assert_eq!(b_port(&bench), Some(5002));
    bench.b_agrees("UPDATE", 200, &audio_at(5011));
    bench.fork_answers("fork-2", 200, "", &audio_at(5002));
    assert_eq!((a_port(&bench), b_port(&bench)), (Some(4000), Some(5002)));
}

#[test]
fn the_winner_answers_the_offer_of_the_call_though_a_loser_left_one_open() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "Supported: 100rel\r\n");
    bench.fork_answers("fork-1", 183, "", &audio_at(5001));
    let first = bench.our_tag();
    bench.fork_answers("fork-2", 180, "", "");
    bench.a_requests_in(&first, 2, "UPDATE", "", &audio_at(4010));
    bench.fork_answers("fork-2", 200, "", &audio_at(5002));
    assert_eq!((a_port(&bench), b_port(&bench)), (Some(4000), Some(5002)));
}

#[test]
fn a_fork_that_answers_after_the_one_that_a_hung_up_on_is_ended_too() {
    let mut bench = Bench::strict();
    let (first, _) = two_forks(&mut bench);
    bench.recorder_answers = false;
    bench.a_requests_in(&first, 2, "BYE", "", "");
    bench.fork_answers("fork-1", 200, "", &audio_at(5001));
    assert_eq!(bench.signaling.calls(), 1, "it waits for its recording");
    bench.story.clear();
    bench.fork_answers("fork-2", 200, "", &audio_at(5002));
    assert_eq!(bench.story, ["B → 200", "ACK → B", "BYE → B"]);
    assert_eq!(bench.request_to_b("BYE").headers.to().tag(), Some("fork-2"));
}
