//! Any bytes as a stream, in pieces whose size the first byte says: no panic, no frame that is too long, nothing held
//! beyond one message, and the same frames as in one piece.
#![no_main]

use libfuzzer_sys::fuzz_target;
use onrecord::sip::{Framer, FramingError, MESSAGE_BYTES_MAX, Message};

fn cut(stream: &[u8], step: usize) -> (Vec<bytes::Bytes>, Option<FramingError>) {
    let mut framer = Framer::new();
    let mut frames = Vec::new();
    for piece in stream.chunks(step) {
        let pushed = framer.push(piece);
        frames.extend(std::iter::from_fn(|| framer.next_frame()));
        if let Err(error) = pushed {
            // What its sender is told is one response and no more, though it may repeat what is wrong with the request.
            let answer = framer.answer_to_broken("192.0.2.1:5060".parse().expect("an address"));
            let is_one = |answer: &[u8]| {
                let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
                answer.starts_with(b"SIP/2.0 ") && end == Some(answer.len() - 4)
            };
            assert!(answer.is_none_or(|answer| is_one(&answer)));
            return (frames, Some(error));
        }
    }
    (frames, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((step, stream)) = data.split_first() else {
        return;
    };
    let (frames, error) = cut(stream, usize::from(*step).max(1));
    assert_eq!((&frames, error), (&cut(stream, stream.len().max(1)).0, error));
    for frame in frames {
        assert!(frame.len() <= MESSAGE_BYTES_MAX);
        let _ = Message::parse(&frame);
    }
});
