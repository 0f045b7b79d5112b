//! Listeners, what they are advertised as, and certificates: what is read and what is refused.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::policy::{Finding, Format, SourceFile, render};

const EXAMPLE: &str = r#"
[listen]
sip = [
    "udp:10.0.0.4:5060",
    { listen = "tls:10.0.0.4:5061", advertised = "sbc.example.com:5061" },
    "wss:[2001:db8::1]:443",
]
media = { address = "10.0.0.4", advertised = "203.0.113.7", address6 = "2001:db8::1", ports = "40000-59999", sockets = "shared" }
websocket_origins = ["https://phone.example.com"]
[listen.tls]
certificate = "chain.pem"
key = "/etc/key.pem"
client_ca = "clients.pem"
[[trunk]]
name = "teams"
peers = ["192.0.2.1"]
transport = "tls"
[trunk.tls]
server_name = "sip.example.net"
ca = "ca.pem"
client_name = "sip.example.net"
[[trunk]]
name = "pbx"
peers = ["192.0.2.2"]
large_requests = "udp"
[[route]]
from = "pbx"
to = "teams"
[[route]]
from = "teams"
to = "pbx"
"#;

fn read(text: &str) -> Result<(Config, Vec<Finding>), Vec<Finding>> {
    let (path, text) = ("onrecord.toml".to_owned(), text.to_owned());
    super::super::load::compile(&SourceFile { path, text })
}

#[test]
fn the_example_is_read_and_its_paths_lie_beside_it() {
    let (mut config, notes) = read(EXAMPLE).unwrap();
    assert_eq!(notes, []);
    config.resolve(Path::new("/conf"));
    let listen = &config.listen;
    assert_eq!(listen.sip[0].advertised, None);
    let advertised = listen.sip[1].advertised.as_ref().unwrap();
    assert_eq!((advertised.host(), advertised.port()), ("sbc.example.com", Some(5061)));
    assert_eq!(
        (listen.sip[2].transport, listen.sip[2].address.port()),
        (Transport::Wss, 443)
    );
    let places: Vec<String> = listen
        .media_addresses()
        .map(|(at, told)| format!("{at} {told}"))
        .collect();
    assert_eq!(places, ["10.0.0.4 203.0.113.7", "2001:db8::1 2001:db8::1"]);
    assert_eq!(listen.media.sockets, MediaSockets::Shared);
    let tls = listen.tls.as_ref().unwrap();
    assert_eq!(tls.certificate.chain, Path::new("/conf/chain.pem"));
    assert_eq!(tls.certificate.key, Path::new("/etc/key.pem"));
    assert_eq!(tls.client_ca.as_deref(), Some(Path::new("/conf/clients.pem")));
    let teams = config.deliveries[&"teams".into()].tls.as_ref().unwrap();
    assert_eq!(teams.ca.as_deref(), Some(Path::new("/conf/ca.pem")));
    assert_eq!(
        (&teams.server_name, &teams.certificate),
        (&Some("sip.example.net".to_owned()), &None)
    );
    assert!(
        config
            .trunks
            .iter()
            .any(|trunk| trunk.name.as_str() == "pbx" && trunk.datagrams_only)
    );
}

/// What stands in the example, what stands there instead, and what is said of it.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "udp:10.0.0.4:5060",
        "udp:[fe80::1]:5060",
        "`sip` cannot be `udp:[fe80::1]:5060`",
    ),
    (
        "udp:10.0.0.4:5060",
        "udp:[fe80::1%2]:5060",
        "`sip` cannot be `udp:[fe80::1%2]:5060`",
    ),
    (
        "udp:10.0.0.4:5060",
        "tls:10.0.0.4:5061",
        "`tls:10.0.0.4:5061` is listed twice",
    ),
    (
        "sbc.example.com:5061",
        "sbc.example.com",
        "`advertised` cannot be `sbc.example.com`",
    ),
    (
        "sbc.example.com:5061",
        "0.0.0.0:5061",
        "`advertised` cannot be `0.0.0.0:5061`",
    ),
    ("sbc.example.com:5061", "a b:5061", "`advertised` cannot be `a b:5061`"),
    ("listen = \"tls", "at = \"tls", "`listen` is missing"),
    ("203.0.113.7", "2001:db8::7", "`advertised` cannot be `2001:db8::7`"),
    ("203.0.113.7", "0.0.0.0", "`0.0.0.0` cannot be told to peers"),
    (
        "address6 = \"2001:db8::1\"",
        "address6 = \"10.0.0.5\"",
        "`address6` cannot be `10.0.0.5`",
    ),
    ("sockets = \"shared\"", "sockets = \"one\"", "`sockets` cannot be `one`"),
    (
        "https://phone.example.com",
        "phone",
        "`websocket_origins` cannot be `phone`",
    ),
    ("key = \"/etc/key.pem\"\n", "", "`key` is missing"),
    ("[listen.tls]", "[listen.tlss]", "unknown field `tlss`"),
    ("[listen.tls]", "[listen.tlss]", "`[listen.tls]` is missing"),
    ("ca = \"ca.pem\"\n", "", "`[trunk.tls]` with `ca` is missing"),
    ("ca = \"ca.pem\"\n", "", "`ca` is missing"),
    (
        "ca = \"ca.pem\"",
        "ca = \"ca.pem\"\nkey = \"k.pem\"",
        "`certificate` is missing",
    ),
    (
        "server_name = \"sip.example.net\"",
        "server_name = \"a:5061\"",
        "`server_name` cannot be `a:5061`",
    ),
    (
        "client_name = \"sip.example.net\"",
        "client_name = \"sip..example.net\"",
        "`client_name` cannot be `sip..example.net`",
    ),
    (
        "large_requests = \"udp\"",
        "large_requests = \"tls\"",
        "`large_requests` cannot be `tls`",
    ),
];

#[test]
fn what_cannot_be_meant_is_refused_where_it_stands() {
    for (from, to, message) in MISTAKES {
        assert!(EXAMPLE.contains(from), "{from}");
        let findings = match read(&EXAMPLE.replacen(from, to, 1)) {
            Ok((_, findings)) | Err(findings) => findings,
        };
        let found = findings.iter().find(|finding| finding.message == *message);
        assert!(
            found.is_some_and(|found| found.place.line > 0),
            "{to}: {}",
            render(&findings, Format::Full)
        );
    }
}

#[test]
fn a_name_may_be_an_address_and_loses_its_brackets() {
    let (config, _) = read(&EXAMPLE.replace("\"sip.example.net\"", "\"[2001:db8::2]\"")).unwrap();
    let tls = config.deliveries[&"teams".into()].tls.as_ref().unwrap();
    assert_eq!(tls.client_name.as_deref(), Some("2001:db8::2"));
    assert_eq!(tls.server_name, tls.client_name);
}

#[test]
fn trunks_of_one_address_have_to_agree_whose_certificate_is_believed() {
    let second = |address: &str, tls: &str| {
        format!(
            "{EXAMPLE}[[trunk]]\nname = \"other\"\npeers = [\"{address}:5071\"]\ntransport = \"tls\"\n[trunk.tls]\n{tls}\n\
             [[route]]\nfrom = \"other\"\nto = \"pbx\"\n"
        )
        .replace("\"192.0.2.1\"", "\"192.0.2.1:5061\"")
    };
    let same = "ca = \"ca.pem\"\nclient_name = \"sip.example.net\"";
    for (address, tls, refused) in [
        ("192.0.2.1", same, false),
        ("192.0.2.1", &format!("{same}\nserver_name = \"b.example.net\""), false),
        ("192.0.2.9", "ca = \"other.pem\"", false),
        ("192.0.2.1", "ca = \"ca.pem\"", true),
        (
            "192.0.2.1",
            "ca = \"other.pem\"\nclient_name = \"sip.example.net\"",
            true,
        ),
        (
            "::ffff:192.0.2.1",
            "ca = \"ca.pem\"\nclient_name = \"b.example.net\"",
            true,
        ),
    ] {
        let address = if address.contains("::") {
            format!("[{address}]")
        } else {
            address.to_owned()
        };
        let found = read(&second(&address, tls));
        let said = "`teams` and `other` differ in `[trunk.tls]`";
        let told = matches!(&found, Err(findings) if findings.iter().any(|finding| finding.message == said));
        assert_eq!((told, found.is_err()), (refused, refused), "{address} {tls}: {found:?}");
    }
}
