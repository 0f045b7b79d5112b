//! Where calls go, and what the rules of a trunk make of them.

use std::time::Duration;

use onrecord::engine::{Input, Pulse};
use onrecord::sip::{Method, Request, Transport};
use onrecord::trunk::{
    Conduct, Field, Located, Passage, Peer, Probe, Rank, Redirect, Rewrite, Route, Server, Site, Trunk,
};

use super::bench::{A, B, Bench, C, PROXY, SDP, answer, invite};
use super::party::{ALICE, BOB};

/// A destination that is not B.
const SPARE: &str = "127.0.0.9:5060";

pub fn trunk(name: &str, address: &str) -> Trunk {
    let address: std::net::SocketAddr = address.parse().unwrap();
    let peer = Peer {
        ip: address.ip(),
        port: Some(address.port()),
    };
    Trunk {
        trusted: true,
        ..Trunk::new(name.into(), vec![peer])
    }
}

pub fn configure(bench: &mut Bench, pbx: Trunk, carrier: Trunk) {
    let route = |from: &str, to: &str| Route {
        from: from.into(),
        to: to.into(),
        prefix: None,
        to_user: None,
        priority: 0,
    };
    let routes = vec![route("pbx", "carrier"), route("carrier", "pbx")];
    bench.input(Input::Trunks {
        trunks: vec![pbx, carrier],
        routes,
    });
}

/// Another call of A: the `n`th, to this user.
pub fn call(bench: &mut Bench, n: usize, user: &str, sdp: &str) {
    let text = String::from_utf8(invite(1, &format!("call{n}"), "", sdp, "").to_vec()).unwrap();
    let text = text
        .replace("call-1", &format!("call-{n}"))
        .replace("tag=a-tag", &format!("tag=a-tag-{n}"))
        .replace("sip:bob@", &format!("sip:{user}@"));
    bench.from(A, text.into());
}

fn site(text: &str, priority: u16) -> Site {
    Site::parse(text, Rank { priority, weight: 0 }).unwrap()
}

fn rule(passage: Passage, field: &str, pattern: &str, replacement: &str) -> Rewrite {
    Rewrite::new(passage, Field::parse(field).unwrap(), pattern, replacement).unwrap()
}

fn with_spare() -> Trunk {
    let mut carrier = trunk("carrier", B);
    carrier.peers.extend(trunk("x", SPARE).peers);
    carrier.sites = vec![site(SPARE, 1), site(B, 2)];
    carrier
}

fn hosts(bench: &Bench) -> Vec<String> {
    bench
        .to_b
        .iter()
        .filter_map(|message| match message {
            onrecord::sip::Message::Request(Request {
                method: Method::Invite,
                uri,
                ..
            }) => Some(uri.to_string()),
            _ => None,
        })
        .collect()
}

#[test]
fn numbers_and_headers_are_rewritten_as_they_come_in_and_as_they_go_out() {
    let plan = "[[dial_plan]]\ntrunk = \"pbx\"\ncountry_code = \"44\"\n";
    let mut bench = Bench::with(&[("plan.toml", plan)]);
    let pbx = Trunk {
        e164: true,
        rewrites: vec![
            rule(Passage::In, "request_uri", r"^9(\d+)$", "$1"),
            rule(Passage::In, "to", r"^9(\d+)$", "$1"),
            rule(Passage::In, "from", "^alice$", "0207946000"),
        ],
        ..trunk("pbx", A)
    };
    let carrier = Trunk {
        rewrites: vec![
            rule(Passage::Out, "request_uri", r"^\+(\d+)$", "00$1"),
            rule(Passage::Out, "header:X-Account", "^$", "4711"),
        ],
        ..trunk("carrier", B)
    };
    configure(&mut bench, pbx, carrier);
    call(&mut bench, 1, "90201234", SDP);
    let sent = bench.request_to_b("INVITE");
    assert_eq!(sent.uri.to_string(), "sip:0044201234@127.0.0.1:5090");
    assert_eq!(sent.headers.to().uri.user(), Some("+44201234"));
    assert_eq!(sent.headers.from().uri.to_string(), "sip:+44207946000@example.com");
    assert_eq!(sent.headers.get("X-Account"), Some("4711"));
    bench.b_answers("INVITE", 486, "");
    let to_a = bench.response_to_a();
    assert_eq!(
        to_a.headers.from().uri.to_string(),
        "sip:alice@example.com",
        "A sees what it wrote"
    );
    assert_eq!(to_a.headers.to().uri.user(), Some("90201234"));
}

#[test]
fn a_destination_that_answers_503_is_tried_last_for_a_while() {
    let mut bench = Bench::unrecorded();
    configure(&mut bench, trunk("pbx", A), with_spare());
    call(&mut bench, 1, "bob", SDP);
    let first = bench.request_to_b("INVITE");
    bench.from(SPARE, answer(&first, 503, "x", SPARE, ""));
    for n in 2..5 {
        call(&mut bench, n, "bob", SDP);
        if n < 4 {
            bench.b_answers("INVITE", 486, "");
        }
        if n == 3 {
            bench.wait(Duration::from_secs(31));
        }
    }
    let seen = hosts(&bench);
    let (spare, b) = (format!("sip:bob@{SPARE}"), format!("sip:bob@{B}"));
    assert!(seen.starts_with(&[spare.clone(), b.clone(), b]), "{seen:?}");
    assert_eq!(seen.last(), Some(&spare), "half a minute later it is tried first again");
}

#[test]
fn a_name_has_no_destination_until_it_is_found_and_keeps_its_place_in_the_request_uri() {
    let mut bench = Bench::unrecorded();
    let carrier = Trunk {
        sites: vec![site("sip.example.com", 1)],
        ..trunk("carrier", "127.0.0.7:5060")
    };
    let aim = carrier.sites[0].aim().unwrap();
    configure(&mut bench, trunk("pbx", A), carrier);
    call(&mut bench, 1, "bob", SDP);
    assert_eq!(
        bench.response_to_a().status,
        480,
        "not 5xx, on which a PBX would route round us"
    );
    let located = Located {
        servers: vec![Server {
            rank: Rank::default(),
            transport: Transport::Udp,
            addresses: vec![B.parse().unwrap()],
        }],
        ttl: Duration::from_secs(60),
    };
    bench.input(Input::Located { aim, located });
    call(&mut bench, 2, "bob", SDP);
    assert_eq!(hosts(&bench), ["sip:bob@sip.example.com"]);
    bench.b_answers("INVITE", 486, "");
    assert_eq!(bench.response_to_a().status, 486, "who was found may speak");
}

#[test]
fn probes_find_a_destination_down_and_up_again() {
    let mut bench = Bench::unrecorded();
    let carrier = Trunk {
        probe: Some(Probe {
            interval: Duration::from_secs(10),
            up_codes: vec![],
            max_forwards: 70,
        }),
        ..with_spare()
    };
    configure(&mut bench, trunk("pbx", A), carrier);
    let pulses = |bench: &Bench| {
        let trunks = bench.signaling.trunks(bench.now);
        let pulses: Vec<_> = trunks[1].destinations.iter().map(|to| to.pulse.unwrap()).collect();
        pulses
    };
    assert_eq!(pulses(&bench), [Pulse::Unknown; 2]);
    // B answers each OPTIONS, the spare none.
    for _ in 0..30 {
        bench.wait(Duration::from_secs(1));
        let asked: Vec<Request> = bench.to_b.drain(..).filter_map(options_to_b).collect();
        for options in asked {
            assert_eq!(options.headers.get("Contact"), Some("<sip:127.0.0.1:5070>"));
            let bytes = answer(&options, 404, "b", B, "");
            bench.from(B, bytes);
        }
    }
    assert_eq!(
        pulses(&bench),
        [Pulse::Down, Pulse::Up],
        "any answer but 408 and 503 is a sign of life"
    );
    call(&mut bench, 1, "bob", SDP);
    assert_eq!(hosts(&bench), [format!("sip:bob@{B}")]);
    bench.b_answers("INVITE", 486, "");

    bench.to_b.clear();
    for _ in 0..30 {
        bench.wait(Duration::from_secs(1));
        let asked: Vec<Request> = bench.to_b.drain(..).filter_map(any_options).collect();
        for options in asked {
            let from = options.uri.socket_addr().unwrap().to_string();
            let bytes = answer(&options, 200, "b", &from, "");
            bench.from(&from, bytes);
        }
    }
    assert_eq!(pulses(&bench), [Pulse::Up; 2]);
    call(&mut bench, 2, "bob", SDP);
    assert_eq!(hosts(&bench), [format!("sip:bob@{SPARE}")]);
}

fn any_options(message: onrecord::sip::Message) -> Option<Request> {
    match message {
        onrecord::sip::Message::Request(request) if request.method == Method::Options => Some(request),
        _ => None,
    }
}

fn options_to_b(message: onrecord::sip::Message) -> Option<Request> {
    any_options(message).filter(|request| request.uri.socket_addr() == B.parse().ok())
}

#[test]
fn a_call_outlives_the_configuration_that_it_began_with() {
    let mut bench = Bench::unrecorded().connected();
    bench.input(Input::Trunks {
        trunks: vec![trunk("pbx", A), trunk("other", "127.0.0.8:5060")],
        routes: vec![],
    });
    bench.b_requests(7, "BYE", "bye7", "");
    assert_eq!(bench.response_to_b().status, 200);
    assert_eq!(bench.request_to_a("BYE").method, Method::Bye);
    bench.a_answers("BYE", 200, "");
    call(&mut bench, 2, "bob", SDP);
    assert_eq!(bench.response_to_a().status, 404);
    let calls = bench.story.iter().filter(|rung| *rung == "decided").count();
    assert_eq!(calls, 0, "no call began");
    bench.assert_nothing_left();
}

#[test]
fn only_codecs_that_both_trunks_allow_are_offered() {
    let mut bench = Bench::unrecorded();
    let codecs = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let pbx = Trunk {
        codecs: codecs(&["pcma", "g722", "telephone-event"]),
        ..trunk("pbx", A)
    };
    let carrier = Trunk {
        codecs: codecs(&["pcma", "pcmu", "telephone-event"]),
        ..trunk("carrier", B)
    };
    configure(&mut bench, pbx, carrier);
    let offer = SDP.replace(
        "RTP/AVP 8",
        "RTP/AVP 9 0 8 101\r\na=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000",
    );
    call(&mut bench, 1, "bob", &offer);
    let sdp = String::from_utf8(bench.request_to_b("INVITE").body.to_vec()).unwrap();
    assert!(sdp.contains("RTP/AVP 8 101\r\na=rtpmap:101"), "{sdp}");
    assert!(!sdp.contains("G722"), "{sdp}");
    bench.b_answers("INVITE", 486, "");

    call(&mut bench, 2, "bob", &SDP.replace("RTP/AVP 8", "RTP/AVP 0"));
    assert_eq!(bench.response_to_a().status, 488);
    assert_eq!(hosts(&bench).len(), 1);
}

#[test]
fn a_trunk_that_is_gone_is_heard_until_its_last_call_has_ended_and_gets_no_reply_then() {
    let mut bench = Bench::strict().connected();
    let trunks = vec![trunk("pbx", A)];
    bench.input(Input::Trunks { trunks, routes: vec![] });
    for minutes in 1..4 {
        bench.wait(Duration::from_secs(60));
        bench.b_requests(minutes, "INFO", &format!("info{minutes}"), "");
        bench.a_answers("INFO", 200, "");
        assert_eq!(bench.response_to_b().headers.cseq().number, minutes);
    }
    bench.a_requests(2, "BYE", "bye", "");
    bench.b_agrees("BYE", 200, "");
    bench.b_requests(9, "INFO", "info9", "");
    assert_eq!(
        bench.response_to_b().status,
        481,
        "copies of the last words are answered"
    );
    bench.wait(Duration::from_secs(64));
    let before = bench.to_b.len();
    bench.requests("OPTIONS", BOB, &format!("sip:{PROXY}"), "o-1", "", "");
    assert_eq!(bench.to_b.len(), before);
    bench.assert_nothing_left();
}

#[test]
fn a_method_that_a_trunk_may_not_use_gets_405_and_the_list_that_it_may() {
    let mut bench = Bench::unrecorded();
    let carrier = Trunk {
        methods: Some(vec![Method::Invite, Method::Options]),
        ..trunk("carrier", B)
    };
    configure(&mut bench, trunk("pbx", A), carrier);
    bench.invite(SDP, "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, REFER\r\n");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    let allow = "INVITE, ACK, BYE, CANCEL, OPTIONS";
    let may_use = format!("{allow}, PRACK");
    assert_eq!(bench.request_to_b("INVITE").headers.get("Allow"), Some(allow));
    bench.b_requests(7, "INFO", "info7", "");
    assert_eq!(bench.response_to_b().status, 405);
    assert_eq!(bench.response_to_b().headers.get("Allow"), Some(may_use.as_str()));
    bench.b_requests(8, "FROBNICATE", "f8", "");
    assert_eq!(
        bench.response_to_b().status,
        501,
        "nobody may use it, and nobody knows it"
    );
    assert_eq!(bench.response_to_b().headers.get("Allow"), Some(may_use.as_str()));
    bench.b_requests(9, "REGISTER", "r9", "");
    assert_eq!(
        bench.response_to_b().status,
        405,
        "known, and not carried inside a call"
    );
    assert_eq!(bench.response_to_b().headers.get("Allow"), Some(may_use.as_str()));
    bench.b_requests(10, "BYE", "bye10", "");
    assert_eq!(bench.response_to_b().status, 200, "a call can always be ended");
}

#[test]
fn outside_calls_allow_lists_what_the_trunk_may_use_there_whether_it_asks_or_errs() {
    let mut bench = Bench::unrecorded();
    let pbx = Trunk {
        methods: Some(vec![Method::Invite, Method::Options, Method::Register]),
        ..trunk("pbx", A)
    };
    configure(&mut bench, pbx, trunk("carrier", B));
    let us = format!("sip:{PROXY}");
    let asked = [
        ("OPTIONS", 200),
        ("MESSAGE", 405),
        ("PUBLISH", 405),
        ("FROBNICATE", 501),
    ];
    for (method, status) in asked {
        bench.requests(method, ALICE, &us, method, "", "");
        let answer = bench.response_to_a();
        assert_eq!(answer.status, status, "{method}");
        let allow = answer.headers.get("Allow");
        assert_eq!(
            allow,
            Some("INVITE, ACK, BYE, CANCEL, OPTIONS, PRACK, REGISTER"),
            "{method}"
        );
    }
    bench.requests("FROBNICATE", BOB, &us, "f-1", "", "");
    let refused = bench.response_to_b();
    assert_eq!(refused.status, 501);
    assert!(
        refused
            .headers
            .get("Allow")
            .is_some_and(|allow| allow.ends_with("PUBLISH, REGISTER"))
    );
}

#[test]
fn a_trunk_with_a_list_of_methods_acknowledges_reliable_responses_and_hears_of_no_others() {
    let mut bench = Bench::unrecorded();
    let pbx = Trunk {
        methods: Some(vec![Method::Invite, Method::Update]),
        ..trunk("pbx", A)
    };
    configure(&mut bench, pbx, trunk("carrier", B));
    bench.invite(
        SDP,
        "Supported: 100rel\r\nAllow: INVITE, ACK, BYE, CANCEL, INFO, PRACK\r\n",
    );
    let told = "INVITE, ACK, BYE, CANCEL, INFO, PRACK";
    assert_eq!(bench.request_to_b("INVITE").headers.get("Allow"), Some(told));
    let reliable = "Require: 100rel\r\nRSeq: 1\r\nAllow: INVITE, ACK, BYE, CANCEL, INFO, UPDATE, PRACK\r\n";
    bench.fork_answers("b-tag", 183, reliable, SDP);
    let progress = bench.response_to_a();
    let may_use = "INVITE, ACK, BYE, CANCEL, UPDATE, PRACK";
    assert_eq!(progress.headers.get("Allow"), Some(may_use));
    let tag = progress.headers.to().tag().unwrap().to_owned();
    let rseq = progress.headers.get("RSeq").unwrap();
    bench.a_requests_in(&tag, 2, "PRACK", &format!("RAck: {rseq} 1 INVITE\r\n"), "");
    bench.b_agrees("PRACK", 200, "");
    assert_eq!(bench.response_to_a().status, 200);
    bench.b_answers("INVITE", 200, "");
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(3, "OPTIONS", "o3", "");
    assert_eq!(
        bench.response_to_a().headers.get("Allow"),
        Some("INVITE, ACK, BYE, CANCEL, UPDATE, PRACK")
    );
    bench.a_requests(4, "INFO", "i4", "");
    assert_eq!(bench.response_to_a().status, 405);
}

fn codecs(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

/// The carrier may have nothing but PCMA and events.
fn with_codecs() -> Bench {
    let mut bench = Bench::unrecorded();
    let carrier = Trunk {
        codecs: codecs(&["pcma", "telephone-event"]),
        ..trunk("carrier", B)
    };
    configure(&mut bench, trunk("pbx", A), carrier);
    bench
}

#[test]
fn what_an_answer_adds_that_may_not_cross_is_left_out() {
    let mut bench = with_codecs();
    bench.invite(&SDP.replace("RTP/AVP 8", "RTP/AVP 8 0"), "");
    let more = SDP.replace(
        "RTP/AVP 8",
        "RTP/AVP 0 8 18\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no",
    );
    bench.b_answers("INVITE", 183, &more);
    bench.b_answers("INVITE", 200, &more);
    let answered = bench.response_to_a();
    let sdp = String::from_utf8(answered.body.to_vec()).unwrap();
    assert!(sdp.contains("RTP/AVP 8\r\n") && !sdp.contains(":18 "), "{sdp}");
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(2, "INVITE", "re1", SDP);
    bench.b_answers("INVITE", 200, &more);
    let sdp = String::from_utf8(bench.response_to_a().body.to_vec()).unwrap();
    assert!(sdp.contains("RTP/AVP 8\r\n"), "{sdp}");
    bench.a_requests(2, "ACK", "ack2", "");
    bench.a_requests(3, "BYE", "bye1", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn an_answer_of_which_nothing_may_cross_ends_the_call_before_it_began() {
    let mut bench = with_codecs();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 200, &SDP.replace("RTP/AVP 8", "RTP/AVP 0"));
    assert_eq!(bench.response_to_a().status, 488);
    assert_eq!(
        bench.story[bench.story.len() - 4..],
        ["B → 200", "488 → A", "ACK → B", "BYE → B"]
    );
    bench.a_requests(1, "ACK", "a1", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn an_emergency_call_has_the_codecs_that_it_can_have() {
    let mut bench = with_codecs();
    let any = SDP.replace("RTP/AVP 8", "RTP/AVP 0");
    call(&mut bench, 1, "112", &any);
    assert!(
        bench
            .request_to_b("INVITE")
            .body
            .ends_with(b"RTP/AVP 0\r\na=sendrecv\r\n")
    );
    bench.b_answers("INVITE", 200, &any);
    assert_eq!(bench.response_to_a().status, 200);
}

#[test]
fn a_call_that_is_sent_on_offers_what_the_other_trunk_may_have() {
    let mut bench = with_codecs();
    let carrier = Trunk {
        codecs: codecs(&["pcma"]),
        conduct: Conduct {
            redirect: Redirect::Follow,
            ..Conduct::default()
        },
        ..trunk("carrier", B)
    };
    let branch = Trunk {
        codecs: codecs(&["pcmu"]),
        ..trunk("branch", C)
    };
    let route = |to: &str| Route {
        from: "pbx".into(),
        to: to.into(),
        prefix: None,
        to_user: None,
        priority: 0,
    };
    bench.input(Input::Trunks {
        trunks: vec![trunk("pbx", A), carrier, branch],
        routes: vec![route("carrier"), route("branch")],
    });
    bench.invite(&SDP.replace("RTP/AVP 8", "RTP/AVP 8 0"), "");
    assert!(
        bench
            .request_to_b("INVITE")
            .body
            .ends_with(b"RTP/AVP 8\r\na=sendrecv\r\n")
    );
    bench.b_answers("INVITE", 183, SDP);
    bench.b_redirects(302, &[&format!("<sip:carol@{C}>")]);
    assert!(
        bench
            .request_to_c("INVITE")
            .body
            .ends_with(b"RTP/AVP 0\r\na=sendrecv\r\n")
    );
    bench.c_answers("INVITE", 200, &SDP.replace("RTP/AVP 8", "RTP/AVP 0"));
    assert_eq!(bench.response_to_a().status, 200);
    bench.a_requests(1, "ACK", "ack1", "");
    bench.a_requests(2, "BYE", "bye1", "");
    bench.c_answers("BYE", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn who_answered_is_written_as_the_callers_trunk_wants_it() {
    let plan = "[[dial_plan]]\ntrunk = \"carrier\"\ncountry_code = \"44\"\n";
    let mut bench = Bench::with(&[("plan.toml", plan)]);
    let pbx = Trunk {
        rewrites: vec![
            rule(Passage::Out, "header:P-Asserted-Identity", r"sip:\+(\d+)@", "sip:00$1@"),
            rule(Passage::Out, "header:X-Account", "^$", "4711"),
        ],
        ..trunk("pbx", A)
    };
    let carrier = Trunk {
        e164: true,
        ..trunk("carrier", B)
    };
    configure(&mut bench, pbx, carrier);
    bench.invite(SDP, "");
    let tag_and_sdp = |bench: &mut Bench, status| {
        bench.fork_answers("b-tag", status, "P-Asserted-Identity: <sip:020555@b.example>\r\n", SDP);
    };
    tag_and_sdp(&mut bench, 183);
    tag_and_sdp(&mut bench, 200);
    let told = |bench: &Bench| {
        bench
            .response_to_a()
            .headers
            .get("P-Asserted-Identity")
            .map(str::to_owned)
    };
    assert_eq!(told(&bench).as_deref(), Some("<sip:004420555@b.example>"));
    assert!(
        !bench.response_to_a().headers.contains("X-Account"),
        "what is not there is not made"
    );
    bench.a_requests(1, "ACK", "ack1", "");
    bench.fork_requests(
        "b-tag",
        100,
        "UPDATE",
        "P-Asserted-Identity: <sip:020777@b.example>\r\n",
        "",
    );
    let update = bench.request_to_a("UPDATE");
    assert_eq!(
        update.headers.get("P-Asserted-Identity"),
        Some("<sip:004420777@b.example>")
    );
    bench.a_answers("UPDATE", 200, "");
    bench.a_requests(2, "BYE", "bye1", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}
