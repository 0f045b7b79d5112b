//! What is wrong with a policy or config file, said so that it can be put right.

use serde::{Deserialize, Serialize};

use super::source::Source;

/// At most so many findings are kept of one load; the last one says how many more there are.
pub(crate) const FINDINGS_MAX: usize = 200;

#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing of the folder is loaded: refused at start; on reload the last good generation stays.
    Error,
    /// Loaded, but it may not mean what was meant.
    Warning,
    /// Loaded, and good to know.
    Note,
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $severity:ident;)*) => {
        /// What kind of finding it is. The numbers are stable: they are never used again for something else.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code there is, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    /// A file, the folder or the number of grants is larger than this product reads.
    TooLarge = "P001", Error;
    /// The file cannot be read, or is not UTF-8.
    Unreadable = "P002", Error;
    /// The text is not TOML.
    Syntax = "P003", Error;
    /// More findings than are listed.
    More = "P004", Error;
    /// A value of the wrong type.
    WrongType = "P010", Error;
    /// A field that must be there is missing.
    Missing = "P011", Error;
    /// A word that is none of those allowed.
    NotAllowed = "P012", Error;
    /// A value of the right type that cannot be understood, or is out of range.
    Malformed = "P013", Error;
    UnknownField = "P014", Error;
    DuplicatePolicy = "P020", Error;
    /// A policy that records, with nothing to record by.
    NoRecorder = "P021", Error;
    DuplicateRecorder = "P022", Error;
    /// A recorder that this version cannot drive.
    UnknownRecorder = "P023", Error;
    /// Both kinds of redundancy at once.
    PairedAndConcurrent = "P024", Error;
    /// The announcement is off and nobody signed for that.
    NoDisclaimer = "P025", Warning;
    /// Forwarded and transferred calls escape.
    ReroutedNotRecorded = "P026", Warning;
    NotEnabled = "P027", Warning;
    /// Filters without saying what happens when none matches.
    NoDefaultAction = "P028", Error;
    /// A filter behind one that matches every call.
    UnreachableFilter = "P029", Warning;
    /// `never` without saying what wins against another party's `record`.
    NoConflictRule = "P030", Error;
    /// Strict before, but the rejected INVITE may be routed around the recorder.
    RetriedReject = "P031", Warning;
    /// A prompt is demanded, and no package named.
    NoPrompt = "P032", Warning;
    /// The sound file of a prompt cannot be played.
    BadPrompt = "P033", Error;
    /// Who does not agree is to talk unrecorded, in a policy that must record.
    UnkeptButStrict = "P034", Error;
    /// A field of `consent` that its mode does not look at.
    ConsentIdle = "P035", Warning;
    /// A grant of a policy that no file defines.
    UnknownPolicy = "P040", Error;
    MalformedTarget = "P041", Error;
    UnknownGroup = "P042", Error;
    /// One target, two policies.
    ConflictingGrant = "P043", Error;
    /// One target, granted the same policy twice.
    RepeatedGrant = "P044", Warning;
    DuplicateGroup = "P045", Error;
    /// Two groups of the same rank share a member: the one that is written first wins.
    SharedRank = "P046", Warning;
    /// A grant that no call can reach, because nearer ones take all of it.
    UnreachableGrant = "P047", Warning;
    /// A policy that nobody has.
    UngrantedPolicy = "P048", Warning;
    /// A group that no grant names.
    UngrantedGroup = "P049", Warning;
    /// A grant or dial plan for a trunk that the config does not have.
    UnknownTrunk = "P050", Error;
    DuplicateDialPlan = "P051", Error;
    /// There are no grants at all: nothing would ever be recorded.
    NoGrants = "P052", Warning;
    /// A grant to an extension that counts as an emergency number because no list was written.
    EmergencyExtension = "P053", Warning;
    /// Accepted and kept, but this version does not act upon it.
    NoEffectYet = "P060", Note;
    DuplicateTrunk = "P100", Error;
    /// One peer in two trunks: the source address would not tell which.
    DuplicatePeer = "P101", Error;
    DuplicateListener = "P102", Error;
    /// A trunk that no route leads from: its calls are refused.
    NoRoute = "P103", Warning;
    /// A route behind one that takes all of its calls.
    UnreachableRoute = "P104", Warning;
    /// Few ports, or ports that SIP listens on.
    FewPorts = "P105", Warning;
    /// Media would be offered with an address that nobody can send to.
    UnusableAddress = "P106", Error;
    /// One directory for two volumes.
    DuplicateVolume = "P107", Error;
    /// A codec by a name that SDP does not have for it.
    UnknownCodec = "P108", Warning;
    /// Encryption is required where its keys may not be told.
    UntellableKeys = "P109", Warning;
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Where it is, ready to be shown: control characters are escaped and secrets are hidden.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Place {
    pub file: String,
    /// From 1; 0 when the finding is about the whole file.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The line as it is shown, perhaps cut on both sides.
    pub snippet: String,
    /// Where the marks under the snippet start, in characters from 0, and how many there are.
    pub mark: (usize, usize),
}

/// One thing that is wrong, or worth knowing.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    pub code: Code,
    pub severity: Severity,
    pub place: Place,
    pub message: String,
    /// What stands beside the marks.
    pub label: Option<String>,
    /// What it means for calls.
    pub effect: Option<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Finding {
    /// About a span of a file's text.
    pub(crate) fn at(code: Code, source: &Source<'_>, span: &std::ops::Range<usize>, message: String) -> Self {
        Self::new(code, source.place(span), message)
    }

    /// About a whole file or folder.
    pub(crate) fn whole(code: Code, file: &str, message: String) -> Self {
        let place = Place {
            file: super::source::escaped(file),
            line: 0,
            column: 0,
            snippet: String::new(),
            mark: (0, 0),
        };
        Self::new(code, place, message)
    }

    fn new(code: Code, place: Place, message: String) -> Self {
        Self {
            code,
            severity: code.severity(),
            place,
            message,
            label: None,
            effect: None,
            hint: None,
        }
    }

    #[must_use]
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    #[must_use]
    pub(crate) fn effect(mut self, effect: impl Into<String>) -> Self {
        self.effect = Some(effect.into());
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A hint only if there is one.
    #[must_use]
    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

/// The findings of one load, as they are made.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    dropped: usize,
    errors: bool,
}

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        self.errors |= finding.severity == Severity::Error;
        if self.list.len() < FINDINGS_MAX {
            self.list.push(finding);
        } else {
            self.dropped += 1;
        }
    }

    /// True once nothing more would be listed: time to stop composing messages.
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= FINDINGS_MAX
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.errors
    }

    /// By file and position; the last one tells how many are not listed.
    pub(crate) fn into_sorted(mut self) -> Vec<Finding> {
        self.list.sort_by(|a, b| {
            let key = |f: &Finding| (f.place.file.clone(), f.place.line, f.place.column, f.severity, f.code);
            key(a).cmp(&key(b))
        });
        if self.dropped > 0 {
            let mut more = Finding::whole(Code::More, "", format!("{} more findings are not listed", self.dropped));
            more.severity = if self.errors {
                Severity::Error
            } else {
                Severity::Warning
            };
            self.list.push(more);
        }
        self.list
    }
}
