//! Who called for help is called back, whatever stands against that.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::Fault;
use onrecord::sip::{Message, Method};
use onrecord::trunk::{Field, Passage, Rewrite, Route, Trunk};

use super::super::bench::{A, ALL_STRICT, B, Bench, C, GRANTS, SDP, invite};
use super::super::routed::trunk;
use super::call;

#[test]
fn a_call_back_is_expected_after_a_restart_too_and_a_day_later_no_more() {
    for (hours, is_expected) in [(23, true), (24, false)] {
        let mut before = Bench::with(&ALL_STRICT);
        before.recorder_fails(Fault::Io);
        before.from(A, call(1, "e1", SDP));
        before.b_answers("INVITE", 180, "");
        before.b_answers("INVITE", 486, "");
        before.a_requests(1, "ACK", "e1", "");
        before.wait(Duration::from_secs(60));
        assert_eq!(before.remembered.len(), 1, "who called for help, and no call");
        let mut bench = Bench::with(&ALL_STRICT);
        bench.now = before.now + Duration::from_secs(hours * 3_600);
        bench.recorder_fails(Fault::Io);
        bench.remembered.clone_from(&before.remembered);
        for (session, state) in before.remembered {
            bench.input(Input::Resume { session, state });
        }
        assert_eq!(
            bench.remembered.len(),
            usize::from(is_expected),
            "for the start after the next"
        );
        let text = String::from_utf8(invite(1, "back", "", SDP, "").to_vec()).unwrap();
        let back = text
            .replace("sip:bob@127.0.0.1:5070", "sip:alice@example.com")
            .replace("\"Alice\" <sip:alice@example.com>", "<sip:psap@example.com>");
        bench.from(B, back.replace(A, B).into());
        assert_eq!(!bench.to_a.is_empty(), is_expected, "{hours} h: {:?}", bench.to_b);
    }
}

/// A call of the carrier to this user at our address; where a phone of A's rings for it.
fn calls_back(bench: &mut Bench, n: usize, user: &str) -> Option<String> {
    let text = String::from_utf8(invite(1, &format!("back{n}"), "", SDP, "").to_vec()).unwrap();
    let back = text
        .replace("sip:bob@", &format!("sip:{user}@"))
        .replace("\"Alice\" <sip:alice@example.com>", "<sip:psap@example.com>")
        .replace("call-1", &format!("back-{n}"));
    bench.to_a.clear();
    bench.from(B, back.replace(A, B).into());
    let rung = bench.to_a.iter().find_map(|message| match message {
        Message::Request(request) if request.method == Method::Invite => request.uri.user(),
        _ => None,
    });
    rung.map(str::to_owned)
}

#[test]
fn who_called_for_help_is_called_back_by_the_name_that_left_whatever_numbers_it_is_written_in() {
    let block = "[policy]\nid = \"desk\"\nenabled = true\naction = \"block\"\n[[policy.recorder]]\nid = \"embedded\"\n";
    let files = [("desk.toml", block), ("grants.toml", GRANTS)];
    let rule = |field: &str, pattern: &str, with: &str| {
        Rewrite::new(Passage::Out, Field::parse(field).unwrap(), pattern, with).unwrap()
    };
    let carrier = || Trunk {
        rewrites: vec![rule("from", r"^1(\d{3})$", "+442079461$1")],
        ..trunk("carrier", B)
    };
    let route = |from: &str, to: &str, prefix: Option<&str>, to_user: Option<&str>| Route {
        from: from.into(),
        to: to.into(),
        prefix: prefix.map(str::to_owned),
        to_user: to_user.map(str::to_owned),
        priority: i64::from(prefix.is_none()),
    };
    for (caller, called_back, rings) in [
        ("alice", "alice", "alice"),
        ("02079463333", "02079463333", "02079463333"),
        ("+442079462222", "+442079462222", "+442079462222"),
        ("1000", "+442079461000", "1000"),
        ("1000", "555", "1000"),
    ] {
        let mut bench = Bench::with(&files);
        bench.input(Input::Trunks {
            trunks: vec![trunk("pbx", A), carrier()],
            routes: vec![
                route("pbx", "carrier", None, None),
                route("carrier", "pbx", None, None),
                route("carrier", "pbx", Some("+442079461000"), Some("1000")),
                route("carrier", "pbx", Some("555"), Some("1000")),
            ],
        });
        assert_eq!(calls_back(&mut bench, 1, called_back), None, "before {caller} called");
        let text = String::from_utf8(call(1, "e1", SDP).to_vec()).unwrap();
        bench.from(A, text.replace("<sip:alice@", &format!("<sip:{caller}@")).into());
        bench.b_answers("INVITE", 180, "");
        assert_eq!(
            calls_back(&mut bench, 2, called_back).as_deref(),
            Some(rings),
            "{caller}"
        );
        assert_eq!(calls_back(&mut bench, 3, "bob"), None, "any other call");
    }
}

#[test]
fn who_is_vouched_for_is_called_back_by_from_too_at_its_own_pbx_alone() {
    let block = "[policy]\nid = \"desk\"\nenabled = true\naction = \"block\"\n[[policy.recorder]]\nid = \"embedded\"\n";
    let files = [("desk.toml", block), ("grants.toml", GRANTS)];
    let route = |from: &str, to: &str, prefix: Option<&str>| Route {
        from: from.into(),
        to: to.into(),
        prefix: prefix.map(str::to_owned),
        to_user: None,
        priority: i64::from(prefix.is_none()),
    };
    for (trusted, asserted, privacy) in [
        (true, "<sip:+442079461000@pbx.example>", ""),
        (true, "<sip:+442079461000@pbx.example>", "Privacy: id\r\n"),
        (true, "<sip:anonymous@anonymous.invalid>", ""),
        (false, "<sip:+442079461000@pbx.example>", ""),
    ] {
        let mut bench = Bench::with(&files);
        let pbx = Trunk {
            trusted,
            ..trunk("pbx", A)
        };
        bench.input(Input::Trunks {
            trunks: vec![pbx, trunk("carrier", B), trunk("branch", C)],
            routes: vec![
                route("pbx", "carrier", None),
                route("carrier", "branch", Some("+44207946200")),
                route("carrier", "pbx", None),
            ],
        });
        let text = String::from_utf8(call(1, "e1", SDP).to_vec()).unwrap();
        let named = format!("P-Asserted-Identity: {asserted}\r\n{privacy}Contact:");
        let text = text.replacen("Contact:", &named, 1);
        bench.from(A, text.replace("<sip:alice@", "<sip:+442079462000@").into());
        bench.b_answers("INVITE", 180, "");
        let case = format!("{trusted} {asserted} {privacy}");
        assert!(
            calls_back(&mut bench, 1, "+442079462000").is_none(),
            "that is the branch's: {case}"
        );
        bench.input(Input::Trunks {
            trunks: vec![trunk("pbx", A), trunk("carrier", B)],
            routes: vec![route("carrier", "pbx", None)],
        });
        assert!(calls_back(&mut bench, 2, "+442079462000").is_some(), "{case}");
        assert!(calls_back(&mut bench, 3, "bob").is_none(), "{case}");
        let vouched = trusted && asserted.contains("+44");
        assert_eq!(calls_back(&mut bench, 4, "+442079461000").is_some(), vouched, "{case}");
    }
}
