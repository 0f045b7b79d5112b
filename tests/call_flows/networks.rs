//! A node of two networks: each trunk is faced by the listener and the media address that it names.

use onrecord::model::MediaCommand;

use super::bench::{Bench, GRANTS, OUTSIDE, OUTSIDE_MEDIA, PROXY, SDP, STRICT};

const POLICIES: [(&str, &str); 2] = [("desk.toml", STRICT), ("grants.toml", GRANTS)];

fn host(address: &str) -> &str {
    address.split(':').next().unwrap()
}

#[test]
fn each_leg_names_the_listener_and_the_media_address_of_its_own_side() {
    let mut bench = Bench::on_two_networks(&POLICIES);
    bench.invite(SDP, "");
    let sent = bench.request_to_b("INVITE");
    for name in ["Via", "Contact"] {
        let value = sent.headers.get(name).unwrap();
        assert!(value.contains(OUTSIDE) && !value.contains(PROXY), "{value}");
    }
    let offer = String::from_utf8(sent.body.to_vec()).unwrap();
    assert!(offer.contains(OUTSIDE_MEDIA) && !offer.contains("127.0.0.1"), "{offer}");
    bench.b_answers("INVITE", 200, &SDP.replace("192.0.2.1", "192.0.2.2"));
    let answer = bench.response_to_a();
    assert!(answer.headers.get("Contact").unwrap().contains(PROXY));
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(body.contains(host(PROXY)) && !body.contains(OUTSIDE_MEDIA), "{body}");

    let opened = bench.media.iter().find_map(|command| match command {
        MediaCommand::Open(plan) => Some([plan.lines[0].a.local, plan.lines[0].b.local]),
        _ => None,
    });
    let bound = opened.unwrap().map(|local| local.ip().to_string());
    assert_eq!(bound, [host(PROXY), host(OUTSIDE)], "and arrives there");

    bench.a_requests(1, "ACK", "ack1", "");
    assert!(bench.request_to_b("ACK").headers.get("Via").unwrap().contains(OUTSIDE));
    bench.a_requests(2, "BYE", "bye2", "");
    bench.b_answers("BYE", 200, "");
    bench.assert_nothing_left();
}
