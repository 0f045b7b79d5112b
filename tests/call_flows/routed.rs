//! Where calls go, and what the rules of a trunk make of them.

use std::time::Duration;

use onrecord::engine::{Input, Pulse};
use onrecord::sip::{Method, Request, Transport};
use onrecord::trunk::{Field, Located, Passage, Peer, Probe, Rank, Redirect, Rewrite, Route, Server, Site, Trunk};

use super::bench::{A, B, Bench, C, SDP, answer, invite};

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
fn whom_a_3xx_names_is_offered_what_its_own_trunk_allows() {
    let mut bench = Bench::unrecorded();
    let of = |name: &str, address: &str, codec: &str| Trunk {
        codecs: Some(vec![codec.to_owned()]),
        ..trunk(name, address)
    };
    let mut carrier = of("carrier", B, "pcmu");
    carrier.conduct.redirect = Redirect::Follow;
    let routes = ["carrier", "branch"].map(|to| Route {
        from: "pbx".into(),
        to: to.into(),
        prefix: None,
        to_user: None,
        priority: 0,
    });
    bench.input(Input::Trunks {
        trunks: vec![trunk("pbx", A), carrier, of("branch", C, "pcma")],
        routes: routes.into(),
    });
    bench.invite(&SDP.replace("RTP/AVP 8", "RTP/AVP 0 8"), "");
    let offer = |invite: Request| String::from_utf8(invite.body.to_vec()).unwrap();
    assert!(offer(bench.request_to_b("INVITE")).contains("RTP/AVP 0\r\n"));
    bench.b_redirects(302, &[&format!("<sip:2001@{C}>")]);
    assert!(offer(bench.request_to_c("INVITE")).contains("RTP/AVP 8\r\n"));
}

#[test]
fn a_method_that_a_trunk_may_not_use_gets_405_and_the_list_that_it_may() {
    let mut bench = Bench::unrecorded();
    let carrier = Trunk {
        methods: Some(vec![Method::Invite, Method::Options]),
        ..trunk("carrier", B)
    };
    configure(&mut bench, trunk("pbx", A), carrier);
    let mut bench = bench.connected();
    let allow = "INVITE, ACK, BYE, CANCEL, OPTIONS";
    assert_eq!(bench.request_to_b("INVITE").headers.get("Allow"), Some(allow));
    bench.b_requests(7, "INFO", "info7", "");
    assert_eq!(bench.response_to_b().status, 405);
    assert_eq!(bench.response_to_b().headers.get("Allow"), Some(allow));
    bench.b_requests(8, "BYE", "bye8", "");
    assert_eq!(bench.response_to_b().status, 200, "a call can always be ended");
}
