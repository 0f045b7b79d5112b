#![allow(clippy::unwrap_used)]

use super::*;

const HEAD: &str = "INVITE sip:112@b SIP/2.0\r\nl: 60\r\n\r\n";
const MEDIA: &str = "v=0\r\nm=audio 4000 RTP/AVP 8\r\n";
const ACK: &str = "ACK sip:112@b SIP/2.0\r\nl: 0\r\n\r\n";

fn framer(stream: &str) -> Framer {
    let mut framer = Framer::new();
    framer.push(stream.as_bytes()).unwrap();
    framer
}

fn frames(framer: &mut Framer) -> Vec<Bytes> {
    std::iter::from_fn(|| framer.next_frame()).collect()
}

#[test]
fn an_invite_is_worth_showing_once_it_describes_media_in_whole_lines() {
    for (body, is_worth) in [
        ("", false),
        ("v=0\r\n", false),
        ("v=0\r\ns=m=\r\n", false),
        ("v=0\r\nm=audio 4000 RTP/AVP 8", false),
        (MEDIA, true),
        ("m=audio 4000 RTP/AVP 8\r\n", true),
    ] {
        assert_eq!(
            framer(&format!("{HEAD}{body}")).is_worth_showing(),
            is_worth,
            "{body:?}"
        );
    }
    let options = HEAD.replace("INVITE", "OPTIONS") + MEDIA;
    let broken_off = &HEAD[..HEAD.len() - 2];
    for other in [&options, broken_off, &format!("{HEAD}{}", "m=x\r\n".repeat(12))] {
        assert!(!framer(other).is_worth_showing(), "{other}");
    }
}

#[test]
fn all_whole_lines_are_shown_once() {
    let mut framer = framer(&format!("{HEAD}{MEDIA}a=rtp"));
    assert_eq!(framer.show_invite().unwrap(), format!("{HEAD}{MEDIA}"));
    assert_eq!(framer.show_invite(), None);
    framer.push(b"map:8 PCMA/8000\r\n").unwrap();
    assert_eq!(
        framer.show_invite().unwrap(),
        format!("{HEAD}{MEDIA}a=rtpmap:8 PCMA/8000\r\n")
    );
    assert!(frames(&mut framer).is_empty());
}

#[test]
fn what_begins_like_a_message_behind_what_was_shown_is_the_next_however_it_comes() {
    let shown = format!("{HEAD}{MEDIA}");
    for next in [ACK.to_owned(), format!("\r\n\r\n{ACK}"), format!("{ACK}{ACK}")] {
        for step in [1, 3, next.len()] {
            let mut framer = framer(&shown);
            framer.show_invite().unwrap();
            for part in next.as_bytes().chunks(step) {
                framer.push(part).unwrap();
            }
            let mut expected = vec![shown.clone()];
            expected.extend(std::iter::repeat_n(ACK.to_owned(), next.matches(ACK).count()));
            assert_eq!(frames(&mut framer), expected, "{next:?} by {step}");
            assert!(!framer.is_inside_message());
        }
    }
}

#[test]
fn what_is_no_start_line_behind_what_was_shown_is_its_rest() {
    let shown = format!("{HEAD}{MEDIA}");
    let lacks = 60 - MEDIA.len();
    // The second has a start line within the rest, and not where it begins.
    for rest in [format!("a={}", "x".repeat(lacks - 2)), format!("\r\n--b\r\n{ACK:.22}")] {
        for step in [1, 3, rest.len()] {
            let mut framer = framer(&shown);
            framer.show_invite().unwrap();
            for part in rest.as_bytes().chunks(step) {
                framer.push(part).unwrap();
            }
            framer.push("x".repeat(lacks - rest.len()).as_bytes()).unwrap();
            framer.push(ACK.as_bytes()).unwrap();
            let whole = format!("{shown}{rest}{}", "x".repeat(lacks - rest.len()));
            assert_eq!(frames(&mut framer), [&whole, ACK], "{rest:?} by {step}");
        }
    }
}

#[test]
fn the_last_boundary_of_a_body_needs_no_line_end_to_be_the_rest() {
    let shown = format!("{HEAD}{MEDIA}");
    let lacks = 60 - MEDIA.len();
    for rest in [format!("--{}--", "b".repeat(lacks - 4)), "b".repeat(lacks)] {
        for step in [1, 3, rest.len()] {
            let mut framer = framer(&shown);
            framer.show_invite().unwrap();
            for part in rest.as_bytes().chunks(step) {
                framer.push(part).unwrap();
            }
            assert_eq!(frames(&mut framer), [format!("{shown}{rest}")], "{rest} by {step}");
            assert!(!framer.is_inside_message());
        }
    }
    let boundary = format!("--{}--", "b".repeat(lacks - 4));
    let mut framer = framer(&shown);
    framer.show_invite().unwrap();
    framer.push(format!("{boundary}{ACK}").as_bytes()).unwrap();
    assert_eq!(frames(&mut framer), [&format!("{shown}{boundary}"), ACK]);
}

#[test]
fn a_line_without_an_end_behind_what_was_shown_is_taken_for_the_rest_in_the_end() {
    let mut framer = framer(&format!("{HEAD}{MEDIA}"));
    framer.show_invite().unwrap();
    let line = [b"ACK sip:".as_slice(), &vec![b'x'; start_line::START_LINE_MAX]].concat();
    for part in line.chunks(100) {
        let pushed = framer.push(part);
        assert!(pushed.is_ok() || !frames(&mut framer).is_empty());
    }
    assert!(framer.buffer.len() < start_line::START_LINE_MAX + 200);
}
