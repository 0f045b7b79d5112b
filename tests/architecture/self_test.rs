//! The check itself, on small sources: it finds what it should, and is not fooled.

use super::rules::{LINES_MAX, Rules};
use super::source::Source;

const PAGE: &str = "
| row | module | may import |
|--|--|--|
| 0 | model | – |
| 1 | sip, rtp | model |
| 3 | media | model, rtp, recorder::Frame |
| 2 | recorder | model |
| 7 | cli | * |

| named only here | by |
|--|--|
| `tokio` | cli |
| `rtp` | rtp |
| `std::fs`, `std::time::Instant` | cli::clock |
";

fn findings(files: &[(&str, &str)]) -> Vec<String> {
    let sources: Vec<Source> = files
        .iter()
        .map(|(file, text)| Source::read(file, super::module_of(file), text))
        .collect();
    Rules::parse(PAGE).findings(&sources)
}

#[test]
fn the_tables_are_read_from_the_page() {
    let rules = Rules::parse(PAGE);
    assert_eq!(rules.imports.len(), 6);
    assert!(rules.imports["model"].is_empty());
    assert!(rules.imports["rtp"].contains("model") && rules.imports["media"].contains("recorder::Frame"));
    assert_eq!(
        rules.reserved.keys().collect::<Vec<_>>(),
        ["rtp", "std::fs", "std::time::Instant", "tokio"]
    );
}

#[test]
fn an_import_from_a_room_above_is_named_with_file_and_line() {
    let found = findings(&[("src/sip/via.rs", "use crate::model::Leg;\n\nuse crate::media::Plane;\n")]);
    assert_eq!(
        found,
        ["src/sip/via.rs:3: sip must not import `media::Plane`, only model"]
    );
}

#[test]
fn every_way_to_write_an_import_is_seen() {
    for text in [
        "use crate::{model::Leg, media};",
        "use crate::{model::{Leg, Party}, media::{Plane as P}};",
        "use super::super::media::Plane;",
        "use super::super::{media};",
        "fn f() { crate::media::start(); }",
        "fn f(p: &crate::media::Plane) {}",
        "mod inner { use super::super::super::media::Plane; }",
        "macro_rules! m { () => { $crate::media::start() } }",
        "fn f() { let s = \"\\\"\"; let q = '\"'; crate::media::start(); }",
        "fn f<'a>(x: &'a str) { crate::media::start(); }",
        "fn f() { g(r#\"a \" b\"#); crate::media::start(); }",
    ] {
        let found = findings(&[("src/sip/via.rs", text)]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(
            found[0].starts_with("src/sip/via.rs:1: sip must not import `media"),
            "{found:?}"
        );
    }
}

#[test]
fn comments_strings_and_tests_do_not_count() {
    for text in [
        "// use crate::media::Plane;",
        "/* use /* nested */ crate::media::Plane; */ fn f() {}",
        "//! See crate::media::Plane",
        "const S: &str = \"crate::media::Plane\";",
        "const S: &str = r##\"x\"# crate::media::Plane\"##;",
        "const S: &[u8] = b\"tokio::spawn\\\" crate::media\";",
        "#[cfg(test)]\nmod tests {\n    use crate::media::Plane;\n    fn f() { tokio::spawn(); x.unwrap(); }\n}",
        "#[cfg(test)]\n#[allow(clippy::unwrap_used)]\nmod tests { fn f() { x.unwrap() } }",
        "#[cfg(all(test, unix))]\nfn f(a: [u8; 3]) -> u8 { crate::media::x() }",
        "#[cfg(test)]\nuse crate::media::Plane;",
        "fn f() { x.unwrap_or_default(); }",
    ] {
        assert_eq!(findings(&[("src/sip/via.rs", text)]), [""; 0], "{text}");
    }
}

#[test]
fn what_follows_a_test_item_counts_again() {
    let found = findings(&[("src/sip/via.rs", "#[cfg(test)]\nuse x::Y;\nuse crate::media::Plane;\n")]);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("src/sip/via.rs:3:"), "{found:?}");
}

#[test]
fn a_single_name_can_be_granted() {
    assert_eq!(
        findings(&[("src/media/fork.rs", "use crate::recorder::Frame;")]),
        [""; 0]
    );
    assert_eq!(
        findings(&[("src/media/fork.rs", "use crate::recorder::{Frame, Writer};")]).len(),
        1
    );
}

#[test]
fn a_foreign_crate_is_told_from_a_room_of_the_same_name() {
    assert_eq!(
        findings(&[("src/media/relay.rs", "use crate::rtp;\nfn f() { rtp::parse(); }")]),
        [""; 0]
    );
    assert_eq!(findings(&[("src/rtp/packet.rs", "use rtp::packet::Packet;")]), [""; 0]);
    let found = findings(&[("src/media/relay.rs", "fn f() { rtp::packet::parse(); }")]);
    assert_eq!(found, ["src/media/relay.rs:1: `rtp` is named only in rtp"]);
    assert_eq!(
        findings(&[("src/media/relay.rs", "use crate::rtp;\nfn f() { ::rtp::parse(); }")]).len(),
        1
    );
}

#[test]
fn a_reserved_path_is_seen_in_groups_and_under_aliases() {
    for text in [
        "use tokio;",
        "use tokio as t;",
        "use std::{fmt, fs};",
        "use std::{time::{Duration, Instant}};",
        "fn f() { std::fs::read(p); }",
        "fn f() { ::std::fs::read(p); }",
        "fn f() -> ::std::fs::File { g() }",
        "async fn f() { tokio::task::yield_now().await; }",
    ] {
        assert_eq!(findings(&[("src/sip/via.rs", text)]).len(), 1, "{text}");
    }
    assert_eq!(findings(&[("src/cli/clock.rs", "use std::time::Instant;")]), [""; 0]);
    assert_eq!(findings(&[("src/cli/serve.rs", "use std::time::Instant;")]).len(), 1);
    assert_eq!(
        findings(&[("src/sip/via.rs", "use std::fsx; use tokio_util::codec;")]),
        [""; 0]
    );
}

#[test]
fn a_table_that_would_allow_a_circle_is_refused() {
    let page = PAGE.replace("| 2 | recorder | model |", "| 2 | recorder | model, media |");
    let found = Rules::parse(&page).findings(&[]);
    assert_eq!(
        found,
        ["docs/ARCHITECTURE.md: recorder is granted `media`, which is in no lower row"]
    );
    let page = PAGE.replace("| 2 | recorder | model |", "| 2 | recorder | modle |");
    assert_eq!(Rules::parse(&page).findings(&[]).len(), 1);
}

#[test]
fn a_long_file_an_unwrap_and_a_room_without_a_row_are_named() {
    let long = "fn f() {}\n".repeat(LINES_MAX + 1);
    assert_eq!(findings(&[("src/sip/via.rs", &long)]).len(), 1);
    let with_tests = format!(
        "{}#[cfg(test)]\nmod tests {{\n{long}}}\n",
        "fn f() {}\n".repeat(LINES_MAX)
    );
    assert_eq!(findings(&[("src/sip/via.rs", &with_tests)]), [""; 0]);
    assert_eq!(
        findings(&[("src/sip/via.rs", "fn f() { x.unwrap(); panic!(\"\") }")]).len(),
        2
    );
    assert_eq!(
        findings(&[("src/attic/mod.rs", "")]),
        ["src/attic/mod.rs:1: its room has no row"]
    );
}
