//! Calls whose media ports share one socket (`sockets = "shared"`). Skipped, and said so, where the kernel does not allow it.

use std::net::UdpSocket;

use rustix::process::Signal;

use super::bench::Bench;

/// None where this process may not share sockets.
fn sharing(net: u8) -> Option<Bench> {
    let mut bench = Bench::new(net);
    bench.change_config("20000-20199\"", "20000-20199\", sockets = \"shared\"");
    match bench.try_start("onrecord.toml", "data") {
        Ok(()) => Some(bench),
        Err(log) if log.contains("wants CAP_NET_ADMIN, CAP_BPF, CAP_NET_RAW") => {
            eprintln!("SKIPPED: {log}");
            None
        }
        Err(log) => panic!("serve ended: {log}"),
    }
}

#[test]
fn calls_that_share_a_socket_hear_each_their_own_and_strangers_reach_nobody() {
    let Some(mut bench) = sharing(190) else { return };
    let ok = bench.call("one");
    let (to, stranger) = (ok.media(), UdpSocket::bind("127.190.0.66:0").unwrap());
    stranger.send_to(&[0x80; 172], to).unwrap();
    bench.until(|status| status["media"]["foreign"] == 1);
    for _ in 0..3 {
        bench.a.speak(to);
        let (packet, from) = bench.b.packet();
        assert_eq!((packet.len(), packet[1]), (172, 8), "none of the stranger's");
        assert_eq!(from.ip(), to.ip());
    }
    bench.a.hangs_up(bench.proxy, &ok, &bench.b);
    bench.until(|status| status["media"]["sessions"] == 0);
    bench.ends_well();
    assert_eq!(bench.outcomes(), [("recorded".to_owned(), true)]);
}

#[test]
fn who_shares_sockets_is_silent_when_the_volume_fails_and_talks_again_when_it_is_mended() {
    let Some(mut bench) = sharing(191) else { return };
    let ok = bench.call("one");
    bench.turn_fault("eio");
    bench.a.speak(ok.media());
    for phone in [&bench.a, &bench.b] {
        let bye = phone.hear("BYE");
        assert!(bye.header("Reason").contains("cause=503"), "{}", bye.text);
        phone.accept(&bye);
    }
    bench.turn_fault("none");
    bench.until(|status| status["recorder"]["up"] == true);
    bench.call("two");
    bench.signal(Signal::TERM);
    for phone in [&bench.a, &bench.b] {
        let bye = phone.hear("BYE");
        phone.accept(&bye);
    }
    assert_eq!(bench.ended().code(), Some(0), "{}", bench.log());
}
