#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Via {
    Via::parse(text).unwrap()
}

fn flow(remote: &str) -> Flow {
    let remote: SocketAddr = remote.parse().unwrap();
    let local = if remote.is_ipv4() {
        "192.0.2.100:5060"
    } else {
        "[2001:db8::100]:5060"
    };
    Flow {
        transport: Transport::Udp,
        local: local.parse().unwrap(),
        remote,
    }
}

#[test]
fn odd_spacing_and_unknown_transports_are_read() {
    let via = read("SIP  / 2.0  / TLS-SCTP     [2001:db8::9] : 5061 ; branch  =   z9hG4bK9ikj8 ;ttl=1");
    assert_eq!(
        (via.transport(), via.host(), via.port()),
        ("TLS-SCTP", "[2001:db8::9]", Some(5061))
    );
    assert_eq!(via.branch(), Some("z9hG4bK9ikj8"));
    assert_eq!(
        via.to_string(),
        "SIP/2.0/TLS-SCTP [2001:db8::9]:5061;branch=z9hG4bK9ikj8;ttl=1"
    );
}

#[test]
fn only_a_branch_that_goes_on_after_the_cookie_is_one_of_rfc_3261() {
    for (branch, modern) in [
        (";branch=z9hG4bKa", true),
        (";branch=Z9HG4BKA", true),
        (";branch=z9hG4bK", false),
        ("", false),
    ] {
        assert_eq!(
            read(&format!("SIP/2.0/UDP a{branch}")).has_magic_cookie(),
            modern,
            "{branch}"
        );
    }
}

#[test]
fn what_is_no_via_is_refused() {
    for text in [
        "",
        "SIP/2.0",
        "SIP/2.0/UDP",
        "SIP/7.0/UDP a",
        "HTTP/2.0/UDP a",
        "SIP/2.0/UDP a;;",
        "SIP/2.0/UDP a:x",
        "SIP/2.0/UDP ;b=1",
    ] {
        assert_eq!(Via::parse(text), Err(ViaError), "{text}");
    }
}

/// RFC 3261 §18.2.1, RFC 3581 §4.
#[test]
fn the_stamp_tells_where_a_request_came_from() {
    for (text, source, stamped) in [
        (
            "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa",
            "192.0.2.1:7000",
            "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa",
        ),
        (
            "SIP/2.0/UDP host.example;branch=a",
            "192.0.2.1:7000",
            "SIP/2.0/UDP host.example;branch=a;received=192.0.2.1",
        ),
        (
            "SIP/2.0/UDP 192.0.2.1;rport;b=a",
            "192.0.2.1:7000",
            "SIP/2.0/UDP 192.0.2.1;rport=7000;b=a;received=192.0.2.1",
        ),
        (
            "SIP/2.0/UDP [2001:DB8::1]",
            "[2001:db8::1]:5060",
            "SIP/2.0/UDP [2001:DB8::1]",
        ),
        (
            "SIP/2.0/UDP 192.0.2.1;received=203.0.113.1",
            "192.0.2.1:5060",
            "SIP/2.0/UDP 192.0.2.1",
        ),
        (
            "SIP/2.0/UDP 10.0.0.1;rport=1;received=203.0.113.1",
            "[2001:db8::1]:9",
            "SIP/2.0/UDP 10.0.0.1;rport=9;received=2001:db8::1",
        ),
    ] {
        let mut via = read(text);
        via.stamp(source.parse().unwrap());
        assert_eq!(via.to_string(), stamped);
    }
}

#[test]
fn responses_go_to_the_source_never_to_an_address_that_the_via_names() {
    for (text, remote) in [
        ("SIP/2.0/UDP 203.0.113.1:7777;branch=a", "192.0.2.1:7777"),
        ("SIP/2.0/UDP 203.0.113.1;maddr=203.0.113.2", "192.0.2.1:5060"),
        ("SIP/2.0/UDP 203.0.113.1:7777;rport", "192.0.2.1:9999"),
    ] {
        let back = read(text).response_flow(flow("192.0.2.1:9999"));
        assert_eq!(back.remote, remote.parse::<std::net::SocketAddr>().unwrap(), "{text}");
    }
    let tcp = Flow {
        transport: Transport::Tcp,
        ..flow("192.0.2.1:9999")
    };
    assert_eq!(read("SIP/2.0/TCP 203.0.113.1:7777").response_flow(tcp), tcp);
}

#[test]
fn ours_asks_for_rport_and_reads_back() {
    let via = Via::new(Transport::Tcp, "[2001:db8::1]:5060".parse().unwrap(), "z9hG4bKx");
    assert_eq!(via.to_string(), "SIP/2.0/TCP [2001:db8::1]:5060;rport;branch=z9hG4bKx");
    assert_eq!(read(&via.to_string()), via);
}

proptest! {
    #[test]
    fn reading_never_panics_and_what_is_read_survives_writing(text in "SIP ?/ ?2.0/[A-Z]{1,4} [a-z0-9:;=.\\[\\]\" ]{0,40}") {
        if let Ok(via) = Via::parse(&text) {
            prop_assert_eq!(Via::parse(&via.to_string()), Ok(via));
        }
    }
}
