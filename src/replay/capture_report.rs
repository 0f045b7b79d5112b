//! What a capture holds, beside its calls.

use std::fmt::Write;

use serde::Serialize;

use super::flaw::Flaw;

#[derive(Clone, Debug, Default, Serialize)]
pub struct CaptureReport {
    /// In the file, unreadable ones too.
    pub packets: u64,
    /// Of these, captured before (mirrored ports): left out.
    pub doubles: u64,
    /// SIP messages.
    pub sip: u64,
    /// RTP packets that an SDP binds to a call.
    pub rtp: u64,
    /// RTCP packets that an SDP binds to a call.
    pub rtcp: u64,
    /// UDP datagrams that are neither SIP nor bound to a call by an SDP before them.
    pub ignored: u64,
    /// Of `ignored`, RTP: so many packets, of so many streams. Their calls are not in the capture, or cannot be read.
    pub unnamed_rtp: u64,
    pub unnamed_streams: u64,
    /// TCP connections that are encrypted (TLS).
    pub tls: u64,
    /// Calls that had begun before the capture did: not replayed. The first 10,000.
    pub begun_before: u64,
    /// The first 1,000; of packets cut by the snap length, the first 20.
    pub errors: Vec<ErrorReport>,
    /// All of them.
    pub errors_total: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct ErrorReport {
    /// From 1.
    pub packet: u64,
    /// Of the packet's record in the file.
    pub offset: u64,
    pub error: String,
}

impl CaptureReport {
    /// For people: what the capture holds, beside the calls.
    pub(super) fn write_to(&self, text: &mut String, calls: u64, passages: u64) {
        let _infallible = writeln!(
            text,
            "{}{}: {} SIP, {} RTP, {} RTCP, {} ignored; {}{}{}",
            counted(self.packets, "packet"),
            match self.doubles {
                0 => String::new(),
                doubles => format!(" ({doubles} captured more than once, used once)"),
            },
            self.sip,
            self.rtp,
            self.rtcp,
            self.ignored,
            counted(calls, "call"),
            match passages {
                0 => String::new(),
                passages => format!(", {} outside calls", counted(passages, "dialog")),
            },
            match self.begun_before {
                0 => String::new(),
                begun => format!("; {} begun before the capture, not replayed", counted(begun, "call")),
            }
        );
        self.write_unseen_to(text);
    }

    /// Why calls may be missing.
    fn write_unseen_to(&self, text: &mut String) {
        if self.unnamed_rtp > 0 {
            let (packets, streams) = (
                counted(self.unnamed_rtp, "RTP packet"),
                counted(self.unnamed_streams, "stream"),
            );
            let _infallible = writeln!(
                text,
                "of the ignored, {packets} of {streams} that no SDP before them names"
            );
        }
        if self.tls > 0 {
            let connections = counted(self.tls, "TCP connection");
            let _infallible = writeln!(text, "{connections} encrypted (TLS): SIP in there is not read");
        }
    }
}

impl ErrorReport {
    pub(super) fn of(flaw: &Flaw) -> Self {
        Self {
            packet: flaw.packet,
            offset: flaw.offset,
            error: flaw.to_string(),
        }
    }
}

/// `1 call`, `2 calls`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}
