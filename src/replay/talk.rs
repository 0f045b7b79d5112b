//! Captured calls made by hand, for tests.

use std::sync::Arc;
use std::time::Duration;

use super::fault::FaultSpec;
use super::forge::{ETHERNET, Pcap, millis, rtp};
use super::options::{ReplayOptions, Shown};
use super::report::{CallReport, Report};
use crate::config::embedded_policies;
use crate::model::Generation;

pub(crate) const A: &str = "192.168.0.1:5060";
pub(crate) const B: &str = "192.168.0.2:5060";
pub(crate) const A_MEDIA: &str = "192.168.0.1:4000";
pub(crate) const B_MEDIA: &str = "192.168.0.2:6000";

/// A message as A or B writes it: the rest of the start line, the CSeq, and the SDP's address if it has one.
pub(crate) struct Said<'a> {
    pub start: &'a str,
    pub cseq: &'a str,
    pub by_a: bool,
    /// B's tag, once it is known.
    pub b_tag: Option<&'a str>,
    pub media: Option<&'a str>,
}

pub(crate) fn sdp(media: &str) -> String {
    let (ip, port) = media.rsplit_once(':').unwrap();
    format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n")
}

impl Said<'_> {
    pub(crate) fn bytes(&self, call_id: &str) -> Vec<u8> {
        let (a, b) = ("<sip:a@example.net>;tag=from-a".to_owned(), "<sip:b@example.net>");
        let b = self.b_tag.map_or(b.to_owned(), |tag| format!("{b};tag={tag}"));
        let is_request = !self.start.starts_with("SIP/2.0");
        // Of a response, From is whoever sent the request.
        let (from, to) = if self.by_a == is_request { (a, b) } else { (b, a) };
        let body = self.media.map(sdp).unwrap_or_default();
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        let host = if self.by_a { "192.168.0.1" } else { "192.168.0.2" };
        let branch: String = self.cseq.chars().filter(|c| *c != ' ').collect();
        format!(
            "{}\r\nVia: SIP/2.0/UDP {host};branch=z9hG4bK{branch}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {}\r\nContact: <sip:{host}>\r\nMax-Forwards: 70\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            self.start,
            self.cseq,
            body.len()
        )
        .into_bytes()
    }
}

/// A capture in the making, with one call in it.
pub(crate) struct Talk {
    pub file: Pcap,
    pub call_id: String,
    pub now: u64,
}

impl Talk {
    pub(crate) fn new(call_id: &str) -> Self {
        Self {
            file: Pcap::new(ETHERNET),
            call_id: call_id.to_owned(),
            now: 0,
        }
    }

    pub(crate) fn say(&mut self, said: &Said<'_>) -> &mut Self {
        let (src, dst) = if said.by_a { (A, B) } else { (B, A) };
        self.say_on(src, dst, said)
    }

    pub(crate) fn say_on(&mut self, src: &str, dst: &str, said: &Said<'_>) -> &mut Self {
        let bytes = said.bytes(&self.call_id);
        self.file.udp(millis(self.now), src, dst, &bytes);
        self.now += 10;
        self
    }

    pub(crate) fn a(&mut self, start: &str, cseq: &str, media: Option<&str>) -> &mut Self {
        let b_tag = (start.contains("b@192.168.0.2") || start.starts_with("SIP/2.0")).then_some("from-b");
        self.say(&Said {
            start,
            cseq,
            by_a: true,
            b_tag,
            media,
        })
    }

    pub(crate) fn b(&mut self, start: &str, cseq: &str, media: Option<&str>) -> &mut Self {
        self.say(&Said {
            start,
            cseq,
            by_a: false,
            b_tag: Some("from-b"),
            media,
        })
    }

    pub(crate) fn invite(&mut self) -> &mut Self {
        self.a("INVITE sip:b@example.net SIP/2.0", "1 INVITE", Some(A_MEDIA))
    }

    pub(crate) fn connected(&mut self) -> &mut Self {
        self.invite()
            .b("SIP/2.0 180 Ringing", "1 INVITE", None)
            .b("SIP/2.0 200 OK", "1 INVITE", Some(B_MEDIA))
            .a("ACK sip:b@192.168.0.2 SIP/2.0", "1 ACK", None)
    }

    /// `packets` each way, 20 ms apart.
    pub(crate) fn talk(&mut self, packets: u16) -> &mut Self {
        for n in 0..packets {
            self.file.udp(millis(self.now), A_MEDIA, B_MEDIA, &rtp(0xA, 0, n));
            self.file.udp(millis(self.now), B_MEDIA, A_MEDIA, &rtp(0xB, 0, n));
            self.now += 20;
        }
        self
    }

    /// As `talk`, but with another payload and another time between packets.
    pub(crate) fn stream(&mut self, packets: u16, bytes: usize, micros: u64) -> &mut Self {
        let start = millis(self.now);
        for n in 0..packets {
            let at = start + Duration::from_micros(micros * u64::from(n));
            for (ssrc, src, dst) in [(0xA, A_MEDIA, B_MEDIA), (0xB, B_MEDIA, A_MEDIA)] {
                let mut packet = rtp(ssrc, 0, n);
                packet.resize(12 + bytes, 0xD5);
                self.file.udp(at, src, dst, &packet);
            }
        }
        self.now += micros * u64::from(packets) / 1_000;
        self
    }

    pub(crate) fn hang_up(&mut self) -> &mut Self {
        self.a("BYE sip:b@192.168.0.2 SIP/2.0", "2 BYE", None)
            .b("SIP/2.0 200 OK", "2 BYE", None)
    }

    pub(crate) fn replay(&self) -> Report {
        self.replay_with(&[])
    }

    pub(crate) fn replay_with(&self, faults: &[&str]) -> Report {
        let faults = faults.iter().map(|fault| fault.parse::<FaultSpec>().unwrap()).collect();
        let policies = Arc::new(embedded_policies(Generation(1)));
        let options = ReplayOptions {
            policies,
            faults,
            trunks: ["caller".into(), "callee".into()],
            config: None,
            shown: Shown::default(),
        };
        super::replay(&*self.file.bytes, &options).unwrap()
    }
}

/// What was said, as `A→proxy INVITE` or `proxy→A 200`.
pub(crate) fn flow(call: &CallReport) -> Vec<String> {
    let short = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        words[usize::from(line.starts_with("SIP/"))].to_owned()
    };
    call.sip
        .iter()
        .map(|sip| format!("{} {}", sip.sent, short(&sip.start_line)))
        .collect()
}
