//! One policy file as written: `[policy]` and what hangs below it.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;

use super::consenting::ConsentTerms;
use super::finding::Code;
use super::matcher::{ACTIONS, Filter};
use super::pausing::Pause;
use super::reader::{Table, Words};
use super::roster::Spot;
use super::scalar::duration;
use super::terms::{
    Action, DuringArms, MediaSet, Notify, NotifyMode, NotifyWhen, NotifyWhom, OnConflict, RejectCode, RejectStatus,
    Retention, Untold,
};
use crate::model::{PolicyId, Waiver};

/// The recorder that is part of this product; the only one that this version drives.
pub const EMBEDDED: &str = "embedded";
const ID_BYTES_MAX: usize = 64;
const RECORDERS_MAX: usize = 16;
const FILTERS_MAX: usize = 256;
const RECORDER_FIELD: &str = "a recorder field";

const ON_CONFLICT: &Words<OnConflict> = &[
    ("record", OnConflict::Record),
    ("never", OnConflict::Never),
    ("block", OnConflict::Block),
];
const ARMS: &Words<DuringArms> = &[("recording", DuringArms::Recording), ("answer", DuringArms::Answer)];
const MODES: &Words<NotifyMode> = &[
    ("none", NotifyMode::None),
    ("sdp", NotifyMode::Sdp),
    ("tone", NotifyMode::Tone),
    ("prompt", NotifyMode::Prompt),
    ("prompt+tone", NotifyMode::PromptAndTone),
];
const WHOM: &Words<NotifyWhom> = &[
    ("caller", NotifyWhom::Caller),
    ("callee", NotifyWhom::Callee),
    ("both", NotifyWhom::Both),
    ("external", NotifyWhom::External),
];
const WHEN: &Words<NotifyWhen> = &[
    ("before_connect", NotifyWhen::BeforeConnect),
    ("after_answer", NotifyWhen::AfterAnswer),
];
const UNTOLD: &Words<Untold> = &[("mark", Untold::Mark), ("refuse", Untold::Refuse)];
const TALK: &Words<bool> = &[("waits", false), ("goes_on", true)];
/// From tone to tone.
const TONE_EVERY: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(600);
const THEN: &Words<AfterRetention> = &[
    ("keep", AfterRetention::Keep),
    ("review", AfterRetention::Review),
    ("erase", AfterRetention::Erase),
];

/// A policy as an administrator wrote it, defaults filled in (those of Teams where it has the field).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    pub id: PolicyId,
    pub description: String,
    /// Off stops the recording of new calls, never of running ones. Default false.
    pub enabled: bool,
    /// What happens to calls that no filter matches.
    pub action: Action,
    pub on_conflict: Option<OnConflict>,
    pub filters: Vec<Filter>,
    pub media: MediaSet,
    pub record_rerouted_calls: bool,
    pub recorders: Vec<RecorderRule>,
    pub reject_code: RejectCode,
    pub during_arms: DuringArms,
    pub notify: Notify,
    /// Who answers for it that consent is waived.
    pub waiver: Option<Waiver>,
    pub disable_audio_notification: bool,
    /// Who answers for `disable_audio_notification`, and since when (year, month, day).
    pub disclaimer: Option<(String, (i64, u8, u8))>,
    pub custom_prompts: Option<String>,
    /// Those that the package has a prompt of its own for, in lower case.
    pub prompt_languages: Vec<String>,
    pub banner: Option<String>,
    pub warn_user_on_removal: bool,
    pub retention: Option<Retention>,
    pub after_retention: AfterRetention,
    pub storage: Option<String>,
    pub pause: Pause,
    /// Who may listen and who may export, as `user:` and `group:`.
    pub listen: Vec<String>,
    pub export: Vec<String>,
    pub(crate) spot: Spot,
}

/// One `[[policy.recorder]]`: Teams' application, with its flags.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecorderRule {
    pub id: String,
    pub required_before_call_establishment: bool,
    pub required_during_call: bool,
    pub required_before_meeting_join: bool,
    pub required_during_meeting: bool,
    /// 1 or 2.
    pub concurrent_invitation_count: u8,
    pub paired: Option<String>,
    /// Display order only.
    pub priority: i64,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AfterRetention {
    #[default]
    Keep,
    Review,
    Erase,
}

impl Policy {
    /// Reads a `[policy]` table; none if it has no usable id. Everything that is wrong is noted.
    pub(crate) fn read(table: &Table<'_>, file: usize) -> Option<Self> {
        let id = table.required_text("id", "the name that grants call it by");
        let id = id.filter(|id| is_id(table, id));
        let (notify, waiver) = notify(table);
        let (custom_prompts, prompt_languages) = prompts(table).unzip();
        let (listen, export) = access(table);
        let (retention, after_retention) = retention(table);
        let filters = filters(table);
        let policy = Self {
            id: id.as_ref().map_or("", |id| id.get_ref()).into(),
            description: text(table, "description").unwrap_or_default(),
            enabled: table.boolean("enabled").unwrap_or(false),
            action: table
                .choice("action", ACTIONS)
                .map(Spanned::into_inner)
                .unwrap_or_default(),
            on_conflict: table.choice("on_conflict", ON_CONFLICT).map(Spanned::into_inner),
            filters,
            media: media(table),
            record_rerouted_calls: table.boolean("record_rerouted_calls").unwrap_or(false),
            recorders: recorders(table),
            reject_code: reject_code(table),
            during_arms: table
                .choice("during_arms", ARMS)
                .map(Spanned::into_inner)
                .unwrap_or_default(),
            notify,
            waiver,
            disable_audio_notification: table.boolean("disable_audio_notification").unwrap_or(false),
            disclaimer: disclaimer(table),
            custom_prompts,
            prompt_languages: prompt_languages.unwrap_or_default(),
            banner: text(table, "banner"),
            warn_user_on_removal: table.boolean("warn_user_on_removal").unwrap_or(false),
            retention,
            after_retention,
            storage: text(table, "storage"),
            pause: Pause::read(table),
            listen,
            export,
            spot: (file, table.span().clone()),
        };
        super::lint::policy(table, &policy);
        table.finish();
        id.map(|_| policy)
    }

    /// Whether a call of it is refused, or ended, for want of a recording.
    pub fn is_strict(&self) -> bool {
        self.recorders.iter().any(RecorderRule::is_strict)
    }

    /// Whether any call of it can be kept.
    pub fn may(&self, action: Action) -> bool {
        self.action == action || self.filters.iter().any(|f| f.action == action)
    }
}

fn text(table: &Table<'_>, key: &'static str) -> Option<String> {
    table.text(key).map(|text| (*text.get_ref()).to_owned())
}

fn is_id(table: &Table<'_>, id: &Spanned<&str>) -> bool {
    let fits = is_name(id.get_ref()) && !id.get_ref().eq_ignore_ascii_case("none");
    if !fits {
        table.malformed("id", &id.span(), id.get_ref(), NAME_RULE);
    }
    fits
}

pub(crate) const NAME_RULE: &str = "letters, digits, `-`, `_` and `.`, at most 64 of them, and not `none`";

/// Whether text can name a policy, a group or a trunk.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= ID_BYTES_MAX
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

fn media(table: &Table<'_>) -> MediaSet {
    const KINDS: &Words<MediaSet> = &[
        (
            "audio",
            MediaSet {
                audio: true,
                video: false,
                screen: false,
                chat: false,
            },
        ),
        (
            "video",
            MediaSet {
                audio: false,
                video: true,
                screen: false,
                chat: false,
            },
        ),
        (
            "screen",
            MediaSet {
                audio: false,
                video: false,
                screen: true,
                chat: false,
            },
        ),
        (
            "chat",
            MediaSet {
                audio: false,
                video: false,
                screen: false,
                chat: true,
            },
        ),
    ];
    let all = MediaSet {
        audio: true,
        video: true,
        screen: true,
        chat: true,
    };
    match table.choices("record", KINDS) {
        Some(kinds) => kinds.into_iter().fold(MediaSet::default(), MediaSet::union),
        None => all,
    }
}

/// `reject_code = "auto"`, or one of five numbers.
pub(crate) fn reject_code(table: &Table<'_>) -> RejectCode {
    const KEY: &str = "reject_code";
    if table.text_is(KEY) {
        let auto: &Words<RejectCode> = &[("auto", RejectCode::Auto)];
        return table.choice(KEY, auto).map(Spanned::into_inner).unwrap_or_default();
    }
    let Some(code) = table.integer(KEY, 100..=699) else {
        return RejectCode::Auto;
    };
    let status = RejectStatus::ALL
        .into_iter()
        .find(|status| i64::from(status.code()) == *code.get_ref());
    if status.is_none() {
        let wanted = "\"auto\", 403, 480, 500, 503 or 603";
        table.malformed(KEY, &code.span(), &code.get_ref().to_string(), wanted);
    }
    status.map_or(RejectCode::Auto, RejectCode::Fixed)
}

fn notify(table: &Table<'_>) -> (Notify, Option<Waiver>) {
    let Some(notify) = table.table("notify", "a notify field") else {
        return Default::default();
    };
    let (consent, waiver) = ConsentTerms::read(&notify).unzip();
    let read = Notify {
        mode: notify
            .choice("mode", MODES)
            .map(Spanned::into_inner)
            .unwrap_or_default(),
        whom: notify.choice("to", WHOM).map(Spanned::into_inner).unwrap_or_default(),
        when: notify.choice("when", WHEN).map(Spanned::into_inner).unwrap_or_default(),
        over_talk: notify.choice("talk", TALK).map(Spanned::into_inner).unwrap_or_default(),
        every: notify
            .parsed("every", "a duration from \"2s\" to \"10m\"", |text| {
                duration(text).filter(|every| TONE_EVERY.contains(every))
            })
            .map_or_else(|| Notify::default().every, Spanned::into_inner),
        untold: notify
            .choice("untold", UNTOLD)
            .map(Spanned::into_inner)
            .unwrap_or_default(),
        consent,
    };
    notify.finish();
    (read, waiver.flatten())
}

fn prompts(table: &Table<'_>) -> Option<(String, Vec<String>)> {
    let prompts = table.table("prompts", "a prompts field")?;
    let enabled = prompts.boolean("enabled").unwrap_or(true);
    let package = prompts.required_text("package", "the folder of the prompts");
    let package = package.filter(|package| {
        let fits = is_name(package.get_ref()) && !package.get_ref().starts_with('.');
        if !fits {
            prompts.malformed("package", &package.span(), package.get_ref(), NAME_RULE);
        }
        fits
    });
    let package = package.map(|package| (*package.get_ref()).to_owned());
    let mut languages = Vec::new();
    for language in prompts.texts("languages").unwrap_or_default() {
        if is_language(language.get_ref()) {
            languages.push(language.get_ref().to_ascii_lowercase());
        } else {
            prompts.malformed(
                "languages",
                &language.span(),
                language.get_ref(),
                "a language tag, like \"de\" or \"en-GB\"",
            );
        }
    }
    prompts.finish();
    Some((package.filter(|_| enabled)?, languages))
}

/// RFC 5646 §2.1: parts of letters and digits, the first of letters.
fn is_language(text: &str) -> bool {
    let mut parts = text.split('-');
    let is_first = |part: &str| (2..=8).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_alphabetic());
    let is_next = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_alphanumeric());
    text.len() <= 35 && parts.next().is_some_and(is_first) && parts.all(is_next)
}

fn disclaimer(table: &Table<'_>) -> Option<(String, (i64, u8, u8))> {
    let disclaimer = table.table("disclaimer", "a disclaimer field")?;
    let signer = disclaimer
        .required_text("signed_by", "who answers for it")
        .map(|s| (*s.get_ref()).to_owned());
    let date = disclaimer.required_text("date", "when it was signed").and_then(|text| {
        let date = super::matcher::date(text.get_ref());
        if date.is_none() {
            disclaimer.malformed("date", &text.span(), text.get_ref(), "a date, like \"2026-12-25\"");
        }
        date
    });
    disclaimer.finish();
    signer.zip(date)
}

fn retention(table: &Table<'_>) -> (Option<Retention>, AfterRetention) {
    let Some(retention) = table.table("retention", "a retention field") else {
        return (None, AfterRetention::Keep);
    };
    let keep = retention.duration("keep").map(|keep| Retention {
        keep: keep.into_inner(),
    });
    let then = retention
        .choice("then", THEN)
        .map(Spanned::into_inner)
        .unwrap_or_default();
    retention.finish();
    (keep, then)
}

fn access(table: &Table<'_>) -> (Vec<String>, Vec<String>) {
    let Some(access) = table.table("access", "an access field") else {
        return Default::default();
    };
    let names = |key| {
        let texts = access.texts(key).unwrap_or_default();
        for text in texts
            .iter()
            .filter(|t| !t.get_ref().starts_with("user:") && !t.get_ref().starts_with("group:"))
        {
            access.malformed(key, &text.span(), text.get_ref(), "`user:…` or `group:…`");
        }
        texts.into_iter().map(|text| text.into_inner().to_owned()).collect()
    };
    let read = (names("listen"), names("export"));
    access.finish();
    read
}

fn filters(table: &Table<'_>) -> Vec<Filter> {
    let tables = table.tables("filter", "a filter field");
    if let Some(table) = tables.get(FILTERS_MAX) {
        let message = format!("more than {FILTERS_MAX} filters");
        table.note(table.at(Code::TooLarge, table.span(), message));
    }
    tables.iter().take(FILTERS_MAX).map(Filter::read).collect()
}

fn recorders(table: &Table<'_>) -> Vec<RecorderRule> {
    let mut recorders: Vec<RecorderRule> = Vec::new();
    for recorder in table.tables("recorder", RECORDER_FIELD).iter().take(RECORDERS_MAX) {
        let Some(rule) = RecorderRule::read(recorder) else {
            continue;
        };
        if recorders.iter().any(|other| other.id == rule.id) {
            let message = format!("recorder `{}` is listed twice", rule.id);
            recorder.note(recorder.at(Code::DuplicateRecorder, recorder.span(), message));
        }
        recorders.push(rule);
    }
    recorders
}

impl RecorderRule {
    const fn is_strict(&self) -> bool {
        self.required_before_call_establishment
            || self.required_during_call
            || self.required_before_meeting_join
            || self.required_during_meeting
    }

    fn read(table: &Table<'_>) -> Option<Self> {
        let id = table.required_text("id", "which recorder, like \"embedded\"");
        let flag = |key| table.boolean(key).unwrap_or(true);
        let rule = Self {
            id: id.as_ref().map_or_else(String::new, |id| (*id.get_ref()).to_owned()),
            required_before_call_establishment: flag("required_before_call_establishment"),
            required_during_call: flag("required_during_call"),
            required_before_meeting_join: flag("required_before_meeting_join"),
            required_during_meeting: flag("required_during_meeting"),
            concurrent_invitation_count: table
                .integer("concurrent_invitation_count", 1..=2)
                .and_then(|count| u8::try_from(count.into_inner()).ok())
                .unwrap_or(1),
            paired: text(table, "paired"),
            priority: table
                .integer("priority", i64::MIN..=i64::MAX)
                .map_or(0, Spanned::into_inner),
        };
        super::lint::recorder(table, &rule, id.as_ref());
        table.finish();
        id.map(|_| rule)
    }
}
