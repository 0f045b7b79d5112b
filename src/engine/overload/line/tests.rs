use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::sip::{Message, Method};

const CALL: Newcomer = Newcomer {
    opening: Opening::Call,
    is_throttled: false,
    invite: None,
};
const MILLI: u64 = 1_000_000;
/// What a call costs, in microseconds, and how many milliseconds after its INVITE was taken: recorder ready, B rings and
/// answers, ACK; at last, after some talk, BYE and its answer. The sum is what was measured of a recorded call, its parts are assumed.
const PARTS: [(u64, u64); 3] = [(180, 0), (120, 4), (120, 9)];
const LAST: u64 = 180;
const TALK: std::ops::Range<u64> = 100..2_100;
const SERVED: u64 = 600_000;
/// Refusing one more at a glance and dropping its ACK: measured between 3,000 and 8,000 a second.
const REFUSED: u64 = 6_000;

/// A node that works off what comes, one thing at a time: what belongs to calls first, then who waits in line.
struct Node {
    line: Line<u64>,
    now: u64,
    next: u64,
    /// When the parts of calls that were taken come, and what they cost.
    parts: BTreeSet<(u64, u64, u64)>,
    lot: u64,
    offered: u64,
    /// Peers throttle themselves by what they are told.
    throttled: bool,
    held_back: u64,
    refused: u64,
    taken: u64,
    /// Worked for calls, in nanoseconds.
    worked: u64,
    longest: u64,
}

impl Node {
    fn new() -> Self {
        Self {
            line: Line::default(),
            now: 1_000 * MILLI,
            next: 1_000 * MILLI,
            parts: BTreeSet::new(),
            lot: 7,
            offered: 0,
            throttled: false,
            held_back: 0,
            refused: 0,
            taken: 0,
            worked: 0,
            longest: 0,
        }
    }

    fn throttled() -> Self {
        Self {
            throttled: true,
            ..Self::new()
        }
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_nanos(self.now)
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.lot = self.lot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.lot >> 33) % below
    }

    fn run(&mut self, per_second: u64, seconds: u64) {
        let (gap, end) = (1_000 * MILLI / per_second, self.now + seconds * 1_000 * MILLI);
        self.next = self.next.max(self.now);
        while self.now < end {
            let begun = self.now;
            self.read(gap, end);
            if self.parts.first().is_some_and(|(due, ..)| *due <= begun) {
                let (_, _, cost) = self.parts.pop_first().expect("there is one");
                self.work(cost);
            } else if let Some(came) = self.line.take() {
                self.longest = self.longest.max(self.now - came);
                self.taken += 1;
                let talk = TALK.start + self.draw(TALK.end - TALK.start);
                for (cost, after) in PARTS.into_iter().chain([(LAST, talk)]).skip(1) {
                    self.parts.insert((self.now + after * MILLI, self.taken, cost));
                }
                self.work(PARTS[0].0);
            } else {
                self.line.note_busy(Duration::from_nanos(self.now - begun));
                let due = self.parts.first().map_or(end, |(due, ..)| *due);
                self.now = self.next.min(due).clamp(self.now + 1, end.max(self.now + 1));
                continue;
            }
            self.line.note_busy(Duration::from_nanos(self.now - begun));
        }
    }

    fn work(&mut self, micros: u64) {
        self.now += micros * 1_000;
        self.worked += micros * 1_000;
    }

    /// Who has come meanwhile.
    fn read(&mut self, gap: u64, end: u64) {
        while self.next <= self.now && self.next < end {
            self.offered += 1;
            let came = self.next;
            self.next += gap;
            let share = self.line.follow(self.at());
            if self.throttled && self.draw(1_000) < u64::from(share) {
                self.held_back += 1;
                continue;
            }
            let newcomer = Newcomer {
                is_throttled: self.throttled,
                ..CALL
            };
            if self.line.offer(self.at(), newcomer, false, came).is_err() {
                self.refused += 1;
                self.now += REFUSED;
            }
        }
    }

    fn afresh(&mut self) {
        (self.offered, self.held_back, self.refused, self.worked, self.longest) = (0, 0, 0, 0, 0);
    }

    /// Of what it could serve if it had nothing to refuse.
    fn part_of_capacity(&self, seconds: u64) -> f64 {
        self.worked as f64 / (seconds * 1_000 * MILLI) as f64
    }
}

const CAPACITY: u64 = 1_000 * MILLI / SERVED;

#[test]
fn a_node_that_keeps_up_refuses_nobody_and_nobody_waits() {
    let mut node = Node::new();
    node.run(CAPACITY * 9 / 10, 30);
    assert_eq!((node.refused, node.line.follow(node.at())), (0, 0));
    assert!(node.longest < 20 * MILLI, "{} ns", node.longest);
}

#[test]
fn whatever_is_offered_a_node_serves_what_it_can_second_by_second() {
    // Refusing four for each that is served takes 4 of a hundred by itself, refusing nine as many again and more.
    for (times_ten, at_least) in [(11, 0.98), (12, 0.98), (20, 0.97), (50, 0.95), (100, 0.90)] {
        let mut node = Node::new();
        // Until as many hang up as begin to talk.
        node.run(CAPACITY * times_ten / 10, 3);
        for _ in 0..10 {
            node.afresh();
            node.run(CAPACITY * times_ten / 10, 1);
            let part = node.part_of_capacity(1);
            assert!(part > at_least, "{part} at {times_ten} tenths");
            assert!(node.longest < 300 * MILLI, "T1 is 500 ms: {} ns", node.longest);
        }
        node.afresh();
        node.run(CAPACITY * times_ten / 10, 5);
        assert!(node.longest < 100 * MILLI, "once it stands: {} ns", node.longest);
    }
}

#[test]
fn when_the_overload_is_over_nobody_is_refused_any_more() {
    let mut node = Node::new();
    node.run(CAPACITY * 5, 10);
    node.run(CAPACITY / 2, 1);
    node.afresh();
    node.run(CAPACITY / 2, 10);
    assert_eq!((node.refused, node.line.follow(node.at())), (0, 0));
}

#[test]
fn one_pause_refuses_no_call() {
    let mut node = Node::new();
    node.run(CAPACITY / 2, 5);
    node.now += 150 * MILLI;
    node.run(CAPACITY / 2, 5);
    assert_eq!(node.refused, 0);
}

#[test]
fn peers_that_throttle_themselves_are_held_back_without_being_refused_and_the_node_is_never_idle_for_it() {
    for times in [2, 5, 10] {
        let mut node = Node::throttled();
        node.run(CAPACITY * times, 4);
        node.afresh();
        node.run(CAPACITY * times, 20);
        let (part, refused) = (node.part_of_capacity(20), node.refused as f64 / node.offered as f64);
        assert!(
            part > 0.97 && refused < 0.05,
            "{part} served, {refused} refused at {times} times"
        );
        assert!(node.held_back > node.offered * (times - 1) / times * 9 / 10);
        node.run(CAPACITY / 2, 3);
        assert_eq!(node.line.follow(node.at()), 0, "and let go soon after");
    }
}

#[test]
fn after_a_rest_nothing_is_left_of_an_overload() {
    let mut node = Node::throttled();
    node.run(CAPACITY * 5, 10);
    assert!(node.line.follow(node.at()) > 500);
    node.now += 3_000 * MILLI;
    assert_eq!(node.line.follow(node.at()), 0);
}

#[test]
fn what_a_connection_brought_that_has_ended_is_not_taken_and_keeps_nobody_from_his_place() {
    let mut line = Line::default();
    let now = Timestamp::from_millis;
    for request in [("page", 1), ("desk", 1), ("page", 2)] {
        line.offer(now(1_000), CALL, false, request).expect("room");
    }
    line.withdraw(|(flow, _)| *flow == "page");
    // Another page, from the same port.
    line.offer(now(1_001), CALL, false, ("page", 3)).expect("room");
    assert_eq!(
        [line.take(), line.take(), line.take()],
        [Some(("desk", 1)), Some(("page", 3)), None]
    );
    line.offer(now(1_002), CALL, false, ("page", 4)).expect("room");
    line.withdraw(|_| true);
    assert!(line.is_empty() && line.since.is_none(), "it does not stand");
}

#[test]
fn chatter_goes_before_any_call_does() {
    let mut line = Line::default();
    let now = |millis: u64| Timestamp::from_millis(1_000 + millis);
    // A call costs a millisecond.
    for number in 0..100 {
        line.offer(now(0), CALL, false, number).expect("room");
    }
    for _ in 0..60 {
        line.take().expect("one waits");
        line.note_busy(Duration::from_millis(1));
    }
    let chatter = Newcomer {
        opening: Opening::Chatter,
        ..CALL
    };
    let mut taken = [0, 0];
    while line.offer(now(60), chatter.clone(), false, 0).is_ok() {
        taken[0] += 1;
    }
    while line.offer(now(60), CALL, false, 0).is_ok() {
        taken[1] += 1;
    }
    assert!(taken[0] < 15 && taken[1] > 120, "{taken:?}: to 50, to 200");
}

#[test]
fn who_throttles_itself_does_not_stand_behind_who_does_not() {
    let mut line = Line::default();
    let mut now = Timestamp::from_millis(1_000);
    let mut found = [[0_u32; 2]; 2];
    for round in 0..200_000_u64 {
        now = now + Duration::from_micros(120);
        let share = u64::from(line.follow(now));
        let is_throttled = round % 2 == 0;
        let is_held_back = is_throttled && round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & 1_023 < share;
        if round > 50_000 {
            found[usize::from(is_throttled)][0] += 1;
        }
        if !is_held_back && line.offer(now, Newcomer { is_throttled, ..CALL }, false, ()).is_ok() && round > 50_000 {
            found[usize::from(is_throttled)][1] += 1;
        }
        if round % 5 == 0 {
            line.take();
            line.note_busy(Duration::from_micros(600));
        }
    }
    let part = found.map(|[came, taken]| f64::from(taken) / f64::from(came));
    assert!((part[0] - part[1]).abs() < 0.05, "of each about a fifth: {part:?}");
}

#[test]
fn so_many_wait_at_most_however_fast_it_moves() {
    let mut line = Line::default();
    let now = Timestamp::from_millis(1_000);
    let fill = |line: &mut Line<_>| {
        (0..10_000)
            .filter(|number| line.offer(now, CALL, false, *number).is_ok())
            .count()
    };
    assert_eq!(fill(&mut line), WAITING_AT_FIRST);
    assert_eq!(line.take(), Some(0), "first come, first served");
    for number in 1..100 {
        assert_eq!(line.take(), Some(number));
        line.note_busy(Duration::from_micros(1));
    }
    assert_eq!(fill(&mut line) + WAITING_AT_FIRST - 100, WAITING_MAX);
}

#[test]
fn in_a_full_house_some_are_told_why_and_chatter_is_not_meant() {
    let mut line = Line::default();
    let now = Timestamp::from_millis(1_000);
    let taken = (0..1_000)
        .filter(|number| line.offer(now, CALL, true, *number).is_ok())
        .count();
    assert_eq!(taken, TOLD_WHY.burst as usize);
    let chatter = Newcomer {
        opening: Opening::Chatter,
        ..CALL
    };
    assert!(line.offer(now, chatter, true, 0).is_ok());
    assert!(line.follow(now + INTERVAL) > 300, "peers are told");
}

#[test]
fn what_belongs_to_a_call_that_is_up_does_not_wait() {
    let request = |method: &str, to: &str| {
        format!(
            "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK7;oc\r\nFrom: <sip:a@h>;tag=a1\r\n\
             To: <sip:b@h>{to}\r\nCall-ID: c1\r\nCSeq: 7 {method}\r\n\r\n"
        )
    };
    for method in ["ACK", "BYE", "CANCEL", "PRACK"] {
        assert_eq!(Newcomer::of(request(method, "").as_bytes()), None);
    }
    for method in ["INVITE", "UPDATE", "REFER", "MESSAGE", "NOTIFY"] {
        assert_eq!(Newcomer::of(request(method, ";tag=b2").as_bytes()), None);
    }
    let opens = |method| Newcomer::of(request(method, "").as_bytes()).expect("opens something");
    assert!(opens("INVITE").is_throttled);
    assert_eq!([opens("INVITE").opening, opens("MESSAGE").opening], [Opening::Call; 2]);
    assert_eq!(
        [opens("OPTIONS").opening, opens("REGISTER").opening],
        [Opening::Chatter; 2]
    );
    assert_eq!(Newcomer::of(b"SIP/2.0 200 OK\r\n\r\n"), None);
    assert_eq!(Newcomer::of(b"\r\n"), None);
}

#[test]
fn a_cancel_stands_behind_its_invite_and_behind_nobody_else() {
    let invite = |branch: &str| PLAIN.replace("z9hG4bK7", branch);
    let cancel = |branch: &str| invite(branch).replace("INVITE", "CANCEL");
    let now = Timestamp::from_millis(1_000);
    let odd = |text: String| text.replace("Via: SIP", "v :\r\n SIP");
    for (invited, cancelled) in [
        (invite("z9hG4bK1"), cancel("z9hG4bK1")),
        (odd(invite("z9hG4bK1")), cancel("z9hG4bK1")),
        (invite("z9hG4bK1"), format!("\r\n{}", cancel("z9hG4bK1"))),
        (invite("1"), odd(cancel("1"))),
    ] {
        let mut line = Line::default();
        let join = |line: &mut Line<String>, text: String| {
            let newcomer = Newcomer::of(text.as_bytes()).expect("opens a call");
            line.offer(now, newcomer, false, text).expect("room");
        };
        let behind = |line: &mut Line<String>, text: &str| line.offer_behind(text.as_bytes(), text.to_owned());
        assert!(behind(&mut line, &cancelled).is_err(), "nobody waits");
        join(&mut line, invite("z9hG4bK0"));
        join(&mut line, invited.clone());
        join(&mut line, invite("z9hG4bK2"));
        for text in [cancel("z9hG4bK9"), PLAIN.replace("INVITE", "BYE"), invited.clone()] {
            assert!(behind(&mut line, &text).is_err(), "{text}");
        }
        for _ in 0..CANCELS_MAX + 2 {
            assert_eq!(behind(&mut line, &cancelled), Ok(()));
        }
        assert_eq!(line.take(), Some(invite("z9hG4bK0")));
        assert_eq!(line.take(), Some(invited));
        for _ in 0..CANCELS_MAX {
            assert_eq!(line.take().as_ref(), Some(&cancelled));
        }
        assert!(behind(&mut line, &cancelled).is_err(), "its INVITE is in work");
        assert_eq!(line.take(), Some(invite("z9hG4bK2")));
        assert!(line.is_empty() && line.cancels.is_empty());
    }
}

#[test]
fn a_cancel_that_came_by_a_connection_which_ended_is_not_taken() {
    let cancel = PLAIN.replace("INVITE", "CANCEL");
    let now = Timestamp::from_millis(1_000);
    let newcomer = || Newcomer::of(PLAIN.as_bytes()).expect("opens a call");
    let mut line = Line::default();
    line.offer(now, newcomer(), false, "first").expect("room");
    line.offer_behind(cancel.as_bytes(), "first").expect("it waits");
    line.withdraw(|came_by| *came_by == "first");
    assert!(line.is_empty() && line.cancels.is_empty());
    line.offer(now, newcomer(), false, "second").expect("room");
    line.offer_behind(cancel.as_bytes(), "first").expect("it waits");
    assert_eq!(line.take(), Some("second"));
    line.withdraw(|came_by| *came_by == "first");
    assert_eq!((line.take(), line.is_empty()), (None, true));
}

const PLAIN: &str = "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK7;rport\r\n\
    From: <sip:a@h>;tag=a1\r\nTo: <sip:b@h>\r\nCall-ID: c1\r\nCSeq: 7 INVITE\r\nSubject: hi there\r\nContent-Length: 0\r\n\r\n";

#[test]
fn nobody_passes_the_line_by_the_way_it_writes() {
    let (many, padded) = ("X-A: y\r\n".repeat(100), format!("\r\n\r\n{PLAIN}"));
    let odd = [
        ("hi there", "hi\r\n there"),
        (";rport", ";rport;received=192.0.2.1"),
        (";rport", ";rport=5060"),
        (";rport", ";RPORT"),
        (";branch=z9hG4bK7", ";branch=7"),
        ("7 INVITE", "7  INVITE"),
        ("7 INVITE", "07 INVITE"),
        ("Subject: hi there\r\n", &many),
        ("To: <sip:b@h>", "t :\r\n\tBob <sip:b@h>"),
        ("To: <sip:b@h>", "To: <sip:b@h;tag=x>;y=\";tag=z\""),
        (PLAIN, &padded),
    ];
    for (plain, odd) in odd {
        let text = PLAIN.replacen(plain, odd, 1);
        assert!(Message::parse(text.as_bytes()).is_ok(), "{odd}");
        let newcomer = Newcomer::of(text.as_bytes());
        assert_eq!(newcomer.map(|newcomer| newcomer.opening), Some(Opening::Call), "{odd}");
        let inside = text.replacen("From:", "t: <sip:b@h>;\r\n tag=b2\r\nFrom:", 1);
        assert_eq!(Newcomer::of(inside.as_bytes()), None, "of a dialog: {odd}");
    }
}

proptest! {
    #[test]
    fn every_invite_that_is_understood_and_names_no_dialog_waits(
        at in 0..PLAIN.len(), cut in 0..4_usize, bytes in prop::collection::vec(prop::sample::select(&b"\r\n \t:;,=<>\"aT0\xff"[..]), 0..6),
    ) {
        let mut text = PLAIN.as_bytes().to_vec();
        text.splice(at..(at + cut).min(PLAIN.len()), bytes);
        if let Ok(Message::Request(request)) = Message::parse(&text) && request.method == Method::Invite {
            let waits = Newcomer::of(&text).is_some_and(|newcomer| newcomer.opening == Opening::Call);
            prop_assert_eq!(waits, request.headers.to().tag().is_none(), "{}", String::from_utf8_lossy(&text));
        }
    }
}
