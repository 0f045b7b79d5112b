//! Requests outside any call: what they may take up, and where they go when an address does not answer.

use super::bench::{A, Bench, PROXY};

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
