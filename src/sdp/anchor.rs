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
mod tests;
