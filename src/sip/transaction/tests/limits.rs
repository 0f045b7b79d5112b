use proptest::prelude::*;

use super::*;

fn small() -> Story {
    let mut story = Story::on(UDP);
    story.layer = Transactions::new(TransactionLimits { live_max: 8 });
    story
}

#[test]
fn beyond_the_limit_new_calls_are_refused_without_state_and_calls_that_run_keep_a_reserve() {
    let mut story = small();
    for n in 0..9 {
        story.hears(request(Method::Invite, &format!("z9hG4bK{n}")));
    }
    assert_eq!(story.layer.len(), 7);
    assert_eq!(story.tells()[7..], ["0 → 503 INVITE", "0 → 503 INVITE"]);
    story.hears(inside(Method::Bye, "z9hG4bKbye"));
    assert_eq!(story.tells(), ["0 ↑ BYE"]);
    story.hears(inside(Method::Bye, "z9hG4bKbye2"));
    assert_eq!((story.tells(), story.layer.len()), (vec!["0 → 503 BYE".to_owned()], 8));
}

#[test]
fn a_full_house_still_cancels_and_acknowledges() {
    let mut story = small();
    story.hears(request(Method::Invite, "z9hG4bKi"));
    let invite = story.server;
    for n in 0..9 {
        story.hears(inside(Method::Info, &format!("z9hG4bK{n}")));
    }
    story.tells();
    story.server = invite;
    story.hears(request(Method::Cancel, "z9hG4bKi"));
    assert_eq!(
        (story.tells(), story.layer.len()),
        (vec!["0 → 200 CANCEL".to_owned(), "0 ↑ cancelled".to_owned()], 8)
    );
    story.answers(answer(&request(Method::Invite, "z9hG4bKi"), 200));
    story.hears(inside(Method::Ack, "z9hG4bKa"));
    assert_eq!(story.tells(), ["0 → 200 INVITE", "0 ↑ ACK"]);
}

#[test]
fn chatter_has_a_quarter_of_the_room_until_its_answers_are_forgotten_and_calls_have_theirs() {
    let mut story = small();
    for n in 0..3 {
        story.hears(request(Method::Options, &format!("z9hG4bKo{n}")));
    }
    assert_eq!(story.tells(), ["0 ↑ OPTIONS", "0 ↑ OPTIONS", "0 → 503 OPTIONS"]);
    story.hears(request(Method::Invite, "z9hG4bKi"));
    story.hears(inside(Method::Info, "z9hG4bKn"));
    assert_eq!(story.tells(), ["0 ↑ INVITE", "0 ↑ INFO"]);
    let mut story = small();
    for n in 0..2 {
        story.hears(request(Method::Options, &format!("z9hG4bKo{n}")));
        story.answers(answer(&request(Method::Options, &format!("z9hG4bKo{n}")), 200));
    }
    story.waits(seconds(33));
    story.tells();
    story.hears(request(Method::Options, "z9hG4bKo9"));
    assert_eq!(story.tells(), ["33000 ↑ OPTIONS"]);
}

#[test]
fn the_last_places_are_for_emergencies() {
    let mut layer = Transactions::new(TransactionLimits { live_max: 64 });
    let now = Timestamp::ZERO;
    let flow = flow(UDP);
    let fill = |layer: &mut Transactions, method: &Method, count: usize| {
        for n in 0..count {
            layer.handle_message(
                now,
                flow,
                inside(method.clone(), &format!("z9hG4bK{method:?}{n}")).into(),
            );
        }
        layer.len()
    };
    assert_eq!(fill(&mut layer, &Method::Info, 100), 62);
    layer.handle_message(now, flow, request(Method::Invite, "z9hG4bKi").into());
    assert_eq!(layer.len(), 62);
    for n in 0..4 {
        layer.handle_emergency(now, flow, request(Method::Invite, &format!("z9hG4bKe{n}")));
    }
    assert_eq!(layer.len(), 64);
}

#[test]
fn a_broken_request_is_refused_to_where_it_came_from_and_leaves_nothing() {
    let mut story = Story::on(UDP);
    story.flow.remote = "203.0.113.7:40000".parse().unwrap();
    let text = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1\r\nCSeq: x\r\n\r\n";
    let reply = Message::parse(text.as_bytes()).unwrap_err().reply.unwrap();
    story.layer.refuse(story.flow, *reply);
    let Some(Output::Send { flow, bytes }) = story.layer.poll_output() else {
        panic!("nothing sent")
    };
    assert_eq!(flow.remote, std::net::SocketAddr::from(([203, 0, 113, 7], 5_070)));
    assert!(String::from_utf8_lossy(&bytes).contains(";received=203.0.113.7"));
    assert!(story.layer.is_empty());
}

#[test]
fn many_timers_fire_in_their_order() {
    let mut story = Story::on(UDP);
    for n in 0..1_000 {
        story.asks(request(Method::Bye, &format!("z9hG4bK{n}")));
        story.waits(millis(1));
    }
    story.tells();
    story.waits(seconds(100));
    let told = story.tells();
    assert_eq!(told.iter().filter(|line| line.ends_with("timed out")).count(), 1_000);
    assert!(story.layer.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Hear(usize, u8),
    Answer(u16),
    Ask(usize, u8),
    Reply(usize, u8, u16),
    Cancel,
    Unreachable,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop::sample::select(vec![100_u16, 180, 200, 202, 302, 486, 603]);
    prop_oneof![
        (0..5_usize, 0..4_u8).prop_map(|(method, branch)| Step::Hear(method, branch)),
        status.clone().prop_map(Step::Answer),
        (0..5_usize, 0..4_u8).prop_map(|(method, branch)| Step::Ask(method, branch)),
        (0..5_usize, 0..4_u8, status).prop_map(|(method, branch, status)| Step::Reply(method, branch, status)),
        Just(Step::Cancel),
        Just(Step::Unreachable),
        (0..20_000_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens in whatever order: no panic, and once every request has its final answer all are gone.
    #[test]
    fn nothing_stays_behind(steps in prop::collection::vec(step(), 0..40), reliable in any::<bool>()) {
        const METHODS: [Method; 5] = [Method::Invite, Method::Bye, Method::Cancel, Method::Ack, Method::Options];
        let made = |method: usize, branch: u8| request(METHODS[method].clone(), &format!("z9hG4bK{branch}"));
        let mut layer = Transactions::new(TransactionLimits { live_max: 16 });
        let flow = flow(if reliable { TCP } else { UDP });
        let mut now = Timestamp::ZERO;
        let (mut open, mut asked) = (Vec::new(), Vec::new());
        let drain = |layer: &mut Transactions, open: &mut Vec<(ServerId, Request)>| {
            while let Some(output) = layer.poll_output() {
                if let Output::Event(Event::Request { id, request, .. }) = output {
                    open.push((id, request));
                }
            }
        };
        for step in steps {
            match step {
                Step::Hear(method, branch) => layer.handle_message(now, flow, made(method, branch).into()),
                Step::Answer(status) => {
                    if let Some((id, request)) = open.last() {
                        layer.respond(now, *id, answer(request, status));
                    }
                }
                Step::Ask(method, branch) if METHODS[method] != Method::Ack => {
                    asked.push(layer.request(now, made(method, branch), flow));
                }
                Step::Ask(..) => {}
                Step::Reply(method, branch, status) => {
                    layer.handle_message(now, flow, answer(&made(method, branch), status).into());
                }
                Step::Cancel => drop(asked.last().and_then(|id| layer.cancel(now, *id, &[]))),
                Step::Unreachable => layer.handle_unreachable(now, flow),
                Step::Wait(ms) => {
                    now = now + millis(ms);
                    layer.handle_timeout(now);
                }
            }
            drain(&mut layer, &mut open);
            prop_assert!(layer.poll_timeout().is_none_or(|due| due > now));
        }
        for (id, request) in &open {
            layer.respond(now, *id, answer(request, 500));
        }
        for id in &asked {
            layer.cancel(now, *id, &[]);
        }
        for _ in 0..2_000 {
            let Some(due) = layer.poll_timeout() else { break };
            layer.handle_timeout(due);
            drain(&mut layer, &mut Vec::new());
        }
        prop_assert_eq!(layer.len(), 0);
    }
}
