//! Our addresses in their text, so that all media crosses the relay; every other byte stays.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;

use super::SessionDescription;
use super::patch::Patch;

/// The description with the relay's addresses: `locals` has our RTP address for each m-line, RTCP is on the next port.
///
/// - c= and m= ports become ours; a hold by 0.0.0.0 or `::` stays one, in our address family; port 0 stays 0.
/// - `port/number of ports` becomes one port: the relay has one pair for each m-line.
/// - `a=rtcp` names our RTCP port, or our RTP port where the peer named its own (RFC 5761 §5.1.3).
/// - An m-line without a local, or whose local has port 0, is refused: its port becomes 0.
/// - A session-level c= serves the lines that inherit it; a line whose local differs from it gets a c= of its own.
/// - ICE, BUNDLE and other attributes that name another way are cut out (see `patch`).
///
/// o= is left alone: it identifies the session, nobody sends media there (RFC 4566 §5.2).
pub fn anchor(sdp: &SessionDescription, locals: &[SocketAddr]) -> Bytes {
    let anchoring = Anchoring::new(sdp, locals);
    let text = sdp.text();
    let mut out = String::new();
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
            Patch::Port { span, line } => anchoring.write_port(&mut out, *line).then(|| span.clone()),
            Patch::Slot { at, line } => anchoring.write_slot(&mut out, *at, *line).then_some(*at..*at),
            Patch::Rtcp {
                span,
                line,
                addressed,
                muxed,
            } => anchoring
                .write_rtcp(&mut out, *line, *addressed, *muxed)
                .then(|| span.clone()),
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
                    None => session_holds = Some(*unspecified),
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
        let is_live = self.sdp.lines().get(line)?.is_live();
        self.locals
            .get(line)
            .copied()
            .filter(|local| is_live && local.port() != 0)
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

    fn write_port(&self, out: &mut String, line: usize) -> bool {
        if self.sdp.lines().get(line).is_none_or(|line| !line.is_live()) {
            return false;
        }
        let port = self.local(line).map_or(0, |local| local.port());
        write!(out, "{port}").is_ok()
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
