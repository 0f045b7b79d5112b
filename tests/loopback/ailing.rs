//! What ails the sound of a running call is seen while it lives, and ends nothing.

use serde_json::{Value, json};

use super::bench::{Bench, LOOKS_MAX};

/// Asks for the status, and has `talk` said before each time, until so many sessions are one way, and so many without media.
/// That the phones say the same again and again is told beside it.
fn until(bench: &mut Bench, ailing: [u64; 2], mut talk: impl FnMut(&mut Bench)) {
    let mut last = Value::Null;
    for _ in 0..LOOKS_MAX {
        talk(bench);
        last = bench.status()["ailing"].clone();
        if ["one_way", "no_media"].map(|name| last[name].as_u64().unwrap_or(0)) == ailing {
            return;
        }
    }
    panic!("never so: {last}\n{}", bench.log());
}

#[test]
fn a_call_that_one_does_not_hear_and_then_neither_is_told_while_it_lives_and_goes_on() {
    let mut bench = Bench::new(200);
    // A disk that is slow for a moment is no matter here: the call lasts a while.
    bench.change_config("[recorder]\n", "[recorder]\nlag_max = \"60s\"\n");
    bench.start();
    let [invite, ok] = bench.connect("one");
    until(&mut bench, [1, 0], |bench| {
        bench.a.speak(ok.media());
        bench.b.listen();
    });
    until(&mut bench, [0, 1], |_| ());
    until(&mut bench, [0, 0], |bench| bench.talk([&ok, &invite], 1));
    assert_eq!(bench.status()["calls"]["talking"], 1, "nothing ended");
    bench.a.hangs_up(bench.proxy, &ok, &bench.b);
    bench.ends_well();

    let facts = bench.facts();
    assert_eq!(facts["outcome"], "recorded");
    let ailments = facts["closing"]["tally"]["ailments"].as_array().unwrap();
    let told = ailments.iter().map(|ailing| (&ailing["impairment"], &ailing["leg"]));
    let told: Vec<_> = told.filter(|(impairment, _)| **impairment != "constant").collect();
    assert_eq!(
        told,
        [(&json!("one_way"), &json!("B")), (&json!("no_media"), &Value::Null)],
        "{facts}"
    );
    assert!(ailments[..2].iter().all(|ailing| !ailing["until"].is_null()), "{facts}");
    let log = bench.log();
    for line in ["the sound of a call ails", "the sound of a call ails no more"] {
        assert!(log.contains(line), "{log}");
    }
}
