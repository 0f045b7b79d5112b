use super::super::load::compile;
use super::*;
use crate::config::Config;
use crate::policy::{Finding, Format, SourceFile, render};

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
    assert!(trunk.e164);
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
