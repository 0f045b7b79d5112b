//! Parties that shake hands with us (RFC 5764), by OpenSSL.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, ChildStdout, Command, Stdio};

use onrecord::model::{FingerprintHash, SrtpKey, SrtpSuite};
use onrecord::rtp::{SRTP_GROWTH_MAX, Sealer, fingerprint_of};

use super::bench::Bench;
use super::phone::Heard;

/// Key and salt of both sides by SRTP_AES128_CM_SHA1_80.
const MATERIAL: &str = "60";

/// A certificate of its own, and OpenSSL with it.
struct OpenSsl {
    process: Child,
    says: BufReader<ChildStdout>,
}

struct Certificate {
    folder: tempfile::TempDir,
    fingerprint: String,
}

impl Certificate {
    fn new(key: &'static rcgen::SignatureAlgorithm) -> Self {
        let key = rcgen::KeyPair::generate_for(key).unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cert.pem"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        let digest = fingerprint_of(FingerprintHash::Sha256, certificate.der()).unwrap();
        let bytes: Vec<String> = digest.digest().iter().map(|byte| format!("{byte:02X}")).collect();
        Self {
            folder,
            fingerprint: bytes.join(":"),
        }
    }

    fn sdp(&self, media: SocketAddr, setup: &str) -> String {
        let (ip, port) = (media.ip(), media.port());
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} UDP/TLS/RTP/SAVP 8\r\n\
             a=rtpmap:8 PCMA/8000\r\na=rtcp-mux\r\na=setup:{setup}\r\na=fingerprint:sha-256 {}\r\n",
            self.fingerprint
        )
    }
}

impl OpenSsl {
    fn start(certificate: &Certificate, role: &[&str]) -> Self {
        let mut openssl = Command::new("openssl");
        openssl
            .args(role)
            .args(["-dtls1_2", "-cert", "cert.pem", "-key", "key.pem"])
            .args([
                "-use_srtp",
                "SRTP_AES128_CM_SHA1_80",
                "-keymatexport",
                "EXTRACTOR-dtls_srtp",
            ])
            .args(["-keymatexportlen", MATERIAL])
            .current_dir(certificate.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = openssl.spawn().expect("openssl is installed");
        let says = BufReader::new(process.stdout.take().unwrap());
        Self { process, says }
    }

    /// The client's key and the server's, once the handshake is done.
    fn keys(&mut self) -> [SrtpKey; 2] {
        let mut line = String::new();
        while self.says.read_line(&mut line).unwrap() > 0 {
            if let Some((_, digits)) = line.split_once("Keying material: ") {
                let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
                let bytes: Vec<u8> = (0..digits.trim().len()).step_by(2).map(byte).collect();
                let key = |key: usize, salt: usize| {
                    let master = [&bytes[key..key + 16], &bytes[salt..salt + 14]].concat();
                    SrtpKey::new(SrtpSuite::AesCm128HmacSha1_80, &master, None).unwrap()
                };
                return [key(0, 32), key(16, 46)];
            }
            line.clear();
        }
        panic!("openssl ended without keys")
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A port of this host that nobody has: it was ours a moment ago.
fn free_port(host: &str) -> SocketAddr {
    UdpSocket::bind(format!("{host}:0")).unwrap().local_addr().unwrap()
}

/// One encrypted packet from `host`.
fn speak(host: &str, to: SocketAddr, key: &SrtpKey) {
    let clear = [&[0x80, 8, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7][..], &[0x55; 160]].concat();
    let mut packet = clear.clone();
    packet.resize(clear.len() + SRTP_GROWTH_MAX, 0);
    let length = Sealer::new(key).unwrap().seal_rtp(&mut packet, clear.len()).unwrap();
    let socket = UdpSocket::bind(format!("{host}:0")).unwrap();
    socket.send_to(&packet[..length], to).unwrap();
}

fn closing(bench: &mut Bench, ok: &Heard) -> String {
    bench.a.hangs_up(bench.proxy, ok, &bench.b);
    bench.ends_well();
    let listed = bench.verb(&["calls", "list", "--data", "data", "--json"]);
    String::from_utf8(listed.stdout).unwrap()
}

#[test]
fn a_caller_of_openssl_is_heard_in_clear_by_callee_and_recorder() {
    calls(87, &rcgen::PKCS_ECDSA_P256_SHA256);
}

#[test]
fn a_caller_of_openssl_with_an_rsa_certificate_is_heard_in_clear_by_callee_and_recorder() {
    calls(210, &rcgen::PKCS_RSA_SHA256);
}

fn calls(net: u8, key: &'static rcgen::SignatureAlgorithm) {
    let mut bench = Bench::new(net);
    bench.start();
    let certificate = Certificate::new(key);
    let media = free_port(&format!("127.{net}.0.2"));
    let mut openssl = OpenSsl::start(
        &certificate,
        &["s_server", "-verify", "1", "-accept", &media.to_string()],
    );
    let sdp = certificate.sdp(media, "actpass");
    let (proxy, local) = (bench.proxy, bench.a.local());
    let invite = format!(
        "INVITE sip:bob@{proxy} SIP/2.0\r\nVia: {};branch=z9hG4bK-shaken\r\nFrom: <sip:alice@{local}>;tag=a1\r\n\
         To: <sip:bob@{proxy}>\r\nCall-ID: shaken\r\nCSeq: 1 INVITE\r\nContact: <sip:alice@{local}>\r\n\
         Max-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        bench.a.via(),
        sdp.len()
    );
    bench.a.send(proxy, &invite);
    let offered = bench.b.hear("INVITE");
    assert!(offered.text.contains(" RTP/AVP 8\r\n"), "{}", offered.text);
    bench.b.accept(&offered);
    let ok = bench.a.hear("SIP/2.0 200");
    assert!(ok.text.contains("a=setup:active\r\n"), "{}", ok.text);
    bench.a.ack(proxy, &ok);
    bench.b.hear("ACK");
    let [_, server] = openssl.keys();
    speak(&format!("127.{net}.0.2"), ok.media(), &server);
    bench.b.listen();
    let listed = closing(&mut bench, &ok);
    assert!(listed.contains("\"encryption\": \"decrypted\""), "{listed}");
    assert_eq!(bench.outcomes(), [("recorded".to_owned(), true)]);
}

#[test]
fn a_callee_of_openssl_that_begins_the_handshake_is_heard_by_the_caller() {
    is_called(88, &rcgen::PKCS_ECDSA_P256_SHA256);
}

#[test]
fn a_callee_of_openssl_with_an_rsa_certificate_that_begins_the_handshake_is_heard_by_the_caller() {
    is_called(211, &rcgen::PKCS_RSA_SHA256);
}

fn is_called(net: u8, key: &'static rcgen::SignatureAlgorithm) {
    let mut bench = Bench::new(net);
    bench.change_config("name = \"carrier\"", "name = \"carrier\"\ndtls = \"require\"");
    bench.start();
    let certificate = Certificate::new(key);
    let media = free_port(&format!("127.{net}.0.3"));
    bench.a.invite(bench.proxy, "bob", "shaken");
    let offered = bench.b.hear("INVITE");
    assert!(offered.text.contains(" UDP/TLS/RTP/SAVP 8\r\n"), "{}", offered.text);
    let plain = bench.b.answer_to(&offered);
    let (head, _) = plain.split_once("Content-Length").unwrap();
    let sdp = certificate.sdp(media, "active");
    let answer = format!("{head}Content-Length: {}\r\n\r\n{sdp}", sdp.len());
    bench.b.send(offered.from, &answer);
    let ok = bench.a.hear("SIP/2.0 200");
    bench.a.ack(bench.proxy, &ok);
    bench.b.hear("ACK");
    let to = offered.media().to_string();
    let mut openssl = OpenSsl::start(
        &certificate,
        &["s_client", "-bind", &media.to_string(), "-connect", &to],
    );
    let [client, _] = openssl.keys();
    speak(&format!("127.{net}.0.3"), offered.media(), &client);
    bench.a.listen();
    let listed = closing(&mut bench, &ok);
    assert!(listed.contains("\"encryption\": \"decrypted\""), "{listed}");
}
