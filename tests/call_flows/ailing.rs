//! The sound of a call is watched from its answer on, and what ails it is kept and ends nothing.

use onrecord::engine::Input;
use onrecord::model::{Ailing, Ailment, Impairment, Leg, Mark, MediaEvent, RecordingCommand, Timestamp};

use super::bench::{Bench, SDP};

/// Of whom nothing is awaited.
fn mute(bench: &Bench) -> [bool; 2] {
    let line = &bench.plan().lines[0];
    [line.a.mute, line.b.mute]
}

#[test]
fn early_media_is_not_watched_and_the_answer_is_told_even_if_it_brings_nothing_new() {
    let mut bench = Bench::strict();
    bench.invite(SDP, "");
    bench.b_answers("INVITE", 183, SDP);
    assert!(!bench.plan().answered);
    bench.b_answers("INVITE", 200, SDP);
    assert!(bench.plan().answered);
}

#[test]
fn who_holds_or_is_held_need_not_be_heard() {
    let (send, receive, null) = ("sendonly", "recvonly", "c=IN IP4 0.0.0.0");
    for (form, answer, silent) in [
        (
            SDP.replace("sendrecv", send),
            SDP.replace("sendrecv", receive),
            [false, true],
        ),
        (
            SDP.replace("sendrecv", "inactive"),
            SDP.replace("sendrecv", "inactive"),
            [true, true],
        ),
        (SDP.replace("c=IN IP4 192.0.2.1", null), SDP.to_owned(), [false, true]),
        (
            SDP.replace("sendrecv", receive),
            SDP.replace("sendrecv", send),
            [true, false],
        ),
    ] {
        let mut bench = Bench::strict().connected();
        bench.a_requests(2, "INVITE", "h1", &form);
        bench.b_answers("INVITE", 200, &answer);
        bench.a_requests(2, "ACK", "h2", "");
        assert_eq!(mute(&bench), silent, "{form}");
        bench.a_requests(3, "INVITE", "h3", SDP);
        bench.b_answers("INVITE", 200, SDP);
        assert_eq!(mute(&bench), [false, false]);
        assert!(bench.plan().answered);
    }
}

#[test]
fn what_ails_the_sound_is_kept_on_the_timeline_and_the_call_goes_on() {
    let mut bench = Bench::strict().connected();
    let session = bench.session();
    let mut ailing = Ailing {
        ailment: Ailment {
            impairment: Impairment::OneWay,
            line: 0,
            leg: Some(Leg::B),
        },
        since: Timestamp::from_millis(1_000),
        until: None,
    };
    let begun = Mark::Health(ailing);
    bench.input(Input::Media(MediaEvent::Health { session, ailing }));
    ailing.until = Some(Timestamp::from_millis(9_000));
    let ended = Mark::Health(ailing);
    bench.input(Input::Media(MediaEvent::Health { session, ailing }));
    let marks = bench.recording.iter().filter_map(|command| match command {
        RecordingCommand::Mark {
            mark: mark @ Mark::Health(_),
            ..
        } => Some(mark.clone()),
        _ => None,
    });
    assert_eq!(marks.collect::<Vec<_>>(), [begun, ended]);
    assert!(
        bench.story.is_empty() && bench.media.is_empty(),
        "nothing is said to anybody"
    );
}
