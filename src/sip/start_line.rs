//! Does a message of SIP begin here? Asked of every datagram on any port of a capture, so the answer is quick for what is not.

use super::grammar::is_token_char;

/// The longest start line that is looked at; longer ones are no SIP.
pub(crate) const START_LINE_MAX: usize = 8 << 10;

/// What the beginning of some bytes says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum StartLine {
    /// `METHOD SP URI SP SIP/2.0` or `SIP/2.0 SP code SP …` (RFC 3261 §7.1, §7.2).
    Sip,
    NotSip,
    /// The line has not ended yet and could become either.
    Undecided,
}

/// Judges the first line of `bytes`. A line that is not ended by LF is `Undecided` while it can still become SIP.
pub(crate) fn start_line(bytes: &[u8]) -> StartLine {
    let Some(first) = bytes.first() else {
        return StartLine::Undecided;
    };
    if !is_token_char(*first) {
        return StartLine::NotSip;
    }
    let window = bytes.get(..START_LINE_MAX).unwrap_or(bytes);
    match memchr::memchr(b'\n', window) {
        Some(end) => {
            let line = window.get(..end).unwrap_or_default();
            judge(line.strip_suffix(b"\r").unwrap_or(line))
        }
        None if window.len() == START_LINE_MAX => StartLine::NotSip,
        None if could_begin_sip(window) => StartLine::Undecided,
        None => StartLine::NotSip,
    }
}

pub(crate) fn skip_crlf(bytes: &[u8]) -> &[u8] {
    let from = bytes
        .iter()
        .position(|b| !matches!(b, b'\r' | b'\n'))
        .unwrap_or(bytes.len());
    bytes.get(from..).unwrap_or_default()
}

fn judge(line: &[u8]) -> StartLine {
    let is = if is_version(line.get(..7).unwrap_or_default()) {
        let digits = line.get(8..11).unwrap_or_default();
        let ends = line.get(11).is_none_or(|after| *after == b' ');
        line.get(7) == Some(&b' ') && digits.len() == 3 && digits.iter().all(u8::is_ascii_digit) && ends
    } else {
        let mut words = line.split(|b| *b == b' ').filter(|word| !word.is_empty());
        let method = words
            .next()
            .is_some_and(|method| method.iter().all(|b| is_token_char(*b)));
        let uri = words
            .next()
            .is_some_and(|uri| memchr::memchr(b':', uri).is_some_and(|at| at > 0));
        method && uri && words.next_back().is_some_and(is_version)
    };
    if is { StartLine::Sip } else { StartLine::NotSip }
}

/// A line that is not whole yet: a token, then a space, then printable bytes.
fn could_begin_sip(start: &[u8]) -> bool {
    if start.starts_with(b"SIP/") || b"SIP/2.0 ".starts_with(start) {
        return true;
    }
    let method = start.split(|b| *b == b' ').next().unwrap_or_default();
    method.len() <= 64 && method.iter().all(|b| is_token_char(*b)) && !start.contains(&0)
}

fn is_version(word: &[u8]) -> bool {
    word.len() == 7 && word.get(..6).is_some_and(|w| w.eq_ignore_ascii_case(b"SIP/2.")) && word.ends_with(b"0")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_sip(datagram: &[u8]) -> bool {
        start_line(skip_crlf(datagram)) == StartLine::Sip
    }

    #[test]
    fn start_lines_are_told_from_everything_else() {
        for sip in [
            &b"INVITE sip:bob@example.com SIP/2.0\r\n"[..],
            b"SIP/2.0 200 OK\r\n",
            b"SIP/2.0 200\n",
            b"\r\n\r\nOPTIONS tel:+1555 SIP/2.0\r\nVia: x",
            b"x-NEW!method urn:service:sos SIP/2.0\r\n",
            b"INVITE   sip:a@b   SIP/2.0\r\n",
            b"INVITE sip:a b@c;x=y SIP/2.0\r\n",
        ] {
            assert!(is_sip(sip), "{}", String::from_utf8_lossy(sip));
        }
        for other in [
            &b""[..],
            b"\r\n\r\n",
            b"GET http://example.com/ HTTP/1.1\r\n",
            b"INVITE sip:bob@example.com SIP/2.0",
            b"SIP/2.0 OK\r\n",
            b"SIP/2.0 2000 OK\r\n",
            b"INVITE bob SIP/2.0\r\n",
            b"IN(VITE sip:bob@example.com SIP/2.0\r\n",
            b"\x80\x00\x01\x02INVITE sip:b@c SIP/2.0\r\n",
            b"a=b SIP/2.0\r\n",
        ] {
            assert!(!is_sip(other), "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn a_start_line_is_undecided_until_it_is_whole() {
        for line in [
            &b"INVITE sip:bob@example.com SIP/2.0\r\n"[..],
            b"SIP/2.0 180 Ringing\r\n",
        ] {
            for len in 0..line.len() {
                assert_eq!(start_line(&line[..len]), StartLine::Undecided, "{len}");
            }
            assert_eq!(start_line(line), StartLine::Sip);
        }
        assert_eq!(start_line(&[b'A'; 9_000]), StartLine::NotSip);
        assert_eq!(start_line(b"\x16\x03\x01\x02\x00"), StartLine::NotSip);
    }

    proptest! {
        #[test]
        fn random_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = start_line(&bytes);
            let _ = is_sip(&bytes);
        }
    }
}
