//! Registrations of our own: asked for, proved, renewed, tried again, taken back.

use std::collections::BTreeSet;
use std::time::Duration;

use onrecord::engine::{Input, RegistrationState, RegistrationView};
use onrecord::sip::digest::{Credentials, Password};
use onrecord::sip::{Message, Request, Response, Transport, Uri};
use onrecord::trunk::{Aim, Conduct, Located, Peer, Rank, Register, Route, Server, Site, Trunk};

use super::bench::{A, ADVERTISED, B, Bench, C, SDP};

const CONTACT: &str = "<sip:1001@127.0.0.1:5070>";

fn bench() -> Bench {
    begun(Bench::strict_with_carrier(conduct("open sesame")))
}

fn begun(mut bench: Bench) -> Bench {
    bench.wait(Duration::from_millis(1));
    bench
}

fn conduct(password: &str) -> Conduct {
    Conduct {
        credentials: Some(Credentials {
            realm: "carrier.example".to_owned(),
            user: "1001".to_owned(),
            password: Password::new(password.to_owned()),
        }),
        register: Some(Register {
            aor: Uri::parse("sip:1001@carrier.example").unwrap(),
            expires: Duration::from_secs(3_600),
        }),
        ..Conduct::default()
    }
}

impl Bench {
    fn registers(&self) -> Vec<Request> {
        let request = |message: &Message| match message {
            Message::Request(request) if request.method.as_str() == "REGISTER" => Some(request.clone()),
            _ => None,
        };
        self.to_b.iter().filter_map(request).collect()
    }

    /// How often the first address was asked, and the second; copies do not count.
    fn asked(&self) -> [usize; 2] {
        let number = |message: &Message| match message {
            Message::Request(request) if request.method.as_str() == "REGISTER" => Some(request.headers.cseq().number),
            _ => None,
        };
        [&self.to_b, &self.to_c].map(|to| to.iter().filter_map(number).collect::<BTreeSet<u32>>().len())
    }

    /// The second address grants what it was asked for last, for a minute.
    fn second_grants(&mut self) {
        let mut response = Response::to(&self.request_to_c("REGISTER"), 200, None, Some("r-tag"));
        response.headers.push("Contact", format!("{CONTACT};expires=60"));
        self.from(C, response.encode());
        let view = self.registration();
        assert_eq!((view.state, view.status), (RegistrationState::Registered, Some(200)));
    }

    /// The registrar answers the newest REGISTER.
    fn registrar_answers(&mut self, status: u16, headers: &[(&str, &str)]) {
        let mut response = Response::to(&self.request_to_b("REGISTER"), status, None, Some("r-tag"));
        for (name, value) in headers {
            response.headers.push(name, *value);
        }
        self.from(B, response.encode());
    }

    fn registration(&mut self) -> RegistrationView {
        let mut newest = None;
        while let Some(view) = self.signaling.poll_registration() {
            newest = Some(view);
        }
        newest.expect("something has changed")
    }
}

#[test]
fn a_trunk_that_wants_a_registration_gets_one_at_once_with_our_listener_as_contact() {
    let mut bench = bench();
    let register = bench.request_to_b("REGISTER");
    assert_eq!(register.uri.as_str(), "sip:carrier.example");
    assert_eq!(register.headers.to().uri().as_str(), "sip:1001@carrier.example");
    assert_eq!(register.headers.from().uri(), register.headers.to().uri());
    assert_eq!(register.headers.to().tag(), None);
    let contact = register.headers.get("Contact").unwrap();
    assert!(
        contact.starts_with(&format!("{CONTACT};+sip.instance=\"<urn:uuid:")),
        "{contact}"
    );
    assert_eq!(register.headers.get("Expires"), Some("3600"));
    bench.registrar_answers(
        200,
        &[(
            "Contact",
            &format!("<sip:1001@192.0.2.9>;expires=7, {CONTACT};expires=600"),
        )],
    );
    let view = bench.registration();
    assert_eq!((view.state, view.status), (RegistrationState::Registered, Some(200)));
    assert_eq!(view.until, Some(bench.now + Duration::from_secs(600)));
    let renewed = view.next.unwrap().since(bench.now).as_secs();
    assert!((360..=510).contains(&renewed), "{renewed} s of 600");
    bench.wait(view.next.unwrap().since(bench.now));
    let all = bench.registers();
    assert_eq!(all.len(), 2);
    assert_eq!(all[1].headers.cseq().number, 2);
    assert_eq!(all[1].headers.call_id(), all[0].headers.call_id());
}

#[test]
fn a_challenged_registration_is_proved_and_the_next_brings_its_proof_unasked() {
    let mut bench = bench();
    let asked = "Digest realm=\"carrier.example\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256";
    bench.registrar_answers(401, &[("WWW-Authenticate", asked)]);
    let proved = bench.request_to_b("REGISTER");
    assert_eq!(proved.headers.cseq().number, 2);
    assert!(proved.headers.get("Authorization").unwrap().contains("nc=00000001"));
    bench.registrar_answers(200, &[("Expires", "60")]);
    assert_eq!(bench.registration().until, Some(bench.now + Duration::from_secs(60)));
    bench.wait(Duration::from_secs(60));
    let renewal = bench.request_to_b("REGISTER");
    assert!(renewal.headers.get("Authorization").unwrap().contains("nc=00000002"));
    assert_eq!(renewal.headers.cseq().number, 3);
}

#[test]
fn a_registrar_that_challenges_for_ever_is_answered_twice_and_then_left_alone_for_a_while() {
    let mut bench = bench();
    for nonce in ["a", "b", "c"] {
        let asked = format!("Digest realm=\"carrier.example\", nonce=\"{nonce}\", stale=true");
        bench.registrar_answers(401, &[("WWW-Authenticate", &asked)]);
    }
    assert_eq!(bench.registers().len(), 3);
    let view = bench.registration();
    assert_eq!((view.state, view.status), (RegistrationState::Failed, Some(401)));
    assert!(view.next.unwrap() >= bench.now + Duration::from_secs(15));
}

#[test]
fn a_registrar_may_want_longer_intervals_once() {
    let mut bench = bench();
    bench.registrar_answers(423, &[("Min-Expires", "7200")]);
    assert_eq!(bench.request_to_b("REGISTER").headers.get("Expires"), Some("7200"));
    bench.registrar_answers(423, &[("Min-Expires", "7201")]);
    assert_eq!(bench.registers().len(), 2);
    assert_eq!(bench.registration().state, RegistrationState::Failed);
}

#[test]
fn after_failures_the_pauses_grow_to_half_an_hour_and_no_further() {
    let mut bench = bench();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        bench.registrar_answers(503, &[]);
        let pause = bench.registration().next.unwrap().since(bench.now);
        pauses.push(pause.as_secs());
        bench.wait(pause);
    }
    assert!((15..=30).contains(&pauses[0]), "{pauses:?}");
    assert!((30..=60).contains(&pauses[1]), "{pauses:?}");
    assert!(
        pauses[8..].iter().all(|pause| (900..=1_800).contains(pause)),
        "{pauses:?}"
    );
    bench.registrar_answers(200, &[]);
    assert_eq!(bench.registration().state, RegistrationState::Registered);
}

#[test]
fn a_silent_registrar_is_a_failure_and_what_it_granted_stands_until_it_expires() {
    let mut bench = bench();
    bench.registrar_answers(200, &[("Expires", "3600")]);
    let next = bench.registration().next.unwrap();
    bench.wait(next.since(bench.now) + Duration::from_secs(33));
    let view = bench.registration();
    assert_eq!((view.state, view.status), (RegistrationState::Registered, None));
    bench.wait(Duration::from_secs(3_600));
    assert_eq!(bench.registration().state, RegistrationState::Failed);
}

#[test]
fn a_node_that_ends_takes_its_registration_back() {
    let mut bench = bench();
    bench.registrar_answers(
        401,
        &[("WWW-Authenticate", "Digest realm=\"carrier.example\", nonce=\"n\"")],
    );
    bench.registrar_answers(200, &[]);
    bench.input(Input::Drain);
    let last = bench.request_to_b("REGISTER");
    assert_eq!(last.headers.get("Expires"), Some("0"));
    assert!(last.headers.get("Contact").unwrap().starts_with(CONTACT));
    bench.registrar_answers(
        401,
        &[(
            "WWW-Authenticate",
            "Digest realm=\"carrier.example\", nonce=\"m\", stale=true",
        )],
    );
    assert_eq!(bench.request_to_b("REGISTER").headers.get("Expires"), Some("0"));
    bench.registrar_answers(200, &[]);
    assert_eq!(bench.registration().state, RegistrationState::Ended);
    let sent = bench.registers().len();
    bench.assert_nothing_left();
    assert_eq!(bench.registers().len(), sent, "and asks for none again");
}

#[test]
fn a_node_that_ends_while_it_registers_takes_back_what_is_granted() {
    let mut bench = bench();
    bench.input(Input::Drain);
    assert_eq!(bench.registers().len(), 1, "one request at a time (RFC 3261 §10.2)");
    bench.registrar_answers(200, &[]);
    assert_eq!(bench.request_to_b("REGISTER").headers.get("Expires"), Some("0"));
    bench.registrar_answers(200, &[]);
    bench.assert_nothing_left();
}

#[test]
fn a_node_that_takes_calls_again_registers_again() {
    let mut bench = bench();
    bench.registrar_answers(200, &[]);
    bench.input(Input::Drain);
    bench.input(Input::Admit);
    bench.registrar_answers(200, &[]);
    bench.wait(Duration::from_millis(1));
    assert_eq!(bench.request_to_b("REGISTER").headers.get("Expires"), Some("3600"));
    bench.registrar_answers(200, &[]);
    assert_eq!(bench.registration().state, RegistrationState::Registered);
}

#[test]
fn calls_for_the_registered_contact_are_calls_like_any_other() {
    let mut bench = bench();
    bench.registrar_answers(200, &[]);
    let invite = format!(
        "INVITE sip:1001@127.0.0.1:5070 SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bKin\r\nMax-Forwards: 70\r\nFrom: <sip:carol@carrier.example>;tag=c\r\nTo: <sip:1001@carrier.example>\r\nCall-ID: in-1\r\nCSeq: 1 INVITE\r\nContact: <sip:carol@{B}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    );
    bench.from(B, invite.into());
    assert_eq!(bench.request_to_a("INVITE").uri.as_str(), "sip:1001@127.0.0.1:5080");
}

#[test]
fn with_its_first_address_dead_a_registration_is_granted_by_the_second_and_stays_there() {
    let mut bench = begun(Bench::with_spare(&[], conduct("open sesame")));
    assert_eq!(bench.asked(), [1, 0]);
    bench.wait(Duration::from_secs(33));
    assert_eq!(bench.asked(), [1, 1], "at once");
    bench.second_grants();
    for renewals in 1..=20 {
        bench.wait(Duration::from_secs(52));
        assert_eq!(bench.asked(), [1, 1 + renewals]);
        bench.second_grants();
    }
    bench.input(Input::Drain);
    assert_eq!(bench.request_to_c("REGISTER").headers.get("Expires"), Some("0"));
}

#[test]
fn when_all_addresses_refuse_there_is_a_pause_and_then_each_is_asked_again_once() {
    let mut bench = begun(Bench::with_spare(&[], conduct("open sesame")));
    for round in 1..=3 {
        bench.registrar_answers(503, &[]);
        assert_eq!(bench.asked(), [round, round]);
        let refused = Response::to(&bench.request_to_c("REGISTER"), 503, None, Some("r-tag"));
        bench.from(C, refused.encode());
        let view = bench.registration();
        assert_eq!((view.state, bench.asked()), (RegistrationState::Failed, [round, round]));
        bench.wait(view.next.unwrap().since(bench.now));
    }
    let mut bench = begun(Bench::with_spare(&[], conduct("open sesame")));
    bench.registrar_answers(403, &[]);
    assert_eq!(bench.asked(), [1, 0], "it was heard, and no other says otherwise");
}

/// Another password is configured for the carrier.
fn reconfigured(bench: &mut Bench, password: &str) {
    let peer = |at: &str| Peer {
        ip: at.parse::<std::net::SocketAddr>().unwrap().ip(),
        port: at.parse::<std::net::SocketAddr>().ok().map(|at| at.port()),
    };
    let carrier = Trunk {
        conduct: conduct(password),
        ..Trunk::new("carrier".into(), vec![peer(B)])
    };
    let trunks = vec![Trunk::new("pbx".into(), vec![peer(A)]), carrier];
    bench.input(Input::Trunks {
        trunks,
        routes: Vec::<Route>::new(),
    });
}

#[test]
fn a_password_that_was_configured_anew_is_used_at_the_next_renewal_and_where_the_old_was_refused_at_once() {
    let asked = "Digest realm=\"carrier.example\", nonce=\"n\", algorithm=MD5";
    let proof = |bench: &mut Bench| {
        bench.registrar_answers(401, &[("WWW-Authenticate", asked)]);
        let proved = bench.request_to_b("REGISTER");
        proved.headers.get("Authorization").unwrap().to_owned()
    };
    let mut bench = bench();
    let old = proof(&mut bench);
    bench.registrar_answers(200, &[("Expires", "60")]);
    reconfigured(&mut bench, "another");
    bench.wait(Duration::from_secs(52));
    assert_eq!(bench.request_to_b("REGISTER").headers.get("Authorization"), None);
    let new = proof(&mut bench);
    assert_ne!(new, old);
    assert_eq!(new, proof(&mut begun(Bench::strict_with_carrier(conduct("another")))));
    bench.registrar_answers(403, &[]);
    assert_eq!(bench.registration().state, RegistrationState::Failed);
    let before = bench.asked()[0];
    reconfigured(&mut bench, "a third");
    bench.wait(Duration::from_millis(1));
    assert_eq!(bench.asked()[0], before + 1);
}

#[test]
fn where_we_are_known_by_another_name_our_own_binding_says_how_long_it_was_granted() {
    let mut bench = begun(Bench::advertised_to(Conduct::default(), conduct("open sesame")));
    let ours = bench
        .request_to_b("REGISTER")
        .headers
        .get("Contact")
        .unwrap()
        .to_owned();
    assert!(ours.starts_with(&format!("<sip:1001@{ADVERTISED}>;")), "{ours}");
    let bindings = format!("{ours};expires=3600, <sip:1001@198.51.100.9:5060>;expires=9");
    bench.registrar_answers(200, &[("Contact", &bindings)]);
    assert_eq!(bench.registration().until, Some(bench.now + Duration::from_secs(3_600)));
}

/// How long the registration holds when the registrar tells of these bindings: `OURS` is our Contact, `INSTANCE` our instance.
fn granted(bindings: &str, expires: Option<&str>) -> u64 {
    let mut bench = bench();
    let ours = bench
        .request_to_b("REGISTER")
        .headers
        .get("Contact")
        .unwrap()
        .to_owned();
    let (_, instance) = ours.split_once(';').unwrap();
    let bindings = bindings.replace("OURS", &ours).replace("INSTANCE", instance);
    let mut headers = vec![("Contact", bindings.as_str())];
    headers.extend(expires.map(|expires| ("Expires", expires)));
    bench.registrar_answers(200, &headers);
    bench.registration().until.unwrap().since(bench.now).as_secs()
}

/// Other devices have bindings of the same address of record, which end when theirs end.
#[test]
fn of_several_bindings_our_own_is_found_even_where_the_registrar_has_rewritten_it() {
    let desk = "<sip:1001@192.0.2.50>;expires=9";
    for (bindings, expires, seconds) in [
        ("BINDINGS, OURS;expires=1800", None, 1_800),
        (
            "BINDINGS, <sip:1001@203.0.113.7:41022>;INSTANCE;expires=1800",
            None,
            1_800,
        ),
        (
            "BINDINGS, <sip:1001@203.0.113.7:41022>;expires=60;INSTANCE;q=0.5",
            Some("1800"),
            60,
        ),
        ("BINDINGS, <sip:1001@203.0.113.7:41022>;INSTANCE", Some("1800"), 1_800),
        ("<sip:x17@203.0.113.7:41022>;expires=1800", None, 1_800),
        (
            "<sip:x17@203.0.113.7>;expires=9, <sip:1001@203.0.113.7:41022>;expires=1800",
            None,
            1_800,
        ),
        // Nothing tells which it is: what was granted to this request, else what cannot be too long.
        (
            "BINDINGS, <sip:1001@203.0.113.7:41022>;expires=1800",
            Some("1800"),
            1_800,
        ),
        ("BINDINGS, <sip:1001@203.0.113.7:41022>;expires=1800", None, 9),
        (
            "<sip:1001@192.0.2.50>;+sip.instance=\"<urn:uuid:0>\";expires=9, <sip:1001@203.0.113.7>;expires=1800",
            None,
            1_800,
        ),
    ] {
        let bindings = bindings.replace("BINDINGS", desk);
        assert_eq!(granted(&bindings, expires), seconds, "{bindings}");
    }
}

/// The carrier is known by its name alone.
fn by_name() -> (Bench, Aim) {
    let name = "sip.carrier.example";
    let aim = Site::parse(name, Rank::default()).unwrap().aim().unwrap();
    (begun(Bench::with_carrier_named(name, conduct("open sesame"))), aim)
}

fn found(bench: &mut Bench, aim: Aim) {
    let server = Server {
        host: aim.name.clone(),
        rank: Rank::default(),
        transport: Transport::Udp,
        addresses: vec![B.parse().unwrap()],
    };
    let located = Located {
        servers: vec![server],
        ttl: Duration::from_secs(60),
    };
    bench.input(Input::Located { aim, located });
    bench.wait(Duration::from_millis(1));
}

#[test]
fn a_registrar_by_name_is_asked_as_soon_as_dns_has_spoken_and_nothing_has_failed_before() {
    let (mut bench, aim) = by_name();
    let view = bench.registration();
    assert_eq!(view.state, RegistrationState::Registering);
    found(&mut bench, aim);
    assert_eq!(bench.registers().len(), 1);
    bench.registrar_answers(200, &[("Contact", &format!("{CONTACT};expires=600"))]);
    assert_eq!(bench.registration().state, RegistrationState::Registered);
}

#[test]
fn a_registrar_that_dns_does_not_find_counts_as_failed_and_is_asked_when_it_does() {
    let (mut bench, aim) = by_name();
    bench.wait(Duration::from_secs(95));
    assert_eq!(bench.registration().state, RegistrationState::Failed);
    found(&mut bench, aim);
    assert_eq!(bench.registers().len(), 1, "without a pause");
}
