//! A session description as it is understood. Lenient where real PBXs are sloppy, strict where two readers could differ.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::patch::Patch;
use super::reader::{Reader, is_unicast};
use super::{Direction, Format, scan};
use crate::model::{MediaKind, Remote};

/// Longest description that is read.
pub const BYTES_MAX: usize = 64 * 1024;
/// Most m-lines of one description.
pub const MEDIA_LINES_MAX: usize = 64;
/// Payload formats of one m-line that are understood; the text keeps the rest.
pub const FORMATS_MAX: usize = 128;

/// Why a body is no description that we can carry. Always the sender's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SdpError {
    /// Not SDP: 400.
    #[error("malformed SDP at byte {offset}")]
    Malformed { offset: usize },
    /// More than [`BYTES_MAX`]: 413.
    #[error("SDP of {bytes} bytes is too long")]
    TooLong { bytes: usize },
    /// More than [`MEDIA_LINES_MAX`] m-lines: 488.
    #[error("SDP has too many m-lines")]
    TooManyLines,
    /// A live m-line with no c= line of its own or of the session (RFC 4566 §5.7): 400.
    #[error("m-line {line} of the SDP has no connection address")]
    NoConnection { line: usize },
}

/// One peer's description: the text as it came, and what it means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionDescription {
    text: Bytes,
    lines: Vec<MediaLine>,
    pub(super) patches: Vec<Patch>,
}

/// One m-line with its attributes; what it leaves out is taken from the session's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MediaLine {
    pub kind: MediaKind,
    /// The media as written: `audio`, `image`, `application` …
    pub media: String,
    /// 0: refused or switched off (RFC 3264 §5.1, §6).
    pub port: u16,
    /// Like `RTP/AVP`.
    pub protocol: String,
    /// The unicast or unspecified address of c=; none for a host name, a multicast group or a missing c=.
    pub connection: Option<IpAddr>,
    /// Of `a=rtcp`, where it is written; the address defaults to that of c=.
    pub rtcp: Option<SocketAddr>,
    pub direction: Direction,
    /// In order of preference. Empty for what is not RTP.
    pub formats: Vec<Format>,
    /// `a=rtcp-mux` (RFC 5761).
    pub rtcp_mux: bool,
    /// The media is encrypted: an SRTP profile, `a=crypto` or `a=fingerprint`.
    pub crypto: bool,
    /// In milliseconds.
    pub ptime: Option<u16>,
}

impl MediaLine {
    /// Where the author of the description receives this line's RTP and RTCP. `None` for port 0, an address that is
    /// none (host name, multicast, hold by 0.0.0.0).
    pub fn remote(&self) -> Option<Remote> {
        let address = self.connection.filter(|address| !address.is_unspecified())?;
        if self.port == 0 {
            return None;
        }
        let rtcp = self
            .rtcp
            .filter(|rtcp| is_unicast(rtcp.ip()) && !rtcp.ip().is_unspecified() && rtcp.port() != 0);
        let next = SocketAddr::new(address, self.port.checked_add(1).unwrap_or(self.port));
        Some(Remote {
            rtp: SocketAddr::new(address, self.port),
            rtcp: rtcp.unwrap_or(next),
        })
    }

    pub const fn is_live(&self) -> bool {
        self.port != 0
    }

    /// Asks the other side to be silent: `sendonly`, `inactive`, or c= 0.0.0.0 (RFC 3264 §8.4, RFC 2543).
    pub fn is_hold(&self) -> bool {
        self.is_live()
            && (!self.direction.receives() || self.connection.is_some_and(|address| address.is_unspecified()))
    }

    /// Carried over UDP, so the relay can carry it.
    pub fn is_datagram(&self) -> bool {
        !self.protocol.to_ascii_uppercase().split('/').any(|part| part == "TCP")
    }

    /// In the shape of [`crate::model::LegPlan::formats`].
    pub fn plan_formats(&self) -> Vec<(u8, String, u32, u8)> {
        let entry = |format: &Format| {
            (
                format.payload_type,
                format.name.clone(),
                format.clock_rate,
                format.channels,
            )
        };
        self.formats.iter().map(entry).collect()
    }
}

impl SessionDescription {
    /// Reads a description. Needs `v=` first and a c= for every live m-line; s=, t=, o= may be missing, unknown lines
    /// stay, lines may end in LF alone.
    pub fn parse(text: &[u8]) -> Result<Self, SdpError> {
        if text.len() > BYTES_MAX {
            return Err(SdpError::TooLong { bytes: text.len() });
        }
        let mut reader = Reader::default();
        let mut is_begun = false;
        for line in scan::lines(text) {
            let line = line?;
            let is_blank = line.kind.is_none() && line.value.iter().all(u8::is_ascii_whitespace);
            if !is_begun && !is_blank {
                if line.kind != Some(b'v') {
                    return Err(SdpError::Malformed {
                        offset: line.span.start,
                    });
                }
                is_begun = true;
            }
            reader.read(&line)?;
        }
        if !is_begun {
            return Err(SdpError::Malformed { offset: 0 });
        }
        let (lines, patches) = reader.finish()?;
        Ok(Self {
            text: Bytes::copy_from_slice(text),
            lines,
            patches,
        })
    }

    /// The m-lines, in order.
    pub fn lines(&self) -> &[MediaLine] {
        &self.lines
    }

    /// As it came.
    pub const fn text(&self) -> &Bytes {
        &self.text
    }

    /// There is a live line, and every live line asks to be held.
    pub fn is_hold(&self) -> bool {
        let mut live = self.lines.iter().filter(|line| line.is_live()).peekable();
        live.peek().is_some() && live.all(MediaLine::is_hold)
    }
}
