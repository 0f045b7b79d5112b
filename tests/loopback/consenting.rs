//! The caller of a real call is asked whether it agrees to be recorded, and does not.

use std::fs;

use serde_json::Value;

use super::bench::Bench;
use super::noticed::with_prompts;

/// What the closing of a call tells that A refused in, after both have said this many packets.
fn refused(number: u8, refused: &str, packets: usize) -> (Bench, Value) {
    let mut bench = with_prompts(number);
    let policy = format!(
        "[policy]\nid = \"everyone\"\nenabled = true\nrecord_rerouted_calls = true\nprompts = {{ package = \"desk\" }}\n\
         notify = {{ mode = \"prompt\", to = \"caller\", consent = {{ refused = \"{refused}\" }} }}\n\
         [[policy.recorder]]\nid = \"embedded\"\nrequired_before_call_establishment = false\n\
         required_during_call = false\nrequired_before_meeting_join = false\nrequired_during_meeting = false\n"
    );
    fs::write(bench.folder.path().join("policies/everyone.toml"), policy).unwrap();
    bench.start();
    let [invite, ok] = bench.connect("one");
    for _ in 0..25 {
        bench.a.packet();
        bench.a.speak(ok.media());
        bench.b.speak(invite.media());
    }
    bench.a.press(bench.proxy, &ok, '2', 2);
    let info = bench.b.hear("INFO");
    bench.b.accept(&info);
    bench.a.hear("SIP/2.0 200");
    let listed = bench.verb(&["calls", "list", "--data", "data", "--json"]);
    assert_eq!(listed.status.code(), Some(0), "and the relay has had its turn");
    bench.talk([&ok, &invite], packets);
    bench.a.within(bench.proxy, &ok, "BYE", 3);
    let bye = bench.b.hear("BYE");
    bench.b.accept(&bye);
    bench.a.hear("SIP/2.0 200");
    bench.ends_well();
    let facts = bench.facts();
    assert_eq!(bench.verb(&["verify", "--data", "data"]).status.code(), Some(0));
    let consents = facts["closing"]["consents"].as_array().unwrap();
    let told = (consents.len(), &consents[0]["leg"], &consents[0]["consent"]);
    assert_eq!(told, (1, &"A".into(), &"refused".into()));
    (bench, facts)
}

#[test]
fn who_refuses_talks_on_and_only_the_other_is_on_any_disk() {
    let (bench, facts) = refused(230, "mute", 20);
    let streams = facts["streams"].as_array().unwrap();
    assert!(streams.iter().all(|stream| stream["leg"] == "B"), "{facts}");
    let tally = &facts["closing"]["tally"];
    assert_eq!(
        (&facts["outcome"], &facts["counts"]["rtp"]),
        (&"recorded".into(), &45.into()),
        "{tally}"
    );
    assert_eq!(
        (&tally["withheld"], &tally["forwarded"]),
        (&45.into(), &40.into()),
        "{tally}"
    );
    let left_out = facts["reconciliation"]["left_out"].as_array().unwrap();
    assert_eq!(left_out.len(), 1);
    assert_eq!(
        (&left_out[0]["leg"], &left_out[0]["what"], &left_out[0]["why"]),
        (&"A".into(), &"all".into(), &"consent".into())
    );
    let id = facts["session"].as_str().unwrap();
    let exported = bench.verb(&["export", id, "--data", "data", "--wav", "call.wav"]);
    assert_eq!(exported.status.code(), Some(0), "{exported:?}");
    let wav = fs::read(bench.folder.path().join("call.wav")).unwrap();
    let frames: Vec<&[u8]> = wav[wav.len() % 4 + 44..].chunks_exact(4).collect();
    assert!(
        frames.len() > 3_000 && frames.iter().all(|frame| frame[..2] == [0; 2]),
        "A is silent"
    );
    assert!(frames.iter().any(|frame| frame[2..] != [0; 2]), "B is not");
}

#[test]
fn who_refuses_talks_on_and_of_nobody_a_packet_is_on_any_disk() {
    let (bench, facts) = refused(231, "unrecorded", 20);
    assert_eq!(
        (&facts["outcome"], &facts["counts"]["packets"]),
        (&"unrecorded".into(), &0.into()),
        "{facts}"
    );
    let tally = &facts["closing"]["tally"];
    assert_eq!(
        (&tally["accepted"], &tally["forwarded"]),
        (&0.into(), &40.into()),
        "{tally}"
    );
    let listed = bench.verb(&["calls", "list", "--data", "data"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        listed.contains("unrecorded") && listed.contains("(consent of A: refused)"),
        "{listed}"
    );
}
