//! The same 5,000 messages through the program's own socket, and how soon it answers OPTIONS in between.

#![allow(clippy::disallowed_methods)] // a real network has the time of the machine

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::malformed::{Rng, invite};

const PROXY: &str = "127.81.0.1:5060";
const PEER: &str = "127.81.0.2:5060";
const NOBODY: &str = "127.81.0.3:5060";
const MESSAGES: usize = 5_000;
/// Messages between two OPTIONS: few enough that the kernel's buffer holds them.
const BURST: usize = 10;
/// RFC 3261's T1.
const TRY: Duration = Duration::from_millis(500);
const TRIES: usize = 20;
/// What a few hundred pending calls and their chronicles may cost, and a leak would not stop at.
const GROWTH_KIB_MAX: u64 = 128 * 1024;

struct Server {
    child: Child,
    folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "node = \"torture\"\ndata = \"data\"\n[listen]\nsip = [\"udp:{PROXY}\"]\nmedia = {{ address = \"127.81.0.1\", ports = \"20000-21999\" }}\n\
             [[trunk]]\nname = \"pbx\"\npeers = [\"{PEER}\"]\n[[trunk]]\nname = \"carrier\"\npeers = [\"{NOBODY}\"]\n\
             [[route]]\nfrom = \"pbx\"\nto = \"carrier\"\n[recorder]\nvolumes = [{{ path = \"data/spool\", reserve = \"1MiB\" }}]\n"
        );
        fs::write(folder.path().join("onrecord.toml"), config).unwrap();
        let policies = folder.path().join("policies");
        fs::create_dir(&policies).unwrap();
        fs::write(policies.join("desk.toml"), crate::bench::STRICT).unwrap();
        let grants = "[[grant]]\npolicy = \"desk\"\nto = [\"global\"]\n";
        fs::write(policies.join("grants.toml"), grants).unwrap();
        let log = fs::File::create(folder.path().join("serve.log")).unwrap();
        let mut serve = Command::new(env!("CARGO_BIN_EXE_onrecord"));
        serve
            .args(["serve", "--config", "onrecord.toml"])
            .current_dir(folder.path());
        let child = serve.stderr(log).stdin(Stdio::null()).spawn().unwrap();
        Self { child, folder }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("serve.log")).unwrap_or_default()
    }

    fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Sends an OPTIONS until it is answered. How long the answer took; None if none came.
fn probe(socket: &UdpSocket, proxy: SocketAddr, number: usize) -> Option<Duration> {
    let request = format!(
        "OPTIONS sip:{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKprobe{number};rport\r\nMax-Forwards: 70\r\nFrom: <sip:probe@example.com>;tag=1\r\nTo: <sip:{PROXY}>\r\nCall-ID: probe{number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    let wanted = format!("Call-ID: probe{number}\r\n");
    let begun = Instant::now();
    let mut buffer = vec![0; 65_535];
    for attempt in 1..=TRIES {
        socket.send_to(request.as_bytes(), proxy).unwrap();
        while begun.elapsed() < TRY * u32::try_from(attempt).unwrap() {
            let Ok((length, _)) = socket.recv_from(&mut buffer) else {
                continue;
            };
            let text = String::from_utf8_lossy(&buffer[..length]);
            if text.starts_with("SIP/2.0 200") && text.contains(&wanted) {
                return Some(begun.elapsed());
            }
        }
    }
    None
}

#[test]
fn a_node_that_is_sent_malformed_invites_goes_on_answering() {
    let mut server = Server::start();
    let socket = UdpSocket::bind(PEER).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let proxy: SocketAddr = PROXY.parse().unwrap();
    assert!(
        probe(&socket, proxy, 0).is_some(),
        "serve did not come up: {}",
        server.log()
    );
    let before = server.resident_kib();
    let mut rng = Rng::new(7);
    let mut took = Vec::new();
    for number in 1..=MESSAGES {
        socket.send_to(&invite(&mut rng, number), proxy).unwrap();
        if number % BURST == 0 {
            let Some(time) = probe(&socket, proxy, number) else {
                panic!("silent after message {number}: {}", server.log());
            };
            took.push(time);
        }
    }
    assert!(
        server.child.try_wait().unwrap().is_none(),
        "serve ended: {}",
        server.log()
    );
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
    let grown = server.resident_kib().saturating_sub(before);
    took.sort();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    println!(
        "{} OPTIONS among {MESSAGES} malformed INVITEs: median {:?}, p99 {:?}, longest {:?}; {grown} KiB more resident",
        took.len(),
        at(50),
        at(99),
        at(100)
    );
    assert!(grown < GROWTH_KIB_MAX, "{grown} KiB");
}
