//! Our addresses in their text, so that all media crosses the relay; every other byte stays.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;

use super::bundle::{bundled, names};
use super::patch::Patch;
use super::{Bundling, MediaLine, Secured, SessionDescription};

/// The description with the relay's addresses: `locals` has our RTP address for each m-line, RTCP is on the next port.
///
/// - c= and m= ports become ours; a hold by 0.0.0.0 or `::` stays one, in our address family; port 0 stays 0.
/// - `port/number of ports` becomes one port: the relay has one pair for each m-line.
/// - `a=rtcp` names our RTCP port, or our RTP port where the peer named its own (RFC 5761 §5.1.3) and is not parted from it by us.
/// - An m-line without a local, or whose local has port 0, is refused: its port becomes 0. So is one that is not carried
///   in datagrams, like MSRP or BFCP over TCP: the relay could not carry it.
/// - A session-level c= serves the lines that inherit it; a line whose local differs from it gets a c= of its own.
/// - ICE, BUNDLE and other attributes that name another way are cut out (see `patch`).
///
/// - Lines of types that no RFC defines are left out (RFC 8866 §5).
///
/// o= identifies the session, nobody sends media there (RFC 4566 §5.2): it stays, but where its address is of another family than
/// ours.
pub fn anchor(sdp: &SessionDescription, locals: &[SocketAddr]) -> Bytes {
    anchor_secured(sdp, locals, &[], &[])
}

/// [`anchor()`], and for each m-line what it says of its encryption; None, or no entry: what its author said stays. `known`: the
/// lines as who gets it described them itself.
pub fn anchor_secured(
    sdp: &SessionDescription,
    locals: &[SocketAddr],
    secured: &[Option<Secured>],
    known: &[MediaLine],
) -> Bytes {
    let anchoring = Anchoring::new(sdp, locals);
    // What is said of all lines goes if it is said of none that keeps what its author said.
    let keeps = |(index, line): (usize, &MediaLine)| {
        line.is_live() && line.crypto && secured.get(index).is_none_or(Option::is_none)
    };
    let said = |line: usize| secured.get(line).and_then(Option::as_ref);
    let is_terminated = |line: usize| said(line).is_some();
    let is_any = secured.iter().any(Option::is_some);
    let bundled = bundled(sdp.lines(), secured, |line| anchoring.local(line).is_some());
    let names = names(sdp.lines(), bundled, known);
    let tag = bundled.and_then(|(tag, _)| said(tag).zip(anchoring.local(tag)));
    let clears_session = is_any && !sdp.lines().iter().enumerate().any(keeps);
    let text = sdp.text();
    let mut out = String::with_capacity(64);
    let mut bytes = Vec::with_capacity(text.len() + 64);
    let mut copied = 0;
    for patch in &sdp.patches {
        out.clear();
        let span = match patch {
            Patch::Connection {
                span,
                line,
                unspecified,
            } => anchoring
                .write_connection(&mut out, *line, *unspecified)
                .then(|| span.clone()),
            Patch::Origin { span, is_ipv4 } => anchoring.write_origin(&mut out, *is_ipv4).then(|| span.clone()),
            Patch::Port { span, line } => anchoring.write_port(&mut out, *line).then(|| span.clone()),
            Patch::Slot { at, line } => anchoring.write_slot(&mut out, *at, *line).then_some(*at..*at),
            Patch::Rtcp {
                span,
                line,
                addressed,
                muxed,
            } => {
                let muxed = *muxed && said(*line).is_none_or(|said| said.muxed != Some(false));
                (anchoring.write_rtcp(&mut out, *line, *addressed, muxed)).then(|| span.clone())
            }
            Patch::Protocol { span, line } => {
                let is_other = said(*line).is_some_and(|said| said.write_protocol(&mut out, &sdp.lines()[*line]));
                is_other.then(|| span.clone())
            }
            Patch::Secret { span, line } => line.map_or(clears_session, is_terminated).then(|| span.clone()),
            Patch::Mux { span, line } => said(*line).and_then(|said| said.muxed).map(|_| span.clone()),
            Patch::Head { at } => {
                write_head(&mut out, secured, bundled.map(|(_, mid)| mid));
                (!out.is_empty()).then_some(*at..*at)
            }
            Patch::Tail { at, line } => {
                if let Some(mid) = names.get(*line).and_then(Option::as_ref) {
                    let _ = write!(out, "a=mid:{mid}\r\n"); // a String takes everything
                }
                if let Some(said) = said(*line) {
                    anchoring.write_end(&mut out, *line, said, tag.filter(|_| is_shared(known, *line)));
                }
                let is_ended = text.get(copied..*at).unwrap_or_default().last().or(bytes.last()) == Some(&b'\n');
                if !is_ended && !out.is_empty() {
                    out.insert_str(0, "\r\n");
                }
                (!out.is_empty()).then_some(*at..*at)
            }
            Patch::Strip { span } => Some(span.clone()),
        };
        if let Some(span) = span {
            bytes.extend_from_slice(text.get(copied..span.start).unwrap_or_default());
            bytes.extend_from_slice(out.as_bytes());
            copied = span.end;
        }
    }
    bytes.extend_from_slice(text.get(copied..).unwrap_or_default());
    Bytes::from(bytes)
}

/// What is said of the session as a whole. `bundled`: the line that is in a group.
fn write_head(out: &mut String, secured: &[Option<Secured>], bundled: Option<&str>) {
    if let Some(mid) = bundled {
        let _ = write!(out, "a=group:BUNDLE {mid}\r\n"); // a String takes everything
    }
    if secured.iter().flatten().any(|said| said.ice.is_some()) {
        out.push_str("a=ice-lite\r\n");
    }
}

fn is_shared(known: &[MediaLine], line: usize) -> bool {
    known.get(line).is_some_and(|known| known.bundling == Bundling::Shared)
}

struct Anchoring<'a> {
    sdp: &'a SessionDescription,
    locals: &'a [SocketAddr],
    /// Which lines have a c= of their own.
    own_connection: Vec<bool>,
    /// What a session-level c= says from now on; `None` when it holds the call and stays as it is.
    session: Option<IpAddr>,
}

impl<'a> Anchoring<'a> {
    fn new(sdp: &'a SessionDescription, locals: &'a [SocketAddr]) -> Self {
        let mut own_connection = vec![false; sdp.lines().len()];
        let mut session_holds = None;
        for patch in &sdp.patches {
            if let Patch::Connection { line, unspecified, .. } = patch {
                match line.and_then(|line| own_connection.get_mut(line)) {
                    Some(own) => *own = true,
                    // The first counts, as for who reads the description.
                    None => {
                        session_holds.get_or_insert(*unspecified);
                    }
                }
            }
        }
        let mut anchoring = Self {
            sdp,
            locals,
            own_connection,
            session: None,
        };
        if session_holds == Some(false) {
            let lines = 0..sdp.lines().len();
            let inheriting = lines.clone().filter(|line| !anchoring.own_connection[*line]);
            let local = inheriting
                .chain(lines)
                .find_map(|line| anchoring.local(line))
                .or(locals.first().copied());
            anchoring.session = local.map(|local| local.ip());
        }
        anchoring
    }

    /// Our address for a line that is live before and after.
    fn local(&self, line: usize) -> Option<SocketAddr> {
        let theirs = self.sdp.lines().get(line)?;
        self.locals
            .get(line)
            .copied()
            .filter(|local| theirs.is_live() && theirs.is_datagram() && local.port() != 0)
    }

    fn write_connection(&self, out: &mut String, line: Option<usize>, unspecified: bool) -> bool {
        let any = self.locals.first().map(SocketAddr::ip);
        let address = match line {
            Some(line) => self.local(line).map(|local| local.ip()).or(any),
            None => self.session.or(any),
        };
        match address {
            Some(address) if unspecified => write_address(out, unspecified_like(address)),
            Some(address) => write_address(out, address),
            None => return false,
        }
        true
    }

    /// In our family: a peer that knows only that may refuse the other's (RFC 6157).
    fn write_origin(&self, out: &mut String, is_ipv4: bool) -> bool {
        let told = self.session.or_else(|| self.locals.first().map(SocketAddr::ip));
        let Some(address) = told.filter(|told| told.is_ipv4() != is_ipv4) else {
            return false;
        };
        write_address(out, address);
        true
    }

    fn write_port(&self, out: &mut String, line: usize) -> bool {
        if self.sdp.lines().get(line).is_none_or(|line| !line.is_live()) {
            return false;
        }
        let port = self.local(line).map_or(0, |local| local.port());
        write!(out, "{port}").is_ok()
    }

    /// `tag`: the line whose port this one would have, and where that is.
    fn write_end(&self, out: &mut String, line: usize, said: &Secured, tag: Option<(&Secured, SocketAddr)>) {
        match self.sdp.lines().get(line) {
            Some(theirs) if theirs.is_live() => said.write_tail(out, self.local(line)),
            _ => said.write_refusal(out, tag),
        }
    }

    fn write_slot(&self, out: &mut String, at: usize, line: usize) -> bool {
        let inherits = self.own_connection.get(line).is_some_and(|own| !own);
        let (Some(session), Some(local)) = (self.session, self.local(line)) else {
            return false;
        };
        if !inherits || session == local.ip() {
            return false;
        }
        let before = self.sdp.text().get(..at).unwrap_or_default();
        let (is_ended, ending) = match before {
            [.., b'\r', b'\n'] => (true, "\r\n"),
            [.., b'\n'] => (true, "\n"),
            _ => (false, "\r\n"),
        };
        out.push_str(if is_ended { "c=" } else { "\r\nc=" });
        write_address(out, local.ip());
        out.push_str(ending);
        true
    }

    fn write_rtcp(&self, out: &mut String, line: usize, addressed: bool, muxed: bool) -> bool {
        let Some(local) = self.local(line) else { return false };
        let port = if muxed {
            local.port()
        } else {
            local.port().saturating_add(1)
        };
        let is_written = write!(out, "{port}").is_ok();
        if addressed {
            out.push(' ');
            write_address(out, local.ip());
        }
        is_written
    }
}

fn write_address(out: &mut String, address: IpAddr) {
    out.push_str(if address.is_ipv4() { "IN IP4 " } else { "IN IP6 " });
    let _ = write!(out, "{address}"); // a String takes everything
}

const fn unspecified_like(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::Crypto;
    use super::*;

    fn locals(text: &[&str]) -> Vec<SocketAddr> {
        text.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn anchored(text: &str, ours: &[&str]) -> String {
        let sdp = SessionDescription::parse(text.as_bytes()).unwrap();
        String::from_utf8(anchor(&sdp, &locals(ours)).to_vec()).unwrap()
    }

    #[test]
    fn a_line_of_a_type_that_is_none_is_left_out() {
        let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nC=IN IP4 192.0.2.2\r\nt=0 0\r\nM=audio 9 RTP/AVP 0\r\n\
                    m=audio 4 RTP/AVP 0\r\nx=192.0.2.1\r\ny=0100000001\r\n";
        let out = anchored(text, &["198.51.100.7:40000"]);
        assert!(
            !out.contains("M=") && !out.contains("C=") && !out.contains("x="),
            "{out}"
        );
        assert!(out.ends_with("m=audio 40000 RTP/AVP 0\r\ny=0100000001\r\n"), "{out}");
    }

    #[test]
    fn an_origin_of_the_other_family_becomes_ours_and_any_other_stays() {
        let text =
            "v=0\r\no=alice 7 8 IN IP6 2001:db8::9\r\ns=-\r\nc=IN IP6 2001:db8::9\r\nt=0 0\r\nm=audio 4 RTP/AVP 0\r\n";
        let out = anchored(text, &["198.51.100.7:40000"]);
        assert!(out.contains("o=alice 7 8 IN IP4 198.51.100.7\r\n"), "{out}");
        let out = anchored(text, &["[2001:db8::1]:40000"]);
        assert!(out.contains("o=alice 7 8 IN IP6 2001:db8::9\r\n"), "{out}");
    }

    #[test]
    fn only_addresses_change() {
        let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=Fran\u{e7}ais \r\nc=IN IP4 192.0.2.1\r\nb=AS:84\r\nt=0 0\r\nx-unknown\r\n\
                    m=audio 49170 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=sendrecv\r\n";
        let wanted = text
            .replace("c=IN IP4 192.0.2.1", "c=IN IP4 198.51.100.7")
            .replace("49170", "40000");
        assert_eq!(anchored(text, &["198.51.100.7:40000"]), wanted);
        assert_eq!(
            anchored(&text.replace("\r\n", "\n"), &["198.51.100.7:40000"]),
            wanted.replace("\r\n", "\n")
        );
    }

    #[test]
    fn every_way_round_the_relay_is_cut_out() {
        let text = "v=0\na=group:BUNDLE 0 1\na=group:LS 0 1\na=ice-lite\na=ICE-ufrag:x\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n\
                    a=candidate:1 1 UDP 1 192.0.2.1 4000 typ host\n a= Candidate:2\na=end-of-candidates\n\
                    a=remote-candidates:1 192.0.2.2 9\na=altc:1 IP4 192.0.2.3 9\na=bundle-only\na=mid:0\na=rtcp:0 nonsense";
        let wanted = "v=0\na=group:LS 0 1\nc=IN IP4 198.51.100.7\nm=audio 40000 RTP/AVP 0\na=mid:0\n";
        assert_eq!(anchored(text, &["198.51.100.7:40000"]), wanted);
    }

    #[test]
    fn both_levels_and_both_families_are_rewritten() {
        let text = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000/2 RTP/AVP 0\r\na=rtcp:4005 IN IP4 192.0.2.8\r\n\
                    m=video 5000 RTP/AVP 31\r\nc=IN IP4 224.2.1.1/127/3\r\na=rtcp:5000\r\n";
        let wanted = "v=0\r\nc=IN IP6 2001:db8::7\r\nm=audio 40000 RTP/AVP 0\r\na=rtcp:40001 IN IP6 2001:db8::7\r\n\
                      m=video 40002 RTP/AVP 31\r\nc=IN IP6 2001:db8::7\r\na=rtcp:40002\r\n";
        assert_eq!(anchored(text, &["[2001:db8::7]:40000", "[2001:db8::7]:40002"]), wanted);
    }

    #[test]
    fn who_sends_rtcp_apart_is_told_its_port_though_the_author_has_one_port_for_both() {
        let text = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 UDP/TLS/RTP/SAVPF 0\r\na=rtcp:4000 IN IP4 192.0.2.1\r\na=rtcp-mux\r\n";
        let told = |muxed| {
            let secured = Some(Secured {
                profile: Some("RTP/AVP".to_owned()),
                muxed,
                ..Secured::default()
            });
            let sdp = SessionDescription::parse(text.as_bytes()).unwrap();
            let out = anchor_secured(&sdp, &locals(&["198.51.100.7:40000"]), &[secured], &[]);
            String::from_utf8(out.to_vec()).unwrap()
        };
        let head = "v=0\r\nc=IN IP4 198.51.100.7\r\nm=audio 40000 RTP/AVP 0\r\n";
        let apart = format!("{head}a=rtcp:40001 IN IP4 198.51.100.7\r\n");
        let together = format!("{head}a=rtcp:40000 IN IP4 198.51.100.7\r\na=rtcp-mux\r\n");
        assert_eq!(told(Some(false)), apart);
        assert_eq!(told(Some(true)), together);
        assert_eq!(told(None), together);
    }

    #[test]
    fn keys_of_ours_take_the_place_of_theirs_line_by_line() {
        const THEIRS: &str = "a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
        const OURS: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVw";
        let key = Crypto::parse(OURS.strip_prefix("a=crypto:").unwrap()).unwrap();
        let text = format!(
            "v=0\nc=IN IP4 192.0.2.1\na=fingerprint:sha-256 AB\nm=audio 4000 RTP/SAVPF 0\n{THEIRS}\na=sendrecv\n\
             m=video 5000 RTP/AVP 31\na=Crypto:1 x y\nm=audio 0 RTP/AVP 8\n"
        );
        let sdp = SessionDescription::parse(text.as_bytes()).unwrap();
        assert_eq!((sdp.lines()[0].cryptos.len(), sdp.lines()[1].cryptos.len()), (1, 0));
        let locals = locals(&["198.51.100.7:40000", "198.51.100.7:40002", "198.51.100.7:40004"]);
        let said = |is_secure, keys: &[&Crypto]| {
            let keys = keys.iter().map(|key| (*key).clone()).collect();
            Some(Secured {
                is_secure,
                keys,
                ..Secured::default()
            })
        };
        let told = |secured: &[Option<Secured>]| {
            String::from_utf8(anchor_secured(&sdp, &locals, secured, &[]).to_vec()).unwrap()
        };
        let wanted = format!(
            "v=0\nc=IN IP4 198.51.100.7\nm=audio 40000 RTP/AVPF 0\na=sendrecv\n\
             m=video 40002 RTP/SAVP 31\n{OURS}\r\nm=audio 0 RTP/SAVP 8\n"
        );
        assert_eq!(
            told(&[said(false, &[]), said(true, &[&key]), said(true, &[&key])]),
            wanted
        );
        assert_eq!(told(&[]), String::from_utf8(anchor(&sdp, &locals).to_vec()).unwrap());
        let partly = told(&[said(true, &[&key])]);
        assert!(
            partly.contains("fingerprint") && partly.contains("a=Crypto:1 x y"),
            "{partly}"
        );
        assert!(
            partly.contains(&format!("RTP/SAVPF 0\na=sendrecv\n{OURS}\r\nm=video")),
            "{partly}"
        );
        let cut = SessionDescription::parse(
            text.trim_end()
                .strip_suffix("m=audio 0 RTP/AVP 8")
                .unwrap()
                .trim_end()
                .as_bytes(),
        );
        let out = anchor_secured(&cut.unwrap(), &locals, &[None, said(true, &[&key])], &[]);
        assert!(out.ends_with(format!("RTP/SAVP 31\n{OURS}\r\n").as_bytes()), "{out:?}");
    }

    #[test]
    fn a_hold_by_a_zero_address_stays_a_hold() {
        let text = "v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 0\r\n";
        assert_eq!(anchored(text, &["198.51.100.7:40000"]), text.replace("4000", "40000"));
        let wanted = "v=0\r\nc=IN IP6 ::\r\nm=audio 40000 RTP/AVP 0\r\n";
        assert_eq!(anchored(text, &["[2001:db8::7]:40000"]), wanted);
    }

    #[test]
    fn refused_lines_stay_refused_and_lines_without_a_local_become_so() {
        let text = "v=0\nc=IN IP4 192.0.2.1\nm=audio 0 RTP/AVP 0\nm=video 5000 RTP/AVP 31\nm=image 6000 udptl t38\n";
        let wanted = "v=0\nc=IN IP4 198.51.100.7\nm=audio 0 RTP/AVP 0\nm=video 40002 RTP/AVP 31\nm=image 0 udptl t38\n";
        assert_eq!(anchored(text, &["198.51.100.7:40000", "198.51.100.7:40002"]), wanted);
        let third_refused = ["198.51.100.7:40000", "198.51.100.7:40002", "198.51.100.7:0"];
        assert_eq!(anchored(text, &third_refused), wanted);
    }

    #[test]
    fn what_is_not_carried_in_datagrams_is_refused_and_names_no_other_way() {
        for protocol in ["TCP/MSRP", "TCP/TLS/MSRP", "tcp/BFCP", "TCP/RTP/AVP", "MSRP", "SCTP"] {
            let text = format!(
                "v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\nm=message 7654 {protocol} *\na=accept-types:text/plain\n\
                 a=path:msrp://192.0.2.1:7654/jshA7we;tcp\na=msrp-cema\na=setup:actpass\n"
            );
            let wanted = format!(
                "v=0\nc=IN IP4 198.51.100.7\nm=audio 40000 RTP/AVP 0\nm=message 0 {protocol} *\na=accept-types:text/plain\n\
                 a=setup:actpass\n"
            );
            assert_eq!(anchored(&text, &["198.51.100.7:40000", "198.51.100.7:40002"]), wanted);
        }
        let data = "v=0\nc=IN IP4 192.0.2.1\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\n";
        let out = anchored(data, &["198.51.100.7:40000"]);
        assert!(out.contains("m=application 40000 UDP/DTLS/SCTP"), "{out}");
    }

    #[test]
    fn a_line_on_another_address_than_the_session_s_gets_its_own() {
        let text = "v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\nm=video 5000 RTP/AVP 31\ni=camera\na=sendonly";
        let wanted = "v=0\nc=IN IP4 198.51.100.7\nm=audio 40000 RTP/AVP 0\nm=video 40002 RTP/AVP 31\ni=camera\n\
                      c=IN IP4 198.51.100.8\na=sendonly";
        assert_eq!(anchored(text, &["198.51.100.7:40000", "198.51.100.8:40002"]), wanted);
        let at_the_end = "v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\nm=video 5000 RTP/AVP 31";
        let out = anchored(at_the_end, &["198.51.100.7:40000", "198.51.100.8:40002"]);
        assert!(
            out.ends_with("m=video 40002 RTP/AVP 31\r\nc=IN IP4 198.51.100.8\r\n"),
            "{out}"
        );
    }

    fn line() -> impl Strategy<Value = String> {
        let address = prop_oneof![
            Just("IN IP4 192.0.2.1"),
            Just("IN IP4 0.0.0.0"),
            Just("IN IP6 2001:db8::1"),
            Just("IN IP4 224.2.1.1/127"),
            Just("IN IP4 pbx.example.com"),
        ];
        prop_oneof![
            address.clone().prop_map(|address| format!("c={address}")),
            (any::<u16>(), 0..4_u8).prop_map(|(port, form)| match form {
                0 => format!("m=audio {port} RTP/AVP 0 8"),
                1 => format!("m=video {port}/2 RTP/AVPF 96"),
                2 => format!("m=message {port} TCP/MSRP *"),
                _ => format!("m=image {port} udptl t38"),
            }),
            (any::<u16>(), address).prop_map(|(port, address)| format!("a=rtcp:{port} {address}")),
            any::<u16>().prop_map(|port| format!("a=rtcp:{port}")),
            Just("a=candidate:1 1 UDP 1 192.0.2.1 4000 typ host".to_owned()),
            Just("a=path:msrp://192.0.2.1:4000/x;tcp".to_owned()),
            Just("i=title".to_owned()),
            Just("a=rtpmap:96 opus/48000/2".to_owned()),
            "[a-z]=[ -~]{0,20}",
            "[ -~]{0,8}",
        ]
    }

    fn description() -> impl Strategy<Value = String> {
        let ending = prop_oneof![Just("\r\n"), Just("\n")];
        (proptest::collection::vec((line(), ending), 0..24)).prop_map(|lines| {
            lines
                .into_iter()
                .fold("v=0\r\n".to_owned(), |text, (line, ending)| text + &line + ending)
        })
    }

    fn our_locals() -> Vec<SocketAddr> {
        let address = |n: u16| if n % 3 == 2 { "2001:db8::7" } else { "198.51.100.7" };
        (0..64)
            .map(|n| SocketAddr::new(address(n).parse().unwrap(), 40_000 + 2 * n))
            .collect()
    }

    fn is_owned(line: &str) -> bool {
        let is_of_others =
            matches!(line.trim_start().as_bytes(), [kind, b'=', ..] if !b"vsiuepbtrzkayfA".contains(kind));
        let line = line.trim_start().to_ascii_lowercase();
        let attribute = line.strip_prefix("a=").map(str::trim);
        is_of_others
            || attribute.is_some_and(|name| {
                [
                    "rtcp",
                    "candidate",
                    "remote-candidates",
                    "end-of-candidates",
                    "alt",
                    "ice-",
                    "bundle",
                    "group",
                    "ccap",
                    "path",
                    "msrp-cema",
                ]
                .iter()
                .any(|owned| name.starts_with(owned))
            })
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), begun: bool) {
            if begun {
                bytes.splice(0..0, *b"v=0\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\n");
            }
            if let Ok(sdp) = SessionDescription::parse(&bytes) {
                anchor(&sdp, &our_locals());
                anchor(&sdp, &[]);
            }
        }

        #[test]
        fn mutated_descriptions_never_panic(text in description(), at: prop::sample::Index, byte: u8) {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(sdp) = SessionDescription::parse(&bytes) {
                anchor(&sdp, &our_locals());
            }
        }

        #[test]
        fn unowned_lines_stay_and_live_lines_are_ours(text in description()) {
            let Ok(sdp) = SessionDescription::parse(text.as_bytes()) else { return Ok(()) };
            let ours = our_locals();
            let out = String::from_utf8(anchor(&sdp, &ours).to_vec()).unwrap();
            let unowned = |text: &str| -> Vec<String> {
                text.split_inclusive('\n').filter(|line| !is_owned(line)).map(str::to_owned).collect()
            };
            prop_assert_eq!(unowned(&text), unowned(&out));
            let again = SessionDescription::parse(out.as_bytes()).unwrap();
            prop_assert_eq!(again.lines().len(), sdp.lines().len());
            for ((before, after), local) in sdp.lines().iter().zip(again.lines()).zip(&ours) {
                prop_assert_eq!(before.is_live() && before.is_datagram(), after.is_live());
                if !after.is_live() {
                    continue;
                }
                prop_assert_eq!(after.port, local.port());
                let held = before.connection.is_some_and(|address| address.is_unspecified());
                prop_assert_eq!(after.connection.map(|address| address.is_unspecified()), Some(held));
                if let (false, Some(remote)) = (held, after.remote()) {
                    prop_assert_eq!(remote.rtp, *local);
                    prop_assert_eq!(remote.rtcp.ip(), local.ip());
                    let ports = [local.port(), local.port() + 1];
                    prop_assert!(ports.contains(&remote.rtcp.port()));
                }
            }
            prop_assert!(!out.contains("candidate:1 1") && !out.contains("msrp://"));
        }

        #[test]
        fn anchoring_twice_is_anchoring_once(text in description()) {
            let Ok(sdp) = SessionDescription::parse(text.as_bytes()) else { return Ok(()) };
            let once = anchor(&sdp, &our_locals());
            let again = anchor(&SessionDescription::parse(&once).unwrap(), &our_locals());
            prop_assert_eq!(once, again);
        }
    }
}
