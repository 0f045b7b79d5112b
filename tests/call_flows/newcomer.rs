//! Who is at an end of the call by the word of the network (RFC 3325 §9.1): another party, another decision.

use onrecord::model::{Fault, Gate, Header, Leg, Mark, Outcome, Recorded, RecordingCommand};
use onrecord::sip::{Message, Method};
use onrecord::trunk::{Conduct, Redirect};

use super::bench::{A, B, Bench, C, CLERK, LENIENT, SDP, STRICT, TO_TRADER, TRADER, invite, with_lines};
use super::connected::connections;

const OLDER: &str = "Remote-Party-ID: \"Trader\" <sip:trader@example.com>;party=called;privacy=off\r\n";
const BOB_AGAIN: &str = "P-Asserted-Identity: <sip:bob@example.com>\r\n";

/// Alice and Bob talk, unrecorded.
fn talking() -> Bench {
    let bench = Bench::for_trader().connected();
    assert_eq!(bench.sessions().len(), 0);
    bench
}

fn statuses(messages: &[Message]) -> Vec<u16> {
    let status = |message: &Message| match message {
        Message::Response(response) => Some(response.status),
        Message::Request(_) => None,
    };
    messages.iter().filter_map(status).collect()
}

fn requests(messages: &[Message]) -> Vec<Method> {
    let method = |message: &Message| match message {
        Message::Request(request) => Some(request.method.clone()),
        Message::Response(_) => None,
    };
    messages.iter().filter_map(method).collect()
}

fn outcome(bench: &Bench) -> Option<Outcome> {
    bench.recording.iter().rev().find_map(|command| match command {
        RecordingCommand::Keep { closing, .. } | RecordingCommand::Close { closing, .. } => Some(closing.outcome),
        _ => None,
    })
}

/// B's 2xx, with these lines, to the newest request of that method.
fn b_accepts(bench: &mut Bench, method: &str, more: &str, sdp: &str) {
    let bytes = super::bench::answer(&bench.request_to_b(method), 200, "b-tag", B, sdp);
    bench.from(B, with_lines(&bytes, more));
}

#[test]
fn who_answers_instead_of_who_was_called_is_recorded_before_the_caller_hears_of_it() {
    for more in [TRADER, OLDER] {
        let mut bench = Bench::for_trader();
        bench.recorder_answers = false;
        bench.invite(SDP, "");
        bench.fork_answers("b-tag", 200, more, SDP);
        assert_eq!(statuses(&bench.to_a), [100], "the 200 waits for the recorder");
        assert_eq!(bench.sessions().len(), 1);
        assert_eq!(bench.gates(), [Gate::Shut], "early media too");
        bench.fork_answers("b-tag", 200, more, SDP);
        assert_eq!(requests(&bench.to_b), [Method::Invite], "its copy changes nothing");
        bench.recording_opens();
        assert_eq!(statuses(&bench.to_a), [100, 200]);
        assert_eq!(bench.gates(), [Gate::Shut, Gate::Open]);
        assert_eq!(bench.recorded(), Some(Recorded::Strict));
        assert_eq!(
            connections(&bench),
            [(Leg::B, "\"Trader\" <sip:trader@example.com>".to_owned())].map(|(leg, party)| {
                let params = if more == OLDER { ";party=called;privacy=off" } else { "" };
                (leg, format!("{party}{params}"))
            })
        );
        bench.a_requests(1, "ACK", "ack", "");
        bench.recorder_fails(Fault::Io);
        assert_eq!(bench.request_to_b("BYE").method, Method::Bye);
        assert_eq!(bench.request_to_a("BYE").method, Method::Bye);
    }
}

#[test]
fn who_answers_and_cannot_be_recorded_is_acknowledged_and_let_go_and_the_caller_refused() {
    let mut bench = Bench::for_trader();
    bench.recorder_fails(Fault::Io);
    bench.invite(SDP, "");
    bench.fork_answers("b-tag", 200, TRADER, SDP);
    assert_eq!(statuses(&bench.to_a), [100, 603]);
    assert_eq!(requests(&bench.to_b), [Method::Invite, Method::Ack, Method::Bye]);
    b_accepts(&mut bench, "BYE", "", "");
    bench.a_requests(1, "ACK", "a1", "");
    assert_eq!(outcome(&bench), Some(Outcome::Blocked));
    let RecordingCommand::Keep { header, .. } = bench.recording.last().unwrap() else {
        panic!("it is kept")
    };
    assert_eq!(header.callee.identity, "sip:trader@example.com");
    bench.assert_nothing_left();
}

#[test]
fn a_recording_that_who_answered_waits_for_and_that_does_not_open_or_is_not_waited_for_ends_it() {
    for is_cancelled in [false, true] {
        let mut bench = Bench::for_trader();
        bench.recorder_answers = false;
        bench.invite(SDP, "");
        bench.fork_answers("b-tag", 200, TRADER, SDP);
        if is_cancelled {
            let cancel = String::from_utf8(invite(1, "a1", "", "", "").to_vec()).unwrap();
            bench.from(A, cancel.replace("INVITE", "CANCEL").into());
            assert!(statuses(&bench.to_a).contains(&487));
        } else {
            bench.recording_does_not_open(Fault::Io);
            assert!(statuses(&bench.to_a).contains(&603));
        }
        assert_eq!(requests(&bench.to_b), [Method::Invite, Method::Ack, Method::Bye]);
        assert!(!statuses(&bench.to_a).contains(&200) || is_cancelled);
    }
    let mut bench = Bench::for_trader();
    bench.recorder_answers = false;
    bench.invite(SDP, "");
    bench.fork_answers("b-tag", 200, TRADER, SDP);
    bench.wait(std::time::Duration::from_secs(3));
    assert!(statuses(&bench.to_a).contains(&603), "it does not answer at all");
}

#[test]
fn where_nothing_has_to_be_open_first_the_answer_crosses_at_once() {
    let mut bench = Bench::with(&[("desk.toml", LENIENT), ("grants.toml", TO_TRADER)]);
    bench.recorder_answers = false;
    bench.invite(SDP, "");
    bench.fork_answers("b-tag", 200, TRADER, SDP);
    assert_eq!(statuses(&bench.to_a), [100, 200]);
    assert_eq!(bench.sessions().len(), 1);
}

#[test]
fn a_transferred_callee_is_recorded_before_its_update_goes_on_and_so_is_a_picked_up_caller() {
    for side in Leg::BOTH {
        let mut bench = talking();
        bench.recorder_answers = false;
        let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
        match side {
            Leg::B => bench.fork_requests("b-tag", 9, "UPDATE", TRADER, SDP),
            Leg::A => bench.a_requests_in(&tag, 9, "UPDATE", TRADER, SDP),
        }
        let (asked, to) = match side {
            Leg::B => (&bench.to_a, Leg::A),
            Leg::A => (&bench.to_b, Leg::B),
        };
        assert!(!requests(asked).contains(&Method::Update), "{to} hears nothing yet");
        assert_eq!(bench.gates(), [Gate::Shut]);
        bench.recording_opens();
        match side {
            Leg::B => bench.a_answers("UPDATE", 200, SDP),
            Leg::A => b_accepts(&mut bench, "UPDATE", "", SDP),
        }
        assert_eq!(bench.gates(), [Gate::Shut, Gate::Open]);
        assert_eq!(bench.recorded(), Some(Recorded::Strict));
        let header = bench.headers()[0];
        let party = match side {
            Leg::A => &header.caller,
            Leg::B => &header.callee,
        };
        assert_eq!(party.identity, "sip:trader@example.com");
        assert_eq!(party.display_name.as_deref(), Some("Trader"));
        assert_eq!(party.raw[0].0, "P-Asserted-Identity");
        assert_eq!(connections(&bench).len(), 1);
    }
}

#[test]
fn readers_see_who_is_there_once_a_change_holds() {
    for policy in [STRICT, LENIENT] {
        let mut bench = Bench::with(&[("desk.toml", policy), ("grants.toml", TO_TRADER)]).connected();
        bench.fork_requests("b-tag", 9, "UPDATE", TRADER, "");
        bench.a_answers("UPDATE", 200, "");
        let view = &bench.views[&bench.session()];
        assert_eq!((view.callee.as_str(), view.survives), ("sip:trader@example.com", true));
        assert_eq!((view.policies.len(), view.strict), (1, policy == STRICT));
        bench.fork_requests("b-tag", 10, "UPDATE", BOB_AGAIN, "");
        bench.a_answers("UPDATE", 200, "");
        let view = &bench.views[&bench.session()];
        assert_eq!(view.callee, "sip:bob@example.com");
    }
}

#[test]
fn a_request_of_who_cannot_be_recorded_is_refused_and_the_call_stays() {
    for method in ["UPDATE", "INVITE"] {
        let mut bench = talking();
        bench.recorder_fails(Fault::Io);
        bench.fork_requests("b-tag", 9, method, TRADER, SDP);
        assert_eq!(bench.response_to_b().status, 488);
        assert!(!requests(&bench.to_a).contains(&Method::Update));
        assert_eq!(bench.signaling.calls(), 1);
        bench.fork_requests("b-tag", 10, "UPDATE", CLERK, SDP);
        assert_eq!(
            bench.request_to_a("UPDATE").method,
            Method::Update,
            "nobody records the clerk"
        );
    }
}

#[test]
fn who_accepts_a_reinvite_or_update_is_recorded_from_there_or_the_call_ends() {
    for method in ["UPDATE", "INVITE"] {
        let accepts = |bench: &mut Bench| {
            let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
            bench.a_requests_in(&tag, 2, method, "", SDP);
            b_accepts(bench, method, TRADER, SDP);
        };
        for opens in [true, false] {
            let mut bench = talking();
            bench.recorder_answers = false;
            accepts(&mut bench);
            assert_eq!(bench.gates(), [Gate::Shut], "no media before it is open");
            if opens {
                bench.recording_opens();
                assert_eq!(bench.gates(), [Gate::Shut, Gate::Open]);
                assert_eq!(bench.recorded(), Some(Recorded::Strict));
            } else {
                bench.recording_does_not_open(Fault::Io);
                assert_eq!(bench.gates(), [Gate::Shut]);
                assert!(requests(&bench.to_b).contains(&Method::Bye));
            }
        }
        let mut bench = talking();
        bench.recorder_fails(Fault::Io);
        accepts(&mut bench);
        assert_eq!(bench.request_to_b("BYE").method, Method::Bye);
        assert_eq!(bench.request_to_a("BYE").method, Method::Bye);
        assert!(statuses(&bench.to_a).contains(&488));
    }
}

#[test]
fn a_call_where_only_the_beginning_is_strict_ends_if_who_accepted_cannot_be_recorded() {
    let before = "[policy]\nid = \"desk\"\nenabled = true\n[[policy.recorder]]\nid = \"embedded\"\nrequired_during_call = false\n";
    let mut bench = Bench::with(&[("desk.toml", before), ("grants.toml", TO_TRADER)]).connected();
    bench.recorder_answers = false;
    let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
    bench.a_requests_in(&tag, 2, "UPDATE", "", "");
    b_accepts(&mut bench, "UPDATE", TRADER, "");
    bench.recording_does_not_open(Fault::Io);
    assert_eq!(bench.request_to_b("BYE").method, Method::Bye);
    assert_eq!(bench.gates(), [Gate::Shut], "and no media in between");
}

#[test]
fn an_untrusted_trunk_vouches_for_nobody() {
    let mut bench = Bench::between([true, false], &[("desk.toml", STRICT), ("grants.toml", TO_TRADER)]);
    bench.recorder_fails(Fault::Io);
    bench.invite(SDP, "");
    bench.fork_answers("b-tag", 200, TRADER, SDP);
    assert_eq!(statuses(&bench.to_a), [100, 200]);
    bench.a_requests(1, "ACK", "ack", "");
    bench.fork_requests("b-tag", 9, "UPDATE", OLDER, SDP);
    assert_eq!(bench.request_to_a("UPDATE").method, Method::Update);
    assert_eq!(bench.sessions().len(), 0);
}

#[test]
fn who_is_recorded_stays_recorded_whoever_comes() {
    let mut bench = Bench::for_trader();
    let call = String::from_utf8(invite(1, "a1", "", SDP, "").to_vec()).unwrap();
    bench.from(
        A,
        call.replace("sip:bob@127.0.0.1:5070", "sip:trader@example.com").into(),
    );
    bench.fork_answers("b-tag", 200, CLERK, SDP);
    assert_eq!(statuses(&bench.to_a), [100, 200]);
    assert_eq!(bench.sessions().len(), 1);
    assert_eq!(connections(&bench).len(), 1);
    assert_eq!(bench.recorded(), Some(Recorded::Strict));
    bench.a_requests(1, "ACK", "ack", "");
    bench.recorder_fails(Fault::Io);
    assert_eq!(bench.request_to_a("BYE").method, Method::Bye);
    bench.a_answers("BYE", 200, "");
    b_accepts(&mut bench, "BYE", "", "");
    let became = became(&bench).expect("its parties changed");
    assert_eq!(became.callee.identity, "sip:clerk@example.com");
    assert_eq!(became.policies, ["desk".into()]);
    assert!(became.strict_during);
}

/// The opening record as it would be at the end of the newest recording, where it changed.
fn became(bench: &Bench) -> Option<&Header> {
    bench.recording.iter().rev().find_map(|command| match command {
        RecordingCommand::Close { closing, .. } => closing.became.as_deref(),
        _ => None,
    })
}

#[test]
fn a_recording_tells_in_the_end_who_was_called_after_a_3xx_and_by_which_policy() {
    let loose = LENIENT.replace("\"desk\"", "\"loose\"");
    let grants = "[[grant]]\npolicy = \"loose\"\nto = [\"user:bob@127.0.0.1\"]\n[[grant]]\npolicy = \"desk\"\nto = [\"user:carol@127.0.0.1\"]\n";
    let files = [("loose.toml", &*loose), ("desk.toml", STRICT), ("grants.toml", grants)];
    for is_sent_on in [true, false] {
        let conduct = || Conduct {
            redirect: Redirect::Follow,
            ..Conduct::default()
        };
        let mut bench = Bench::with_branch(&files, conduct(), conduct());
        bench.invite(SDP, "");
        if is_sent_on {
            bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
            bench.c_answers("INVITE", 486, "");
        } else {
            bench.b_answers("INVITE", 486, "");
        }
        bench.a_requests(1, "ACK", "a1", "");
        assert_eq!(bench.sessions().len(), 1);
        assert_eq!(bench.headers()[0].policies, ["loose".into()]);
        let told = became(&bench).map(|header| (header.callee.identity.as_str(), header.strict_during));
        assert_eq!(told, is_sent_on.then_some(("sip:carol@127.0.0.1", true)));
        let notes = bench.recording.iter().filter(|command| {
            matches!(command, RecordingCommand::Mark { mark: Mark::Note(note), .. } if note == "decided anew: desk: record, strict")
        });
        assert_eq!(notes.count(), usize::from(is_sent_on));
    }
}

#[test]
fn the_same_party_under_another_form_is_no_news() {
    let plan = "[[dial_plan]]\ncountry_code = \"44\"\n";
    let grant = "[[grant]]\npolicy = \"desk\"\nto = [\"global\"]\n";
    let forms = [
        ("sip:02079460001@127.0.0.1:5070", "<tel:+44-20-7946-0001>"),
        (
            "sip:+442079460001@127.0.0.1:5070",
            "<sip:02079460001@carrier.example;user=phone>",
        ),
        ("sip:15551@127.0.0.1:5070", "<sip:15551@pbx.example>"),
        ("sip:Bob@127.0.0.1:5070", "\"Bob\" <sip:bob@127.0.0.1;user=ip>"),
        ("sip:bob@127.0.0.1:5070", "\"Bob\" <sip:bob@example.com>"),
    ];
    for (called, asserted) in forms {
        let mut bench = Bench::with(&[("desk.toml", STRICT), ("plan.toml", plan), ("grants.toml", grant)]);
        let call = String::from_utf8(invite(1, "a1", "", SDP, "").to_vec()).unwrap();
        bench.from(A, call.replace("sip:bob@127.0.0.1:5070", called).into());
        let decided = |bench: &Bench| bench.story.iter().filter(|rung| *rung == "decided").count();
        assert_eq!(decided(&bench), 1);
        let vouched = format!("P-Asserted-Identity: {asserted}\r\n");
        bench.fork_answers("b-tag", 200, &vouched, SDP);
        assert_eq!(statuses(&bench.to_a), [100, 200]);
        bench.a_requests(1, "ACK", "ack", "");
        bench.fork_requests("b-tag", 9, "UPDATE", &vouched, "");
        assert_eq!(bench.request_to_a("UPDATE").method, Method::Update);
        assert_eq!(decided(&bench), 1, "{called} is {asserted}");
        assert!(connections(&bench).is_empty());
    }
}
