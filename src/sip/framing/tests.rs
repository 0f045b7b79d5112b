#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn message(body: &str) -> String {
    format!("OPTIONS sip:a@b SIP/2.0\r\nX: y\r\nl:\r\n {}\r\n\r\n{body}", body.len())
}

fn frames(framer: &mut Framer) -> Vec<Bytes> {
    std::iter::from_fn(|| framer.next_frame()).collect()
}

#[test]
fn messages_are_cut_wherever_the_stream_was() {
    let stream = format!("{}\r\n\r\n{}{}", message("hello"), message(""), message("\r\n\r\n"));
    for step in [1, 2, 7, stream.len()] {
        let mut framer = Framer::new();
        let mut cut = Vec::new();
        for part in stream.as_bytes().chunks(step) {
            framer.push(part).unwrap();
            cut.extend(frames(&mut framer));
        }
        assert_eq!(cut, [message("hello"), message(""), message("\r\n\r\n")]);
        assert!(!framer.is_inside_message());
        assert_eq!(
            (framer.keep_alives(), framer.take_pings(), framer.take_pings()),
            (2, 1, 0)
        );
    }
}

#[test]
fn single_line_ends_between_messages_are_no_pings() {
    let mut framer = Framer::new();
    framer
        .push(format!("\r\n{}\r\n{}\r\n", message("a"), message("b")).as_bytes())
        .unwrap();
    assert_eq!(frames(&mut framer).len(), 2);
    assert_eq!((framer.keep_alives(), framer.take_pings()), (3, 0));
}

#[test]
fn a_stream_that_cannot_be_cut_ends_with_its_reason() {
    for (text, error) in [
        ("A b C\r\nX: y\r\n\r\n".to_owned(), FramingError::NoContentLength),
        (
            "A b C\r\nContent-Length: -1\r\n\r\n".to_owned(),
            FramingError::BadContentLength,
        ),
        (
            "A b C\r\nContent-Length:\r\n\r\n".to_owned(),
            FramingError::BadContentLength,
        ),
        (
            "A b C\r\nContent-Length: 1\r\nl: 2\r\n\r\n".to_owned(),
            FramingError::BadContentLength,
        ),
        (
            "A b C\r\nContent-Length: 99999999999999999999\r\n\r\n".to_owned(),
            FramingError::BadContentLength,
        ),
        (
            "A b C\r\nContent-Length: 65535\r\n\r\n".to_owned(),
            FramingError::MessageTooLong,
        ),
        (
            format!("A b C\r\nContent-Length: {}\r\n\r\n", usize::MAX),
            FramingError::MessageTooLong,
        ),
        ("A b C\r\nX: a\nb\r\nl: 0\r\n\r\n".to_owned(), FramingError::BadLines),
        ("x".repeat(HEAD_BYTES_MAX + 1), FramingError::HeadTooLong),
        (
            format!("A b C\r\n{}l: 0\r\n\r\n", "X: y\r\n".repeat(HEAD_BYTES_MAX / 6)),
            FramingError::HeadTooLong,
        ),
    ] {
        let mut framer = Framer::new();
        let stream = message("first") + &text;
        assert_eq!(framer.push(stream.as_bytes()), Err(error), "{text:.60}");
        assert_eq!(frames(&mut framer), [message("first")]);
        assert_eq!(
            framer.push(message("").as_bytes()),
            Err(error),
            "nothing comes after an error"
        );
        assert!(framer.next_frame().is_none());
    }
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_never_panic_and_give_the_same_frames(
        bytes in "(A b C\r\n|l: [0-9]{1,2}\r\n|X: y\r\n|\r\n|[a-z]{1,9}){0,20}",
        step in 1_usize..9,
    ) {
        let cut = |step: usize| {
            let mut framer = Framer::new();
            let mut cut = Vec::new();
            for part in bytes.as_bytes().chunks(step) {
                let pushed = framer.push(part);
                cut.extend(frames(&mut framer));
                if let Err(error) = pushed {
                    return (cut, Some(error));
                }
            }
            (cut, None)
        };
        prop_assert_eq!(cut(step), cut(bytes.len().max(1)));
    }
}
