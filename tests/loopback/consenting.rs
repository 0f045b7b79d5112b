//! The caller of a real call is asked whether it agrees to be recorded, and does not.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use super::Bench;
use super::noticed::prompt;
use super::phone::Heard;

/// A `serve` whose policy asks callers, and does this with who refuses.
fn asking(number: u8, refused: &str) -> Bench {
    let mut bench = Bench::new(number);
    let policies = bench.folder.path().join("policies");
    fs::create_dir_all(policies.join("prompts/desk")).unwrap();
    fs::write(policies.join("prompts/desk/notice.wav"), prompt()).unwrap();
    let policy = format!(
        "[policy]\nid = \"everyone\"\nenabled = true\nrecord_rerouted_calls = true\nprompts = {{ package = \"desk\" }}\n\
         notify = {{ mode = \"prompt\", to = \"caller\", consent = {{ refused = \"{refused}\" }} }}\n\
         [[policy.recorder]]\nid = \"embedded\"\nrequired_before_call_establishment = false\n\
         required_during_call = false\nrequired_before_meeting_join = false\nrequired_during_meeting = false\n"
    );
    fs::write(policies.join("everyone.toml"), policy).unwrap();
    bench.start();
    bench
}

/// A hears the prompt, and presses this.
fn answers(bench: &mut Bench, key: char) -> [Heard; 2] {
    let [invite, ok] = bench.connect("one");
    for _ in 0..25 {
        bench.a.packet();
        bench.a.speak(ok.media());
        bench.b.speak(invite.media());
    }
    // The relay has had its turn with all of that once it has had one with what comes behind.
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for ours in [ok.media(), invite.media()] {
        stranger.send_to(&[0x80; 172], ours).unwrap();
    }
    bench.until(|status| status["media"]["foreign"] == 2);
    bench.a.press(bench.proxy, &ok, key, 2);
    let info = bench.b.hear("INFO");
    bench.b.accept(&info);
    bench.a.hear("SIP/2.0 200");
    [invite, ok]
}

fn shown(bench: &Bench, sealed: &Path) -> Value {
    let id = sealed.file_name().unwrap().to_str().unwrap().split('.').next().unwrap();
    let shown = bench.verb(&["calls", "show", id, "--data", "data", "--json"]);
    serde_json::from_slice(&shown.stdout).unwrap_or_else(|_| panic!("{shown:?}"))
}

/// What the closing of a call tells that A refused in, after both have said this many packets.
fn refused(number: u8, refused: &str, packets: usize) -> (Bench, Value) {
    let mut bench = asking(number, refused);
    let [invite, ok] = answers(&mut bench, '2');
    let listed = bench.verb(&["calls", "list", "--data", "data", "--json"]);
    assert_eq!(listed.status.code(), Some(0), "and the relay has had its turn");
    for _ in 0..packets {
        bench.a.speak(ok.media());
        bench.b.listen();
        bench.b.speak(invite.media());
        bench.a.listen();
    }
    bench.a.within(bench.proxy, &ok, "BYE", 3);
    let bye = bench.b.hear("BYE");
    bench.b.accept(&bye);
    bench.a.hear("SIP/2.0 200");
    bench.signal(Signal::TERM);
    assert_eq!(bench.ended().code(), Some(0), "{}", bench.log());
    let facts = shown(&bench, &bench.sealed()[0]);
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

/// Kept before the kill, and taken up after it: what is on disk of a leg, in all recordings.
fn streams_after_a_kill(number: u8, key: char, written: &str) -> (Bench, Vec<Value>) {
    let mut bench = asking(number, "mute");
    let [invite, ok] = answers(&mut bench, key);
    let dialogs = bench.folder.path().join("data/dialogs");
    let is_written = || {
        let bytes = fs::read(&dialogs).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains(&format!("\"consents\":[\"{written}\""))
    };
    bench.until(|_| is_written());
    bench.signal(Signal::KILL);
    assert_eq!(bench.ended().code(), None, "killed");

    bench.start();
    bench.until(|status| status["calls"]["talking"] == 1);
    // What comes before its ports are bound is lost.
    let forwarded = |bench: &Bench| bench.status()["media"]["forwarded"].as_u64().unwrap_or_default();
    for _ in 0..1_000 {
        bench.a.speak(ok.media());
        bench.b.speak(invite.media());
        if forwarded(&bench) >= 40 {
            break;
        }
    }
    assert!(forwarded(&bench) >= 40, "{}", bench.log());
    bench.a.within(bench.proxy, &ok, "BYE", 3);
    let bye = bench.b.hear("BYE");
    bench.b.accept(&bye);
    bench.ends_well();
    let sealed = bench.sealed();
    assert_eq!(sealed.len(), 2, "before the kill and after it");
    let calls = sealed.iter().map(|path| shown(&bench, path)).collect();
    (bench, calls)
}

#[test]
fn a_kill_lets_nobody_be_recorded_who_refused_and_asks_nobody_again_who_agreed() {
    for (number, key, written) in [(250, '2', "refused"), (251, '1', "given")] {
        let (bench, calls) = streams_after_a_kill(number, key, written);
        let after = calls
            .iter()
            .max_by_key(|call| call["session"].as_str().map(str::to_owned))
            .unwrap();
        let is_of_a = |call: &Value| {
            let mut streams = call["streams"].as_array().unwrap().iter();
            streams.any(|stream| stream["leg"] == "A")
        };
        assert_eq!(calls.iter().any(is_of_a), key == '1');
        let of = |leg: &str| {
            let streams = after["streams"].as_array().unwrap().iter();
            streams.filter(|stream| stream["leg"] == leg).count()
        };
        assert_eq!((of("A"), of("B")), (usize::from(key == '1'), 1), "{after}");
        let consents = after["closing"]["consents"].as_array().unwrap();
        assert_eq!(
            (consents.len(), &consents[0]["consent"]),
            (1, &written.into()),
            "{after}"
        );
        assert_eq!(bench.verb(&["verify", "--data", "data"]).status.code(), Some(0));
    }
}
