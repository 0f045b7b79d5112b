//! 3xx: passed to the caller, or followed by us where the trunk says so. Another party is decided anew.

use onrecord::engine::Input;
use onrecord::model::{Fault, RecordingCommand};
use onrecord::trunk::{Conduct, Field, Passage, Redirect, Rewrite, Route, Trunk};

use super::bench::{A, ALL_STRICT, B, Bench, C, PROXY, SDP, STRICT, route};
use super::routed::trunk;

pub fn follows() -> Conduct {
    Conduct {
        redirect: Redirect::Follow,
        ..Conduct::default()
    }
}

fn bench_with(files: &[(&str, &str)]) -> Bench {
    Bench::with_branch(files, follows(), follows())
}

fn bench() -> Bench {
    bench_with(&ALL_STRICT)
}

fn granted(to: &str) -> String {
    format!("[[grant]]\npolicy = \"desk\"\nto = [\"{to}\"]\n")
}

fn connect_and_end(bench: &mut Bench) {
    bench.c_answers("INVITE", 180, "");
    bench.c_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(2, "BYE", "bye1", "");
    bench.c_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

fn decline(bench: &mut Bench, status: u16) {
    assert_eq!(bench.response_to_a().status, status);
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn without_a_word_of_it_a_302_is_the_callers_to_follow() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_redirects(302, &["<sip:carol@192.0.2.9>;q=0.7", "<sip:dave@192.0.2.9>"]);
    let answer = bench.response_to_a();
    let contacts: Vec<&str> = answer.headers.get_all("Contact").collect();
    assert_eq!(contacts, ["<sip:carol@192.0.2.9>;q=0.7", "<sip:dave@192.0.2.9>"]);
    decline(&mut bench, 302);
}

#[test]
fn a_302_is_followed_to_the_peer_that_it_names() {
    let mut bench = bench();
    bench.invite(SDP, "Supported: histinfo\r\n");
    bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
    let invite = bench.request_to_c("INVITE");
    assert_eq!(invite.uri.to_string(), format!("sip:carol@{C}"));
    assert_ne!(invite.headers.call_id(), bench.request_to_b("INVITE").headers.call_id());
    assert_eq!(invite.headers.to().uri().to_string(), format!("sip:bob@{PROXY}"));
    let history: Vec<&str> = invite.headers.get_all("History-Info").collect();
    assert_eq!(history.len(), 3, "{history:?}");
    assert_eq!(history[2], format!("<sip:carol@{C}>;index=1.2;mp=1.1"));
    assert_eq!(
        bench.story[5..],
        ["INVITE → B", "B → 302", "ACK → B", "decided", "INVITE → B"]
    );
    assert_eq!(bench.sessions().len(), 1);
    connect_and_end(&mut bench);
}

#[test]
fn data_that_the_contact_brings_is_in_the_invite_to_it_alone() {
    let mut bench = bench();
    bench.invite(SDP, "User-to-User: 00\r\n");
    let brings = format!("<sip:carol@{C}?User-to-User=56a3%3Bencoding%3Dhex&Subject=hi>;q=0.9");
    bench.b_redirects(302, &[&brings, &format!("<sip:dave@{C}>;q=0.1")]);
    let data = |bench: &Bench| {
        let invite = bench.request_to_c("INVITE");
        assert_eq!(invite.headers.get("Subject"), None);
        let values = invite.headers.get_all("User-to-User").map(str::to_owned);
        values.collect::<Vec<_>>()
    };
    assert_eq!(data(&bench), ["56a3;encoding=hex"]);
    bench.c_answers("INVITE", 404, "");
    assert_eq!(data(&bench), ["00"]);
    connect_and_end(&mut bench);
}

#[test]
fn contacts_are_tried_by_q_and_a_user_of_ours_goes_by_the_routes() {
    let mut bench = bench();
    bench.invite(SDP, "");
    let at_us = format!("<sip:7001@{PROXY}>;q=0.9");
    bench.b_redirects(300, &[&format!("<sip:dave@{C}>;q=0.1"), &at_us]);
    assert_eq!(bench.request_to_c("INVITE").uri.to_string(), format!("sip:7001@{C}"));
    bench.c_answers("INVITE", 404, "");
    assert_eq!(bench.request_to_c("INVITE").uri.to_string(), format!("sip:dave@{C}"));
    connect_and_end(&mut bench);
}

#[test]
fn when_all_contacts_have_declined_a_gets_the_last_answer_and_a_6xx_ends_it_at_once() {
    let contacts = [format!("<sip:carol@{C}>"), format!("<sip:dave@{C}>")];
    for (status, asked) in [(486, 2), (603, 1)] {
        let mut bench = bench();
        bench.invite(SDP, "");
        bench.b_redirects(302, &[&contacts[0], &contacts[1]]);
        bench.c_answers("INVITE", status, "");
        if asked == 2 {
            assert_eq!(bench.request_to_c("INVITE").uri.to_string(), format!("sip:dave@{C}"));
            bench.c_answers("INVITE", status, "");
        }
        decline(&mut bench, status);
    }
}

#[test]
fn a_redirect_to_where_it_came_from_or_to_nowhere_is_passed_on() {
    let mut bench = Bench::with_carrier(&[], follows());
    bench.invite(SDP, "");
    // Ourselves: by the routes that is where it came from.
    bench.b_redirects(
        302,
        &[
            &format!("<sip:bob@{PROXY}>"),
            &format!("<sip:bob@{B}>"),
            "<mailto:bob@example.com>",
        ],
    );
    decline(&mut bench, 302);
}

#[test]
fn two_that_send_a_call_to_each_other_do_so_five_times_at_most() {
    let mut bench = bench();
    bench.invite(SDP, "");
    for number in 0..20 {
        let (to_b, to_c) = (bench.to_b.len(), bench.to_c.len());
        if number % 2 == 0 {
            bench.b_redirects(302, &[&format!("<sip:u{number}@{C}>")]);
        } else {
            let mut response = onrecord::sip::Response::to(&bench.request_to_c("INVITE"), 302, None, Some("c-tag"));
            response.headers.push("Contact", format!("<sip:u{number}@{B}>"));
            bench.from(C, response.encode());
        }
        if (to_b, to_c) == (bench.to_b.len(), bench.to_c.len()) {
            break;
        }
        if bench.response_to_a().status == 302 {
            assert_eq!(number, 5);
            break;
        }
    }
    decline(&mut bench, 302);
}

#[test]
fn of_a_hundred_contacts_five_are_tried() {
    let mut bench = bench();
    bench.invite(SDP, "");
    let contacts: Vec<String> = (0..100).map(|number| format!("<sip:u{number}@{C}>")).collect();
    let contacts: Vec<&str> = contacts.iter().map(String::as_str).collect();
    bench.b_redirects(300, &contacts);
    for number in 0..5 {
        assert_eq!(
            bench.request_to_c("INVITE").uri.to_string(),
            format!("sip:u{number}@{C}")
        );
        bench.c_answers("INVITE", 404, "");
    }
    decline(&mut bench, 404);
}

#[test]
fn a_party_that_a_policy_forbids_is_not_called() {
    let forbid = "[policy]\nid = \"never\"\nenabled = true\naction = \"block\"\n";
    let grants = "[[grant]]\npolicy = \"never\"\nto = [\"user:sip:carol@127.0.0.1\"]\n";
    let mut bench = bench_with(&[("never.toml", forbid), ("grants.toml", grants)]);
    bench.invite(SDP, "");
    bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
    assert!(bench.to_c.is_empty());
    decline(&mut bench, 403);
}

#[test]
fn a_party_that_must_be_recorded_is_called_once_the_recording_is_open() {
    let grants = granted("user:sip:carol@127.0.0.1");
    let mut bench = bench_with(&[("desk.toml", STRICT), ("grants.toml", &grants)]);
    bench.recorder_answers = false;
    bench.invite(SDP, "");
    assert_eq!(bench.sessions().len(), 0, "nobody records bob");
    bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
    assert_eq!(bench.sessions().len(), 1);
    assert!(bench.to_c.is_empty(), "carol is not called before it is ready");
    let session = bench.session();
    bench.input(onrecord::engine::Input::Recording(
        onrecord::model::RecordingEvent::Ready { session },
    ));
    let kept = bench.recording.iter().find_map(|command| match command {
        RecordingCommand::Signal { bytes, .. } => Some(bytes.clone()),
        _ => None,
    });
    assert!(
        kept.unwrap().starts_with(b"INVITE sip:bob@"),
        "the recording begins with A's INVITE"
    );
    bench.recorder_answers = true;
    connect_and_end(&mut bench);
    assert!(
        bench.story.contains(&"recorded: BYE from A".to_owned()),
        "{:?}",
        bench.story
    );
}

#[test]
fn a_party_that_must_be_recorded_and_cannot_be_is_not_called() {
    let grants = granted("user:sip:carol@127.0.0.1");
    let mut bench = bench_with(&[("desk.toml", STRICT), ("grants.toml", &grants)]);
    bench.recorder_fails(Fault::DiskFull);
    bench.invite(SDP, "");
    bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
    assert!(bench.to_c.is_empty());
    decline(&mut bench, 603);
}

#[test]
fn a_cancel_while_the_new_partys_recording_is_awaited_ends_the_call() {
    let grants = granted("user:sip:carol@127.0.0.1");
    let mut bench = bench_with(&[("desk.toml", STRICT), ("grants.toml", &grants)]);
    bench.recorder_answers = false;
    bench.invite(SDP, "");
    bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
    bench.recorder_answers = true;
    bench.from(A, super::ordinary::cancel());
    assert_eq!(bench.response_to_a().status, 487);
    assert!(bench.to_c.is_empty());
    bench.a_requests(1, "ACK", "a1", "");
    bench.assert_nothing_left();
}

#[test]
fn who_sent_the_call_on_is_recorded_by_its_own_policy() {
    for (rerouted, recorded) in [(true, true), (false, false)] {
        let wanted = format!("enabled = true\nrecord_rerouted_calls = {rerouted}");
        let policy = STRICT.replace("enabled = true", &wanted);
        let grants = granted("user:sip:bob@127.0.0.1");
        let mut bench = bench_with(&[("desk.toml", &policy), ("grants.toml", &grants)]);
        bench.invite(SDP, "");
        assert_eq!(bench.sessions().len(), 1, "bob is recorded");
        bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
        let plan = bench.media.iter().rev().find_map(|command| match command {
            onrecord::model::MediaCommand::Open(plan) | onrecord::model::MediaCommand::Modify(plan) => {
                Some(plan.recorded)
            }
            _ => None,
        });
        assert_eq!(plan.unwrap() != onrecord::model::Recorded::No, recorded);
        connect_and_end(&mut bench);
    }
}

#[test]
fn a_302_to_the_emergency_services_is_followed_as_one_to_their_number_is() {
    for (contact, target) in [("tel:112", "tel:112"), ("urn:service:sos", "urn:service:sos")] {
        let mut bench = bench();
        bench.invite(SDP, "");
        bench.b_redirects(302, &[&format!("<{contact}>")]);
        let invites = bench.to_b.iter().filter_map(|message| match message {
            onrecord::sip::Message::Request(request) if request.method.as_str() == "INVITE" => {
                Some(request.uri.to_string())
            }
            _ => None,
        });
        let invites: Vec<String> = invites.collect();
        assert_eq!(invites.len(), 2, "{contact}");
        assert!(invites[1].starts_with(target), "{invites:?}");
        bench.b_answers("INVITE", 180, "");
        bench.recorder_fails(Fault::DiskFull);
        assert_eq!(bench.response_to_a().status, 180, "it is strict no more");
        bench.b_answers("INVITE", 200, SDP);
        assert_eq!(bench.response_to_a().status, 200);
    }
}

/// Calls of the pbx lose a leading 9 before three or four digits, and its numbers are E.164.
fn with_rules(files: &[(&str, &str)], routes: Vec<Route>) -> Bench {
    let mut bench = Bench::with(files);
    let rule = Rewrite::new(Passage::In, Field::parse("request_uri").unwrap(), r"^9(\d{3,4})$", "$1");
    let pbx = Trunk {
        e164: true,
        rewrites: vec![rule.unwrap()],
        ..trunk("pbx", A)
    };
    let carrier = Trunk {
        conduct: follows(),
        ..trunk("carrier", B)
    };
    bench.input(Input::Trunks {
        trunks: vec![pbx, carrier, trunk("branch", C)],
        routes,
    });
    bench
}

fn route_of(prefix: &str, to: &str) -> Route {
    route("pbx", to, Some(prefix))
}

#[test]
fn a_peer_that_a_contact_names_is_decided_for_as_it_is_asked() {
    let block = "[policy]\nid = \"no\"\nenabled = true\naction = \"block\"\n[[policy.recorder]]\nid = \"embedded\"\n";
    let grants = "[[grant]]\npolicy = \"no\"\nto = [\"user:95551\", \"user:9112\"]\n";
    let files = [("no.toml", block), ("grants.toml", grants)];
    for (user, status) in [
        ("95551", Some(403)),
        ("9112", Some(403)),
        ("5551", None),
        ("95552", None),
    ] {
        let mut bench = with_rules(&files, vec![route_of("", "carrier"), route_of("x", "branch")]);
        bench.invite(SDP, "");
        bench.b_redirects(302, &[&format!("<sip:{user}@{C}>")]);
        match status {
            Some(status) => {
                assert!(bench.to_c.is_empty(), "{user}");
                assert_eq!(bench.response_to_a().status, status);
            }
            None => assert_eq!(bench.request_to_c("INVITE").uri.user(), Some(user), "as it is"),
        }
    }
}

#[test]
fn a_contact_that_goes_by_the_routes_is_called_as_if_the_caller_had_dialled_it() {
    let block = "[policy]\nid = \"no\"\nenabled = true\naction = \"block\"\n[[policy.recorder]]\nid = \"embedded\"\n";
    let grants = "[[grant]]\npolicy = \"no\"\nto = [\"number:+442079460009\"]\n";
    let plan = "[[dial_plan]]\ncountry_code = \"44\"\n";
    let files = [("no.toml", block), ("grants.toml", grants), ("plan.toml", plan)];
    let routes = || {
        vec![
            route_of("+44", "branch"),
            route_of("5", "branch"),
            route_of("112", "branch"),
            route_of("bob", "carrier"),
        ]
    };
    for (user, called) in [
        ("02079460001", Some("+442079460001")),
        ("95551", Some("5551")),
        ("9112", Some("112")),
        ("02079460009", None),
    ] {
        let mut bench = with_rules(&files, routes());
        bench.invite(SDP, "");
        bench.b_redirects(302, &[&format!("<sip:{user}@{PROXY}>")]);
        match called {
            Some(called) => assert_eq!(bench.request_to_c("INVITE").uri.user(), Some(called)),
            None => {
                assert!(bench.to_c.is_empty());
                assert_eq!(bench.response_to_a().status, 403);
            }
        }
    }
}
