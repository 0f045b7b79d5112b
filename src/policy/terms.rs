//! The words that a policy file is made of, as types.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::consenting::ConsentTerms;

/// The final status that a strict call gets when it cannot be recorded (strict mode, "on the wire").
///
/// In JSON: `"auto"` or the number.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RejectCode {
    /// 503 if another node could take the call, else 603: a 5xx invites the PBX to route around the recorder.
    #[default]
    Auto,
    Fixed(RejectStatus),
}

/// A status that an administrator may choose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RejectStatus {
    Forbidden,
    TemporarilyUnavailable,
    ServerInternalError,
    ServiceUnavailable,
    Decline,
}

impl RejectStatus {
    pub(crate) const ALL: [Self; 5] = [
        Self::Forbidden,
        Self::TemporarilyUnavailable,
        Self::ServerInternalError,
        Self::ServiceUnavailable,
        Self::Decline,
    ];

    pub const fn code(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            Self::TemporarilyUnavailable => 480,
            Self::ServerInternalError => 500,
            Self::ServiceUnavailable => 503,
            Self::Decline => 603,
        }
    }
}

impl Serialize for RejectCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Fixed(status) => serializer.serialize_u16(status.code()),
        }
    }
}

impl RejectCode {
    /// The status to send; `peer_node` is true when another node is declared that could take the call.
    pub const fn status(self, peer_node: bool) -> u16 {
        match (self, peer_node) {
            (Self::Fixed(status), _) => status.code(),
            (Self::Auto, true) => 503,
            (Self::Auto, false) => 603,
        }
    }

    /// This choice, or `default` where it is left open.
    #[must_use]
    pub const fn or(self, default: Self) -> Self {
        match self {
            Self::Auto => default,
            Self::Fixed(_) => self,
        }
    }
}

/// From when on a failed recording ends the call, where it could begin unrecorded.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DuringArms {
    /// Once recording has started, as Teams does.
    #[default]
    Recording,
    /// At the answer: a call that is not recorded by then is ended.
    Answer,
}

/// What a policy says of a call that it applies to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    #[default]
    Record,
    /// Asks for nothing.
    Skip,
    /// Must not be recorded.
    Never,
    /// Must not take place.
    Block,
}

/// What happens when one party's policy demands recording and the other's forbids it. Ordered by force.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    Record,
    Never,
    Block,
}

/// Which media are kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
pub struct MediaSet {
    pub audio: bool,
    pub video: bool,
    /// Screen sharing: a video m-line with `a=content:slides` (RFC 4796) or an application m-line.
    pub screen: bool,
    pub chat: bool,
}

impl MediaSet {
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self {
            audio: self.audio || other.audio,
            video: self.video || other.video,
            screen: self.screen || other.screen,
            chat: self.chat || other.chat,
        }
    }
}

/// How parties are told, ordered from the least to the most demanding.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyMode {
    #[default]
    None,
    Sdp,
    Tone,
    Prompt,
    PromptAndTone,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyWhom {
    Caller,
    Callee,
    #[default]
    Both,
    External,
}

#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyWhen {
    #[default]
    AfterAnswer,
    BeforeConnect,
}

/// What happens when a party cannot be told, for want of a codec or of a prompt. Ordered by force.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Untold {
    /// The call goes on, and its recording says so.
    #[default]
    Mark,
    /// The call does not come about.
    Refuse,
}

/// Telling people.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Notify {
    pub mode: NotifyMode,
    pub whom: NotifyWhom,
    pub when: NotifyWhen,
    /// The parties hear each other while one of them is told by a prompt.
    pub over_talk: bool,
    /// From tone to tone.
    pub every: Duration,
    pub untold: Untold,
    /// None: who is told need not agree.
    pub consent: Option<ConsentTerms>,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            mode: NotifyMode::default(),
            whom: NotifyWhom::default(),
            when: NotifyWhen::default(),
            over_talk: false,
            every: TONE_EVERY_DEFAULT,
            untold: Untold::default(),
            consent: None,
        }
    }
}

/// As recorders of telephone companies do it.
const TONE_EVERY_DEFAULT: Duration = Duration::from_secs(15);

impl NotifyMode {
    pub const fn has_prompt(self) -> bool {
        matches!(self, Self::Prompt | Self::PromptAndTone)
    }

    pub const fn has_tone(self) -> bool {
        matches!(self, Self::Tone | Self::PromptAndTone)
    }

    /// What meets both.
    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Tone, Self::Prompt) | (Self::Prompt, Self::Tone) => Self::PromptAndTone,
            (one, other) if (one as u8) < other as u8 => other,
            (one, _) => one,
        }
    }
}

impl Notify {
    /// The more demanding of two: what meets both modes, the earlier time, and both parties where they differ.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let consent = match (self.consent, other.consent) {
            (Some(own), Some(other)) => Some(own.and(other)),
            (own, other) => own.or(other),
        };
        if self.mode == NotifyMode::None || other.mode == NotifyMode::None {
            let telling = if self.mode == NotifyMode::None { other } else { self };
            return Self { consent, ..telling };
        }
        Self {
            mode: self.mode.and(other.mode),
            whom: if self.whom == other.whom {
                self.whom
            } else {
                NotifyWhom::Both
            },
            when: self.when.max(other.when),
            over_talk: self.over_talk && other.over_talk,
            every: self.every.min(other.every),
            untold: self.untold.max(other.untold),
            consent,
        }
    }
}

/// How long a recording is kept. Kept in the decision; nothing is deleted in this version.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Deserialize, Serialize)]
pub struct Retention {
    /// Years are 366 days, months 31: never shorter than meant.
    pub keep: Duration,
}
