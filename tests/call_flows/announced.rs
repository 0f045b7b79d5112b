//! Parties are told that they are recorded: whom, when, by what, and what becomes of a call where it cannot be.

use std::sync::Arc;
use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{
    Clip, Generation, Leg, Mark, MediaCommand, MediaEvent, Notice, NoticeKind, NoticePlan, RecordingCommand, Rendition,
};
use onrecord::policy::{Clips, PolicySet, SourceFile};

use onrecord::trunk::Conduct;

use super::bench::{A, B, Bench, GRANTS, SDP, answer, with_lines};

/// What a prompt and a tone are rendered in here.
const ENCODINGS: [&str; 2] = ["PCMA", "PCMU"];

pub fn clip(name: &str) -> Arc<Clip> {
    let rendition = |encoding| Rendition {
        encoding,
        clock_rate: 8_000,
        channels: 1,
        payloads: vec![vec![0x55; 160].into()],
    };
    Arc::new(Clip {
        name: name.to_owned(),
        renditions: ENCODINGS.map(rendition).into(),
    })
}

fn in_language(key: &str) -> (String, Arc<Clip>) {
    let name = key.replacen("desk", "prompt", 1);
    (key.to_owned(), clip(&name))
}

/// A strict policy that says this of telling people.
pub fn bench(notify: &str) -> Bench {
    bench_of(notify, "")
}

/// A policy that lets calls go on unrecorded and says this of telling people.
pub fn lenient_bench(notify: &str) -> Bench {
    let policy = policy("desk", notify) + NOT_REQUIRED;
    bench_by(&[("desk.toml", &policy), ("grants.toml", GRANTS)])
}

const NOT_REQUIRED: &str = "required_before_call_establishment = false\nrequired_during_call = false\n\
                            required_before_meeting_join = false\nrequired_during_meeting = false\n";

/// By this dial plan.
fn bench_of(notify: &str, plan: &str) -> Bench {
    let grants = format!("{GRANTS}{plan}");
    bench_by(&[("desk.toml", &policy("desk", notify)), ("grants.toml", &grants)])
}

fn policy(id: &str, notify: &str) -> String {
    format!(
        "[policy]\nid = \"{id}\"\nenabled = true\nrecord_rerouted_calls = true\nnotify = {{ {notify} }}\n\
         prompts = {{ package = \"desk\" }}\n[[policy.recorder]]\nid = \"embedded\"\n"
    )
}

/// The same, and Carol is under another such policy besides.
pub fn lenient_bench_with_carol(notify: &str, of_carol: &str) -> Bench {
    let grants = format!("{GRANTS}[[grant]]\npolicy = \"carol\"\nto = [\"user:carol@example.com\"]\n");
    bench_by(&[
        ("carol.toml", &(policy("carol", of_carol) + NOT_REQUIRED)),
        ("desk.toml", &(policy("desk", notify) + NOT_REQUIRED)),
        ("grants.toml", &grants),
    ])
}

/// Bob is under one policy, Carol under another, each lenient or not: Bob's does not follow the call to her.
pub fn bench_of_bob_then_carol(of_bob: (&str, bool), of_carol: (&str, bool)) -> Bench {
    redirecting_bench(of_bob, of_carol, Conduct::default())
}

/// The same, where the carrier's trunk says this of our conduct.
pub fn redirecting_bench(of_bob: (&str, bool), of_carol: (&str, bool), conduct: Conduct) -> Bench {
    let text = |id, (notify, is_lenient)| policy(id, notify) + if is_lenient { NOT_REQUIRED } else { "" };
    let to = |name, host| format!("[[grant]]\npolicy = \"{name}\"\nto = [\"user:{name}@{host}\"]\n");
    let bobs = text("bob", of_bob).replace("calls = true", "calls = false");
    let (carols, grants) = (
        text("carol", of_carol),
        to("bob", "127.0.0.1") + &to("carol", "example.com"),
    );
    let files = [
        ("bob.toml", bobs.as_str()),
        ("carol.toml", &carols),
        ("grants.toml", &grants),
    ];
    with_clips(Bench::with_carrier(&files, conduct), &files)
}

/// Carol is under another policy besides.
pub fn bench_with_carol(notify: &str, of_carol: &str) -> Bench {
    let grants = format!("{GRANTS}[[grant]]\npolicy = \"carol\"\nto = [\"user:carol@example.com\"]\n");
    bench_by(&[
        ("carol.toml", &policy("carol", of_carol)),
        ("desk.toml", &policy("desk", notify)),
        ("grants.toml", &grants),
    ])
}

/// Where REFERs of both trunks are executed by us: everybody is under the first policy, Dave under the second, each lenient or not. What
/// they say of telling people.
pub fn executing_bench((notify, is_lenient): (&str, bool), of_dave: Option<(&str, bool)>, follows: bool) -> Bench {
    let more = |is_lenient| if is_lenient { NOT_REQUIRED } else { "" };
    let mut everybodys = policy("desk", notify) + more(is_lenient);
    if !follows {
        everybodys = everybodys.replace("calls = true", "calls = false");
    }
    let (notify, is_lenient) = of_dave.unwrap_or(("", true));
    let daves = policy("dave", notify) + more(is_lenient);
    let mut grants = match follows {
        true => GRANTS.to_owned(),
        false => "[[grant]]\npolicy = \"desk\"\nto = [\"user:alice@example.com\"]\n".to_owned(),
    };
    let mut files = vec![("desk.toml", everybodys.as_str())];
    if of_dave.is_some() {
        grants += "[[grant]]\npolicy = \"dave\"\nto = [\"user:dave@127.0.0.1\", \"user:dave@example.com\"]\n";
        files.push(("dave.toml", &daves));
    }
    files.push(("grants.toml", &grants));
    with_clips(Bench::executing(&files), &files)
}

fn bench_by(files: &[(&str, &str)]) -> Bench {
    with_clips(Bench::with(files), files)
}

fn with_clips(mut bench: Bench, files: &[(&str, &str)]) -> Bench {
    let files: Vec<SourceFile> = files
        .iter()
        .map(|&(path, text)| SourceFile {
            path: path.into(),
            text: text.into(),
        })
        .collect();
    let set = PolicySet::compile(&files, Generation(2)).unwrap().with_clips(Clips {
        tone: Some(clip("tone")),
        prompts: ["desk", "desk/de", "desk/fr"].map(in_language).into(),
    });
    bench.input(Input::Policies(Arc::new(set)));
    bench
}

pub fn talking(notify: &str) -> Bench {
    let mut bench = bench(notify);
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    bench
}

pub fn notices(bench: &Bench) -> Vec<&NoticePlan> {
    let plans = bench.media.iter().filter_map(|command| match command {
        MediaCommand::Notice(plan) => Some(&**plan),
        _ => None,
    });
    plans.collect()
}

/// For each leg: the name of the prompt, and of the tone with its seconds.
pub fn told(plan: &NoticePlan) -> [Option<(String, String)>; 2] {
    plan.legs.clone().map(|leg| {
        let leg = leg?;
        let tone = leg
            .tone
            .map(|(tone, every)| format!("{} {}", tone.name, every.as_secs()));
        Some((
            leg.prompt.map(|prompt| prompt.name.clone()).unwrap_or_default(),
            tone.unwrap_or_default(),
        ))
    })
}

pub fn by(prompt: &str, tone: &str) -> Option<(String, String)> {
    Some((prompt.to_owned(), tone.to_owned()))
}

pub fn marks(bench: &Bench) -> Vec<&Mark> {
    let marks = bench.recording.iter().filter_map(|command| match command {
        RecordingCommand::Mark { mark, .. } => Some(mark),
        _ => None,
    });
    marks
        .filter(|mark| matches!(mark, Mark::Noticed(_) | Mark::Unnoticed { .. }))
        .collect()
}

#[test]
fn both_are_told_once_when_the_call_talks_and_what_was_played_is_in_the_recording() {
    let mut bench = bench("mode = \"prompt+tone\", every = \"20s\"");
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 183, SDP);
    bench.b_answers("INVITE", 200, SDP);
    assert!(notices(&bench).is_empty(), "not before A has acknowledged");
    bench.a_requests(1, "ACK", "ack1", "");
    let [plan] = notices(&bench)[..] else {
        panic!("one plan")
    };
    assert_eq!(told(plan), [by("prompt", "tone 20"), by("prompt", "tone 20")]);
    assert!(plan.parted, "they do not hear each other before");
    assert_eq!(plan.line.a.formats[0].1, "PCMA");

    let notice = Notice {
        leg: Leg::A,
        line: 0,
        kind: NoticeKind::Prompt,
        name: "prompt".to_owned(),
        from: bench.now,
        until: bench.now + Duration::from_millis(20),
        packets: 1,
        whole: true,
    };
    let session = bench.session();
    bench.input(Input::Media(MediaEvent::Noticed {
        session,
        notice: Box::new(notice.clone()),
    }));
    assert_eq!(marks(&bench), [&Mark::Noticed(notice)]);

    bench.a_requests(2, "INVITE", "hold", &SDP.replace("sendrecv", "sendonly"));
    bench.b_answers("INVITE", 200, &SDP.replace("sendrecv", "recvonly"));
    bench.a_requests(2, "ACK", "ack2", "");
    assert_eq!(notices(&bench).len(), 1, "not again on hold");
}

#[test]
fn each_hears_the_prompt_in_the_language_that_it_likes_best() {
    let mut bench = bench("mode = \"prompt\"");
    bench.invite(SDP, "Accept-Language: it, de-AT;q=0.9, fr;q=0.8\r\n");
    let ok = answer(&bench.request_to_b("INVITE"), 200, "b-tag", B, SDP);
    bench.from(B, with_lines(&ok, "Accept-Language: es\r\n"));
    bench.a_requests(1, "ACK", "ack1", "");
    let [plan] = notices(&bench)[..] else {
        panic!("one plan")
    };
    assert_eq!(
        told(plan),
        [by("prompt/de", ""), by("prompt", "")],
        "there is none in Spanish"
    );

    let mut before = self::bench("mode = \"prompt\", to = \"caller\", when = \"before_connect\"");
    before.invite(SDP, "Accept-Language: fr\r\n");
    assert_eq!(told(notices(&before)[0]), [by("prompt/fr", ""), None]);
}

#[test]
fn the_policy_says_whom_and_whether_they_hear_each_other_meanwhile() {
    for (notify, expected, parted) in [
        ("mode = \"prompt\", to = \"caller\"", [by("prompt", ""), None], true),
        (
            "mode = \"tone\", to = \"callee\", talk = \"goes_on\"",
            [None, by("", "tone 15")],
            false,
        ),
        // The bench's dial plan has nobody of ours.
        (
            "mode = \"prompt\", to = \"external\"",
            [by("prompt", ""), by("prompt", "")],
            true,
        ),
        (
            "mode = \"prompt\", to = \"callee\", talk = \"goes_on\", when = \"before_connect\"",
            [None, by("prompt", "")],
            true,
        ),
    ] {
        let bench = talking(notify);
        let [plan] = notices(&bench)[..] else {
            panic!("{notify}")
        };
        assert_eq!((told(plan), plan.parted), (expected, parted), "{notify}");
    }
    let bench = talking("mode = \"none\"");
    assert!(notices(&bench).is_empty() && marks(&bench).is_empty());
}

#[test]
fn who_cannot_be_told_is_marked_or_not_connected_as_the_policy_says() {
    let g729 = SDP.replace("AVP 8", "AVP 18");
    let mut marked = bench("mode = \"tone\"");
    marked.invite(&g729, "");
    marked.b_answers("INVITE", 200, &g729);
    marked.a_requests(1, "ACK", "ack1", "");
    assert_eq!(
        marks(&marked),
        [&Mark::Unnoticed { leg: Leg::A }, &Mark::Unnoticed { leg: Leg::B }]
    );
    assert!(notices(&marked).is_empty());

    let mut refused = bench("mode = \"tone\", to = \"caller\", untold = \"refuse\"");
    refused.invite(&g729, "");
    refused.b_answers("INVITE", 200, &g729);
    let refusal = refused.response_to_a();
    assert_eq!(refusal.status, 488);
    assert_eq!(
        refusal.headers.get("Warning"),
        Some("399 lab \"Recording required by policy: its announcement cannot be played with this codec\"")
    );
    refused.a_requests(1, "ACK", "a1", "");
    refused.b_answers("BYE", 200, "");
    refused.assert_nothing_left();
}

#[test]
fn a_late_offer_that_nobody_can_be_told_in_ends_the_call_where_the_policy_wants_that() {
    let g729 = SDP.replace("AVP 8", "AVP 18");
    let mut bench = bench("mode = \"prompt\", untold = \"refuse\"");
    bench.invite("", "");
    bench.b_answers("INVITE", 200, &g729);
    bench.a_requests(1, "ACK", "ack1", &g729);
    bench.a_answers("BYE", 200, "");
    bench.b_answers("BYE", 200, "");
    assert_eq!(marks(&bench), [&Mark::Unnoticed { leg: Leg::A }]);
    bench.assert_nothing_left();
}

const KNOWS: &str = "Supported: from-change\r\n";

/// A call with B, in whose place Carol of example.com is from then on.
fn transferred(bench: &mut Bench) {
    begun(bench);
    assert_eq!(notices(bench).len(), 1);
    carol_comes(bench);
}

pub fn begun(bench: &mut Bench) {
    bench.invite(SDP, KNOWS);
    let ok = answer(&bench.request_to_b("INVITE"), 200, "b-tag", "127.0.0.1:5090", SDP);
    bench.from(B, with_lines(&ok, KNOWS));
    bench.a_requests(1, "ACK", "ack1", "");
}

pub fn carol_comes(bench: &mut Bench) {
    let invite = bench.request_to_b("INVITE");
    let update = format!(
        "UPDATE sip:x SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bKcarol\r\nMax-Forwards: 70\r\nFrom: \"Carol\" <sip:carol@example.com>;tag=b-tag\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 9 UPDATE\r\nContact: <sip:carol@{B}>\r\nContent-Length: 0\r\n\r\n",
        invite.headers.get("From").unwrap(),
        invite.headers.call_id()
    );
    bench.from(B, update.into());
    bench.a_answers("UPDATE", 200, "");
}

#[test]
fn after_a_transfer_the_newcomer_is_told_and_nobody_else_again() {
    let mut bench = bench("mode = \"prompt+tone\"");
    transferred(&mut bench);
    let [_, plan] = notices(&bench)[..] else {
        panic!("{:?}", bench.media)
    };
    assert_eq!(told(plan), [by("", "tone 15"), by("prompt", "tone 15")]);
}

#[test]
fn after_a_transfer_to_who_is_not_to_be_told_the_tone_ends() {
    let plan = "[[dial_plan]]\ninternal_domains = [\"example.com\"]\n";
    let mut bench = bench_of("mode = \"tone\", to = \"external\"", plan);
    transferred(&mut bench);
    let [before, after] = notices(&bench)[..] else {
        panic!("{:?}", bench.media)
    };
    assert_eq!(told(before), [None, by("", "tone 15")]);
    assert_eq!(told(after), [None, by("", "")]);
}

#[test]
fn help_is_called_without_an_announcement() {
    let mut bench = bench("mode = \"prompt+tone\", untold = \"refuse\"");
    let invite = super::bench::invite(1, "a1", "", SDP, "");
    let text = String::from_utf8(invite.to_vec()).unwrap();
    let first = text.lines().next().unwrap().to_owned();
    let text = text.replace(&first, "INVITE urn:service:sos SIP/2.0");
    bench.from(A, text.into());
    bench.b_answers("INVITE", 200, SDP);
    bench.a_requests(1, "ACK", "ack1", "");
    assert_eq!(bench.response_to_a().status, 200);
    assert!(notices(&bench).is_empty() && marks(&bench).is_empty());
}
