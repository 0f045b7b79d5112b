//! Parties of a real call hear the prompt and the tone of the policy, and the recording says so.

use std::fs;

use serde_json::Value;

use super::bench::Bench;

/// 16-bit PCM at 8 kHz: half a second of a square wave.
pub fn prompt() -> Vec<u8> {
    let samples = 4_000_u32;
    let mut file = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data".to_vec();
    file.extend((samples * 2).to_le_bytes());
    file.extend((0..samples).flat_map(|n| (if n / 20 % 2 == 0 { 6_000_i16 } else { -6_000 }).to_le_bytes()));
    file
}

/// With a package of prompts, `desk`.
pub fn with_prompts(number: u8) -> Bench {
    let bench = Bench::new(number);
    let prompts = bench.folder.path().join("policies/prompts/desk");
    fs::create_dir_all(&prompts).unwrap();
    fs::write(prompts.join("notice.wav"), prompt()).unwrap();
    bench
}

/// Whose policy tells by this.
fn bench(number: u8, notify: &str) -> Bench {
    let mut bench = with_prompts(number);
    let policy = format!("notify = {{ {notify} }}\nprompts = {{ package = \"desk\" }}");
    bench.write_policy("told", &policy);
    bench.start();
    bench
}

#[test]
fn both_parties_hear_the_prompt_and_a_tone_though_nobody_talks_and_an_officer_can_prove_it() {
    let mut bench = bench(165, "mode = \"prompt+tone\", every = \"2s\"");
    let [invite, ok] = bench.connect("one");
    for (phone, ours) in [(&bench.a, ok.media()), (&bench.b, invite.media())] {
        let mut next = None;
        for frame in 0..50 {
            let (packet, from) = phone.packet();
            assert_eq!(from, ours);
            assert_eq!((packet[1] & 0x7f, packet.len()), (8, 172), "20 ms of PCMA");
            let sequence = u16::from_be_bytes([packet[2], packet[3]]);
            assert_eq!(sequence, next.unwrap_or(sequence), "{frame}");
            next = Some(sequence.wrapping_add(1));
        }
    }
    bench.a.hangs_up(bench.proxy, &ok, &bench.b);
    bench.ends_well();
    let output = bench.verb(&["export", &bench.only(), "--data", "data", "--wav", "call.wav", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let notices = report["notices"].as_array().unwrap();
    let of = |leg: &str, kind: &str| {
        let found = |notice: &&Value| notice["leg"] == leg && notice["kind"] == kind && notice["whole"] == true;
        notices.iter().find(found).cloned().unwrap()
    };
    for leg in ["A", "B"] {
        let prompt = of(leg, "prompt");
        assert!(prompt["name"].as_str().unwrap().starts_with("desk (sha256 "));
        assert_eq!(prompt["packets"], 25);
        assert_eq!(of(leg, "tone")["packets"], 25);
    }
    assert_eq!(report["wav"]["packets_lost"], 0);
}

#[test]
fn a_caller_hears_all_of_the_prompt_before_the_callee_s_phone_rings() {
    let bench = bench(170, "mode = \"prompt\", to = \"caller\", when = \"before_connect\"");
    bench.a.invite(bench.proxy, "bob", "one");
    let early = bench.a.hear("SIP/2.0 183");
    for _ in 0..25 {
        let (packet, from) = bench.a.packet();
        assert_eq!((from, packet[1] & 0x7f, packet.len()), (early.media(), 8, 172));
    }
    let invite = bench.b.hear("INVITE");
    bench.b.accept(&invite);
    let ok = bench.a.hear("SIP/2.0 200");
    assert_ne!(ok.header("To"), early.header("To"));
    bench.a.ack(bench.proxy, &ok);
    bench.b.hear("ACK");
    bench.a.hangs_up(bench.proxy, &ok, &bench.b);
}
