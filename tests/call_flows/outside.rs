//! Requests outside any call: what they may take up, and where they go when an address does not answer.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::sip::{Flow, Request, Transport};
use onrecord::trunk::Conduct;

use super::bench::{A, B, Bench, C, PROXY};
use super::party::{ALICE, Party, PhoneDialog};

/// At the carrier's second address.
const SPARE: Party = Party { user: "c", at: C };
const MWI: &str = "Event: message-summary\r\nExpires: 600\r\n";
const REGISTER: &str = "Expires: 600\r\nSupported: path\r\n";

fn options(number: u32) -> bytes::Bytes {
    format!(
        "OPTIONS sip:{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bKo{number};rport\r\nMax-Forwards: 70\r\nFrom: <sip:probe@example.com>;tag=1\r\nTo: <sip:{PROXY}>\r\nCall-ID: o{number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
    .into()
}

#[test]
fn a_ping_is_answered_without_a_transaction_and_every_copy_alike() {
    let mut bench = Bench::strict();
    for number in [1, 2, 1] {
        bench.from(A, options(number));
    }
    let [first, second, again] = &bench.to_a[..] else {
        panic!("{:?}", bench.to_a)
    };
    assert_eq!(bench.response_to_a().status, 200);
    assert_eq!(
        bench.response_to_a().headers.get("Contact"),
        Some(format!("<sip:{PROXY}>").as_str())
    );
    assert_eq!(first, again);
    assert_ne!(first, second);
    assert_eq!(bench.signaling.leftovers(), [0; 4]);
}

#[test]
fn a_refer_outside_a_dialog_is_refused_with_a_reason() {
    let mut bench = Bench::strict();
    let refer = String::from_utf8(options(1).to_vec())
        .unwrap()
        .replace("OPTIONS", "REFER");
    let refer = refer.replace(
        "Content-Length",
        "Refer-To: <sip:x@example.com>\r\nContact: <sip:a@h>\r\nContent-Length",
    );
    bench.from(A, refer.into());
    let answer = bench.response_to_a();
    assert_eq!(answer.status, 403);
    assert!(
        answer
            .headers
            .get("Warning")
            .is_some_and(|warning| warning.contains("REFER"))
    );
    assert!(!answer.headers.contains("Allow"));
}

fn asks(bench: &mut Bench, method: &str, more: &str) {
    bench.requests(method, ALICE, "sip:mail@carrier.example", "c-1", more, "");
}

fn unreachable(bench: &mut Bench) {
    let flow = Flow {
        transport: Transport::Udp,
        local: PROXY.parse().unwrap(),
        remote: B.parse().unwrap(),
    };
    bench.input(Input::Unreachable { flow });
}

fn without_via(request: &Request) -> Vec<(String, String)> {
    let header = |name: &&str| {
        request
            .headers
            .get(name)
            .map(|value| ((*name).to_owned(), value.to_owned()))
    };
    ["From", "Call-ID", "CSeq", "Contact", "Path", "Expires"]
        .iter()
        .filter_map(header)
        .collect()
}

#[test]
fn what_one_address_does_not_take_goes_to_the_next_and_its_sender_hears_nothing_of_it() {
    for method in ["REGISTER", "SUBSCRIBE", "MESSAGE", "OPTIONS", "PUBLISH"] {
        let more = match method {
            "REGISTER" => REGISTER,
            "SUBSCRIBE" => MWI,
            _ => "",
        };
        for way in ["503", "gone", "silent"] {
            let mut bench = Bench::with_spare(&[], Conduct::default());
            asks(&mut bench, method, more);
            match way {
                "503" => bench.b_answers(method, 503, ""),
                "gone" => unreachable(&mut bench),
                _ => bench.wait(Duration::from_millis(32_001)),
            }
            assert!(bench.to_a.is_empty(), "{method} {way}: {:?}", bench.to_a);
            let (first, second) = (bench.request_to_b(method), bench.request_to_c(method));
            assert_eq!(without_via(&first), without_via(&second), "{method} {way}");
            assert_ne!(first.headers.get("Via"), second.headers.get("Via"));
            bench.c_answers(method, 200, "");
            assert_eq!(bench.response_to_a().status, 200, "{method} {way}");
        }
    }
}

#[test]
fn what_no_address_takes_is_refused_with_the_last_answer_and_other_answers_are_the_senders() {
    let mut bench = Bench::with_spare(&[], Conduct::default());
    asks(&mut bench, "MESSAGE", "");
    bench.b_answers("MESSAGE", 503, "");
    bench.c_answers("MESSAGE", 503, "");
    assert_eq!(bench.response_to_a().status, 503);
    let before = bench.to_c.len();
    let mut bench = Bench::with_spare(&[], Conduct::default());
    asks(&mut bench, "MESSAGE", "");
    bench.b_answers("MESSAGE", 486, "");
    assert_eq!((bench.response_to_a().status, before), (486, 1));
    assert!(bench.to_c.is_empty());
    bench.assert_nothing_left();
}

#[test]
fn a_subscription_that_went_to_the_second_address_is_a_dialog_with_that() {
    let mut bench = Bench::with_spare(&[], Conduct::default());
    asks(&mut bench, "SUBSCRIBE", MWI);
    bench.wait(Duration::from_millis(32_001));
    let subscribe = bench.request_to_c("SUBSCRIBE");
    bench.c_answers("SUBSCRIBE", 200, "");
    let mut mail = PhoneDialog::of_callee(SPARE, &subscribe);
    let ended = "Event: message-summary\r\nSubscription-State: terminated\r\n";
    let notify = mail.request("NOTIFY", ended, "");
    bench.from(C, notify);
    assert_eq!(bench.request_to_a("NOTIFY").headers.call_id(), "c-1");
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.assert_nothing_left();
}

#[test]
fn who_has_sent_a_notify_has_the_subscription() {
    let mut bench = Bench::with_spare(&[], Conduct::default());
    asks(&mut bench, "SUBSCRIBE", MWI);
    let mail = Party { user: "mail", at: B };
    let mut mail = PhoneDialog::of_callee(mail, &bench.request_to_b("SUBSCRIBE"));
    let active = "Event: message-summary\r\nSubscription-State: active;expires=599\r\n";
    let notify = mail.request("NOTIFY", active, "");
    bench.from(B, notify);
    bench.answers(ALICE, "NOTIFY", 200, "");
    bench.b_answers("SUBSCRIBE", 503, "");
    assert!(bench.to_c.is_empty());
    assert_eq!(bench.response_to_a().status, 503);
}
