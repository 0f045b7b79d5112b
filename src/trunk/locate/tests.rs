#![allow(clippy::panic)]

use proptest::prelude::*;

use super::*;

const BOTH: [(Transport, bool); 2] = [(Transport::Udp, true), (Transport::Tcp, true)];

fn search(port: Option<u16>, transport: Option<Transport>, ways: &[(Transport, bool)]) -> Search {
    let aim = Aim {
        certified: false,
        name: DomainName::parse("example.com").expect("a name"),
        port,
        transport,
    };
    Search::new(aim, ways.to_vec(), None)
}

/// What the search asked, in order, and what it came to, with a DNS that is a table.
fn run(mut search: Search, zone: &[(&str, Vec<Record>)]) -> (Vec<String>, Step) {
    let mut asked = Vec::new();
    loop {
        let query = match search.poll() {
            Step::Ask(query) => query,
            end => return (asked, end),
        };
        let question = format!("{:?} {}", query.kind, query.name);
        let records = zone.iter().find(|(name, _)| *name == question);
        search.handle_answer(Answer::Records {
            records: records.map(|(_, records)| records.clone()).unwrap_or_default(),
            ttl: Duration::from_secs(60),
        });
        asked.push(question);
    }
}

fn naptr(order: u16, services: &str, replacement: &str) -> Record {
    Record::Naptr {
        order,
        preference: 50,
        flags: "s".to_owned(),
        services: services.to_owned(),
        regexp: String::new(),
        replacement: replacement.to_owned(),
    }
}

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> Record {
    Record::Srv {
        rank: Rank { priority, weight },
        port,
        target: target.to_owned(),
    }
}

fn a(ip: &str) -> Record {
    Record::Address(ip.parse().expect("an address"))
}

fn told(step: &Step) -> Vec<String> {
    let Step::Found(located) = step else {
        return vec![format!("{step:?}")];
    };
    let tell = |server: &Server| {
        let rank = server.rank;
        let addresses: Vec<String> = server.addresses.iter().map(ToString::to_string).collect();
        let transport = server.transport.as_str();
        format!("{}/{} {transport} {}", rank.priority, rank.weight, addresses.join(" "))
    };
    located.servers.iter().map(tell).collect()
}

#[test]
fn the_example_of_rfc_3263_leads_to_two_servers_over_tcp() {
    // RFC 3263 §4.1: TLS is preferred there, which is not chosen where nobody's certificate is believed.
    let zone = [
        (
            "Naptr example.com",
            vec![
                naptr(100, "SIP+D2U", "_sip._udp.example.com."),
                naptr(50, "SIPS+D2T", "_sips._tcp.example.com."),
                naptr(90, "SIP+D2T", "_sip._tcp.example.com"),
            ],
        ),
        (
            "Srv _sip._tcp.example.com",
            vec![
                srv(0, 1, 5060, "server1.example.com."),
                srv(0, 2, 5061, "server2.example.com."),
            ],
        ),
        ("A server1.example.com", vec![a("192.0.2.1"), a("192.0.2.2")]),
        ("A server2.example.com", vec![a("192.0.2.3")]),
    ];
    let (asked, end) = run(search(None, None, &BOTH), &zone);
    assert_eq!(
        asked,
        [
            "Naptr example.com",
            "Srv _sip._tcp.example.com",
            "A server1.example.com",
            "A server2.example.com"
        ]
    );
    assert_eq!(
        told(&end),
        ["0/1 TCP 192.0.2.1:5060 192.0.2.2:5060", "0/2 TCP 192.0.2.3:5061"]
    );
}

#[test]
fn without_naptr_the_services_of_each_transport_are_asked_for_and_then_the_host() {
    let zone = [("A example.com", vec![a("192.0.2.1")])];
    let (asked, end) = run(search(None, None, &BOTH), &zone);
    assert_eq!(
        asked,
        [
            "Naptr example.com",
            "Srv _sip._udp.example.com",
            "Srv _sip._tcp.example.com",
            "A example.com"
        ]
    );
    assert_eq!(told(&end), ["0/0 UDP 192.0.2.1:5060"]);
}

#[test]
fn a_port_makes_services_needless_and_a_transport_makes_naptr_needless() {
    let zone = [("A example.com", vec![a("192.0.2.1")])];
    let (asked, end) = run(search(Some(5070), None, &BOTH), &zone);
    assert_eq!(asked, ["A example.com"]);
    assert_eq!(told(&end), ["0/0 UDP 192.0.2.1:5070"]);
    let (asked, end) = run(search(None, Some(Transport::Tcp), &BOTH), &zone);
    assert_eq!(asked, ["Srv _sip._tcp.example.com", "A example.com"]);
    assert_eq!(told(&end), ["0/0 TCP 192.0.2.1:5060"]);
}

#[test]
fn only_families_that_a_listener_of_ours_has_are_asked_for() {
    let zone = [
        ("A example.com", vec![a("192.0.2.1"), a("2001:db8::9")]),
        ("Aaaa example.com", vec![a("2001:db8::1")]),
    ];
    let dual = [(Transport::Udp, true), (Transport::Udp, false)];
    let (asked, end) = run(search(Some(5060), None, &dual), &zone);
    assert_eq!(asked, ["A example.com", "Aaaa example.com"]);
    assert_eq!(told(&end), ["0/0 UDP 192.0.2.1:5060 [2001:db8::1]:5060"]);
    let (asked, end) = run(search(Some(5060), None, &[(Transport::Tcp, true)]), &zone);
    assert!(asked.is_empty());
    assert_eq!(end, Step::Failed, "UDP is what a port alone means, and we have none");
}

#[test]
fn a_service_that_is_said_to_be_none_falls_to_the_next() {
    let zone = [
        ("Srv _sip._udp.example.com", vec![srv(0, 0, 0, ".")]),
        ("Srv _sip._tcp.example.com", vec![srv(0, 0, 5060, "b.example.com")]),
        ("A b.example.com", vec![a("192.0.2.1")]),
    ];
    let (_, end) = run(search(None, None, &BOTH), &zone);
    assert_eq!(told(&end), ["0/0 TCP 192.0.2.1:5060"]);
}

#[test]
fn a_server_that_does_not_answer_fails_the_search_but_not_for_one_host_of_many() {
    let mut silent = search(None, None, &BOTH);
    silent.handle_answer(Answer::Failed);
    assert_eq!(silent.poll(), Step::Failed);

    let mut half = search(None, Some(Transport::Udp), &BOTH);
    half.handle_answer(Answer::Records {
        records: vec![srv(0, 0, 5060, "dead.example.com"), srv(1, 0, 5060, "b.example.com")],
        ttl: Duration::from_secs(900),
    });
    half.handle_answer(Answer::Failed);
    half.handle_answer(Answer::Records {
        records: vec![a("192.0.2.1")],
        ttl: Duration::from_secs(1),
    });
    assert_eq!(told(&half.poll()), ["1/0 UDP 192.0.2.1:5060"]);
    let Step::Found(located) = half.poll() else { panic!() };
    assert_eq!(located.ttl, TTL_MIN, "no name is asked for more often");
}

#[test]
fn a_hostile_answer_is_looked_at_in_part() {
    let many: Vec<Record> = (0..5_000)
        .map(|i| srv(i, 0, 5060, &format!("h{i}.example.com")))
        .collect();
    let mut zone = vec![("Srv _sip._udp.example.com".to_owned(), many)];
    for i in 0..100 {
        let addresses = (0..200).map(|j| a(&format!("192.0.2.{j}"))).collect();
        zone.push((format!("A h{i}.example.com"), addresses));
    }
    let zone: Vec<(&str, Vec<Record>)> = zone
        .iter()
        .map(|(name, records)| (name.as_str(), records.clone()))
        .collect();
    let (asked, end) = run(search(None, Some(Transport::Udp), &BOTH), &zone);
    let Step::Found(located) = end else { panic!() };
    assert_eq!((asked.len(), located.servers.len()), (1 + SERVERS_MAX, SERVERS_MAX));
    assert!(
        located
            .servers
            .iter()
            .all(|server| server.addresses.len() == ADDRESSES_MAX)
    );
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let text = "[a-zA-Z0-9._+-]{0,12}";
    let naptr = (
        any::<u16>(),
        any::<u16>(),
        text,
        "(SIP\\+D2[UT])|([A-Z+]{0,8})",
        text,
        text,
    )
        .prop_map(
            |(order, preference, flags, services, regexp, replacement)| Record::Naptr {
                order,
                preference,
                flags,
                services,
                regexp,
                replacement,
            },
        );
    let srv = (any::<u16>(), any::<u16>(), any::<u16>(), text)
        .prop_map(|(priority, weight, port, target)| srv(priority, weight, port, &target));
    let address = any::<std::net::IpAddr>().prop_map(Record::Address);
    prop::collection::vec(prop_oneof![naptr, srv, address], 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_answers_come_to_an_end_with_addresses_that_can_be_sent_to(
        answers in prop::collection::vec(prop::option::of(records()), 0..30),
    ) {
        let mut search = search(None, None, &[(Transport::Udp, true), (Transport::Tcp, false)]);
        let mut answers = answers.into_iter();
        for asked in 0.. {
            match search.poll() {
                Step::Ask(_) => {
                    prop_assert!(asked < QUERIES_MAX);
                    let answer = match answers.next().flatten() {
                        Some(records) => Answer::Records { records, ttl: Duration::ZERO },
                        None => Answer::Failed,
                    };
                    search.handle_answer(answer);
                }
                Step::Found(located) => {
                    let all: Vec<_> = located.servers.iter().flat_map(|server| &server.addresses).collect();
                    prop_assert!(!all.is_empty() && all.iter().all(|at| is_a_host(at.ip()) && at.port() != 0));
                    break;
                }
                Step::Failed => break,
            }
        }
    }
}

#[test]
fn naptr_chooses_tls_for_who_says_whose_certificate_to_believe_and_never_a_websocket() {
    let zone = [
        (
            "Naptr example.com",
            vec![
                naptr(40, "SIPS+D2W", "_sips._ws.example.com."),
                naptr(45, "SIP+D2W", "_sip._ws.example.com."),
                naptr(50, "SIPS+D2T", "_sips._tcp.example.com."),
                naptr(90, "SIP+D2T", "_sip._tcp.example.com."),
            ],
        ),
        (
            "Srv _sips._tcp.example.com",
            vec![srv(0, 1, 5061, "secure.example.com.")],
        ),
        ("Srv _sip._tcp.example.com", vec![srv(0, 1, 5060, "clear.example.com.")]),
        ("A secure.example.com", vec![a("192.0.2.1")]),
        ("A clear.example.com", vec![a("192.0.2.2")]),
    ];
    let ways = [
        (Transport::Udp, true),
        (Transport::Tcp, true),
        (Transport::Tls, true),
        (Transport::Ws, true),
        (Transport::Wss, true),
    ];
    let found = |certified, ways: &[(Transport, bool)]| {
        let mut search = search(None, None, ways);
        search.aim.certified = certified;
        told(&run(search, &zone).1)
    };
    assert_eq!(found(true, &ways), ["0/1 TLS 192.0.2.1:5061"]);
    assert_eq!(found(false, &ways), ["0/1 TCP 192.0.2.2:5060"]);
    assert_eq!(found(true, &ways[..2]), ["0/1 TCP 192.0.2.2:5060"], "no TLS listener");
}

/// Searches for example.com:5060, reached by both families, after `before`. `None`: that lookup fails.
fn both_families(before: Option<&Located>, answers: [Option<Record>; 2]) -> (Step, bool) {
    let mut search = search(Some(5060), None, &[(Transport::Udp, true), (Transport::Udp, false)]);
    search.before = before.map(|located| located.servers.clone()).unwrap_or_default();
    for answer in answers {
        search.handle_answer(answer.map_or(Answer::Failed, |record| Answer::Records {
            records: vec![record],
            ttl: Duration::from_secs(60),
        }));
    }
    (search.poll(), search.is_partial())
}

#[test]
fn a_family_whose_lookup_fails_keeps_the_addresses_that_it_had_and_is_soon_asked_for_again() {
    let whole = both_families(None, [Some(a("192.0.2.10")), Some(a("2001:db8::10"))]);
    let (Step::Found(before), false) = whole else {
        panic!("{whole:?}")
    };
    let (half, is_partial) = both_families(Some(&before), [None, Some(a("2001:db8::11"))]);
    assert_eq!(told(&half), ["0/0 UDP 192.0.2.10:5060 [2001:db8::11]:5060"]);
    let Step::Found(half) = half else { panic!("{half:?}") };
    assert!(is_partial && half.ttl == RETRY_AFTER, "{:?}", half.ttl);

    // It lasts as long as the failure does, and no longer.
    let (still, _) = both_families(Some(&half), [None, Some(a("2001:db8::11"))]);
    assert_eq!(told(&still), told(&Step::Found(half.clone())));
    let (none, _) = both_families(Some(&half), [None, None]);
    assert_eq!(none, Step::Failed, "DNS has said nothing: it is asked ever more rarely");
    let (moved, is_partial) = both_families(Some(&half), [Some(a("192.0.2.12")), Some(a("2001:db8::11"))]);
    assert_eq!(told(&moved), ["0/0 UDP 192.0.2.12:5060 [2001:db8::11]:5060"]);
    assert!(!is_partial);
}

#[test]
fn what_another_host_had_is_not_taken_for_one_that_cannot_be_looked_up() {
    let (Step::Found(mut before), _) = both_families(None, [Some(a("192.0.2.10")), None]) else {
        panic!("found")
    };
    before.servers[0].host = DomainName::parse("other.example.com").expect("a name");
    let (end, _) = both_families(Some(&before), [None, Some(a("2001:db8::11"))]);
    assert_eq!(told(&end), ["0/0 UDP [2001:db8::11]:5060"]);
}
