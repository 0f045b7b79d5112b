//! BUNDLE (RFC 9143) of one line: each line of ours has a port of its own, so a group that we take has no other line in it. There are
//! pages that want a group all the same.

use std::net::IpAddr;

use super::description::MEDIA_LINES_MAX;
use super::{MediaLine, Secured};

/// What a group of its author's makes of a line.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Bundling {
    /// It can go on without a group.
    #[default]
    Free,
    /// The group is to use its address (RFC 9143 §7.2.1).
    Tag,
    /// It has no address but that of the tag: it is in the group or refused (RFC 9143 §7.3.3).
    Shared,
}

/// Longer names of lines are not read; browsers count.
const MID_BYTES_MAX: usize = 64;

/// The value of `a=mid`. None for what is no token (RFC 5888 §4).
pub(super) fn read_mid(value: &str) -> Option<String> {
    let is_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&c);
    let mid = value.trim();
    ((1..=MID_BYTES_MAX).contains(&mid.len()) && mid.bytes().all(is_token)).then(|| mid.to_owned())
}

/// Of `a=group`, which lines are in a BUNDLE group; the first is its tag. None for other groups.
pub(super) fn read_bundle(value: &str) -> Option<Vec<String>> {
    let mut words = value.split_ascii_whitespace();
    let is_bundle = words.next()?.eq_ignore_ascii_case("BUNDLE");
    is_bundle.then(|| words.take(MEDIA_LINES_MAX).filter_map(read_mid).collect())
}

/// What the group makes of each line.
pub(super) fn bundle(group: &[String], lines: &mut [MediaLine]) {
    let Some((tag, others)) = group.split_first() else {
        return;
    };
    let Some(place) = lines.iter().position(|line| line.mid.as_ref() == Some(tag)) else {
        return;
    };
    let (address, port) = (address_of(&lines[place]), lines[place].port);
    for (index, line) in lines.iter_mut().enumerate() {
        // Browsers leave out what has no candidates of its own; who trickles has none yet for any line.
        let is_there =
            address.is_some() && address_of(line).is_none_or(|own| (Some(own), line.port) == (address, port));
        line.bundling = match &line.mid {
            _ if index == place => Bundling::Tag,
            // Of one with port 0 that is what "bundle-only" means (RFC 9143 §6).
            Some(mid) if others.contains(mid) && (is_there || !line.is_live()) => Bundling::Shared,
            _ => Bundling::Free,
        };
    }
}

fn address_of(line: &MediaLine) -> Option<IpAddr> {
    line.connection.filter(|address| !address.is_unspecified())
}

/// The line that a description of ours has in a group, and its name. `is_ours`: it has a port of ours.
pub(super) fn bundled<'a>(
    lines: &[MediaLine],
    secured: &'a [Option<Secured>],
    is_ours: impl Fn(usize) -> bool,
) -> Option<(usize, &'a str)> {
    let mut bundled = secured
        .iter()
        .enumerate()
        .zip(lines)
        .filter_map(|((index, said), line)| {
            let mid = said.as_ref()?.bundled.as_deref()?;
            // Its author may call it otherwise, or another line so.
            let is_called_so = match &line.mid {
                Some(theirs) => theirs == mid,
                None => lines.iter().all(|other| other.mid.as_deref() != Some(mid)),
            };
            (is_called_so && is_ours(index)).then_some((index, mid))
        });
    bundled.next()
}

/// What each line without a name is called in a description with a group, where every line has one (RFC 5888 §6); None: as it is.
/// `known`: the lines as their reader has called them.
pub(super) fn names(lines: &[MediaLine], group: Option<(usize, &str)>, known: &[MediaLine]) -> Vec<Option<String>> {
    let Some((bundled, mid)) = group else {
        return Vec::new();
    };
    let mut taken: Vec<&str> = lines.iter().filter_map(|line| line.mid.as_deref()).collect();
    taken.push(mid);
    let mut names: Vec<Option<&str>> = vec![None; lines.len()];
    for (index, line) in lines.iter().enumerate() {
        let theirs = known.get(index).and_then(|line| line.mid.as_deref());
        let name = if index == bundled { Some(mid) } else { theirs };
        let is_free = |name: &&str| index == bundled || !taken.contains(name);
        let name = name.filter(is_free).filter(|_| line.mid.is_none());
        taken.extend(name);
        names[index] = name;
    }
    let mut given: Vec<Option<String>> = names.iter().map(|name| name.map(str::to_owned)).collect();
    // One more than there are lines: each finds one that is free.
    let mut fresh = (0..lines.len() * 2 + 1)
        .map(|n| n.to_string())
        .filter(|n| !taken.contains(&n.as_str()));
    for (line, name) in lines.iter().zip(&mut given) {
        if line.mid.is_none() && name.is_none() {
            *name = fresh.next();
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sdp::SessionDescription;

    #[test]
    fn a_bundle_group_has_the_lines_that_it_names_and_other_groups_are_none() {
        let read = |value: &str| read_bundle(value).map(|mids| mids.join(","));
        for (value, mids) in [
            ("BUNDLE 0 1", Some("0,1")),
            ("bundle  audio video", Some("audio,video")),
            ("BUNDLE", Some("")),
            ("LS 0 1", None),
            ("BUNDLEX 0", None),
            ("", None),
        ] {
            assert_eq!(read(value).as_deref(), mids, "{value}");
        }
        let many = format!("BUNDLE{}", " 0".repeat(10 * MEDIA_LINES_MAX));
        assert_eq!(read_bundle(&many).map(|mids| mids.len()), Some(MEDIA_LINES_MAX));
    }

    #[test]
    fn a_line_with_the_address_of_its_groups_tag_cannot_leave_the_group() {
        let bundling = |group: &str, video: &str| {
            let text = format!(
                "v=0\na=group:{group}\nc=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0\na=mid:0\nm=video {video} RTP/AVP 96\n{}a=mid:1\n",
                if video == "9" { "c=IN IP4 0.0.0.0\n" } else { "" },
            );
            let sdp = SessionDescription::parse(text.as_bytes()).expect("a description");
            [sdp.lines()[0].bundling, sdp.lines()[1].bundling]
        };
        assert_eq!(bundling("BUNDLE 0 1", "4000"), [Bundling::Tag, Bundling::Shared]);
        assert_eq!(bundling("BUNDLE 0 1", "9"), [Bundling::Tag, Bundling::Shared]);
        assert_eq!(bundling("BUNDLE 1 0", "9"), [Bundling::Free, Bundling::Tag]);
        assert_eq!(bundling("BUNDLE 0 1", "4002"), [Bundling::Tag, Bundling::Free]);
        assert_eq!(bundling("BUNDLE 0 1", "0"), [Bundling::Tag, Bundling::Shared]);
        assert_eq!(bundling("BUNDLE 0", "4000"), [Bundling::Tag, Bundling::Free]);
        assert_eq!(bundling("BUNDLE 7 0 1", "4000"), [Bundling::Free, Bundling::Free]);
        assert_eq!(bundling("LS 0 1", "4000"), [Bundling::Free, Bundling::Free]);
    }

    #[test]
    fn in_a_description_with_a_group_every_line_has_a_name_of_its_own() {
        let read = |text: &str| SessionDescription::parse(text.as_bytes()).expect("a description");
        let named = |mids: [&str; 4]| {
            let line = |mid: &str| match mid {
                "" => "m=audio 4000 RTP/AVP 0\n".to_owned(),
                mid => format!("m=audio 4000 RTP/AVP 0\na=mid:{mid}\n"),
            };
            read(&format!("v=0\nc=IN IP4 192.0.2.1\n{}", mids.map(line).concat()))
        };
        let given = |mids, group, known| {
            let (sdp, known) = (named(mids), named(known));
            names(sdp.lines(), group, known.lines())
                .into_iter()
                .map(Option::unwrap_or_default)
                .collect::<Vec<_>>()
        };
        let nobody = ["", "", "", ""];
        assert!(given(nobody, None, ["a", "b", "c", "d"]).is_empty(), "without a group");
        assert_eq!(given(nobody, Some((0, "0")), nobody), ["0", "1", "2", "3"]);
        assert_eq!(given(nobody, Some((1, "1")), ["a", "b", "c", ""]), ["a", "1", "c", "0"]);
        assert_eq!(given(["", "x", "", ""], Some((0, "2")), nobody), ["2", "", "0", "1"]);
        assert_eq!(
            given(["", "0", "", "1"], Some((0, "a")), ["a", "", "0", ""]),
            ["a", "", "2", ""]
        );
        assert_eq!(
            given(nobody, Some((0, "a")), ["a", "b", "b", "a"]),
            ["a", "b", "0", "1"]
        );
    }

    #[test]
    fn a_name_is_a_token_of_bounded_length() {
        assert_eq!(read_mid(" sdparta_0 ").as_deref(), Some("sdparta_0"));
        for value in ["", "a b", "a\"b", "ä", &"x".repeat(MID_BYTES_MAX + 1)] {
            assert_eq!(read_mid(value), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,80}") {
            let _ = (read_mid(&text), read_bundle(&text), read_bundle(&format!("BUNDLE {text}")));
        }
    }
}
