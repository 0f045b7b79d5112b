//! RFC 4475 and RFC 5118, message by message. `docs/CONFORMANCE.md` has the same table with what the RFCs ask.

use std::collections::BTreeSet;
use std::path::Path;

use crate::peer::{Reaction, send};

/// What is done with a message.
#[derive(Clone, Copy, Debug)]
enum Done {
    /// It goes on to the next hop.
    Forwarded,
    /// It is answered by us.
    Answered(u16),
    /// Neither.
    Dropped,
    /// Whatever a plain REGISTER gets: nothing in it is taken for wrong.
    AsAnyRegister,
}
use Done::{Answered, AsAnyRegister, Dropped, Forwarded};

const RFC_4475: [(&str, Done); 49] = [
    // §3.1.1 valid
    ("wsinv", Answered(481)), // its To has a tag: well-formed, of no dialog
    ("intmeth", Answered(501)),
    ("esc01", Forwarded),
    ("escnull", AsAnyRegister),
    ("esc02", Answered(501)),
    ("lwsdisp", Forwarded),
    ("longreq", Forwarded),
    ("dblreq", AsAnyRegister),
    ("semiuri", Forwarded),
    ("transports", Forwarded),
    ("mpart01", Forwarded),
    ("unreason", Dropped),
    ("noreason", Dropped),
    // §3.1.2 invalid
    ("badinv01", Answered(400)),
    ("clerr", Answered(400)),
    ("ncl", Answered(400)),
    ("scalar02", Answered(400)),
    ("scalarlg", Dropped),
    ("quotbal", Answered(400)),
    ("ltgtruri", Answered(400)),
    ("lwsruri", Answered(400)),
    ("lwsstart", Answered(400)),
    ("trws", Answered(400)),
    ("escruri", Answered(400)),
    ("baddate", Forwarded),
    ("regbadct", AsAnyRegister),
    ("badaspec", Forwarded),
    ("baddn", Answered(400)), // as the RFC prints it, its empty line is missing
    ("badvers", Answered(505)),
    ("mismatch01", Answered(400)),
    ("mismatch02", Answered(501)),
    ("bigcode", Dropped),
    // §3.2 transactions
    ("badbranch", Forwarded),
    // §3.3 application
    ("insuf", Answered(400)),
    ("unkscm", Answered(416)),
    ("novelsc", Answered(416)),
    ("unksm2", AsAnyRegister),
    ("bext01", Answered(420)),
    ("invut", Forwarded),
    ("regaut01", AsAnyRegister),
    ("multi01", Answered(400)),
    ("mcl01", Answered(400)),
    ("bcast", Dropped),
    ("zeromf", Answered(483)),
    ("cparam01", AsAnyRegister),
    ("cparam02", AsAnyRegister),
    ("regescrt", AsAnyRegister),
    ("sdp01", Forwarded),
    // §3.4 backward compatibility
    ("inv2543", Answered(400)),
];

const RFC_5118: [(&str, Done); 12] = [
    ("ipv6-good", AsAnyRegister),
    ("ipv6-bad", Answered(400)),
    ("port-ambiguous", AsAnyRegister),
    ("port-unambiguous", AsAnyRegister),
    ("via-received-param-with-delim", Answered(481)), // a BYE of no dialog of ours
    ("via-received-param-no-delim", Answered(200)),
    ("ipv6-in-sdp", Forwarded),
    ("mult-ip-in-header", Answered(481)), // likewise
    ("mult-ip-in-sdp", Forwarded),
    ("ipv4-mapped-ipv6", Forwarded),
    ("ipv6-bug-abnf-3-colons", Forwarded),
    ("ipv6-correct-abnf-2-colons", Forwarded),
];

const REGISTER: &str = "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKplain\r\nMax-Forwards: 70\r\nFrom: <sip:user@example.com>;tag=1\r\nTo: <sip:user@example.com>\r\nCall-ID: plain\r\nCSeq: 1 REGISTER\r\nContact: <sip:user@192.0.2.1>\r\nContent-Length: 0\r\n\r\n";

fn message(folder: &str, name: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/torture/{folder}/{name}.dat"));
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn rfc_4475(name: &str) -> Vec<u8> {
    message("rfc4475", name)
}

fn assert_all(folder: &str, table: &[(&str, Done)]) {
    let plain = send(REGISTER.as_bytes()).word();
    let mut wrong = Vec::new();
    for (name, done) in table {
        let wanted = match done {
            Forwarded => "forwarded".to_owned(),
            Answered(status) => status.to_string(),
            Dropped => "silence".to_owned(),
            AsAnyRegister => plain.clone(),
        };
        let found = send(&message(folder, name)).word();
        if found != wanted {
            wrong.push(format!("{name}: {found} instead of {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture").join(folder)).unwrap();
    let files: BTreeSet<_> = files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let listed: BTreeSet<_> = table.iter().map(|(name, _)| format!("{name}.dat")).collect();
    assert_eq!(files, listed, "every message is in the table");
}

#[test]
fn unquoted_names_go_on_with_their_quotes() {
    let whole = [rfc_4475("baddn"), b"\r\n".to_vec()].concat();
    assert_eq!(send(&whole).word(), "forwarded");
}

#[test]
fn each_message_of_rfc_4475_gets_what_the_rfc_asks_for() {
    assert_all("rfc4475", &RFC_4475);
}

#[test]
fn each_message_of_rfc_5118_gets_what_the_rfc_asks_for() {
    assert_all("rfc5118", &RFC_5118);
}

fn forwarded(bytes: &[u8]) -> onrecord::sip::Request {
    let mut reaction: Reaction = send(bytes);
    reaction
        .forwarded
        .pop()
        .unwrap_or_else(|| panic!("{:?}", reaction.answers))
}

fn body_of(bytes: &[u8]) -> &[u8] {
    let head = bytes
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .expect("an end of the headers");
    &bytes[head + 4..]
}

#[test]
fn escapes_cross_as_they_were_written() {
    let invite = forwarded(&rfc_4475("esc01"));
    assert_eq!(invite.uri.as_str(), "sip:sips%3Auser%40example.com@example.net");
    assert_eq!(invite.headers.to().uri().as_str(), "sip:%75se%72@example.com");
    assert_eq!(
        invite.headers.from().uri().as_str(),
        "sip:I%20have%20spaces@example.net"
    );
}

#[test]
fn bodies_of_types_that_nobody_here_knows_cross_byte_for_byte() {
    for name in ["invut", "mpart01"] {
        let bytes = rfc_4475(name);
        assert_eq!(forwarded(&bytes).body, body_of(&bytes), "{name}");
    }
    assert_eq!(
        forwarded(&rfc_4475("invut")).headers.get("Content-Type"),
        Some("application/unknownformat")
    );
}

#[test]
fn long_values_cross_and_the_path_behind_them_stays() {
    let invite = forwarded(&rfc_4475("longreq"));
    let to = invite.headers.to();
    assert!(
        to.display_name().is_some_and(|name| name.ends_with("proportion")),
        "{to}"
    );
    assert!(
        to.uri()
            .param("unknownparam1")
            .is_some_and(|value| value.starts_with("verylonglong")),
        "{to}"
    );
    assert_eq!(invite.headers.get_all("Via").count(), 1, "their path is theirs");
}

#[test]
fn an_unknown_demand_is_refused_by_name() {
    let answers = send(&rfc_4475("bext01")).answers;
    let unsupported =
        "Unsupported: nothingSupportsThis, nothingSupportsThisEither, noProxiesSupportThis, norDoAnyProxiesSupportThis";
    assert!(answers[0].text.contains(unsupported), "{}", answers[0].text);
}

#[test]
fn a_datagram_is_one_message_whatever_follows_it() {
    // The INVITE behind the REGISTER is noise (RFC 3261 §18.3).
    let reaction = send(&rfc_4475("dblreq"));
    let methods: Vec<_> = reaction
        .forwarded
        .iter()
        .map(|request| request.method.as_str())
        .collect();
    assert!(!methods.contains(&"INVITE"), "{methods:?}");
}

#[test]
fn the_syntax_of_rfc_2543_is_read_but_a_dialog_needs_a_contact() {
    let text = String::from_utf8(rfc_4475("inv2543")).unwrap();
    assert!(send(text.as_bytes()).answers[0].text.contains("Contact is missing"));
    let with_contact = text.replacen("CSeq:", "Contact: <sip:gw@192.0.2.5>\r\nCSeq:", 1);
    let invite = forwarded(with_contact.as_bytes());
    assert_eq!(invite.headers.max_forwards(), Some(69), "none came: 70, less one hop");
    assert!(invite.headers.from().tag().is_some());
}

#[test]
fn a_third_colon_before_an_embedded_ipv4_address_is_dropped() {
    let text = String::from_utf8(message("rfc5118", "ipv6-bug-abnf-3-colons")).unwrap();
    let invite = text
        .replace("OPTIONS", "INVITE")
        .replacen("CSeq", "Contact: <sip:a@192.0.2.9>\r\nCSeq", 1);
    let invite = forwarded(invite.as_bytes());
    assert_eq!(invite.uri.as_str(), "sip:user@[2001:db8::192.0.2.1]");
    assert_eq!(invite.headers.to().uri().as_str(), "sip:user@[2001:db8::192.0.2.1]");
}

#[test]
fn lines_that_end_with_lf_alone_are_refused_whatever_they_say() {
    for (name, _) in RFC_5118 {
        let text = String::from_utf8(message("rfc5118", name))
            .unwrap()
            .replace("\r\n", "\n");
        assert_eq!(
            send(text.as_bytes()).word(),
            "silence",
            "{name}: without one CRLF it is no line of SIP"
        );
        // The head ends its lines as it should, all but one.
        let once = text
            .replace('\n', "\r\n")
            .replacen("\r\nContent-Length", "\nContent-Length", 1);
        assert_eq!(send(once.as_bytes()).word(), "400", "{name}");
    }
}
