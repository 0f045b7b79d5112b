//! What an end owes to others beside the calls.

use rustix::process::Signal;

use super::bench::Bench;
use super::transports::{configure, trunk};

#[test]
fn a_node_without_calls_takes_its_registration_back_before_it_ends() {
    let mut bench = Bench::new(154);
    let register = "register = { aor = \"sip:1001@carrier.example\", expires = \"1h\" }";
    let trunks = trunk("pbx", "127.154.0.2:5060", "") + &trunk("carrier", "127.154.0.3:5060", register);
    configure(&bench, 154, "\"udp:127.154.0.1:5060\"", "", &trunks);
    bench.start();
    let asked = bench.b.hear("REGISTER");
    assert_eq!(asked.header("Expires"), "3600");
    bench.b.accept(&asked);
    bench.until(|status| status["registrations"][0]["state"] == "registered");

    bench.signal(Signal::TERM);
    let last = bench.b.hear("REGISTER");
    assert_eq!(last.header("Expires"), "0", "{}", last.text);
    assert!(
        bench.server.as_mut().unwrap().try_wait().unwrap().is_none(),
        "it waits for the answer"
    );
    bench.b.accept(&last);
    assert_eq!(bench.ended().code(), Some(0), "{}", bench.log());
}
