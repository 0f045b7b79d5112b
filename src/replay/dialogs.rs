//! Which call a message is of: by Call-ID and the tag of who called (RFC 3261 §12), for Call-IDs are used again.

use std::collections::BTreeMap;

use super::binding::CallIndex;
use crate::sip::Headers;

/// Tags that are remembered. Full: a message with another is of the newest call under its Call-ID.
const TAGS_MAX: usize = 400_000;

#[derive(Default)]
pub(super) struct Dialogs {
    by_call_id: BTreeMap<String, Namesakes>,
    tags: usize,
}

/// Calls under one Call-ID.
struct Namesakes {
    newest: CallIndex,
    /// By the From tags of what opened them.
    by_tag: BTreeMap<String, CallIndex>,
}

impl Dialogs {
    /// The one whose tag a message has; else the newest under its Call-ID.
    pub(super) fn find(&self, headers: &Headers) -> Option<CallIndex> {
        self.find_by(headers.call_id(), [headers.from().tag(), headers.to().tag()])
    }

    pub(super) fn find_by(&self, call_id: &str, tags: [Option<&str>; 2]) -> Option<CallIndex> {
        let namesakes = self.by_call_id.get(call_id)?;
        let of = |tag: Option<&str>| namesakes.by_tag.get(tag.unwrap_or_default());
        let [from, to] = tags;
        Some(of(from).or_else(|| of(to)).copied().unwrap_or(namesakes.newest))
    }

    /// Whether a message with this From tag has opened the call, or one of its hops.
    pub(super) fn is_opened_by(&self, headers: &Headers, call: CallIndex) -> bool {
        let tag = headers.from().tag().unwrap_or_default();
        self.by_call_id
            .get(headers.call_id())
            .is_some_and(|namesakes| namesakes.by_tag.get(tag) == Some(&call))
    }

    /// What opens the call, or another hop of it.
    pub(super) fn open(&mut self, headers: &Headers, call: CallIndex) {
        let tag = headers.from().tag().unwrap_or_default();
        if !self.by_call_id.contains_key(headers.call_id()) {
            let namesakes = Namesakes {
                newest: call,
                by_tag: BTreeMap::new(),
            };
            self.by_call_id.insert(headers.call_id().to_owned(), namesakes);
        }
        let Some(namesakes) = self.by_call_id.get_mut(headers.call_id()) else {
            return;
        };
        namesakes.newest = namesakes.newest.max(call);
        if let Some(held) = namesakes.by_tag.get_mut(tag) {
            *held = call;
        } else if self.tags < TAGS_MAX {
            namesakes.by_tag.insert(tag.to_owned(), call);
            self.tags += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::super::forge::{ETHERNET, Pcap, millis, rtp};
    use super::super::report::Report;
    use super::super::talk::{Said, Talk};

    /// One hop of a call: who is at its ends, by which tags.
    struct Hop {
        ends: [&'static str; 2],
        media: [&'static str; 2],
        tags: [&'static str; 2],
        cseq: u32,
    }

    const FIRST: Hop = Hop {
        ends: ["192.168.0.1:5060", "192.168.0.2:5060"],
        media: ["192.168.0.1:4000", "192.168.0.2:6000"],
        tags: ["a1", "b1"],
        cseq: 1,
    };

    impl Hop {
        fn say(&self, file: &mut Pcap, at: u64, by_a: bool, (start, method): (&str, &str), cseq: u32, tagged: bool) {
            let media = matches!((start, method), ("INVITE", _) | ("SIP/2.0 200 OK", "INVITE"));
            let start = match start {
                "SIP/2.0 200 OK" | "SIP/2.0 486 Busy Here" | "SIP/2.0 180 Ringing" => start.to_owned(),
                method => format!("{method} sip:someone@192.168.0.2 SIP/2.0"),
            };
            let said = Said {
                start: &start,
                cseq: &format!("{cseq} {method}"),
                by_a,
                b_tag: tagged.then_some("from-b"),
                media: media.then_some(self.media[usize::from(!by_a)]),
            };
            let text = String::from_utf8(said.bytes("one@test")).unwrap();
            let text = text
                .replace("tag=from-a", &format!("tag={}", self.tags[0]))
                .replace("tag=from-b", &format!("tag={}", self.tags[1]));
            let (src, dst) = (self.ends[usize::from(!by_a)], self.ends[usize::from(by_a)]);
            file.udp(millis(at), src, dst, text.as_bytes());
        }

        fn invite(&self, file: &mut Pcap, at: u64) {
            self.say(file, at, true, ("INVITE", "INVITE"), self.cseq, false);
        }

        fn ok(&self, file: &mut Pcap, at: u64) {
            self.say(file, at, false, ("SIP/2.0 200 OK", "INVITE"), self.cseq, true);
            self.say(file, at + 5, true, ("ACK", "ACK"), self.cseq, true);
        }

        fn talk(&self, file: &mut Pcap, at: u64, ssrc: u32) {
            for n in 0..20 {
                file.udp(
                    millis(at + u64::from(n) * 20),
                    self.media[0],
                    self.media[1],
                    &rtp(ssrc, 0, n),
                );
            }
        }

        fn hang_up(&self, file: &mut Pcap, at: u64, by_a: bool) {
            let number = if by_a { self.cseq + 1 } else { 1 };
            self.say(file, at, by_a, ("BYE", "BYE"), number, true);
            self.say(file, at + 5, !by_a, ("SIP/2.0 200 OK", "BYE"), number, true);
        }

        fn whole(&self, file: &mut Pcap, at: u64, ssrc: u32) {
            self.invite(file, at);
            self.ok(file, at + 100);
            self.talk(file, at + 200, ssrc);
            self.hang_up(file, at + 700, true);
        }
    }

    fn replayed(file: Pcap) -> Report {
        let mut talk = Talk::new("one@test");
        talk.file = file;
        talk.replay()
    }

    /// SSRC, packets, recorded of every call.
    fn recorded(report: &Report) -> Vec<Vec<(u32, u64, u64)>> {
        let of = |call: &super::super::CallReport| {
            let streams = call.streams.iter();
            streams.map(|s| (s.ssrc, s.packets, s.recorded)).collect()
        };
        report.calls.iter().map(of).collect()
    }

    #[test]
    fn a_call_id_that_is_used_again_names_another_call() {
        for cseq in [1, 50] {
            // 100: while the first is talking. 10,000 and 60,000: after it, its transactions remembered and forgotten.
            for later in [300, 10_000, 60_000] {
                let second = Hop {
                    media: ["192.168.0.3:4100", "192.168.0.2:6100"],
                    tags: ["a2", "b2"],
                    cseq,
                    ..FIRST
                };
                let mut parts = [Pcap::new(ETHERNET), Pcap::new(ETHERNET)];
                FIRST.whole(&mut parts[0], 0, 1);
                second.whole(&mut parts[1], later, 2);
                let mut records = [parts[0].records(), parts[1].records()].concat();
                records.sort_by_key(|(at, _)| *at);
                let mut file = Pcap::new(ETHERNET);
                for (at, frame) in records {
                    file.push(at, &frame);
                }
                let report = replayed(file);
                assert_eq!(recorded(&report), [[(1, 20, 20)], [(2, 20, 20)]], "{later} {cseq}");
            }
        }
    }

    #[test]
    fn who_was_busy_and_is_called_again_with_another_tag_has_two_calls() {
        let second = Hop {
            tags: ["a2", "b2"],
            ..FIRST
        };
        let mut file = Pcap::new(ETHERNET);
        FIRST.invite(&mut file, 0);
        FIRST.say(&mut file, 50, false, ("SIP/2.0 486 Busy Here", "INVITE"), 1, true);
        FIRST.say(&mut file, 60, true, ("ACK", "ACK"), 1, true);
        second.whole(&mut file, 5_000, 2);
        assert_eq!(recorded(&replayed(file)), [vec![], vec![(2, 20, 20)]]);
    }

    #[test]
    fn a_border_controller_that_keeps_the_call_id_and_no_tag_makes_no_second_call() {
        for cseq in [1, 100] {
            for by_a in [true, false] {
                let relay = ["192.168.0.9:7000", "192.168.0.9:7100"];
                let near = Hop {
                    ends: [FIRST.ends[0], "192.168.0.9:5060"],
                    media: [FIRST.media[0], relay[0]],
                    ..FIRST
                };
                let far = Hop {
                    ends: ["192.168.0.9:5060", FIRST.ends[1]],
                    media: [relay[1], FIRST.media[1]],
                    tags: ["s1", "b9"],
                    cseq,
                };
                let mut file = Pcap::new(ETHERNET);
                near.invite(&mut file, 0);
                far.invite(&mut file, 10);
                far.ok(&mut file, 100);
                near.ok(&mut file, 120);
                near.talk(&mut file, 200, 1);
                far.talk(&mut file, 700, 1);
                // Whichever end hangs up, its hop is the first to know.
                let (first, then) = if by_a { (&near, &far) } else { (&far, &near) };
                first.hang_up(&mut file, 1_200, by_a);
                then.hang_up(&mut file, 1_300, by_a);
                let report = replayed(file);
                assert_eq!(recorded(&report), [[(1, 40, 20)]], "{cseq} {by_a}");
                let flow = super::super::talk::flow(&report.calls[0]);
                let byes = flow.iter().filter(|line| line.ends_with(" BYE")).count();
                assert_eq!(byes, 2, "{flow:?}");
            }
        }
    }
}
