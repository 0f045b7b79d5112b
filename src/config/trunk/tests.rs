use super::super::load::compile;
use super::*;
use crate::config::Config;
use crate::policy::{Finding, Format, SourceFile, render};
use crate::trunk::Topology;

const BEFORE: &str = "[listen]\nsip = [\"udp:127.0.0.1:5070\"]\nmedia = { address = \"127.0.0.1\", ports = \"40000-59999\" }\n\
                      [[route]]\nfrom = \"carrier\"\nto = \"carrier\"\n[[trunk]]\nname = \"carrier\"\n";

fn read(trunk: &str) -> Result<Config, Vec<Finding>> {
    let (path, text) = ("onrecord.toml".to_owned(), format!("{BEFORE}{trunk}"));
    compile(&SourceFile { path, text }).map(|(config, _)| config)
}

fn refused(trunk: &str) -> String {
    render(&read(trunk).expect_err(trunk), Format::Concise)
}

#[test]
fn a_trunk_with_everything_is_read() {
    let text = r#"
destinations = [
  { address = "192.0.2.10:5060", priority = 10, weight = 60 },
  { address = "sip:sip.example.com;transport=tcp", priority = 20 },
]
probe = { interval = "10s", up_codes = ["200", "405"], max_forwards = 0 }
e164 = true
nat = true
methods = ["INVITE", "OPTIONS"]
codecs = ["PCMA", "telephone-event"]
calls_max = 30
calls_per_second = 5
[[trunk.rewrite]]
on = "out"
field = "header:X-Account"
match = "^$"
replace = "4711"
"#;
    let config = read(text).expect("valid");
    let trunk = &config.trunks[0];
    assert_eq!(trunk.sites.len(), 2);
    assert_eq!(
        trunk.sites[0].rank,
        Rank {
            priority: 10,
            weight: 60
        }
    );
    assert_eq!(
        trunk.peers.len(),
        1,
        "a literal destination may send, a name once it is located"
    );
    let probe = trunk.probe.as_ref().expect("a probe");
    assert_eq!((probe.interval, probe.max_forwards), (Duration::from_secs(10), 0));
    assert_eq!(probe.up_codes, [200, 405]);
    assert!(trunk.e164 && trunk.nat);
    assert_eq!(
        trunk.codecs.as_deref(),
        Some(&["pcma".to_owned(), "telephone-event".to_owned()][..])
    );
    assert_eq!(
        (trunk.caps.calls_max, trunk.caps.calls_per_second),
        (Some(30), NonZeroU32::new(5))
    );
    assert_eq!(
        trunk.allow("INVITE, ACK, BYE, CANCEL, OPTIONS, INFO"),
        "INVITE, ACK, BYE, CANCEL, OPTIONS"
    );
    assert_eq!(trunk.rewrites[0].replacement(), "4711");
}

#[test]
fn how_media_is_encrypted_is_read() {
    for (text, srtp, sdes_over) in [
        ("srtp = \"require\"\n", Srtp::Require, SdesOver::Tls),
        ("srtp = \"refuse\"\nsdes_over = \"tls\"\n", Srtp::Refuse, SdesOver::Tls),
        ("srtp = \"allow\"\nsdes_over = \"any\"\n", Srtp::Allow, SdesOver::Any),
    ] {
        let config = read(&format!("peers = [\"192.0.2.10\"]\n{text}")).expect("valid");
        let told = config.trunks[0].secrecy;
        assert_eq!((told.srtp, told.sdes_over), (srtp, sdes_over));
    }
    for (text, dtls, ice) in [
        ("", Dtls::Allow, Ice::Allow),
        ("dtls = \"require\"\nice = \"offer\"\n", Dtls::Require, Ice::Offer),
        ("dtls = \"refuse\"\nice = \"refuse\"\n", Dtls::Refuse, Ice::Refuse),
    ] {
        let config = read(&format!("peers = [\"192.0.2.10\"]\n{text}")).expect("valid");
        let told = config.trunks[0].secrecy;
        assert_eq!((told.dtls, told.ice), (dtls, ice));
    }
    for (key, word) in [("srtp", "always"), ("dtls", "prefer"), ("ice", "full")] {
        let told = refused(&format!("peers = [\"192.0.2.10\"]\n{key} = \"{word}\"\n"));
        assert!(told.contains(&format!("`{key}` cannot be `{word}`")), "{told}");
    }
}

#[test]
fn encryption_that_is_required_where_no_keys_may_be_told_is_doubted() {
    let peer = "peers = [\"192.0.2.10\"]\nsrtp = \"require\"\n";
    let told = |text: &str| {
        let (path, text) = ("onrecord.toml".to_owned(), format!("{BEFORE}{text}"));
        let (_, findings) = compile(&SourceFile { path, text }).expect("valid");
        render(&findings, Format::Full)
    };
    for text in [
        peer.to_owned(),
        format!("{peer}transport = \"tcp\"\n"),
        format!("{peer}sdes_over = \"tls\"\ndtls = \"refuse\"\n"),
        "destinations = [{ address = \"sip:a.example;transport=tcp\" }]\ntransport = \"udp\"\nsrtp = \"require\"\n"
            .to_owned(),
    ] {
        let told = told(&text);
        assert!(
            told.contains("P109") && told.contains("sdes_over") && told.contains("488"),
            "{text}: {told}"
        );
    }
    for text in [
        format!("{peer}sdes_over = \"any\"\n"),
        format!("{peer}dtls = \"require\"\n"),
        "destinations = [{ address = \"a.example\" }]\nsrtp = \"require\"\n".to_owned(),
        "peers = [\"192.0.2.10\"]\nsrtp = \"allow\"\n".to_owned(),
    ] {
        let told = told(&text);
        assert!(!told.contains("P109"), "{text}: {told}");
    }
}

#[test]
fn without_them_a_trunk_is_as_it_was() {
    let config = read("peers = [\"192.0.2.10\"]\n").expect("valid");
    let peer = Peer {
        ip: "192.0.2.10".parse().expect("an address"),
        port: None,
    };
    assert_eq!(config.trunks[0], Trunk::new("carrier".into(), vec![peer]));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let peer = "peers = [\"192.0.2.10\"]\n";
    for (text, place, words) in [
        ("destinations = []\n", "7:", "`peers` is missing"),
        (
            "destinations = [{ address = \"sips:x\" }]\npeers = [\"192.0.2.1\"]\n",
            "10:",
            "cannot be `sips:x`",
        ),
        (
            "destinations = [{ address = \"a.example\" }, { address = \"A.example.\" }]\n",
            "10:",
            "listed twice",
        ),
        (
            "destinations = [{ address = \"a.example\", weight = 70000 }]\n",
            "10:",
            "`weight` cannot be `70000`",
        ),
        ("probe = { interval = \"1ms\" }\n", "10:", "`interval` cannot be `1ms`"),
        ("probe = { up_codes = [\"99\"] }\n", "10:", "`up_codes` cannot be `99`"),
        ("methods = [\"invite\"]\n", "10:", "`methods` cannot be `invite`"),
        ("codecs = []\n", "10:", "`codecs` cannot be `[]`"),
        ("calls_max = 0\n", "10:", "`calls_max` cannot be `0`"),
        (
            "[[trunk.rewrite]]\nfield = \"to\"\nmatch = \"x\"\nreplace = \"\"\n",
            "10:",
            "`on` is missing",
        ),
        (
            "[[trunk.rewrite]]\non = \"in\"\nfield = \"header:Via\"\nmatch = \"x\"\nreplace = \"\"\n",
            "12:",
            "`field` cannot be `header:Via`",
        ),
        (
            "[[trunk.rewrite]]\non = \"in\"\nfield = \"to\"\nmatch = \"(\"\nreplace = \"\"\n",
            "13:",
            "`match` cannot be `(`",
        ),
        (
            "[[trunk.rewrite]]\non = \"in\"\nfield = \"to\"\nmatch = \"(x)\"\nreplace = \"$1y\"\n",
            "14:",
            "`replace` cannot be `$1y`",
        ),
    ] {
        let said = refused(&format!("{}{text}", if text.starts_with("dest") { "\n" } else { peer }));
        assert!(
            said.contains(words) && said.contains(&format!("onrecord.toml:{place}")),
            "{text}\n{said}"
        );
    }
}

#[test]
fn a_range_may_send_and_is_sent_nothing() {
    let config = read("peers = [\"192.0.2.10:5070\", \"198.51.100.0/24\", \"2001:db8::/48\"]\n").expect("valid");
    let trunk = &config.trunks[0];
    assert_eq!((trunk.peers.len(), trunk.networks.len()), (1, 2));
    let source = |text: &str| text.parse::<SocketAddr>().expect("an address");
    for from in ["192.0.2.10:5070", "198.51.100.255:9", "[2001:db8::9]:5060"] {
        assert!(config.trunk_of(source(from)).is_some(), "{from}");
    }
    assert!(config.trunk_of(source("198.51.101.0:5060")).is_none());
    let phones = read("peers = [\"10.0.0.0/8\"]\n").expect("where phones register from");
    assert_eq!(
        phones.trunks[0].first_address(Transport::Udp, [10, 0, 0, 1].into()),
        None
    );
}

#[test]
fn ranges_that_are_none_or_of_two_trunks_are_told_with_their_place() {
    for (peers, said) in [
        ("[\"192.0.2.1/24\"]", "which here is \"192.0.2.0/24\""),
        ("[\"192.0.2.0/33\"]", "the number of bits"),
        ("[\"192.0.2.0/24:5060\"]", "the number of bits"),
        ("[\"0.0.0.0/0\"]", "at least 8 bits"),
    ] {
        let findings = read(&format!("peers = {peers}\n")).expect_err("no range");
        let refused = render(&findings, Format::Full);
        assert!(
            refused.contains(said) && refused.contains("onrecord.toml:9:10"),
            "{refused}"
        );
    }
    let two = |one: &str, other: &str| {
        let other = format!("[[trunk]]\nname = \"teams\"\npeers = [\"192.0.2.200\", \"{other}\"]\n");
        read(&format!("peers = [\"{one}\"]\n{other}")).map_err(|findings| render(&findings, Format::Concise))
    };
    for (one, other, said) in [
        (
            "10.0.0.0/8",
            "10.1.0.0/16",
            "`10.1.0.0/16` is in `10.0.0.0/8`, which trunk `carrier` has too",
        ),
        (
            "10.1.0.0/16",
            "10.0.0.0/8",
            "`10.0.0.0/8` is in `10.1.0.0/16`, which trunk `carrier` has too",
        ),
        (
            "10.0.0.0/8",
            "10.1.2.3:5070",
            "`10.1.2.3:5070` is in `10.0.0.0/8`, which trunk `carrier` has too",
        ),
        (
            "2001:db8::1",
            "2001:db8::/32",
            "`2001:db8::/32` contains 2001:db8::1, a peer of trunk `carrier`",
        ),
    ] {
        let refused = two(one, other).expect_err("an address is of one trunk");
        assert!(
            refused.contains(said) && refused.contains("onrecord.toml:12:25"),
            "{refused}"
        );
    }
    for (one, other) in [("10.0.0.0/16", "10.1.0.0/16"), ("10.0.0.0/8", "2001:db8::/32")] {
        assert!(two(one, other).is_ok(), "{one} {other}");
    }
}

/// The page is what an operator copies.
#[test]
fn the_teams_example_of_the_page_is_a_config_whose_trunk_is_known_by_its_ranges_and_called_by_its_names() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATING.md")).expect("the page");
    let (_, section) = page
        .split_once("## Microsoft Teams Direct Routing\n")
        .expect("its section");
    let (_, example) = section.split_once("```toml\n").expect("its example");
    let (text, _) = example.split_once("```").expect("its end");
    let (path, text) = ("onrecord.toml".to_owned(), text.to_owned());
    let (config, notes) = compile(&SourceFile { path, text }).expect("valid");
    assert_eq!(notes, []);
    let listeners = config
        .listen
        .sip
        .iter()
        .map(|listener| (listener.transport, listener.address));
    let topology = Topology::new(config.trunks.clone(), config.routes.clone(), listeners.collect());
    let of = |from: &str, transport| {
        let trunk = topology.trunk_of(from.parse().expect("an address"), transport);
        trunk.map(|trunk| trunk.name.as_str().to_owned())
    };
    for from in [
        "52.112.0.1:1024",
        "52.115.255.255:5061",
        "52.122.0.0:40000",
        "52.123.255.255:1",
    ] {
        assert_eq!(of(from, Transport::Tls).as_deref(), Some("teams"), "{from}");
        assert_eq!(of(from, Transport::Udp), None, "in clear: {from}");
    }
    for from in ["52.111.255.255:5061", "52.116.0.0:5061", "52.124.0.0:5061"] {
        assert_eq!(of(from, Transport::Tls), None, "{from}");
    }
    let asked: Vec<String> = topology
        .aims()
        .iter()
        .map(|aim| format!("{} {:?} {:?}", aim.name, aim.port, aim.transport))
        .collect();
    let name = |host: &str| format!("{host}.pstnhub.microsoft.com Some(5061) Some(Tls)");
    assert_eq!(asked, [name("sip"), name("sip2"), name("sip3")]);
    let teams = config.trunks.iter().find(|trunk| trunk.name.as_str() == "teams");
    let srtp = teams.map(|trunk| trunk.secrecy.srtp);
    assert_eq!(
        srtp,
        Some(Srtp::Require),
        "it refuses RTP in clear, and a PBX offers nothing else"
    );
    let advertised = config.listen.sip[0].advertised.as_ref().expect("a name");
    assert_eq!(advertised.host(), "sbc.example.com");
    assert!(config.listen.tls.is_some_and(|tls| tls.client_ca.is_some()));
}

#[test]
fn our_end_towards_a_trunk_is_a_listener_and_media_addresses_of_the_node() {
    let text = BEFORE
        .replace(
            "[\"udp:127.0.0.1:5070\"]",
            "[\"udp:127.0.0.1:5070\", \"udp:10.0.0.1:5060\", \"tcp:10.0.0.1:5060\"]",
        )
        .replace("ports =", "advertised = \"203.0.113.7\", ports =");
    let read = |trunk: &str| {
        let file = SourceFile {
            path: "onrecord.toml".to_owned(),
            text: format!("{text}peers = [\"192.0.2.1\"]\n{trunk}"),
        };
        let trunk = compile(&file).map(|(config, _)| config.trunks[0].near.clone());
        trunk.map_err(|findings| render(&findings, Format::Concise))
    };
    let near = read("listen = \"udp:10.0.0.1:5060\"\nmedia = \"10.0.0.1\"").expect("valid");
    let at = |text: &str| text.parse::<std::net::IpAddr>().expect("an address");
    assert_eq!(near.listener.map(|(_, local)| local.ip()), Some(at("10.0.0.1")));
    let told = |trunk: &str| read(trunk).expect("valid").media.map(|media| media.told);
    assert_eq!(told("media = \"10.0.0.1\""), Some(at("10.0.0.1")));
    assert_eq!(
        told("media = \"127.0.0.1\""),
        Some(at("203.0.113.7")),
        "as `[listen]` says"
    );
    let inside = "media = \"127.0.0.1\"\nmedia_advertised = \"127.0.0.1\"";
    assert_eq!(told(inside), Some(at("127.0.0.1")));
    for (trunk, said) in [
        ("listen = \"udp:10.0.0.2:5060\"", "`listen` cannot be"),
        ("listen = \"10.0.0.1:5060\"", "`listen` cannot be"),
        ("listen = \"tcp:10.0.0.1:5060\"", "`listen` cannot be"),
        ("media = \"0.0.0.0\"", "cannot be told to peers"),
        ("media_advertised = \"10.0.0.1\"", "`media` is missing"),
        (
            "media = \"10.0.0.1\"\nmedia_advertised = \"2001:db8::1\"",
            "`media_advertised` cannot be",
        ),
    ] {
        let findings = read(trunk).expect_err(trunk);
        assert!(findings.contains(said), "{trunk}: {findings}");
    }
}

#[test]
fn a_codec_by_a_name_that_sdp_does_not_have_is_doubted_and_taken() {
    let warned = |names: &str| {
        let (path, text) = (
            "onrecord.toml".to_owned(),
            format!("{BEFORE}peers = [\"192.0.2.1\"]\ncodecs = [{names}]\n"),
        );
        let (config, findings) = compile(&SourceFile { path, text }).expect("valid");
        (
            config.trunks[0].codecs.clone().unwrap_or_default().len(),
            render(&findings, Format::Full),
        )
    };
    for (name, meant) in [
        ("G.711", "did you mean `PCMA` and `PCMU`?"),
        ("alaw", "did you mean `PCMA`?"),
        ("telephone-events", "did you mean `telephone-event`?"),
        ("x-private", "no codec is known as `x-private` in SDP"),
    ] {
        let (taken, findings) = warned(&format!("\"{name}\", \"pcmu\""));
        assert!(
            taken == 2 && findings.contains("P108") && findings.contains(meant),
            "{findings}"
        );
    }
    let (_, findings) = warned("\"pcma\", \"Opus\", \"G722\", \"telephone-event\", \"H264\", \"CN\"");
    assert!(!findings.contains("P108"), "{findings}");
}

#[test]
fn headers_to_carry_are_named_in_full_and_what_is_ours_to_write_is_none_of_them() {
    let config = read("peers = [\"192.0.2.11\"]\ncarry = [\"Cisco-Gucid\", \"conversation-tag\"]\n").expect("a list");
    let trunk = config.trunks.last().expect("a trunk");
    let names: Vec<&str> = trunk
        .carry
        .iter()
        .flat_map(|names| names.iter())
        .map(String::as_str)
        .collect();
    assert_eq!(names, ["Cisco-Gucid", "conversation-tag"]);
    for name in [
        "Via",
        "contact",
        "v",
        "Path",
        "Target-Dialog",
        "P-Asserted-Identity",
        "x-recording-decision",
        "A B",
        "a:b",
        "",
    ] {
        let told = refused(&format!("peers = [\"192.0.2.11\"]\ncarry = [\"{name}\"]\n"));
        assert!(told.contains(&format!("`carry` cannot be `{name}`")), "{name}: {told}");
    }
    let many = vec!["\"Name\""; 33].join(", ");
    assert!(refused(&format!("peers = [\"192.0.2.11\"]\ncarry = [{many}]\n")).contains("more than 32 entries"));
}
