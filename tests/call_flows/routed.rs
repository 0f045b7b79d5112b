//! Where calls go, and what the rules of a trunk make of them.

mod codecs;
mod methods;

use std::time::Duration;

use onrecord::engine::{Input, Pulse};
use onrecord::sip::{Method, Request, Transport};
use onrecord::trunk::{Conduct, Field, Located, Passage, Peer, Probe, Rank, Redirect, Rewrite, Server, Site, Trunk};

use super::bench::{A, B, Bench, PROXY, SDP, answer, invite, route};
use super::party::BOB;

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
    let routes = vec![route("pbx", "carrier", None), route("carrier", "pbx", None)];
    bench.input(Input::Trunks {
        trunks: vec![pbx, carrier],
        routes,
    });
}

/// A's calls go to the carrier, which may send them on to the branch.
pub fn configure_onward(bench: &mut Bench, carrier: Trunk, branch: Trunk) {
    let conduct = Conduct {
        redirect: Redirect::Follow,
        ..Conduct::default()
    };
    let carrier = Trunk { conduct, ..carrier };
    bench.input(Input::Trunks {
        trunks: vec![trunk("pbx", A), carrier, branch],
        routes: vec![route("pbx", "carrier", None), route("pbx", "branch", None)],
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
