//! A description without the keys that it tells: for what is written down of a call.

use bytes::Bytes;

use super::{SessionDescription, scan};

/// Attributes with a key in them (RFC 4568 §4, RFC 4567 §3.1).
const KEYS: [&str; 2] = ["crypto", "key-mgmt"];

/// The description without the lines that have keys, `k=` among them (RFC 8866 §5.12); None if there is none.
pub fn keyless(sdp: &SessionDescription) -> Option<Bytes> {
    let text = sdp.text();
    let mut out = Vec::with_capacity(text.len());
    for line in scan::lines(text).map_while(Result::ok) {
        let is_key = match line.kind {
            Some(b'k' | b'K') => true,
            Some(b'a' | b'A') => {
                let (name, _) = line.attribute();
                KEYS.iter().any(|key| name.eq_ignore_ascii_case(key))
            }
            _ => false,
        };
        if !is_key {
            out.extend_from_slice(text.get(line.span).unwrap_or_default());
        }
    }
    (out.len() != text.len()).then(|| Bytes::from(out))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_a_key_goes_and_every_other_byte_stays() {
        let text = "v=0\r\ns=-\r\nk=clear:x\r\na=key-mgmt:mikey AQAF\r\nm=audio 0 RTP/AVP 8\r\na=x\r\nA=Crypto:1 Y inline:z\r\nm=audio 0 RTP/AVP 0";
        let sdp = SessionDescription::parse(text.as_bytes()).unwrap();
        let wanted = "v=0\r\ns=-\r\nm=audio 0 RTP/AVP 8\r\na=x\r\nm=audio 0 RTP/AVP 0";
        let kept = keyless(&sdp).unwrap();
        assert_eq!(kept, wanted);
        assert_eq!(keyless(&SessionDescription::parse(&kept).unwrap()), None);
    }

    proptest::proptest! {
        #[test]
        fn any_description_is_one_without_its_keys(more in "(([akmxc]=)?(crypto:1 x|key-mgmt|audio 0 RTP/AVP 0|.{0,20})\r?\n){0,10}") {
            let sdp = SessionDescription::parse(format!("v=0\r\nc=IN IP4 192.0.2.1\r\n{more}").as_bytes());
            if let Some((sdp, kept)) = sdp.ok().and_then(|sdp| Some((sdp.clone(), keyless(&sdp)?))) {
                let kept = SessionDescription::parse(&kept).unwrap();
                proptest::prop_assert_eq!(kept.lines().len(), sdp.lines().len());
                proptest::prop_assert_eq!(keyless(&kept), None);
            }
        }
    }
}
