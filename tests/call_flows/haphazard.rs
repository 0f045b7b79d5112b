//! Two talk, video must be recorded, and the recorder opens when it likes: whatever they ask for, say, cancel and confuse, in
//! whatever order, no video is relayed that is not recorded, and nothing is left of it in the end.

use std::time::Duration;

use onrecord::engine::Input;
use onrecord::model::{Fault, Gate, MediaCommand, MediaKind, MediaPlan, Recorded, RecordingCommand, RecordingEvent};
use onrecord::sip::{Message, Request};
use proptest::prelude::*;

use super::bench::{A, B, Bench, GRANTS, SDP, VIDEO_ALONE, answer, with_lines};

const KNOWS: &str = "Supported: 100rel\r\n";

#[derive(Clone, Copy, Debug)]
enum Body {
    Nothing,
    Audio,
    Video,
    /// In the place of the audio.
    VideoAlone,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Asks {
        by_b: bool,
        method: &'static str,
        body: Body,
    },
    /// To the newest request of that method.
    Answers {
        by_b: bool,
        method: &'static str,
        status: u16,
        body: Body,
    },
    Progresses {
        body: Body,
        number: u32,
    },
    Acknowledges {
        body: Body,
    },
    Pracks {
        body: Body,
        number: u32,
    },
    Cancels,
    RecordingOpens,
    RecordingDoesNot,
    RecorderIsUp,
    Waits {
        millis: u64,
    },
}

/// Both phones, who count their requests.
struct Scene {
    bench: Bench,
    tag: String,
    cseqs: [u32; 2],
    asked: u32,
    to_b: Request,
}

impl Body {
    fn text(self) -> String {
        let video = "m=video 4002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n";
        match self {
            Self::Nothing => String::new(),
            Self::Audio => SDP.to_owned(),
            Self::Video => format!("{SDP}{video}"),
            Self::VideoAlone => SDP.replace("m=audio", "m=video"),
        }
    }
}

impl Scene {
    fn talks() -> Self {
        let mut bench = Bench::with(&[("desk.toml", VIDEO_ALONE), ("grants.toml", GRANTS)]).connected();
        bench.recorder_answers = false;
        let tag = bench.response_to_a().headers.to().tag().unwrap().to_owned();
        let to_b = bench.request_to_b("INVITE");
        Self {
            bench,
            tag,
            cseqs: [1, 100],
            asked: 1,
            to_b,
        }
    }

    fn a_requests(&mut self, method: &str, cseq: u32, more: &str, sdp: &str) {
        self.bench.a_requests_in(&self.tag, cseq, method, more, sdp);
    }

    fn b_requests(&mut self, method: &str, sdp: &str) {
        self.cseqs[1] += 1;
        let cseq = self.cseqs[1];
        let (from, to) = (
            self.to_b.headers.get("To").unwrap(),
            self.to_b.headers.get("From").unwrap(),
        );
        let typed = if sdp.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        let text = format!(
            "{method} sip:x SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bKb{cseq}\r\nMax-Forwards: 70\r\nFrom: {from};tag=b-tag\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: <sip:bob@{B}>\r\n{typed}Content-Length: {}\r\n\r\n{sdp}",
            self.to_b.headers.call_id(),
            sdp.len()
        );
        self.bench.from(B, text.into());
    }

    fn answers(&mut self, by_b: bool, method: &str, status: u16, more: &str, sdp: &str) {
        let (heard, phone, tag) = match by_b {
            true => (&self.bench.to_b, B, "b-tag"),
            false => (&self.bench.to_a, A, "a-tag"),
        };
        let asked = heard.iter().rev().find_map(|message| match message {
            Message::Request(request) if request.method.as_str() == method => Some(request.clone()),
            _ => None,
        });
        if let Some(asked) = asked {
            let bytes = answer(&asked, status, tag, phone, sdp);
            self.bench.from(phone, with_lines(&bytes, more));
        }
    }

    /// Of the recording that is asked for, and is not over.
    fn is_opening(&self) -> Option<RecordingEvent> {
        let newest = self.bench.recording.iter().rev().find_map(|command| match command {
            RecordingCommand::Open(header) => Some(Some(header.session)),
            RecordingCommand::Close { .. } | RecordingCommand::Keep { .. } => Some(None),
            _ => None,
        });
        newest.flatten().map(|session| RecordingEvent::Ready { session })
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Asks {
                by_b: true,
                method,
                body,
            } => self.b_requests(method, &body.text()),
            Step::Asks {
                by_b: false,
                method,
                body,
            } => {
                self.cseqs[0] += 1;
                if method == "INVITE" {
                    self.asked = self.cseqs[0];
                }
                self.a_requests(method, self.cseqs[0], KNOWS, &body.text());
            }
            Step::Answers {
                by_b,
                method,
                status,
                body,
            } => self.answers(by_b, method, status, "", &body.text()),
            Step::Progresses { body, number } => {
                let reliable = format!("Require: 100rel\r\nRSeq: {number}\r\n");
                self.answers(true, "INVITE", 183, &reliable, &body.text());
            }
            Step::Acknowledges { body } => self.a_requests("ACK", self.asked, "", &body.text()),
            Step::Pracks { body, number } => {
                self.cseqs[0] += 1;
                let rack = format!("RAck: {number} {} INVITE\r\n", self.asked);
                self.a_requests("PRACK", self.cseqs[0], &rack, &body.text());
            }
            Step::Cancels => self.a_requests("CANCEL", self.asked, "", ""),
            Step::RecordingOpens => {
                if let Some(ready) = self.is_opening() {
                    self.bench.input(Input::Recording(ready));
                }
            }
            Step::RecordingDoesNot => {
                if let Some(RecordingEvent::Ready { session }) = self.is_opening() {
                    let fault = Fault::DiskFull;
                    self.bench
                        .input(Input::Recording(RecordingEvent::OpenFailed { session, fault }));
                }
            }
            Step::RecorderIsUp => self.bench.input(Input::Recording(RecordingEvent::Up)),
            Step::Waits { millis } => self.bench.wait(Duration::from_millis(millis)),
        }
    }

    /// Whoever still talks hangs up, and every question has its answer.
    fn ends(&mut self) {
        self.cseqs[0] += 1;
        self.a_requests("ACK", self.asked, "", "");
        self.a_requests("BYE", self.cseqs[0], "", "");
        for _ in 0..2 {
            self.answers(true, "CANCEL", 200, "", "");
            self.answers(true, "INVITE", 487, "", "");
            for by_b in [true, false] {
                self.answers(by_b, "BYE", 200, "", "");
            }
            self.bench.wait(Duration::from_secs(40));
        }
        self.bench.assert_nothing_left();
    }
}

/// Whether the relay would carry video of this plan.
fn carries_video(plan: &MediaPlan) -> bool {
    let mut video = plan.lines.iter().filter(|line| line.kind == MediaKind::Video);
    video.any(|line| line.a.remote.is_some() && line.b.remote.is_some())
}

/// Of what the relay was told, one after the other: video that nobody records, and that may cross.
fn leaks(bench: &Bench) -> bool {
    let (mut is_bare, mut is_shut, mut leaked) = (false, false, false);
    for command in &bench.media {
        match command {
            MediaCommand::Open(plan) | MediaCommand::Modify(plan) => {
                is_bare = carries_video(plan) && plan.recorded != Recorded::Strict;
            }
            MediaCommand::Gate { gate, .. } => is_shut = *gate == Gate::Shut,
            MediaCommand::Notice(_) | MediaCommand::Pausing { .. } => {}
            MediaCommand::Close { .. } => is_bare = false,
        }
        leaked |= is_bare && !is_shut;
    }
    leaked
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        2 => Just(Body::Nothing),
        2 => Just(Body::Audio),
        4 => Just(Body::Video),
        1 => Just(Body::VideoAlone),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let asked = prop_oneof![3 => Just("INVITE"), 1 => Just("UPDATE")];
    let status = prop_oneof![6 => Just(200), 1 => Just(487), 1 => Just(488), 1 => Just(491)];
    prop_oneof![
        5 => (proptest::bool::weighted(0.3), asked.clone(), body()).prop_map(|(by_b, method, body)| Step::Asks { by_b, method, body }),
        6 => (proptest::bool::weighted(0.7), asked, status, body())
            .prop_map(|(by_b, method, status, body)| Step::Answers { by_b, method, status, body }),
        1 => Just(Step::Answers { by_b: true, method: "PRACK", status: 200, body: Body::Nothing }),
        1 => Just(Step::Answers { by_b: true, method: "CANCEL", status: 200, body: Body::Nothing }),
        3 => (body(), 7..9_u32).prop_map(|(body, number)| Step::Progresses { body, number }),
        3 => body().prop_map(|body| Step::Acknowledges { body }),
        2 => (body(), 7..9_u32).prop_map(|(body, number)| Step::Pracks { body, number }),
        1 => Just(Step::Cancels),
        2 => Just(Step::RecordingOpens),
        3 => Just(Step::RecordingDoesNot),
        1 => Just(Step::RecorderIsUp),
        2 => prop_oneof![Just(100), Just(2_100), Just(5_000)].prop_map(|millis| Step::Waits { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_video_is_relayed_unrecorded_and_nothing_is_left_whatever_happens(steps in proptest::collection::vec(step(), 1..24)) {
        let mut scene = Scene::talks();
        for step in steps {
            scene.play(step);
            prop_assert!(!leaks(&scene.bench), "{:#?}", scene.bench.story);
        }
        scene.ends();
        prop_assert!(!leaks(&scene.bench), "{:#?}", scene.bench.story);
    }
}
