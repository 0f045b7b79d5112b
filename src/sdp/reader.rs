//! Reads a description line by line, noting what it means and which places are ours to write.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::bundle::{bundle, read_bundle, read_mid};
use super::crypto::{CRYPTO_LINES_MAX, Crypto};
use super::description::{FORMATS_MAX, MEDIA_LINES_MAX, MediaLine, SdpError};
use super::ice::IceDraft;
use super::patch::{Patch, is_agreement, is_bypass, is_mux, is_secret};
use super::scan::Line;
use super::{Bundling, Direction, Format, Shake};
use crate::model::{MediaKind, Preference};

/// A c= line, as far as it is understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Connection {
    address: Option<IpAddr>,
    /// It is a host name.
    is_name: bool,
}

/// The types of RFC 8866 §5 and RFC 4566 §5, and two of GB/T 28181. A line of another is left out: who reads it may take it for one
/// of these, and would have an address that is not ours.
const KINDS: &[u8] = b"vosiuepcbtrzkamyf";

/// What has been read so far.
#[derive(Default)]
pub(super) struct Reader {
    connection: Option<Connection>,
    direction: Direction,
    crypto: bool,
    keyed: bool,
    shake: Shake,
    ice: IceDraft,
    preference: Option<Preference>,
    /// The lines of its first BUNDLE group.
    bundle: Option<Vec<String>>,
    lines: Vec<Draft>,
    patches: Vec<Patch>,
}

/// An m-line whose end has not been seen yet.
struct Draft {
    line: MediaLine,
    connection: Option<Connection>,
    direction: Option<Direction>,
    rtcp: Option<(u16, Option<IpAddr>)>,
    ice: IceDraft,
    preference: Option<Preference>,
}

impl Reader {
    pub(super) fn read(&mut self, line: &Line<'_>) -> Result<(), SdpError> {
        match line.kind {
            Some(b'm') => self.on_media(line),
            Some(b'c') => self.on_connection(line),
            Some(b'i') => {
                self.move_slot(line);
                Ok(())
            }
            // Only an `a=` line can be a bypass, in whatever case it is written.
            Some(b'a' | b'A') => {
                self.on_attribute(line);
                Ok(())
            }
            Some(b'o') => {
                self.on_origin(line);
                Ok(())
            }
            Some(kind) if !KINDS.contains(&kind) => {
                self.patches.push(Patch::Strip {
                    span: line.span.clone(),
                });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn on_origin(&mut self, line: &Line<'_>) {
        let Ok(text) = std::str::from_utf8(line.value) else {
            return;
        };
        let mut place = fields(text).skip(3);
        if let (Some((_, first)), Some((addrtype, _)), Some((_, last))) = (place.next(), place.next(), place.next())
            && self.lines.is_empty()
        {
            self.patches.push(Patch::Origin {
                span: line.value_at + first.start..line.value_at + last.end,
                is_ipv4: addrtype.eq_ignore_ascii_case("IP4"),
            });
        }
    }

    fn on_media(&mut self, line: &Line<'_>) -> Result<(), SdpError> {
        if self.lines.len() == MEDIA_LINES_MAX {
            return Err(SdpError::TooManyLines);
        }
        let malformed = SdpError::Malformed {
            offset: line.span.start,
        };
        let text = std::str::from_utf8(line.value).map_err(|_| malformed)?;
        let mut fields = fields(text);
        let (Some((media, _)), Some((port, port_span)), Some((protocol, protocol_span))) =
            (fields.next(), fields.next(), fields.next())
        else {
            return Err(malformed);
        };
        let port = port_number(port).ok_or(malformed)?;
        let payload_types = fields.filter_map(|(format, _)| format.parse::<u8>().ok().filter(|pt| *pt < 128));
        let formats_max = if has_part(protocol, &["RTP"]) { FORMATS_MAX } else { 0 };
        let index = self.lines.len();
        self.end_line(line.span.start);
        self.patches.push(Patch::Port {
            span: offset(port_span, line.value_at),
            line: index,
        });
        self.patches.push(Patch::Protocol {
            span: offset(protocol_span, line.value_at),
            line: index,
        });
        self.patches.push(Patch::Slot {
            at: line.span.end,
            line: index,
        });
        self.lines.push(Draft {
            line: MediaLine {
                kind: media_kind(media),
                media: media.to_owned(),
                port,
                protocol: protocol.to_owned(),
                connection: None,
                names_host: false,
                rtcp: None,
                direction: Direction::default(),
                formats: payload_types.take(formats_max).map(Format::of_payload_type).collect(),
                crypto: has_part(protocol, &["SAVP", "SAVPF"]),
                keyed: false,
                cryptos: Vec::new(),
                shake: Shake::default(),
                ice: None,
                is_ice_lite: false,
                preference: Preference::default(),
                muxed: false,
                mid: None,
                bundling: Bundling::default(),
            },
            connection: None,
            direction: None,
            rtcp: None,
            ice: IceDraft::default(),
            preference: None,
        });
        Ok(())
    }

    /// The m-line that was read last ends here, or the session's own lines.
    fn end_line(&mut self, at: usize) {
        self.patches.push(match self.lines.len().checked_sub(1) {
            Some(line) => Patch::Tail { at, line },
            None => Patch::Head { at },
        });
    }

    /// A c= line comes after i= (RFC 4566 §9).
    fn move_slot(&mut self, line: &Line<'_>) {
        if let Some(Patch::Slot { at, .. }) = self.patches.last_mut()
            && *at == line.span.start
        {
            *at = line.span.end;
        }
    }

    fn on_connection(&mut self, line: &Line<'_>) -> Result<(), SdpError> {
        let malformed = SdpError::Malformed {
            offset: line.span.start,
        };
        let text = std::str::from_utf8(line.value).map_err(|_| malformed)?;
        let mut fields = fields(text);
        let (Some((nettype, first)), Some((addrtype, _)), Some((address, last)), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(malformed);
        };
        let connection = connection(nettype, addrtype, address);
        self.patches.push(Patch::Connection {
            span: line.value_at + first.start..line.value_at + last.end,
            line: self.lines.len().checked_sub(1),
            unspecified: connection.address.is_some_and(|address| address.is_unspecified()),
        });
        let place = match self.lines.last_mut() {
            Some(draft) => &mut draft.connection,
            None => &mut self.connection,
        };
        place.get_or_insert(connection);
        Ok(())
    }

    fn on_attribute(&mut self, line: &Line<'_>) {
        let (name, value) = line.attribute();
        let (name, value) = (name.as_ref(), value.as_deref());
        let ice = self.lines.last_mut().map_or(&mut self.ice, |draft| &mut draft.ice);
        ice.on_attribute(name, value);
        self.on_grouping(name, value);
        if is_bypass(name, value) {
            self.patches.push(Patch::Strip {
                span: line.span.clone(),
            });
            return;
        }
        if name.eq_ignore_ascii_case("rtcp") {
            self.on_rtcp(line, value);
            return;
        }
        if name.eq_ignore_ascii_case("recordpref") {
            let place = self
                .lines
                .last_mut()
                .map_or(&mut self.preference, |draft| &mut draft.preference);
            *place = value.and_then(Preference::parse).or(*place);
            return;
        }
        if is_secret(name) {
            self.patches.push(Patch::Secret {
                span: line.span.clone(),
                line: self.lines.len().checked_sub(1),
            });
        }
        if let Some(value) = value {
            let shake = self
                .lines
                .last_mut()
                .map_or(&mut self.shake, |draft| &mut draft.line.shake);
            shake.on_attribute(name, value);
        }
        let index = self.lines.len().wrapping_sub(1);
        if let Some(draft) = self.lines.last_mut().filter(|_| is_mux(name)) {
            draft.line.muxed = true;
            self.patches.push(Patch::Mux {
                span: line.span.clone(),
                line: index,
            });
        }
        let keyed = name.eq_ignore_ascii_case("crypto");
        let is_key = keyed || is_agreement(name);
        let direction = value.is_none().then(|| Direction::from_attribute(name)).flatten();
        let Some(draft) = self.lines.last_mut() else {
            self.crypto |= is_key;
            self.keyed |= keyed;
            self.direction = direction.unwrap_or(self.direction);
            return;
        };
        draft.line.crypto |= is_key;
        draft.line.keyed |= keyed;
        if keyed && draft.line.cryptos.len() < CRYPTO_LINES_MAX {
            draft.line.cryptos.extend(value.and_then(Crypto::parse));
        }
        draft.direction = direction.or(draft.direction);
        if let Some(value) = value.filter(|_| name.eq_ignore_ascii_case("rtpmap")) {
            draft.on_rtpmap(value);
        }
    }

    fn on_grouping(&mut self, name: &str, value: Option<&str>) {
        let value = value.unwrap_or_default();
        match self.lines.last_mut() {
            Some(draft) if name.eq_ignore_ascii_case("mid") => draft.line.mid = read_mid(value),
            None if name.eq_ignore_ascii_case("group") => {
                self.bundle = self.bundle.take().or_else(|| read_bundle(value));
            }
            _ => {}
        }
    }

    /// An `a=rtcp` that cannot be read, or that stands where RFC 3605 §2.1 does not put it, is stripped: left alone it
    /// could still lead a more forgiving reader round the relay.
    fn on_rtcp(&mut self, line: &Line<'_>, value: Option<&str>) {
        let strip = Patch::Strip {
            span: line.span.clone(),
        };
        let index = self.lines.len().wrapping_sub(1);
        let patch = match (
            value.and_then(|value| normal(value).parse().ok()),
            self.lines.last_mut(),
        ) {
            (Some(rtcp), Some(draft)) if draft.rtcp.is_none() => draft.on_rtcp(line, index, &rtcp).unwrap_or(strip),
            _ => strip,
        };
        self.patches.push(patch);
    }

    /// `end`: the length of the text.
    pub(super) fn finish(mut self, end: usize) -> Result<(Vec<MediaLine>, Vec<Patch>), SdpError> {
        self.end_line(end);
        let mut lines = Vec::with_capacity(self.lines.len());
        for (index, draft) in self.lines.into_iter().enumerate() {
            let mut line = draft.line;
            let connection = draft.connection.or(self.connection);
            if connection.is_none() && line.is_live() {
                return Err(SdpError::NoConnection { line: index });
            }
            line.connection = connection.and_then(|connection| connection.address);
            line.names_host = connection.is_some_and(|connection| connection.is_name);
            line.direction = draft.direction.unwrap_or(self.direction);
            line.crypto |= self.crypto;
            line.keyed |= self.keyed;
            line.shake.inherit(&self.shake);
            line.ice = draft.ice.credentials(&self.ice);
            line.is_ice_lite = self.ice.is_lite;
            line.preference = draft.preference.or(self.preference).unwrap_or_default();
            line.rtcp = draft.rtcp.and_then(|(port, address)| {
                let address = address.or(line.connection)?;
                Some(SocketAddr::new(address, port))
            });
            lines.push(line);
        }
        bundle(self.bundle.as_deref().unwrap_or_default(), &mut lines);
        for patch in &mut self.patches {
            if let Patch::Connection { line, unspecified, .. } = patch {
                let mut theirs = lines
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| line.is_none_or(|own| own == *index));
                *unspecified &= !theirs.any(|(_, line)| line.ice.is_some());
            }
        }
        Ok((lines, self.patches))
    }
}

impl Draft {
    fn on_rtpmap(&mut self, value: &str) {
        let Ok(map) = normal(value).parse::<sdp_types::RtpMap>() else {
            return;
        };
        let Some(format) = self
            .line
            .formats
            .iter_mut()
            .find(|format| format.payload_type == map.payload_type)
        else {
            return;
        };
        format.clock_rate = map.clock_rate;
        format.channels = map
            .encoding_params
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(1);
        format.name = map.encoding_name;
    }

    fn on_rtcp(&mut self, line: &Line<'_>, index: usize, rtcp: &sdp_types::Rtcp) -> Option<Patch> {
        let colon = memchr::memchr(b':', line.value)?;
        let value = line.value.get(colon + 1..)?;
        let start = value.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let end = value.len() - value.iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
        let address = rtcp.connection_address.as_deref();
        self.rtcp = Some((rtcp.port, address.and_then(|address| address.parse().ok())));
        Some(Patch::Rtcp {
            span: offset(start..end, line.value_at + colon + 1),
            line: index,
            addressed: address.is_some(),
            muxed: rtcp.port == self.line.port,
        })
    }
}

/// The words of a line with their place in it.
fn fields(text: &str) -> impl Iterator<Item = (&str, Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let start = at + rest.find(|c: char| !c.is_ascii_whitespace())?;
        let word = text.get(start..)?.split_ascii_whitespace().next()?;
        at = start + word.len();
        Some((word, start..at))
    })
}

/// One space between words.
fn normal(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for word in value.split_ascii_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

fn offset(span: Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}

/// `port` or `port/number of ports` (RFC 4566 §5.14).
fn port_number(text: &str) -> Option<u16> {
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
    let (port, count) = text.split_once('/').map_or((text, "1"), |(port, count)| (port, count));
    (is_number(port) && is_number(count))
        .then(|| port.parse().ok())
        .flatten()
}

fn has_part(protocol: &str, parts: &[&str]) -> bool {
    protocol
        .split('/')
        .any(|part| parts.iter().any(|wanted| part.eq_ignore_ascii_case(wanted)))
}

fn media_kind(media: &str) -> MediaKind {
    match media {
        media if media.eq_ignore_ascii_case("audio") => MediaKind::Audio,
        media if media.eq_ignore_ascii_case("video") => MediaKind::Video,
        _ => MediaKind::Other,
    }
}

/// Host names, group addresses and other networks are lawful, but nothing that we could send to.
fn connection(nettype: &str, addrtype: &str, address: &str) -> Connection {
    let host = address.split('/').next().unwrap_or_default();
    let address = host.parse::<IpAddr>().ok();
    let is_internet = nettype.eq_ignore_ascii_case("IN");
    let is_typed = ["IP4", "IP6"].iter().any(|name| addrtype.eq_ignore_ascii_case(name));
    let is_of_type = |address: &IpAddr| addrtype.eq_ignore_ascii_case(if address.is_ipv4() { "IP4" } else { "IP6" });
    let usable = |address: &IpAddr| is_internet && is_of_type(address) && is_unicast(*address);
    Connection {
        address: address.filter(usable),
        is_name: is_internet && is_typed && address.is_none() && is_host_name(host),
    }
}

/// Labels of letters, digits and hyphens (RFC 1123 §2.1), one of them with a letter.
fn is_host_name(host: &str) -> bool {
    let is_label = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.');
    host.len() <= 255 && host.bytes().all(is_label) && host.bytes().any(|c| c.is_ascii_alphabetic())
}

/// Unspecified counts: it is how a phone holds.
pub(super) fn is_unicast(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !address.is_multicast() && !is_broadcast
}
