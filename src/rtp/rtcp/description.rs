//! Source descriptions: whose a source is (RFC 3550 §6.5).

use crate::model::Ssrc;

/// RFC 3550 §6.5.1.
const CNAME: u8 = 1;

/// A chunk of a source description, and its CNAME.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SourceName<'a> {
    pub ssrc: Ssrc,
    /// UTF-8 if its sender keeps the rules.
    pub name: &'a [u8],
}

/// Chunks without a CNAME are passed over.
pub(super) fn names(mut chunks: &[u8]) -> impl Iterator<Item = SourceName<'_>> {
    std::iter::from_fn(move || {
        loop {
            let (source, items) = chunks.split_first_chunk::<4>()?;
            let (name, length) = read_items(items)?;
            // Items end with a zero, and zeros up to the next word.
            chunks = items.get(length.next_multiple_of(4)..).unwrap_or_default();
            if let Some(name) = name {
                let ssrc = Ssrc(u32::from_be_bytes(*source));
                return Some(SourceName { ssrc, name });
            }
        }
    })
}

/// The CNAME among a chunk's items, and their length with the zero that ends them. None: they do not fit.
fn read_items(items: &[u8]) -> Option<(Option<&[u8]>, usize)> {
    let (mut name, mut at) = (None, 0);
    loop {
        let [kind, rest @ ..] = items.get(at..)? else {
            return None;
        };
        if *kind == 0 {
            return Some((name, at + 1));
        }
        let [length, rest @ ..] = rest else { return None };
        let length = usize::from(*length);
        let text = rest.get(..length)?;
        if *kind == CNAME {
            name = name.or(Some(text));
        }
        at += 2 + length;
    }
}

#[cfg(test)]
mod tests {
    use super::super::walk;
    use super::*;

    #[test]
    fn each_chunk_tells_its_sources_canonical_name() {
        let mut packet = vec![0x83, 202, 0, 0];
        packet.extend(b"\0\0\0\x07\x02\x02Al\x01\x04a@b.\0\0"); // NAME, CNAME, padding
        packet.extend(b"\0\0\0\x08\x02\x01x\0"); // no CNAME
        packet.extend(b"\0\0\0\x09\x01\x01c\0");
        packet[3] = (packet.len() / 4 - 1) as u8;
        assert_eq!(packet.len() % 4, 0);
        let read = walk(&packet).next().expect("a packet").expect("sound");
        let names: Vec<_> = read.source_names().map(|named| (named.ssrc.0, named.name)).collect();
        assert_eq!(names, [(7, &b"a@b."[..]), (9, &b"c"[..])]);
    }

    #[test]
    fn a_chunk_that_does_not_fit_ends_the_walk() {
        assert_eq!(names(b"\0\0\0\x07\x01\xffa").count(), 0);
        assert_eq!(names(b"\0\0\0\x07\x01\x01a").count(), 0, "no end");
        assert_eq!(names(b"\0\0\0\x07\x01").count(), 0);
        assert_eq!(names(b"\0\0").count(), 0);
    }
}
