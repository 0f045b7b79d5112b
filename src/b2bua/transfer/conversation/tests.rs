#![allow(clippy::unwrap_used)]

use super::*;
use crate::sip::Method;

const NOW: Timestamp = Timestamp::from_millis(1_763_800_000_000);

fn session(number: u128) -> SessionId {
    SessionId::from_u128(number)
}

fn uri(text: &str) -> Uri {
    Uri::parse(text).unwrap()
}

fn invite(from: &str, to: &str, call_id: &str, more: &[(&str, &str)]) -> Request {
    let (caller, callee) = (NameAddr::new(uri(from)).with_tag("t1"), NameAddr::new(uri(to)));
    let mut invite = Request::new(Method::Invite, uri(to), caller, callee, call_id, 1);
    for (name, value) in more {
        invite.headers.push(name, *value);
    }
    invite
}

fn rung(conversations: &mut Conversations, number: u128, invite: &Request) {
    conversations.begin(session(number), session(number), invite, &invite.uri);
}

#[test]
fn the_branches_of_a_fork_before_us_are_one_conversation_until_the_last_has_ended() {
    let mut conversations = Conversations::default();
    let bob = invite("sip:alice@pbx", "sip:bob@pbx", "c1", &[]);
    let carol = invite("sip:alice@pbx", "sip:carol@pbx", "c1", &[]);
    let never = |_| false;
    assert_eq!(conversations.kin(&bob, &[], never), None);
    rung(&mut conversations, 1, &bob);
    assert_eq!(conversations.kin(&carol, &[], never), Some(session(1)));
    conversations.begin(session(2), session(1), &carol, &carol.uri);
    conversations.end(session(1));
    let found = conversations.kin(&carol, &[], never).unwrap();
    assert_eq!((found, conversations.of(found)), (session(2), Some(session(1))));
    conversations.end(session(2));
    assert_eq!(conversations.leftovers(), 0);
}

#[test]
fn an_equal_session_id_is_the_same_conversation_and_the_nil_uuid_is_nobodys() {
    let mut conversations = Conversations::default();
    let uuid = "ab30317f1a784dc48ff824d0d3715d86";
    let nil = "00000000000000000000000000000000";
    let first = format!("{uuid};remote={nil}");
    rung(
        &mut conversations,
        1,
        &invite("sip:a@h", "sip:b@h", "c1", &[("Session-ID", &first)]),
    );
    let other = format!("{nil};remote={nil}");
    let stranger = invite("sip:x@h", "sip:y@h", "c2", &[("Session-ID", &other)]);
    assert_eq!(conversations.kin(&stranger, &[], |_| false), None);
    let later = format!("47755a9de7794ba387653f2099600ef2;remote={}", uuid.to_uppercase());
    let same = invite("sip:x@h", "sip:y@h", "c3", &[("Session-ID", &later)]);
    assert_eq!(conversations.kin(&same, &[], |_| false), Some(session(1)));
}

#[test]
fn who_is_forwarded_while_ringing_stays_in_the_conversation_and_nobody_else() {
    let mut conversations = Conversations::default();
    rung(
        &mut conversations,
        1,
        &invite("sip:+44-20-1@pbx", "sip:bob@pbx", "c1", &[]),
    );
    let onward = invite("sip:+44201@carrier", "sip:carol@carrier", "c2", &[]);
    let by = |who: &str| [format!("sip:{who}@other")];
    assert_eq!(conversations.kin(&onward, &by("BOB"), |_| true), Some(session(1)));
    assert_eq!(
        conversations.kin(&onward, &by("BOB"), |_| false),
        None,
        "it does not ring"
    );
    assert_eq!(conversations.kin(&onward, &by("dave"), |_| true), None);
    let stranger = invite("sip:+44202@carrier", "sip:carol@carrier", "c3", &[]);
    assert_eq!(conversations.kin(&stranger, &by("bob"), |_| true), None);
}

fn referred(number: u128) -> Referred {
    Referred {
        trunk: "carrier".into(),
        refer_to: uri("sip:carol@pbx"),
        referred_by: Some(uri("sip:alice@pbx")),
        caller: "sip:bob@carrier".into(),
        referrer: "sip:alice@pbx".into(),
        session: session(number),
        rings: None,
        dissent: None,
    }
}

#[test]
fn the_invite_that_a_refer_asked_for_is_known_once_and_for_five_minutes() {
    let mut conversations = Conversations::default();
    rung(
        &mut conversations,
        1,
        &invite("sip:alice@pbx", "sip:bob@carrier", "c1", &[]),
    );
    let by = [("Referred-By", "<sip:alice@pbx>")];
    let wanted = invite("sip:bob@carrier", "sip:carol@pbx", "c2", &by);
    let mut ask = |at: Timestamp, trunk: &str, invite: &Request| {
        conversations.remember(NOW, referred(1));
        let found = conversations.take_referral(at, &trunk.into(), invite);
        conversations.referrals.clear();
        found.and_then(|answered| match answered {
            Answered::Proven { conversation, .. } => Some(conversation),
            Answered::Alike { conversation, .. } => conversation,
        })
    };
    assert_eq!(ask(NOW, "carrier", &wanted), Some(session(1)));
    assert_eq!(ask(NOW + REFERRAL_KEPT, "carrier", &wanted), None);
    assert_eq!(ask(NOW, "pbx", &wanted), None);
    let silent = invite("sip:bob@carrier", "sip:carol@pbx", "c2", &[]);
    assert_eq!(
        ask(NOW, "carrier", &silent),
        Some(session(1)),
        "the party who stays calls"
    );
    let stranger = invite("sip:dave@carrier", "sip:carol@pbx", "c2", &[]);
    assert_eq!(ask(NOW, "carrier", &stranger), None);
    conversations.remember(NOW, referred(1));
    assert!(conversations.take_referral(NOW, &"carrier".into(), &wanted).is_some());
    assert!(conversations.take_referral(NOW, &"carrier".into(), &wanted).is_none());
}

#[test]
fn a_refer_lets_its_receiver_take_over_the_call_that_it_named_and_nobody_else() {
    let mut conversations = Conversations::default();
    rung(
        &mut conversations,
        1,
        &invite("sip:alice@pbx", "sip:bob@carrier", "c1", &[]),
    );
    let name = |value: &str| DialogName::parse("Replaces", value).unwrap();
    let told = name("c2@h;to-tag=a;from-tag=b");
    conversations.remember(
        NOW,
        Referred {
            rings: Some((session(2), told.clone())),
            ..referred(1)
        },
    );
    let may =
        |at, trunk: &str, rings, name: &DialogName| conversations.may_take_over(at, Some(&trunk.into()), rings, name);
    assert!(may(NOW, "carrier", session(2), &told));
    assert!(may(
        NOW,
        "carrier",
        session(2),
        &name("c2@h;from-tag=b;to-tag=a;early-only")
    ));
    assert!(!may(NOW, "pbx", session(2), &told), "another trunk");
    assert!(
        conversations.may_take_over(NOW, None, session(2), &told),
        "of the caller's own"
    );
    assert!(!may(NOW, "carrier", session(3), &told), "another call");
    assert!(!may(NOW, "carrier", session(2), &name("c2@h;to-tag=b;from-tag=a")));
    assert!(!may(NOW + REFERRAL_KEPT, "carrier", session(2), &told), "too late");
}

#[test]
fn who_calls_alike_uses_no_refer_up_and_of_several_none_is_linked() {
    let mut conversations = Conversations::default();
    rung(
        &mut conversations,
        1,
        &invite("sip:alice@pbx", "sip:bob@carrier", "c1", &[]),
    );
    rung(
        &mut conversations,
        2,
        &invite("sip:dave@pbx", "sip:bob@carrier", "c2", &[]),
    );
    let by_dave = Referred {
        referred_by: Some(uri("sip:dave@pbx")),
        referrer: "sip:dave@pbx".into(),
        ..referred(2)
    };
    let alike = |conversation, referrers: &[&str]| {
        Some(Answered::Alike {
            conversation,
            referrers: referrers.iter().map(|referrer| (*referrer).to_owned()).collect(),
            dissent: None,
        })
    };
    let silent = invite("sip:bob@carrier", "sip:carol@pbx", "c3", &[]);
    conversations.remember(NOW, referred(1));
    let take = |conversations: &mut Conversations, invite| conversations.take_referral(NOW, &"carrier".into(), invite);
    assert_eq!(
        take(&mut conversations, &silent),
        alike(Some(session(1)), &["sip:alice@pbx"])
    );
    assert_eq!(
        take(&mut conversations, &silent),
        alike(None, &["sip:alice@pbx"]),
        "linked once"
    );
    conversations.remember(NOW, by_dave);
    let both = ["sip:alice@pbx", "sip:dave@pbx"];
    assert_eq!(take(&mut conversations, &silent), alike(None, &both));
    let told = invite(
        "sip:bob@carrier",
        "sip:carol@pbx",
        "c4",
        &[("Referred-By", "<sip:dave@pbx>")],
    );
    let proven = |number, referrer: &str| Answered::Proven {
        conversation: session(number),
        referrer: referrer.to_owned(),
        dissent: None,
    };
    assert_eq!(take(&mut conversations, &told), Some(proven(2, "sip:dave@pbx")));
    assert_eq!(
        take(&mut conversations, &silent),
        alike(None, &["sip:alice@pbx"]),
        "it waits still"
    );
}

#[test]
fn who_hides_is_like_everybody_who_hides_and_is_linked_to_nobody() {
    let mut conversations = Conversations::default();
    let hidden = "sip:anonymous@anonymous.invalid";
    rung(&mut conversations, 1, &invite(hidden, "sip:bob@pbx", "c1", &[]));
    let onward = invite(hidden, "sip:carol@carrier", "c2", &[]);
    assert_eq!(conversations.kin(&onward, &["sip:bob@pbx".to_owned()], |_| true), None);
    let of_hidden = Referred {
        caller: hidden.into(),
        ..referred(1)
    };
    conversations.remember(NOW, of_hidden);
    let found = conversations.take_referral(NOW, &"carrier".into(), &invite(hidden, "sip:carol@pbx", "c3", &[]));
    let referrers = vec!["sip:alice@pbx".to_owned()];
    let conversation = None;
    assert_eq!(
        found,
        Some(Answered::Alike {
            conversation,
            referrers,
            dissent: None,
        })
    );
    let other = invite("sip:eve@carrier", "sip:carol@pbx", "c4", &[]);
    assert_eq!(conversations.take_referral(NOW, &"carrier".into(), &other), None);
}

#[test]
fn of_two_callers_with_one_number_neither_is_forwarded_for_the_other() {
    let mut conversations = Conversations::default();
    for number in 1..=2 {
        let call_id = format!("c{number}");
        rung(
            &mut conversations,
            number,
            &invite("sip:+44201@pbx", "sip:bob@pbx", &call_id, &[]),
        );
    }
    let onward = invite("sip:+44201@carrier", "sip:carol@carrier", "c3", &[]);
    assert_eq!(conversations.kin(&onward, &["sip:bob@pbx".to_owned()], |_| true), None);
}

#[test]
fn refers_without_end_cost_a_bounded_table() {
    let mut conversations = Conversations::default();
    rung(
        &mut conversations,
        1,
        &invite("sip:alice@pbx", "sip:bob@carrier", "c1", &[]),
    );
    for _ in 0..REFERRALS_MAX + 10 {
        conversations.remember(NOW, referred(1));
    }
    assert_eq!(conversations.referrals.len(), REFERRALS_MAX);
}

#[test]
fn joined_calls_take_their_whole_conversations_along() {
    let mut conversations = Conversations::default();
    for number in 1..=3 {
        let call_id = format!("c{number}");
        rung(&mut conversations, number, &invite("sip:a@h", "sip:b@h", &call_id, &[]));
    }
    conversations.join(session(2), session(3));
    conversations.join(session(3), session(1));
    for number in 1..=3 {
        assert_eq!(conversations.of(session(number)), Some(session(1)));
    }
    assert_eq!(conversations.formerly(session(1)), []);
    assert_eq!(conversations.formerly(session(2)), [session(2)]);
    assert_eq!(conversations.formerly(session(3)), [session(3), session(2)]);
}
