//! Calls for help while the process ends, and who hangs up then.

use bytes::Bytes;
use onrecord::engine::Input;
use onrecord::sip::{Flow, Message, Transport};

use super::bench::{A, Bench, PROXY, SDP, in_dialog, invite};

const BY_UDP: Transport = Transport::Udp;
const BY_TCP: Transport = Transport::Tcp;

/// A's phone speaks by this.
fn node(transport: Transport) -> Bench {
    Bench::with_phones_by(transport)
}

fn from_a(bench: &mut Bench, transport: Transport, text: &str) {
    let flow = Flow {
        transport,
        local: PROXY.parse().unwrap(),
        remote: A.parse().unwrap(),
    };
    let text = text.replace("SIP/2.0/UDP", &format!("SIP/2.0/{}", transport.as_str()));
    let bytes = Bytes::from(text);
    bench.input(Input::Sip { flow, bytes });
}

fn calls(bench: &mut Bench, transport: Transport, number: &str) {
    let text = String::from_utf8(invite(1, "a1", "", SDP, "").to_vec()).unwrap();
    from_a(bench, transport, &text.replace("sip:bob@", &format!("sip:{number}@")));
}

fn within(bench: &mut Bench, transport: Transport, cseq: u32, method: &str) {
    let to = bench.response_to_a().headers.to().to_string();
    let tags = ("<sip:alice@example.com>;tag=a-tag", to.as_str());
    let bytes = in_dialog(A, method, &format!("{method}{cseq}"), tags, "call-1", cseq, "");
    from_a(bench, transport, std::str::from_utf8(&bytes).unwrap());
}

fn talking(transport: Transport) -> Bench {
    let mut bench = node(transport);
    calls(&mut bench, transport, "bob");
    bench.b_answers("INVITE", 200, SDP);
    within(&mut bench, transport, 1, "ACK");
    bench.story.clear();
    bench
}

fn finals_to_a(bench: &Bench) -> Vec<u16> {
    let status = |message: &Message| match message {
        Message::Response(response) if response.is_final() => Some(response.status),
        _ => None,
    };
    bench.to_a.iter().filter_map(status).collect()
}

#[test]
fn a_call_for_help_that_rings_when_a_hand_over_begins_is_answered_and_goes_on_at_the_next_start() {
    for (number, rings_on) in [("112", true), ("bob", false)] {
        let mut bench = node(BY_UDP);
        calls(&mut bench, BY_UDP, number);
        bench.b_answers("INVITE", 180, "");
        bench.input(Input::HandOver);
        assert_eq!(finals_to_a(&bench).is_empty(), rings_on, "{number}");
        assert_eq!(bench.times("CANCEL → B"), usize::from(!rings_on), "{number}");
        if !rings_on {
            continue;
        }
        bench.b_answers("INVITE", 200, SDP);
        within(&mut bench, BY_UDP, 1, "ACK");
        bench.story.clear();
        bench.input(Input::ShutDown);
        assert_eq!(bench.story.iter().filter(|rung| rung.starts_with("BYE")).count(), 0);
        let mut after = bench.goes_on_as(node(BY_UDP));
        within(&mut after, BY_UDP, 7, "BYE");
        after.request_to_b("BYE");
    }
}

#[test]
fn a_call_for_help_that_rings_still_when_the_others_are_let_go_is_ended_at_both_ends() {
    let mut bench = node(BY_UDP);
    calls(&mut bench, BY_UDP, "112");
    bench.b_answers("INVITE", 180, "");
    bench.input(Input::HandOver);
    bench.input(Input::ShutDown);
    assert_eq!(finals_to_a(&bench), [503]);
    bench.request_to_b("CANCEL");
}

#[test]
fn who_calls_for_help_during_a_hand_over_is_connected_until_the_calls_are_let_go_and_then_told_at_once_or_left() {
    for transport in [BY_UDP, BY_TCP] {
        let mut early = node(transport);
        early.input(Input::HandOver);
        calls(&mut early, transport, "112");
        early.request_to_b("INVITE");

        let mut late = node(transport);
        late.input(Input::HandOver);
        late.input(Input::ShutDown);
        calls(&mut late, transport, "112");
        assert_eq!(
            (late.to_b.len(), late.signaling.calls()),
            (0, 0),
            "nobody would hear them"
        );
        let is_told = transport == BY_TCP;
        let told: &[u16] = if is_told { &[503] } else { &[] };
        assert_eq!(finals_to_a(&late), told, "a datagram comes again, to the next process");
    }
}

#[test]
fn an_end_that_leaves_nothing_to_the_next_start_takes_calls_for_help_and_ends_them_when_told_again() {
    let mut bench = node(BY_UDP);
    bench.input(Input::Drain);
    bench.input(Input::ShutDown);
    calls(&mut bench, BY_UDP, "112");
    bench.b_answers("INVITE", 180, "");
    assert!(finals_to_a(&bench).is_empty());
    bench.input(Input::ShutDown);
    assert_eq!(finals_to_a(&bench), [503]);
    bench.request_to_b("CANCEL");
}

#[test]
fn who_was_let_go_and_hangs_up_by_a_stream_is_answered_and_its_call_goes_on_nowhere() {
    for transport in [BY_TCP, BY_UDP] {
        let mut bench = talking(transport);
        // Its recording takes a while.
        bench.recorder_answers = false;
        bench.input(Input::HandOver);
        bench.input(Input::ShutDown);
        assert_eq!(bench.remembered.len(), 1);
        within(&mut bench, transport, 2, "BYE");
        let is_heard = transport == BY_TCP;
        assert_eq!(
            bench.remembered.is_empty(),
            is_heard,
            "by UDP it comes again, to the next process"
        );
        assert_eq!(bench.times("BYE → B"), usize::from(is_heard));
        if is_heard {
            assert_eq!(finals_to_a(&bench).last(), Some(&200));
            assert_eq!(bench.response_to_a().headers.cseq().method.as_str(), "BYE");
            bench.b_answers("BYE", 200, "");
            assert_eq!(bench.times("BYE → A"), 0);
            within(&mut bench, transport, 3, "BYE");
            assert_eq!(bench.times("BYE → B"), 1, "once");
        }
    }
}

#[test]
fn who_has_hung_up_by_udp_after_it_was_let_go_hears_no_bye_when_the_other_hangs_up_by_a_stream() {
    let mut bench = talking(BY_TCP);
    bench.recorder_answers = false;
    bench.input(Input::HandOver);
    bench.input(Input::ShutDown);
    bench.b_requests(3, "BYE", "bye", "");
    assert_eq!(
        (
            bench
                .to_b
                .iter()
                .filter(|message| is_bye_or_its_answer(message))
                .count(),
            bench.remembered.len()
        ),
        (0, 1)
    );
    within(&mut bench, BY_TCP, 2, "BYE");
    assert_eq!(finals_to_a(&bench).last(), Some(&200));
    assert_eq!(bench.times("BYE → B"), 0);
    assert!(bench.remembered.is_empty());
}

fn is_bye_or_its_answer(message: &Message) -> bool {
    match message {
        Message::Request(request) => request.method.as_str() == "BYE",
        Message::Response(response) => response.headers.cseq().method.as_str() == "BYE",
    }
}

#[test]
fn what_readers_know_of_a_call_that_changes_is_what_a_hand_over_waits_for() {
    let mut bench = talking(BY_UDP);
    let stands = |bench: &Bench| {
        let view = &bench.views[&bench.session()];
        (view.survives, view.unsettled)
    };
    assert_eq!(stands(&bench), (true, false));
    let to = bench.response_to_a().headers.to().to_string();
    let tags = ("<sip:alice@example.com>;tag=a-tag", to.as_str());
    let again = in_dialog(A, "INVITE", "re2", tags, "call-1", 2, SDP);
    from_a(&mut bench, BY_UDP, std::str::from_utf8(&again).unwrap());
    bench.b_agrees("INVITE", 200, SDP);
    assert_eq!(stands(&bench), (true, true), "its ACK is awaited");
    within(&mut bench, BY_UDP, 2, "ACK");
    assert_eq!(stands(&bench), (true, false));
}
