//! A session description as it is understood. Lenient where real PBXs are sloppy, strict where two readers could differ.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use super::patch::Patch;
use super::reader::{Reader, is_unicast};
use super::{Bundling, Crypto, Direction, Format, Shake, scan};
use crate::model::{ENCRYPTED, IceCredentials, MediaKind, Preference, Remote};

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
#[derive(Clone, Eq, PartialEq)]
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
    /// c= has a host name (RFC 4566 §5.7).
    pub names_host: bool,
    /// Of `a=rtcp`, where it is written; the address defaults to that of c=.
    pub rtcp: Option<SocketAddr>,
    pub direction: Direction,
    /// In order of preference. Empty for what is not RTP.
    pub formats: Vec<Format>,
    /// The media is encrypted: an SRTP profile, `a=crypto`, or keys that the ends agree on by themselves (`a=fingerprint`,
    /// `a=key-mgmt`, `a=zrtp-hash`).
    pub crypto: bool,
    /// The keys are told in it: `a=crypto` (RFC 4568).
    pub keyed: bool,
    /// Those of its keys that can be used, as they are preferred.
    pub cryptos: Vec<Crypto>,
    /// How its keys are agreed beside it (RFC 5763).
    pub shake: Shake,
    /// Its author asks for ways to it (RFC 8839).
    pub ice: Option<IceCredentials>,
    /// Its author tries none itself (RFC 8445 §2.5).
    pub is_ice_lite: bool,
    /// What its author would like of its recording (RFC 7866 §7.3.2).
    pub preference: Preference,
    /// RTCP goes by its RTP port (RFC 5761 §5.1.1).
    pub muxed: bool,
    /// Its name in groups (RFC 5888 §4).
    pub mid: Option<String>,
    pub bundling: Bundling,
}

/// Profiles of DTLS-SRTP (RFC 5764 §8).
const SHAKEN: [&str; 2] = ["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"];

/// Parts of protocols whose media is encrypted whether the other side wants that or not.
const SECURE: [&str; 4] = ["SAVP", "SAVPF", "TLS", "DTLS"];
/// Of these, those whose keys are agreed beside the signalling (RFC 5764, RFC 8261).
const HANDSHAKES: [&str; 2] = ["TLS", "DTLS"];

/// Transports whose media needs a connection, by how their names begin.
const CONNECTING: [&str; 5] = ["TCP", "TLS", "MSRP", "SCTP", "DCCP"];

impl MediaLine {
    /// Where the author of the description receives this line's RTP and RTCP. `None` for port 0, an address that is
    /// none (host name, multicast, hold by 0.0.0.0), and what is not carried in datagrams.
    pub fn remote(&self) -> Option<Remote> {
        let address = self.connection.filter(|address| !address.is_unspecified())?;
        if self.port == 0 || !self.is_datagram() {
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

    fn is_by(&self, names: &[&str]) -> bool {
        let mut parts = self.protocol.split('/');
        parts.any(|part| names.iter().any(|name| name.eq_ignore_ascii_case(part)))
    }

    /// Encrypted with keys that no description tells: of a DTLS handshake (RFC 5763), of MIKEY (RFC 3830), of ZRTP (RFC 6189).
    pub fn is_sealed(&self) -> bool {
        self.is_live() && (self.is_by(&HANDSHAKES) || self.crypto && !self.keyed)
    }

    /// The same, and not only if the other side wants that too (RFC 8643).
    pub fn insists_on_seal(&self) -> bool {
        self.is_sealed() && self.is_by(&SECURE)
    }

    /// RTP that is encrypted by the keys of a handshake, and not only if the other side wants that too: of a profile that says so, or
    /// of RTP/SAVP(F) without `a=crypto` (RFC 5763 §5).
    pub fn is_shaken(&self) -> bool {
        let is = |names: [&str; 2]| names.iter().any(|name| name.eq_ignore_ascii_case(&self.protocol));
        let is_silent = !self.keyed && self.is_secure_profile() == Some(true);
        !self.shake.fingerprints.is_empty() && (is(SHAKEN) || is_silent)
    }

    /// Asks the other side to be silent: `sendonly`, `inactive`, or c= 0.0.0.0 (RFC 3264 §8.4, RFC 2543).
    pub fn is_hold(&self) -> bool {
        self.is_live() && (!self.direction.receives() || self.is_null())
    }

    /// c= is the null address, and that means a hold: who asks for ways may know none yet (RFC 8840 §4.1.1).
    pub(super) fn is_null(&self) -> bool {
        self.ice.is_none() && self.connection.is_some_and(|address| address.is_unspecified())
    }

    /// Held by the null address, and carried in datagrams: nothing is to be sent there, and music may come.
    pub fn has_null_address(&self) -> bool {
        self.is_live() && self.is_null() && self.is_datagram()
    }

    /// Carried over UDP, so the relay can carry it: `RTP/AVP`, `udptl`, `UDP/DTLS/SCTP`. Not so what connects:
    /// `TCP/MSRP`, `TCP/TLS/BFCP`, and where no transport is named, a protocol that is one or needs one.
    pub fn is_datagram(&self) -> bool {
        let is_one_of = |part: &str, names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(part));
        let mut parts = self.protocol.split('/');
        let connects = parts.next().is_some_and(|first| is_one_of(first, &CONNECTING));
        !connects && !parts.any(|part| is_one_of(part, &["TCP"]))
    }

    /// RTP whose profile asks for encryption, or does not; None for what is no RTP over UDP alone (RFC 3711, RFC 5124).
    pub fn is_secure_profile(&self) -> Option<bool> {
        let is = |names: [&str; 2]| names.iter().any(|name| name.eq_ignore_ascii_case(&self.protocol));
        if is(["RTP/SAVP", "RTP/SAVPF"]) {
            return Some(true);
        }
        is(["RTP/AVP", "RTP/AVPF"]).then_some(false)
    }

    /// In the shape of [`crate::model::LegPlan::formats`]. `heard`: what is recorded of it is not encrypted.
    pub fn plan_formats(&self, heard: bool) -> Vec<(u8, String, u32, u8)> {
        let suffix = if self.crypto && !heard { ENCRYPTED } else { "" };
        let entry = |format: &Format| {
            let name = [&format.name, suffix].concat();
            (format.payload_type, name, format.clock_rate, format.channels)
        };
        self.formats.iter().map(entry).collect()
    }
}

/// Without the text: that may have keys.
impl fmt::Debug for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.lines).finish()
    }
}

impl SessionDescription {
    /// Reads a description. Needs `v=` first and a c= for every live m-line; s=, t=, o= may be missing, unknown lines
    /// stay, lines may end in LF alone.
    pub fn parse(text: &[u8]) -> Result<Self, SdpError> {
        if text.len() > BYTES_MAX {
            return Err(SdpError::TooLong { bytes: text.len() });
        }
        let text = scan::without_nul_behind(text);
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
        let (lines, patches) = reader.finish(text.len())?;
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

    /// As it came, without NULs behind the last line.
    pub const fn text(&self) -> &Bytes {
        &self.text
    }

    /// There is a live line, and every live line asks to be held.
    pub fn is_hold(&self) -> bool {
        let mut live = self.lines.iter().filter(|line| line.is_live()).peekable();
        live.peek().is_some() && live.all(MediaLine::is_hold)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &str) -> SessionDescription {
        SessionDescription::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_phone_s_offer_is_understood() {
        let sdp = parse(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
             m=audio 49170 RTP/AVP 0 8 97 101\r\na=rtpmap:97 iLBC/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
             a=ptime:20\r\na=sendonly\r\n\
             m=video 51372 RTP/SAVP 31 99\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:99 h263-1998/90000\r\na=rtcp:53020\r\na=rtcp-mux\r\n",
        );
        let [audio, video] = sdp.lines() else {
            unreachable!("two lines")
        };
        assert_eq!(
            (audio.kind, audio.port, audio.protocol.as_str()),
            (MediaKind::Audio, 49_170, "RTP/AVP")
        );
        let formats = [
            (0, "PCMU", 8_000),
            (8, "PCMA", 8_000),
            (97, "iLBC", 8_000),
            (101, "telephone-event", 8_000),
        ];
        let read: Vec<_> = audio
            .formats
            .iter()
            .map(|f| (f.payload_type, f.name.as_str(), f.clock_rate))
            .collect();
        assert_eq!(read, formats);
        assert_eq!((audio.direction, audio.is_hold()), (Direction::SendOnly, true));
        let remote = audio.remote().unwrap();
        assert_eq!(remote.rtp, SocketAddr::from(([192, 0, 2, 1], 49_170)));
        assert_eq!(remote.rtcp, SocketAddr::from(([192, 0, 2, 1], 49_171)));
        assert!(video.crypto && !audio.crypto);
        assert_eq!(video.plan_formats(false)[1].1, "h263-1998 (SRTP)");
        assert_eq!(
            video.remote().unwrap().rtcp,
            "[2001:db8::1]:53020".parse::<SocketAddr>().unwrap()
        );
        assert!(!sdp.is_hold(), "the video is not held");
    }

    #[test]
    fn sloppy_text_is_understood() {
        let sdp = parse(
            "v=0 \nc=IN  ip4 192.0.2.1 \nfoo\nx\nz=\nm=audio  4000/2\tRTP/AVP 0  96 \na=rtpmap:96  opus/48000/2 \na=RTCP-MUX\n",
        );
        let line = &sdp.lines()[0];
        assert_eq!(line.remote().unwrap().rtp, SocketAddr::from(([192, 0, 2, 1], 4_000)));
        assert_eq!(line.plan_formats(false)[1], (96, "opus".to_owned(), 48_000, 2));
        let sdp = parse("\r\nv=0\r\nm=audio 0 RTP/AVP 0");
        assert_eq!(sdp.lines()[0].remote(), None, "a refused line needs no address");
    }

    #[test]
    fn a_hold_is_seen_in_each_of_its_forms() {
        for (connection, attribute, is_hold) in [
            ("192.0.2.1", "sendrecv", false),
            ("192.0.2.1", "recvonly", false),
            ("192.0.2.1", "inactive", true),
            ("0.0.0.0", "sendrecv", true),
        ] {
            let text = format!("v=0\r\nc=IN IP4 {connection}\r\na={attribute}\r\nm=audio 4000 RTP/AVP 0\r\n");
            assert_eq!(parse(&text).is_hold(), is_hold, "{connection} {attribute}");
        }
        let ours = parse("v=0\r\na=inactive\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n");
        assert!(!ours.is_hold(), "the line's own direction counts");
    }

    #[test]
    fn addresses_that_nobody_can_send_to_are_no_remote() {
        for connection in [
            "IN IP4 host.example.com",
            "IN IP4 224.2.1.1/127",
            "IN IP4 0.0.0.0",
            "IN IP6 192.0.2.1",
            "ATM IP4 192.0.2.1",
        ] {
            let sdp = parse(&format!("v=0\r\nc={connection}\r\nm=audio 4000 RTP/AVP 0\r\n"));
            assert_eq!(sdp.lines()[0].remote(), None, "{connection}");
        }
    }

    #[test]
    fn what_cannot_be_carried_says_why() {
        let media = "m=audio 4000 RTP/AVP 0\r\n".repeat(MEDIA_LINES_MAX + 1);
        for (text, error) in [
            (String::new(), SdpError::Malformed { offset: 0 }),
            ("<xml/>".to_owned(), SdpError::Malformed { offset: 0 }),
            (
                "v=0\r\nm=audio RTP/AVP 0\r\n".to_owned(),
                SdpError::Malformed { offset: 5 },
            ),
            (
                "v=0\r\nm=audio 70000 RTP/AVP 0\r\n".to_owned(),
                SdpError::Malformed { offset: 5 },
            ),
            ("v=0\r\nc=IN IP4\r\n".to_owned(), SdpError::Malformed { offset: 5 }),
            (
                "v=0\r\nm=audio 4000 RTP/AVP 0\r\n".to_owned(),
                SdpError::NoConnection { line: 0 },
            ),
            (format!("v=0\r\nc=IN IP4 192.0.2.1\r\n{media}"), SdpError::TooManyLines),
            ("v".repeat(BYTES_MAX + 1), SdpError::TooLong { bytes: BYTES_MAX + 1 }),
        ] {
            assert_eq!(SessionDescription::parse(text.as_bytes()), Err(error));
        }
    }
}
