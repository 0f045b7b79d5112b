//! What of the signalling is kept while a recording is paused: that there was a message, and not what somebody said by it.

use bytes::Bytes;

/// A message as a paused recording keeps it. INFO and MESSAGE, in which people type, and their answers are not kept at all;
/// of the others the body is blanked, unless it is SDP. The length stays.
pub(super) fn without_words(message: &Bytes) -> Option<Bytes> {
    let head = memchr::memmem::find(message, b"\r\n\r\n")?;
    let lines = message.get(..head)?.split(|byte| *byte == b'\n');
    let mut lines = lines.map(<[u8]>::trim_ascii).skip_while(|line| line.is_empty());
    let mut method = lines.next()?.split(|byte| *byte == b' ').next()?;
    let mut is_sdp = false;
    for line in lines {
        if method.starts_with(b"SIP/")
            && let Some(cseq) = value_of(line, &[b"CSeq"])
        {
            method = cseq.rsplit(|byte| byte.is_ascii_whitespace()).next()?;
        } else if let Some(media_type) = value_of(line, &[b"Content-Type", b"c"]) {
            is_sdp = media_type.eq_ignore_ascii_case(b"application/sdp");
        }
    }
    if method.starts_with(b"SIP/") || [&b"INFO"[..], b"MESSAGE"].contains(&method) {
        return None;
    }
    let body = head + 4;
    if is_sdp || body == message.len() {
        return Some(message.clone());
    }
    let mut kept = message.to_vec();
    kept.get_mut(body..)?.fill(b'x');
    Some(kept.into())
}

/// The value of a header line that has one of these names (RFC 3261 §7.3.1).
fn value_of<'a>(line: &'a [u8], names: &[&[u8]]) -> Option<&'a [u8]> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
    let name = name.trim_ascii();
    let is_it = names.iter().any(|wanted| name.eq_ignore_ascii_case(wanted));
    is_it.then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn kept(text: &str) -> Option<String> {
        let kept = without_words(&Bytes::copy_from_slice(text.as_bytes()))?;
        Some(String::from_utf8(kept.to_vec()).unwrap())
    }

    #[test]
    fn what_people_type_is_not_kept_and_what_makes_the_call_is() {
        let info = "INFO sip:b SIP/2.0\r\nContent-Type: application/dtmf-relay\r\n\r\nSignal=4\r\n";
        assert_eq!(kept(info), None);
        assert_eq!(
            kept("\r\n\r\nINFO sip:b SIP/2.0"),
            None,
            "nothing is kept of what is no message"
        );
        assert_eq!(kept("SIP/2.0 200 OK\r\nCSeq: 7 MESSAGE\r\n\r\n4929"), None);
        assert_eq!(
            kept("SIP/2.0 200 OK\r\n\r\n4929"),
            None,
            "no CSeq, so nobody knows of what"
        );
        let bye = "BYE sip:b SIP/2.0\r\nCSeq: 8 BYE\r\n\r\n";
        assert_eq!(kept(bye).as_deref(), Some(bye));
        let offer = "INVITE sip:b SIP/2.0\r\nc : Application/SDP\r\n\r\nv=0\r\n";
        assert_eq!(kept(offer).as_deref(), Some(offer));
        let notify = "NOTIFY sip:b SIP/2.0\r\nContent-Type: text/plain\r\n\r\n4929";
        assert_eq!(kept(notify).as_deref(), Some(&*notify.replace("4929", "xxxx")));
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_to_its_end_and_no_body_is_kept(text in "[ -~\r\n]{0,200}") {
            let message = format!("NOTIFY sip:b SIP/2.0\r\nX: {}\r\n\r\n4929", text.replace("\r\n\r\n", ""));
            if let Some(kept) = kept(&message) {
                proptest::prop_assert!(kept.len() == message.len());
            }
            let _ = without_words(&Bytes::from(text));
        }
    }
}
