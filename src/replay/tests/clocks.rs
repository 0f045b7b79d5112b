//! All of the media is recorded, however much comes at once and whatever the clock of the capture says.

use std::time::Duration;

use super::super::forge::{self, ETHERNET, Order, Pcap, millis};
use super::super::talk::Talk;
use super::super::*;
use super::options;
use crate::model::{Outcome, Timestamp};

/// Everything was recorded, and nothing but `--fault` breaks a recorder.
fn assert_whole(what: &str, report: &Report, packets: u64) {
    for call in &report.calls {
        let found = (call.outcome, call.accepted, call.stored, call.gaps);
        assert_eq!(
            found,
            (Outcome::Recorded, packets, packets, 0),
            "{what}: {:?}",
            call.trail
        );
    }
    assert!(report.is_fine(), "{what}");
}

#[test]
fn media_of_any_rate_and_size_is_recorded_whole() {
    // 600 packets a second of 1,200 bytes each way; everything at one instant; packets longer than a block.
    for (packets, bytes, micros) in [(600, 1_200, 1_667), (4_000, 1_200, 0), (40, 5_000, 100)] {
        let mut talk = Talk::new("fast@test");
        talk.connected().stream(packets, bytes, micros).hang_up();
        assert_whole(&format!("{bytes} bytes"), &talk.replay(), 2 * u64::from(packets));
    }
}

/// The same packets at other times.
fn retimed(talk: &Talk, time: impl Fn(usize, Timestamp) -> Timestamp) -> Vec<u8> {
    let mut file = Pcap::new(ETHERNET);
    for (n, (at, frame)) in talk.file.records().into_iter().enumerate() {
        file.push(time(n, at), &frame);
    }
    file.bytes
}

#[test]
fn media_is_recorded_whole_by_a_clock_of_whole_seconds_or_by_none() {
    let mut talk = Talk::new("coarse@test");
    talk.connected().stream(1_200, 1_200, 1_667).hang_up();
    let seconds = retimed(&talk, |_, at| Timestamp::from_millis(at.as_secs() * 1_000));
    assert_whole("seconds", &replay(&*seconds, &options()).unwrap(), 2_400);
    let order = Order::Little;
    let mut timeless = [forge::section(order), forge::interface(order, 1, None)].concat();
    for (_, frame) in talk.file.records() {
        timeless.extend(forge::simple(order, &frame));
    }
    assert_whole("no time", &replay(&*timeless, &options()).unwrap(), 2_400);
}

/// A call and, by other clocks, another: both are whole, and last as long as they did.
#[test]
fn captures_one_after_the_other_are_replayed_whole_whatever_their_clocks_say() {
    let (hour, day) = (Duration::from_secs(3_600), Duration::from_secs(24 * 3_600));
    let mut talk = Talk::new("first@test");
    talk.connected().talk(100);
    let first = talk.file.records().len();
    talk.hang_up();
    talk.call_id = "second@test".to_owned();
    talk.connected().stream(300, 1_200, 7_000).hang_up();
    type Clock = Box<dyn Fn(Timestamp) -> Timestamp>;
    let clocks: [(&str, Clock); 4] = [
        ("an hour back", Box::new(move |at| at - hour)),
        ("a day ahead", Box::new(move |at| at + 3 * day)),
        ("seconds back", Box::new(move |at| at - Duration::from_secs(3))),
        ("1970", Box::new(move |at| at - millis(0).since(Timestamp::ZERO))),
    ];
    for (what, clock) in clocks {
        for whole in [true, false] {
            // Without its end, the first call is up when time leaps.
            let lost = if whole { 0..0 } else { first..first + 2 };
            let mut file = Pcap::new(ETHERNET);
            for (n, (at, frame)) in talk.file.records().into_iter().enumerate() {
                if !lost.contains(&n) {
                    file.push(if n < first + 2 { at } else { clock(at) }, &frame);
                }
            }
            let report = replay(&*file.bytes, &options()).unwrap();
            let [one, two] = report.calls.as_slice() else {
                panic!("two calls")
            };
            let stored = [one, two].map(|call| (call.outcome, call.accepted, call.stored));
            assert_eq!(
                stored,
                [(Outcome::Recorded, 200, 200), (Outcome::Recorded, 600, 600)],
                "{what}: {:?}",
                one.trail
            );
            assert_eq!(two.started, clock(millis(2_060)), "{what}");
            assert!(
                whole.then_some(one.duration_ms).is_none_or(|ms| ms == 2_050),
                "{what}: {}",
                one.duration_ms
            );
            assert!((2_100..2_200).contains(&two.duration_ms), "{what}: {}", two.duration_ms);
        }
    }
}

#[test]
fn a_wrong_time_on_the_first_packet_changes_nothing() {
    let mut talk = Talk::new("first@test");
    talk.connected().stream(600, 1_200, 1_667).hang_up();
    let wrong: [fn(Timestamp) -> Timestamp; 4] = [
        |at| at + Duration::from_secs(3_600),
        |at| at + Duration::from_secs(40 * 86_400),
        |_| Timestamp::ZERO,
        |at| at + Duration::from_secs(5),
    ];
    for wrong in wrong {
        let file = retimed(&talk, |n, at| if n == 0 { wrong(at) } else { at });
        let report = replay(&*file, &options()).unwrap();
        assert_whole("first", &report, 1_200);
        let call = &report.calls[0];
        assert_eq!((call.started, call.duration_ms), (millis(10), 1_040));
        let broken = ReplayOptions {
            faults: vec!["recorder:eio@500ms".parse().unwrap()],
            ..options()
        };
        let call = &replay(&*file, &broken).unwrap().calls[0];
        assert_eq!(call.outcome, Outcome::Faulted);
        assert!((100..600).contains(&call.streams[0].recorded), "{:?}", call.streams);
    }
}
