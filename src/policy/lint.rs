//! What is well formed and still wrong, or worth a second look.

use toml::Spanned;

use super::document::{EMBEDDED, Policy, RecorderRule};
use super::finding::Code;
use super::reader::{Table, shown};
use super::suggest;
use super::terms::{Action, NotifyWhen, RejectCode};

/// One `[policy]`, with its table for the places.
pub(crate) fn policy(table: &Table<'_>, policy: &Policy) {
    enabling(table, policy);
    actions(table, policy);
    if policy.may(Action::Record) {
        recording(table, policy);
    }
    no_effect_yet(table, policy);
}

fn enabling(table: &Table<'_>, policy: &Policy) {
    if policy.enabled {
        return;
    }
    let (message, span) = if table.has("enabled") {
        ("the policy is disabled", table.key_span("enabled"))
    } else {
        ("the policy is not enabled", table.span().clone())
    };
    let finding = table
        .at(Code::NotEnabled, &span, message)
        .effect("whoever has it is not recorded, not even by a wider grant")
        .hint("set `enabled = true`, or take its grants away");
    table.note(finding);
}

fn actions(table: &Table<'_>, policy: &Policy) {
    if !policy.filters.is_empty() && !table.has("action") {
        let finding = table
            .at(
                Code::NoDefaultAction,
                table.span(),
                "filters, but no `action` for calls that none of them matches",
            )
            .hint("add `action = \"record\"` or `action = \"skip\"` to `[policy]`");
        table.note(finding);
    }
    if policy.may(Action::Never) && policy.on_conflict.is_none() {
        let finding = table
            .at(Code::NoConflictRule, table.span(), "`never` without `on_conflict`")
            .effect("nothing says what wins when the other party must be recorded")
            .hint("add `on_conflict = \"record\"`, `\"never\"` or `\"block\"` to `[policy]`");
        table.note(finding);
    }
    let after_all = policy
        .filters
        .iter()
        .position(|f| f.is_catch_all())
        .map(|first| first + 1);
    for filter in after_all
        .and_then(|first| policy.filters.get(first..))
        .unwrap_or_default()
    {
        let span = table
            .tables("filter", "")
            .into_iter()
            .map(|t| t.span().clone())
            .find(|s| table.line_of(s) == filter.line);
        let finding = table
            .at(
                Code::UnreachableFilter,
                &span.unwrap_or_else(|| table.span().clone()),
                "no call reaches this filter",
            )
            .effect("a filter before it matches every call");
        table.note(finding);
    }
}

fn recording(table: &Table<'_>, policy: &Policy) {
    if policy.enabled && policy.recorders.is_empty() && !table.has("recorder") {
        let finding = table
            .at(
                Code::NoRecorder,
                table.span(),
                "the policy records, but lists no recorder",
            )
            .hint("add a table `[[policy.recorder]]` with `id = \"embedded\"`");
        table.note(finding);
    }
    if policy.enabled && !policy.record_rerouted_calls {
        let span = table.key_span("record_rerouted_calls");
        let finding = table
            .at(Code::ReroutedNotRecorded, &span, "`record_rerouted_calls` is false")
            .effect("calls that the party forwards or transfers to others are not recorded")
            .hint("set `record_rerouted_calls = true`");
        table.note(finding);
    }
    if policy.disable_audio_notification && policy.disclaimer.is_none() {
        let span = table.key_span("disable_audio_notification");
        let finding = table
            .at(
                Code::NoDisclaimer,
                &span,
                "the announcement is switched off, and nobody signed for it",
            )
            .effect("parties may be recorded without knowing it, which many laws forbid")
            .hint("add `disclaimer = { signed_by = \"…\", date = \"2026-01-31\" }`");
        table.note(finding);
    }
    if policy.notify.mode.has_prompt() && policy.custom_prompts.is_none() && !policy.disable_audio_notification {
        let finding = table
            .at(
                Code::NoPrompt,
                &table.key_span("notify"),
                "a prompt is demanded, and there is none",
            )
            .effect("no prompt is played; `untold` says what becomes of the call")
            .hint("add `prompts = { package = \"…\" }`, with a file `prompts/…/notice.wav` beside the policies");
        table.note(finding);
    }
    super::consenting::lint(table, policy);
    retried(table, policy);
}

/// 500 and 503 make many PBXs try the next route, which may lead around the recorder.
fn retried(table: &Table<'_>, policy: &Policy) {
    let is_strict = policy.recorders.iter().any(|r| r.required_before_call_establishment);
    let RejectCode::Fixed(status) = policy.reject_code else {
        return;
    };
    if is_strict && matches!(status.code(), 500 | 503) {
        let message = format!("`reject_code = {}` invites the PBX to try another route", status.code());
        let finding = table
            .at(Code::RetriedReject, &table.key_span("reject_code"), message)
            .effect("a strict call may then be set up around the recorder")
            .hint("use `\"auto\"` or 603, unless every other route is recorded too");
        table.note(finding);
    }
}

/// One `[[policy.recorder]]`.
pub(crate) fn recorder(table: &Table<'_>, rule: &RecorderRule, id: Option<&Spanned<&str>>) {
    if let Some(id) = id.filter(|id| *id.get_ref() != EMBEDDED) {
        let meant = suggest::nearest(id.get_ref(), [EMBEDDED]).map(|meant| format!("did you mean `{meant}`?"));
        let finding = table
            .at(
                Code::UnknownRecorder,
                &id.span(),
                format!("no recorder `{}`", shown(id.get_ref())),
            )
            .label("this version has one recorder, `embedded`")
            .effect("nothing would record what this policy demands")
            .maybe_hint(meant);
        table.note(finding);
    }
    if rule.concurrent_invitation_count == 2 && rule.paired.is_some() {
        let finding = table
            .at(
                Code::PairedAndConcurrent,
                &table.key_span("paired"),
                "`paired` together with two concurrent invitations",
            )
            .label("one kind of redundancy at a time")
            .hint("drop `paired`, or set `concurrent_invitation_count = 1`");
        table.note(finding);
    } else {
        no_effect(
            table,
            "paired",
            rule.paired.is_some(),
            "there is no second recorder to pair with",
        );
        let is_two = rule.concurrent_invitation_count == 2;
        no_effect(
            table,
            "concurrent_invitation_count",
            is_two,
            "one instance of the recorder is used",
        );
    }
}

fn no_effect_yet(table: &Table<'_>, policy: &Policy) {
    let kept = policy.media;
    let is_part = !(kept.audio && kept.video && kept.screen && kept.chat);
    no_effect(table, "record", is_part, "every medium of a recorded call is kept");
    if policy.notify.when == NotifyWhen::BeforeConnect && !policy.notify.mode.has_prompt() {
        let message = "`before_connect` has no effect without a prompt".to_owned();
        let finding = table.at(Code::NoEffectYet, &table.key_span("notify"), message);
        table.note(finding.label("a tone is heard while the call talks".to_owned()));
    }
    no_effect(table, "banner", policy.banner.is_some(), "nothing is shown");
    no_effect(
        table,
        "warn_user_on_removal",
        policy.warn_user_on_removal,
        "reserved, as in Teams",
    );
    no_effect(
        table,
        "retention",
        table.has("retention"),
        "recordings are kept until somebody removes them",
    );
    no_effect(
        table,
        "storage",
        policy.storage.is_some(),
        "recordings stay on the node's volumes",
    );
    no_effect(
        table,
        "access",
        table.has("access"),
        "whoever can read the files can listen",
    );
}

fn no_effect(table: &Table<'_>, key: &'static str, is_set: bool, what: &str) {
    if is_set {
        let message = format!("`{key}` has no effect yet in this version");
        table.note(
            table
                .at(Code::NoEffectYet, &table.key_span(key), message)
                .label(what.to_owned()),
        );
    }
}
