//! A line is paused by a party's wish, and the whole call by somebody else: each for its own time (RFC 7866 §7.3.2).

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{Leg, LineSet, MediaCommand, MediaEvent};

use super::aware::obey;
use super::bench::{Bench, GRANTS, SDP, STRICT};

const VIDEO: &str = "m=video 5004 RTP/AVP 31\r\n";

fn bench() -> Bench {
    bench_of("2m")
}

/// A pause lasts so long at the most.
fn bench_of(resume_after: &str) -> Bench {
    let policy = format!(
        "{STRICT}[policy.pause]\nallowed = true\nfrom = \"both\"\ndtmf = \"*9\"\nresume_after = \"{resume_after}\"\n"
    );
    Bench::with(&[("desk.toml", &policy), ("grants.toml", GRANTS)])
}

/// A call of sound and video, by A's wishes for them.
fn call(wishes: [&str; 2]) -> Bench {
    talk(bench(), wishes)
}

fn talk(mut bench: Bench, wishes: [&str; 2]) -> Bench {
    bench.invite(&wishing(wishes), "");
    bench.b_answers("INVITE", 200, &format!("{SDP}{VIDEO}"));
    bench.a_requests(1, "ACK", "ack1", "");
    bench
}

fn wishing(wishes: [&str; 2]) -> String {
    let [sound, video] = wishes.map(|wish| match wish {
        "" => String::new(),
        wish => format!("a=recordpref:{wish}\r\n"),
    });
    format!("{SDP}{sound}{VIDEO}{video}")
}

fn wishes_now(bench: &mut Bench, cseq: u32, wishes: [&str; 2]) {
    bench.a_requests(cseq, "INVITE", &format!("wish{cseq}"), &wishing(wishes));
    bench.b_agrees("INVITE", 200, &format!("{SDP}{VIDEO}"));
    bench.a_requests(cseq, "ACK", &format!("ack{cseq}"), "");
}

/// Whether the relay keeps nothing at all, and of which lines it keeps nothing.
fn told(bench: &Bench) -> (bool, LineSet) {
    let told = bench.media.iter().rev().find_map(|command| match command {
        MediaCommand::Pausing { pausing, .. } => Some(*pausing),
        _ => None,
    });
    let told = told.unwrap_or_default();
    assert_eq!(told.withheld[0], told.withheld[1], "both ways");
    (told.is_paused, told.withheld[0])
}

fn pause(bench: &mut Bench) {
    let session = bench.session();
    bench.input(Input::PauseRecording { session, why: None });
    confirm(bench);
}

fn resume(bench: &mut Bench) {
    let session = bench.session();
    bench.input(Input::ResumeRecording { session });
    confirm(bench);
}

/// The relay has done what it was told last; what that was is still there to be read.
fn confirm(bench: &mut Bench) {
    let commands = bench.media.clone();
    obey(bench);
    bench.media = commands;
}

fn press(bench: &mut Bench, keys: &str) {
    let (session, leg) = (bench.session(), Leg::A);
    for key in keys.chars() {
        bench.wait(Duration::from_millis(600));
        bench.input(Input::Media(MediaEvent::Key { session, leg, key }));
    }
    confirm(bench);
}

const NONE: LineSet = LineSet::NONE;

fn video() -> LineSet {
    NONE.with(1)
}

#[test]
fn a_line_that_was_paused_before_a_pause_of_all_is_paused_after_it() {
    let mut bench = call(["", "pause"]);
    assert_eq!(told(&bench), (false, video()));
    pause(&mut bench);
    assert_eq!(told(&bench), (true, video()));
    resume(&mut bench);
    assert_eq!(
        told(&bench),
        (false, video()),
        "the operator let go on what it had paused"
    );
    resume(&mut bench);
    assert_eq!(told(&bench), (false, NONE), "and may let the rest go on, too");
}

#[test]
fn a_wish_for_a_line_in_a_pause_of_all_is_not_forgotten() {
    for wishes in [["", "pause"], ["on", "pause"]] {
        let mut bench = call(["", ""]);
        pause(&mut bench);
        wishes_now(&mut bench, 2, wishes);
        let is_whole = wishes[0].is_empty();
        assert_eq!(
            told(&bench),
            (is_whole, video()),
            "who wants the other recorded ends the pause of all"
        );
        confirm(&mut bench);
        resume(&mut bench);
        let after = if is_whole { video() } else { NONE };
        assert_eq!(told(&bench), (false, after));
    }
}

#[test]
fn between_a_pause_of_all_and_that_of_a_line_nothing_of_the_line_is_kept() {
    let mut bench = call(["", ""]);
    pause(&mut bench);
    bench.media.clear();
    wishes_now(&mut bench, 2, ["on", "pause"]);
    let told = bench.media.iter().filter_map(|command| match command {
        MediaCommand::Pausing { pausing, .. } => Some((pausing.is_paused, pausing.withheld[0])),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(true, video()), (false, video())]);
}

#[test]
fn a_wish_for_every_line_in_a_pause_of_all_outlives_it() {
    let mut bench = call(["", ""]);
    pause(&mut bench);
    wishes_now(&mut bench, 2, ["pause", "pause"]);
    assert_eq!(told(&bench), (true, NONE.with(0).with(1)));
    resume(&mut bench);
    assert_eq!(told(&bench), (false, NONE.with(0).with(1)));
    wishes_now(&mut bench, 3, ["on", "on"]);
    assert_eq!(told(&bench), (false, NONE));
}

#[test]
fn each_pause_ends_at_its_own_time() {
    let mut bench = call(["", "pause"]);
    bench.wait(Duration::from_secs(60));
    pause(&mut bench);
    bench.wait(Duration::from_secs(61));
    assert_eq!(told(&bench), (true, NONE), "the line's is over");
    bench.wait(Duration::from_secs(60));
    assert_eq!(told(&bench), (false, NONE));

    let mut bench = call(["", ""]);
    pause(&mut bench);
    bench.wait(Duration::from_secs(60));
    wishes_now(&mut bench, 2, ["", "pause"]);
    bench.wait(Duration::from_secs(61));
    assert_eq!(told(&bench), (false, video()), "that of all is over");
    confirm(&mut bench);
    bench.wait(Duration::from_secs(60));
    assert_eq!(told(&bench), (false, NONE));
}

#[test]
fn the_code_pauses_all_of_a_call_of_which_a_line_is_paused_and_pressed_again_ends_that_alone() {
    let mut bench = call(["", "pause"]);
    press(&mut bench, "*9");
    assert_eq!(told(&bench), (true, video()));
    press(&mut bench, "*9");
    assert_eq!(told(&bench), (false, video()));
}

#[test]
fn who_wishes_it_on_ends_both() {
    let mut bench = call(["", "pause"]);
    pause(&mut bench);
    wishes_now(&mut bench, 2, ["on", "on"]);
    assert_eq!(told(&bench), (false, NONE));
}

#[test]
fn both_outlive_the_process_each_for_what_was_left_of_its_time() {
    let mut before = talk(bench_of("20s"), ["", "pause"]);
    before.wait(Duration::from_secs(10));
    pause(&mut before);
    before.wait(Duration::from_secs(1));
    let mut after = before.goes_on_as(bench());
    assert_eq!(told(&after), (true, video()));
    confirm(&mut after);
    after.wait(Duration::from_secs(8));
    assert_eq!(told(&after), (true, NONE));
    after.wait(Duration::from_secs(10));
    assert_eq!(told(&after), (false, NONE));

    let after = call(["", "pause"]).goes_on_as(bench());
    assert_eq!(told(&after), (false, video()), "as a line alone was kept before");
}
