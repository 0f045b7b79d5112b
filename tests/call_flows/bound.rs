//! What a party answered, or was told, under some policies, and what that means under those that come later.

use onrecord::model::{Consent, Leg, LineSet, Recorded};

use super::announced::{
    begun, bench_of_bob_then_carol, carol_comes, lenient_bench, lenient_bench_with_carol, notices, told,
};
use super::bench::{A, Bench, SDP, invite};
use super::consenting::{consents, held, press};
use super::declined::{MUTES, UNRECORDS, mode, signals, withheld};

const ALL: LineSet = LineSet::ALL;
const NONE: LineSet = LineSet::NONE;

const NOT_ASKING: [&str; 4] = [
    "mode = \"prompt\", to = \"caller\"",
    "mode = \"prompt\", to = \"caller\", consent = { mode = \"implied\" }",
    "mode = \"prompt\", to = \"callee\", consent = { refused = \"mark\" }",
    "mode = \"none\"",
];

fn is_ended_for_refusal(bench: &mut Bench) -> bool {
    let says_bye = |rung: &String| rung == "BYE → A" || rung == "BYE → B";
    if !bench.story.iter().any(says_bye) {
        return false;
    }
    bench.a_answers("BYE", 200, "");
    bench.b_answers("BYE", 200, "");
    let says_why = |rung: &String| rung.contains("A does not agree to be recorded");
    bench.story.iter().any(says_why)
}

#[test]
fn a_refusal_binds_under_policies_that_ask_nobody_or_somebody_else() {
    for of_carol in NOT_ASKING {
        for (notify, wanted) in [
            (MUTES, (Recorded::Lenient, [ALL, NONE])),
            (UNRECORDS, (Recorded::No, [ALL, ALL])),
        ] {
            let mut bench = bench_of_bob_then_carol((notify, true), (of_carol, true));
            begun(&mut bench);
            press(&mut bench, Leg::A, '2');
            carol_comes(&mut bench);
            assert_eq!((mode(&bench), withheld(&bench)), wanted, "{notify} then {of_carol}");
            assert_eq!(bench.signaling.calls(), 1);
        }
    }
}

#[test]
fn a_refusal_ends_the_call_under_a_policy_that_must_record_and_does_not_leave_a_party_out() {
    for (at, of_carol) in NOT_ASKING.into_iter().enumerate() {
        let mut bench = bench_of_bob_then_carol((MUTES, at == 0), (of_carol, false));
        begun(&mut bench);
        press(&mut bench, Leg::A, '2');
        carol_comes(&mut bench);
        assert!(is_ended_for_refusal(&mut bench), "{of_carol}");
    }
    let mut alike = bench_of_bob_then_carol((MUTES, false), (&MUTES.replace("caller", "callee"), false));
    begun(&mut alike);
    press(&mut alike, Leg::A, '2');
    carol_comes(&mut alike);
    assert!(!is_ended_for_refusal(&mut alike));
    assert_eq!(withheld(&alike), [ALL, ALL], "and Carol is asked");
}

#[test]
fn a_question_that_a_newcomer_comes_into_is_answered_to_who_asked_it() {
    let mut bench = bench_of_bob_then_carol((MUTES, true), (NOT_ASKING[0], true));
    begun(&mut bench);
    carol_comes(&mut bench);
    assert_eq!(withheld(&bench), [ALL, NONE]);
    press(&mut bench, Leg::A, '2');
    assert_eq!((withheld(&bench), held(&bench).0), ([ALL, NONE], false));
}

#[test]
fn a_refusal_in_a_change_of_media_holds_nobody_apart_and_ends_the_tone_once_there_is_a_line() {
    let notify = UNRECORDS.replace("\"prompt\"", "\"prompt+tone\"");
    let mut bench = lenient_bench(&notify);
    begun(&mut bench);
    bench.a_requests(2, "INVITE", "again", SDP);
    press(&mut bench, Leg::A, '2');
    assert_eq!((mode(&bench), held(&bench).0), (Recorded::No, false));
    let tone_ends = [
        Some((String::new(), String::new())),
        Some((String::new(), String::new())),
    ];
    assert_ne!(
        told(notices(&bench).last().unwrap()),
        tone_ends,
        "no line is agreed on now"
    );
    bench.b_agrees("INVITE", 200, SDP);
    assert_eq!(told(notices(&bench).last().unwrap()), tone_ends);
    let count = notices(&bench).len();
    bench.a_requests(2, "ACK", "ack2", "");
    assert_eq!(notices(&bench).len(), count, "once");
}

#[test]
fn who_is_asked_beside_one_who_refuses_is_not_waited_for_and_is_asked_anew_after_that_one_left() {
    let notify = UNRECORDS.replace("\"caller\"", "\"both\"");
    let mut bench = lenient_bench_with_carol(&notify, &notify);
    begun(&mut bench);
    press(&mut bench, Leg::B, '2');
    assert_eq!((mode(&bench), held(&bench)), (Recorded::No, (false, [false; 2])));
    let count = consents(&bench).len();
    press(&mut bench, Leg::A, '2');
    assert_eq!(consents(&bench).len(), count, "it is asked no more");
    carol_comes(&mut bench);
    assert_eq!(held(&bench), (true, [true; 2]));
    let asked = [Leg::A, Leg::B].map(|leg| (leg, Consent::Asked));
    assert_eq!(consents(&bench)[count..], asked);
}

#[test]
fn of_a_caller_who_is_to_be_asked_nothing_that_its_first_request_says_is_kept() {
    for (notify, is_kept) in [
        (MUTES, false),
        (UNRECORDS, false),
        (&*MUTES.replace("mute", "mark"), true),
    ] {
        let mut bench = lenient_bench(notify);
        let body = format!(
            "--x\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--x\r\nContent-Type: text/plain\r\n\r\nmy secret\r\n--x--\r\n"
        );
        let invite = invite(1, "a1", "", &body, "");
        let invite = String::from_utf8(invite.to_vec()).unwrap();
        let of_parts = invite.replace(
            "application/sdp\r\nContent-Length",
            "multipart/mixed;boundary=x\r\nContent-Length",
        );
        bench.from(A, of_parts.into());
        assert!(signals(&bench).contains("INVITE"));
        assert_eq!(signals(&bench).contains("my secret"), is_kept, "{notify}");
    }
}
