use super::*;
use crate::sip::{Method, NameAddr, Request, Uri};

const INSIDE: Crossing = Crossing {
    from_trusted: true,
    to_trusted: true,
    from_refers_to_us: false,
    to_refers_to_us: false,
    from_uses: Methods::ALL,
    to_uses: Methods::ALL,
    named: [None, None],
};
const INWARD: Crossing = Crossing {
    from_trusted: false,
    ..INSIDE
};
const OUTWARD: Crossing = Crossing {
    to_trusted: false,
    ..INSIDE
};

/// The names that cross, of an INVITE with these lines.
fn crossed(crossing: &Crossing, lines: &[(&str, &str)]) -> Vec<String> {
    let mut from = blank();
    for (name, value) in lines {
        from.push(name, *value);
    }
    let mut to = blank();
    carry(crossing, &from, &mut to);
    to.iter().skip(4).map(|(name, _)| name.to_owned()).collect()
}

fn blank() -> Headers {
    let uri = Uri::parse("sip:alice@example.com").expect("a URI");
    let party = NameAddr::new(uri.clone());
    let mut headers = Request::new(Method::Invite, uri, party.clone(), party, "c1", 1).headers;
    headers.remove("Max-Forwards");
    headers
}

#[test]
fn headers_of_the_call_cross_and_headers_of_the_hop_stay() {
    let mut from = blank();
    for (name, value) in [
        ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
        ("Contact", "<sip:a@192.0.2.1>"),
        ("Route", "<sip:192.0.2.2;lr>"),
        ("Session-Expires", "90"),
        ("P-Asserted-Identity", "<sip:alice@example.com>"),
        ("x-ticket", "7"),
        ("X-Recording-Decision", "id=1"),
        ("Diversion", "<sip:bob@example.com>"),
        ("Supported", "100rel, timer, histinfo"),
        ("Require", "resource-priority"),
    ] {
        from.push(name, value);
    }
    let mut to = blank();
    carry(&INSIDE, &from, &mut to);
    let crossed = to
        .iter()
        .skip(4)
        .map(|(name, value)| format!("{name}: {value}"))
        .collect::<Vec<_>>();
    assert_eq!(
        crossed,
        [
            "P-Asserted-Identity: <sip:alice@example.com>",
            "x-ticket: 7",
            "Diversion: <sip:bob@example.com>",
            "Supported: 100rel, histinfo",
            "Require: resource-priority",
        ]
    );
}

#[test]
fn an_unknown_demand_is_named() {
    let mut headers = blank();
    headers.push("Require", "nothing, 100rel, histinfo");
    headers.push("Proxy-Require", "nothingSupportsThis");
    assert_eq!(unsupported(&headers), ["nothing", "nothingSupportsThis"]);
}

#[test]
fn of_the_methods_that_a_peer_allows_those_cross_that_come_to_it_through_us() {
    let told = |crossing, lines: &[&str]| {
        let (mut from, mut to) = (blank(), blank());
        lines.iter().for_each(|allow| from.push("Allow", *allow));
        carry(crossing, &from, &mut to);
        to.get_all("Allow").collect::<Vec<_>>().join(" ")
    };
    let lines = ["PRACK,KDMQ", "INVITE, ACK,BYE ,CANCEL, UPDATE"];
    assert_eq!(told(&INSIDE, &lines), "INVITE ACK BYE CANCEL UPDATE PRACK");
    assert!(told(&INSIDE, &[]).is_empty(), "who tells nothing may allow anything");
    let executed = Crossing {
        to_refers_to_us: true,
        ..INSIDE
    };
    assert_eq!(
        told(&executed, &["INVITE, ACK"]),
        "INVITE ACK REFER",
        "REFER is ours there"
    );
    assert_eq!(told(&executed.back(), &["INVITE, ACK"]), "INVITE ACK");
}

#[test]
fn an_identity_asserted_outside_the_trust_domain_stays_outside() {
    let lines = [
        ("P-Asserted-Identity", "<sip:ceo@example.com>"),
        ("p-asserted-identity", "<tel:+15551234>"),
        ("Remote-Party-ID", "<sip:ceo@example.com>"),
        ("P-Charging-Vector", "icid-value=1"),
        ("Identity", "signed"),
    ];
    assert_eq!(crossed(&INWARD, &lines), ["Identity"]);
    assert_eq!(crossed(&INSIDE, &lines).len(), 5);
}

#[test]
fn privacy_keeps_an_asserted_identity_from_whom_we_do_not_trust_and_from_nobody_else() {
    let lines = |privacy| [("P-Asserted-Identity", "<sip:a@example.com>"), ("Privacy", privacy)];
    assert_eq!(crossed(&OUTWARD, &lines("id")), ["Privacy"]);
    assert_eq!(crossed(&OUTWARD, &lines("header; ID;critical")), ["Privacy"]);
    assert_eq!(crossed(&OUTWARD, &lines("none")), ["P-Asserted-Identity", "Privacy"]);
    assert_eq!(crossed(&OUTWARD, &lines("header")), ["P-Asserted-Identity", "Privacy"]);
    assert_eq!(crossed(&INSIDE, &lines("id")), ["P-Asserted-Identity", "Privacy"]);
    let older = [("Remote-Party-ID", "<sip:a@example.com>;privacy=full")];
    assert!(crossed(&OUTWARD, &older).is_empty());
    assert_eq!(crossed(&INSIDE, &older), ["Remote-Party-ID"]);
}

#[test]
fn what_a_trust_domain_says_to_itself_does_not_leave_it() {
    let lines = [
        ("P-Charging-Vector", "icid-value=1"),
        ("P-Access-Network-Info", "IEEE-802.11"),
        ("Charge-Info", "<sip:+12025550100@example.com;user=phone>;npi=ISDN"),
        ("Attestation-Info", "A"),
        ("Feature-Caps", "*;+g.3gpp.srvcc"),
        ("Origination-ID", "123e4567-e89b-12d3-a456-426655440000"),
        ("X-Ticket", "7"),
    ];
    assert_eq!(crossed(&OUTWARD, &lines), ["X-Ticket"]);
    assert_eq!(crossed(&INWARD, &lines), ["X-Ticket"]);
    assert_eq!(crossed(&INSIDE, &lines).len(), lines.len());
}

#[test]
fn by_what_the_pbxs_know_one_call_crosses_everywhere() {
    let lines = [
        ("Cisco-Guid", "2301394278-0000065536-0000000113-0339911690"),
        ("Av-Global-Session-ID", "3f4b2d00-1dd2-11b2-8000-005056a0c4d2"),
        ("Cisco-Gucid", "892B15E7D5DB11EC80A7005056A0C4D2"),
        ("MS-Conversation-ID", "AdMrBKeJ0Rk7hPS2TEWXJ6rkKqgZAA"),
        (
            "Session-ID",
            "f81d4fae7dec11d0a76500a0c91e6bf6;remote=00000000000000000000000000000000",
        ),
    ];
    for crossing in [INSIDE, INWARD, OUTWARD] {
        assert_eq!(crossed(&crossing, &lines).len(), lines.len(), "{crossing:?}");
    }
}

#[test]
fn wishes_and_lies_cross_to_nobody() {
    let lines = [
        ("P-Preferred-Identity", "<sip:ceo@example.com>"),
        ("x-recording-decision", "none"),
        ("Via", "SIP/2.0/UDP 192.0.2.66;branch=z9hG4bKevil"),
        ("Record-Route", "<sip:192.0.2.66;lr>"),
        ("Path", "<sip:192.0.2.66;lr>"),
        ("Service-Route", "<sip:192.0.2.66;lr>"),
        ("Max-Forwards", "1"),
        ("Contact", "<sip:192.0.2.66>"),
    ];
    for crossing in [INSIDE, INWARD, OUTWARD] {
        assert_eq!(crossed(&crossing, &lines), [""; 0], "{crossing:?}");
    }
}

#[test]
fn what_a_trunk_names_crosses_from_it_and_to_it_and_nothing_that_is_ours_to_write() {
    let lines = [
        ("Conversation-Tag", "7"),
        ("P-Charging-Vector", "icid-value=1"),
        ("X-Recording-Decision", "none"),
        ("RTP-RxStat", "Dur=1"),
    ];
    assert_eq!(crossed(&OUTWARD, &lines), [""; 0]);
    let names = ["conversation-tag", "p-charging-vector", "x-recording-decision"];
    let named: Arc<[String]> = names.iter().map(|name| (*name).to_owned()).collect();
    for named in [[Some(Arc::clone(&named)), None], [None, Some(named)]] {
        let crossing = Crossing { named, ..OUTWARD };
        assert_eq!(crossed(&crossing, &lines), ["Conversation-Tag", "P-Charging-Vector"]);
        assert_eq!(crossed(&crossing.back(), &lines).len(), 2);
    }
}
