//! What phones say, as text; what they were told last; a step of the story in a word.

use bytes::Bytes;
use onrecord::b2bua::StepKind;
use onrecord::model::{Direction, Leg};
use onrecord::sip::{Message, Request, Response};

use super::{A, PROXY, SDP};

pub fn invite(cseq: u32, branch: &str, to_tag: &str, sdp: &str, more: &str) -> Bytes {
    let content_type = if sdp.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "INVITE sip:bob@{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {A};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\nFrom: \"Alice\" <sip:alice@example.com>;tag=a-tag\r\nTo: <sip:bob@{PROXY}>{to_tag}\r\nCall-ID: call-1\r\nCSeq: {cseq} INVITE\r\nContact: <sip:alice@{A}>\r\n{more}{content_type}Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
    .into()
}

/// [`SDP`] at another port.
pub fn audio_at(port: u16) -> String {
    SDP.replace("4000", &port.to_string())
}

/// [`SDP`] with a line for video.
pub fn with_video() -> String {
    format!("{SDP}m=video 4002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n")
}

/// Lines of a response that asks for a PRACK (RFC 3262 §3).
pub fn reliable(number: u32) -> String {
    format!("Require: 100rel\r\nRSeq: {number}\r\n")
}

/// A request of a phone inside a dialog; From and To with their tags.
pub fn in_dialog(
    phone: &str,
    method: &str,
    branch: &str,
    (from, to): (&str, &str),
    call_id: &str,
    cseq: u32,
    sdp: &str,
) -> Bytes {
    let typed = if sdp.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "{method} sip:{PROXY} SIP/2.0\r\nVia: SIP/2.0/UDP {phone};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:x@{phone}>\r\n{typed}Content-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
    .into()
}

/// The message with more header lines before its Content-Length.
pub fn with_lines(bytes: &Bytes, more: &str) -> Bytes {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.replacen("Content-Length:", &format!("{more}Content-Length:"), 1)
        .into()
}

pub fn answer(request: &Request, status: u16, tag: &str, contact: &str, sdp: &str) -> Bytes {
    let mut response = Response::to(request, status, None, Some(tag));
    response.headers.push("Contact", format!("<sip:{contact}>"));
    if !sdp.is_empty() {
        response.set_body("application/sdp", Bytes::copy_from_slice(sdp.as_bytes()));
    }
    response.encode()
}

pub fn newest_request(messages: &[Message], method: &str) -> Request {
    let request = messages.iter().rev().find_map(|message| match message {
        Message::Request(request) if request.method.as_str() == method => Some(request.clone()),
        _ => None,
    });
    request.unwrap_or_else(|| panic!("no {method} was sent"))
}

pub fn newest_response(messages: &[Message]) -> Response {
    let response = messages.iter().rev().find_map(|message| match message {
        Message::Response(response) => Some(response.clone()),
        Message::Request(_) => None,
    });
    response.expect("a response was sent")
}

pub fn tell(what: &StepKind) -> String {
    match what {
        StepKind::Sip {
            leg,
            direction,
            start_line,
        } => {
            let text = match start_line.strip_prefix("SIP/2.0 ") {
                Some(status) => status.split(' ').next().unwrap(),
                None => start_line.split(' ').next().unwrap(),
            };
            match (leg, direction) {
                (Leg::A, Direction::Received) => format!("A → {text}"),
                (Leg::A, Direction::Sent) => format!("{text} → A"),
                (Leg::B, Direction::Received) => format!("B → {text}"),
                (Leg::B, Direction::Sent) => format!("{text} → B"),
            }
        }
        StepKind::Decided(_) => "decided".to_owned(),
        StepKind::RecordingAsked => "open".to_owned(),
        StepKind::RecordingReady => "ready".to_owned(),
        StepKind::RecordingFaulted(fault) => format!("fault: {fault}"),
        StepKind::MediaGated => "gated".to_owned(),
        StepKind::MediaReopened => "reopened".to_owned(),
        StepKind::RecordingPaused(by) => format!("paused by {by}"),
        StepKind::RecordingResumed(by) => format!("goes on by {by}"),
        StepKind::Consent { leg, consent } => format!("consent of {leg}: {}", consent.as_str()),
        StepKind::Ended { outcome, by } => format!("{}: {by}", outcome.as_str()),
        StepKind::Sealed { accepted, stored } => format!("sealed {stored}/{accepted}"),
    }
}
