//! Malformed INVITEs in the manner of the PROTOS suite c07-sip: the grammar of an INVITE, and in it one to three elements that
//! are not what they should be. The same seed makes the same messages.

/// SplitMix64.
pub struct Rng(u64);

impl Rng {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.word() % end.max(1) as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// What a message is made of; what stands in an element is bytes, not text.
#[derive(Clone)]
struct Invite {
    method: Vec<u8>,
    uri: Vec<u8>,
    version: Vec<u8>,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
    line_end: Vec<u8>,
    end_of_headers: Vec<u8>,
}

const SDP: &str = "v=0\r\no=eve 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

/// Numbers where a number is asked for, and where none is.
const NUMBERS: [&str; 14] = [
    "-1",
    "0",
    "00",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775808",
    "18446744073709551616",
    "99999999999999999999999999999999999999",
    "0x10",
    "1e9",
    "٣",
    "+5",
];
const URIS: [&str; 26] = [
    "",
    "sip:",
    "sip:@",
    "sip:@:",
    "sip::@x",
    "sip:x@",
    "sip:bob@[::1",
    "sip:bob@::1]",
    "sip:bob@[2001:db8:::1]",
    "sip:bob@[1:2:3:4:5:6:7:8:9]",
    "sip:bob@[fe80::1%25eth0]",
    "sip:bob@x:0",
    "sip:bob@x:65536",
    "sip:bob@x:-1",
    "sip:bob@x:5060:5060",
    "sip:bob@x;;;;",
    "sip:bob@x;lr=;lr=;=",
    "sip:bob@x?a=%0d%0a",
    "sip:%00%ff%zz@x",
    "sip:b<o>b@x",
    "sip:\"bob\"@x",
    "tel:",
    "tel:;phone-context=",
    "urn:service:sos.%00",
    "sip:sip:sip:bob@x",
    "::::",
];
const ADDRESSES: [&str; 16] = [
    "",
    "<",
    ">",
    "<>",
    "<<sip:a@b>>",
    "\"",
    "\"a",
    "\"a\\",
    "\"a\\\"<sip:a@b>",
    "\"\"\"\" <sip:a@b>",
    "*",
    "a, b <sip:a@b>",
    "<sip:a@b>;tag=1;tag=2",
    "<sip:a@b>;tag=",
    "<sip:a@b>;=;;",
    "<sip:a@b",
];
const VIAS: [&str; 12] = [
    "",
    ",",
    ",,,,,",
    "SIP/2.0",
    "SIP/2.0/UDP",
    "SIP/2.0/UDP ",
    "SIP/2.0/UDP [::1",
    "SIP / 2.0 / UDP  x : y",
    "SIP/7.0/UDP x",
    "SIP/2.0/UDP x;branch=z9hG4bK",
    "SIP/2.0/UDP x;rport=-1;received=;maddr=255.255.255.255;ttl=999",
    "SIP/2.0/UDP 192.0.2.1:99999",
];
const SDP_LINES: [&str; 22] = [
    "",
    "v=",
    "v=99999999999",
    "o=",
    "o=- 0 0 IN",
    "s",
    "c=IN IP4",
    "c=IN IP4 999.1.1.1",
    "c=IN IP6 ::::",
    "c=IN IP4 0.0.0.0/127/999",
    "t=-1 -1",
    "t=99999999999999999999 0",
    "m=",
    "m=audio",
    "m=audio -1 RTP/AVP 0",
    "m=audio 65536 RTP/AVP 0",
    "m=audio 1/65535 RTP/AVP 0",
    "m=audio 4000 RTP/AVP 256 -1 x",
    "a=",
    "a=rtpmap:",
    "a=rtpmap:101 /////",
    "a=rtcp:99999 IN IP4",
];
const BODIES: [&str; 6] = [
    "--b\r\n--b\r\n--b\r\n--b--",
    "--b",
    "--b\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n--b\r\n--b--\r\n--b--",
    "<?xml",
    "\0\0\0\0",
    "v=0",
];
const TYPES: [&str; 8] = [
    "application/sdp",
    "multipart/mixed;boundary=b",
    "multipart/mixed",
    "multipart/mixed;boundary=\"",
    "/",
    "application/sdp;;;=",
    "message/sip",
    "text/plain",
];
const LINE_ENDS: [&str; 6] = ["\n", "\r", "\n\r", "\r\r\n", " \r\n", "\r\n "];
const JUNK: [&[u8]; 14] = [
    b"\x00",
    b"\xff\xfe",
    b"\xc0\xaf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
    b"\x1b[2J",
    b"%n%n%s%s",
    b"../../../etc",
    b"\r\n",
    b"\r\n\r\n",
    b"\t \t",
    b"\\\\\\\\",
    b";;;;,,,,<<<<\"\"\"\"",
];
const FILLERS: [&str; 8] = ["a", "%00", "[", "\"", "(", ";a=b", "\\", "<sip:a@b>,"];

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// An element repeated up to some tens of thousands of bytes.
fn overlong(rng: &mut Rng) -> Vec<u8> {
    let length = [200, 1_100, 5_000, 9_000, 40_000][rng.below(5)];
    rng.pick(&FILLERS).bytes().cycle().take(length).collect()
}

impl Invite {
    fn sound(number: usize) -> Self {
        let header = |name: &str, value: String| (bytes(name), value.into_bytes());
        let headers = vec![
            header(
                "Via",
                format!("SIP/2.0/UDP 127.0.0.1:5080;branch=z9hG4bKm{number};rport"),
            ),
            header("Max-Forwards", "70".to_owned()),
            header("From", format!("\"Eve\" <sip:eve@example.com>;tag=e{number}")),
            header("To", "<sip:bob@127.0.0.1:5070>".to_owned()),
            header("Call-ID", format!("malformed-{number}")),
            header("CSeq", "1 INVITE".to_owned()),
            header("Contact", "<sip:eve@127.0.0.1:5080>".to_owned()),
            header("Supported", "100rel, timer, histinfo".to_owned()),
            header("P-Asserted-Identity", "<sip:eve@example.com>".to_owned()),
            header("Diversion", "<sip:carol@example.com>;reason=unconditional".to_owned()),
            header("Expires", "60".to_owned()),
            header("Content-Type", "application/sdp".to_owned()),
        ];
        Self {
            method: bytes("INVITE"),
            uri: bytes("sip:bob@127.0.0.1:5070"),
            version: bytes("SIP/2.0"),
            headers,
            body: bytes(SDP),
            line_end: bytes("\r\n"),
            end_of_headers: bytes("\r\n"),
        }
    }

    fn value(&mut self, name: &str) -> &mut Vec<u8> {
        let at = self
            .headers
            .iter()
            .position(|(other, _)| other == name.as_bytes())
            .unwrap_or(0);
        &mut self.headers[at].1
    }

    /// One element goes wrong.
    fn spoil(&mut self, rng: &mut Rng) {
        match rng.below(16) {
            0 => self.uri = bytes(rng.pick(&URIS)),
            1 => *self.value("Via") = bytes(rng.pick(&VIAS)),
            2 => {
                let name = rng.pick(&["From", "To", "Contact", "P-Asserted-Identity", "Diversion"]);
                let uri = rng.pick(&URIS);
                *self.value(name) = if rng.below(2) == 0 {
                    format!("<{uri}>;tag=1").into_bytes()
                } else {
                    bytes(rng.pick(&ADDRESSES))
                };
            }
            3 => {
                let name = rng.pick(&["Max-Forwards", "CSeq", "Expires"]);
                let number = rng.pick(&NUMBERS);
                *self.value(name) = if name == "CSeq" {
                    format!("{number} INVITE").into_bytes()
                } else {
                    bytes(number)
                };
            }
            4 => {
                let length = rng.pick(&NUMBERS);
                self.headers.push((bytes("Content-Length"), bytes(length)));
            }
            5..10 => self.spoil_headers(rng),
            10 => self.line_end = bytes(rng.pick(&LINE_ENDS)),
            11 => {
                self.end_of_headers = if rng.below(2) == 0 {
                    Vec::new()
                } else {
                    bytes(rng.pick(&LINE_ENDS))
                }
            }
            12 => {
                self.method = if rng.below(2) == 0 {
                    rng.pick(&JUNK).to_vec()
                } else {
                    overlong(rng)
                };
            }
            13 => self.version = bytes(rng.pick(&["SIP/3.0", "SIP/", "", "SIP/2.0 SIP/2.0", "SIP/-1.0", "HTTP/1.1"])),
            14 => self.spoil_sdp(rng),
            _ => {
                *self.value("Content-Type") = bytes(rng.pick(&TYPES));
                self.body = if rng.below(4) == 0 {
                    overlong(rng)
                } else {
                    bytes(rng.pick(&BODIES))
                };
            }
        }
    }

    /// One header is too long, misnamed, soiled, gone or repeated.
    fn spoil_headers(&mut self, rng: &mut Rng) {
        let at = rng.below(self.headers.len());
        match rng.below(5) {
            0 => self.headers[at].1 = overlong(rng),
            1 => {
                self.headers[at].0 = if rng.below(2) == 0 {
                    overlong(rng)
                } else {
                    rng.pick(&JUNK).to_vec()
                };
            }
            2 => {
                let value = &mut self.headers[at].1;
                let inside = rng.below(value.len() + 1);
                value.splice(inside..inside, rng.pick(&JUNK).iter().copied());
            }
            3 => {
                self.headers.remove(at);
            }
            _ => {
                let twice = self.headers[at].clone();
                let times = [1, 2, 300][rng.below(3)];
                self.headers.extend(std::iter::repeat_n(twice, times));
            }
        }
    }

    fn spoil_sdp(&mut self, rng: &mut Rng) {
        let mut lines: Vec<Vec<u8>> = SDP.split("\r\n").map(bytes).collect();
        for _ in 0..=rng.below(3) {
            let at = rng.below(lines.len());
            match rng.below(5) {
                0 => lines[at] = overlong(rng),
                1 => lines[at].extend_from_slice(rng.pick(&JUNK)),
                2 => {
                    let line = lines[at].clone();
                    lines.extend(std::iter::repeat_n(line, [1, 50, 2_000][rng.below(3)]));
                }
                _ => lines[at] = bytes(rng.pick(&SDP_LINES)),
            }
        }
        self.body = lines.join(&b"\r\n"[..]);
    }

    fn written(&self) -> Vec<u8> {
        let mut out = [&self.method, &b" "[..], &self.uri, b" ", &self.version, &self.line_end].concat();
        for (name, value) in &self.headers {
            out.extend_from_slice(&[name, &b": "[..], value, &self.line_end].concat());
        }
        if !self.headers.iter().any(|(name, _)| name == b"Content-Length") {
            out.extend_from_slice(format!("Content-Length: {}", self.body.len()).as_bytes());
            out.extend_from_slice(&self.line_end);
        }
        out.extend_from_slice(&self.end_of_headers);
        out.extend_from_slice(&self.body);
        // What a UDP datagram can carry.
        out.truncate(65_507);
        out
    }
}

/// The message of that number, malformed in one to three elements.
pub fn invite(rng: &mut Rng, number: usize) -> Vec<u8> {
    let mut invite = Invite::sound(number);
    for _ in 0..=rng.below(3) {
        invite.spoil(rng);
    }
    invite.written()
}
