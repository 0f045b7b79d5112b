//! `onrecord export`: a sealed call as sound or as a capture.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::disk::{StoredFile, Unreadable};
use crate::model::{Consented, LeftOutSpan, Leg, Mark, Notice, NoticeKind, SessionId};
use crate::playback::{
    Behind, Digit, ExportError, FlacError, GapCause, Heard, SAMPLE_RATES, Survey, SurveyError, WavError, export_pcapng,
    write_flac, write_wav,
};
use crate::recorder::{Frame, SealError, SealedCall};

use super::archive::{self, CallError, NoArchive};
use super::chat;
use super::output_file::{self, Unwritable};

/// A tone every two seconds for an hour, to both.
const NOTICES_MAX: usize = 4_096;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("form").required(true).multiple(true).args(["wav", "flac", "pcapng", "chat"]))]
pub(crate) struct Args {
    /// The call's id, as `calls list` prints it.
    #[arg(value_name = "ID")]
    id: SessionId,
    /// Two channels, caller left, callee right, as long as the call; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    wav: Option<PathBuf>,
    /// The same sound, without loss in about half of the bytes; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    flac: Option<PathBuf>,
    /// Every packet and SIP message, with comments on gaps and decisions; opens in Wireshark; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    pcapng: Option<PathBuf>,
    /// What the parties wrote: a line of JSON for each MESSAGE and INFO with a body; `-` is stdout.
    #[arg(long, value_name = "FILE")]
    chat: Option<PathBuf>,
    /// Of the sound: 8000, 16000, 24000, 32000, 44100 or 48000 [default: the lowest that holds what sounded]
    #[arg(long, value_name = "HZ", value_parser = sample_rate)]
    rate: Option<u32>,
    /// The data directory.
    #[arg(long, value_name = "DIR", default_value = super::DATA_DEFAULT)]
    data: PathBuf,
    /// Print one JSON object about what was written.
    #[arg(long)]
    json: bool,
}

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    NoArchive(#[from] NoArchive),
    #[error("there is no sealed call {id}")]
    NoCall { id: SessionId },
    #[error(transparent)]
    Unreadable(Unreadable),
    /// The recording was altered or damaged.
    #[error("the recording does not verify: {0}")]
    Damaged(#[from] SealError),
    /// Somebody put another call's file in its place.
    #[error("the recording does not verify: its file is that of call {found}")]
    OtherCall { found: SessionId },
    #[error(transparent)]
    Survey(#[from] SurveyError<SealError>),
    #[error(transparent)]
    Wav(#[from] WavError<SealError>),
    #[error(transparent)]
    Flac(#[from] FlacError<SealError>),
    #[error(transparent)]
    Pcapng(#[from] ExportError<SealError>),
    /// Verified, and then no longer readable.
    #[error("{0}")]
    Unread(SealError),
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
}

/// What was written.
#[derive(Debug, Default, Serialize)]
struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    wav: Option<Sound>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flac: Option<Sound>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pcapng: Option<Pcapng>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chat: Option<Chat>,
    /// By which the parties were told that they are recorded. The first 4096.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notices: Vec<Notice>,
    /// How the parties' consent stood at last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    consents: Vec<Consented>,
    /// What of them was left out: it is silence in what is exported.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<LeftOutSpan>,
}

#[derive(Debug, Serialize)]
struct Chat {
    file: PathBuf,
    messages: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Sound {
    file: PathBuf,
    pub duration_ms: u64,
    sample_rate: u32,
    /// Where there is silence that nobody sent. The first 4096.
    gaps: Vec<GapReport>,
    /// More of them.
    gaps_untold: u64,
    pub packets_lost: u64,
    /// Holes that are heard, at least their ends, from the copies that Opus sends along.
    holes_recovered: u64,
    /// Keys that were pressed (RFC 4733); in the sound they are silence. The first 4096.
    digits: Vec<DigitReport>,
    /// Streams that are silence only because they are not decoded here.
    undecoded: Vec<String>,
    /// Lines of video: by how much what was captured at the same time arrived later than this sound (RFC 3550 §6.4.1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    video: Vec<VideoReport>,
}

#[derive(Debug, Serialize)]
struct VideoReport {
    leg: Leg,
    line: u16,
    behind_ms: i64,
}

#[derive(Debug, Serialize)]
struct GapReport {
    leg: Leg,
    at_ms: u64,
    length_ms: u64,
    cause: &'static str,
}

#[derive(Debug, Serialize)]
struct DigitReport {
    leg: Leg,
    at_ms: u64,
    duration_ms: u64,
    event: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<char>,
}

#[derive(Debug, Serialize)]
struct Pcapng {
    file: PathBuf,
    packets: u64,
}

/// 0: written. 1: the recording does not verify, nothing was written. 2: could not.
pub(crate) fn run(args: &Args) -> ExitCode {
    match export(args) {
        Ok(report) if args.json => {
            super::print_json(&report);
            ExitCode::SUCCESS
        }
        Ok(report) => {
            eprint!("{}", text(&report));
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let damaged = matches!(
                failure,
                Failure::Damaged(_) | Failure::OtherCall { .. } | Failure::Survey(_)
            );
            let code = super::fail(&failure, hint(&failure));
            if damaged { ExitCode::from(super::FINDINGS) } else { code }
        }
    }
}

fn export(args: &Args) -> Result<Report, Failure> {
    let layout = archive::find(&args.data, &[])?;
    let mut call = archive::open(&layout, args.id).map_err(|error| match error {
        CallError::Absent { .. } => Failure::NoCall { id: args.id },
        CallError::Unreadable(why) => Failure::Unreadable(why),
        CallError::Damaged { error, .. } => Failure::Damaged(error),
        CallError::OtherCall { found, .. } => Failure::OtherCall { found },
    })?;
    call.verify()?;
    let mut report = Report {
        notices: notices(&mut call)?,
        consents: call.manifest().closing.consents.clone(),
        left_out: call.manifest().reconciliation.left_out.clone(),
        ..Report::default()
    };
    if let Some(file) = &args.wav {
        report.wav = Some(sound(&mut call, file, args.rate, Form::Wav)?);
    }
    if let Some(file) = &args.flac {
        report.flac = Some(sound(&mut call, file, args.rate, Form::Flac)?);
    }
    if let Some(file) = &args.pcapng {
        report.pcapng = Some(pcapng(&mut call, file)?);
    }
    if let Some(file) = &args.chat {
        let messages = output_file::write(file, |out| chat::write(out, call.frames(), file))?;
        let file = file.clone();
        report.chat = Some(Chat { file, messages });
    }
    Ok(report)
}

/// They are no part of any sound that is exported: nobody in the call said them.
fn notices(call: &mut SealedCall<StoredFile>) -> Result<Vec<Notice>, Failure> {
    let mut notices = Vec::new();
    for frame in call.frames() {
        match frame.map_err(Failure::Unread)? {
            Frame::Mark {
                mark: Mark::Noticed(notice),
                ..
            } if notices.len() < NOTICES_MAX => notices.push(notice),
            _ => {}
        }
    }
    Ok(notices)
}

/// How sound is written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Wav,
    Flac,
}

/// The call as sound, in a file that is there only when it is whole.
pub(super) fn sound(
    call: &mut SealedCall<StoredFile>,
    file: &Path,
    rate: Option<u32>,
    form: Form,
) -> Result<Sound, Failure> {
    let closing = call.manifest().closing.clone();
    let started = call.header().started;
    let survey = Survey::of(started, Some(&closing), call.frames())?;
    let survey = match rate {
        Some(rate) => survey.at_rate(rate),
        None => survey,
    };
    let sounding = output_file::write(file, |mut out| match form {
        Form::Wav => write_wav(&mut out, &survey, call.frames()).map_err(Failure::from),
        Form::Flac => write_flac(&mut out, &survey, call.frames()).map_err(Failure::from),
    })?;
    let gaps = sounding.gaps.iter().map(|gap| GapReport {
        leg: gap.leg,
        at_ms: millis(gap.at),
        length_ms: millis(gap.length),
        cause: cause(gap.cause),
    });
    Ok(Sound {
        file: file.to_owned(),
        duration_ms: millis(survey.length()),
        sample_rate: survey.sample_rate,
        gaps: gaps.collect(),
        gaps_untold: sounding.gaps_untold,
        packets_lost: sounding.lost,
        holes_recovered: sounding.recovered,
        digits: sounding.digits.iter().map(digit).collect(),
        undecoded: survey.undecoded().map(undecoded).collect(),
        video: survey.behind.iter().map(video).collect(),
    })
}

const fn video(behind: &Behind) -> VideoReport {
    VideoReport {
        leg: behind.leg,
        line: behind.line,
        behind_ms: behind.millis,
    }
}

fn pcapng(call: &mut SealedCall<StoredFile>, file: &Path) -> Result<Pcapng, Failure> {
    let (header, closing) = (call.header().clone(), call.manifest().closing.clone());
    let packets = output_file::write(file, |mut out| {
        export_pcapng(&mut out, &header, Some(&closing), call.frames()).map_err(Failure::from)
    })?;
    Ok(Pcapng {
        file: file.to_owned(),
        packets,
    })
}

fn digit(digit: &Digit) -> DigitReport {
    DigitReport {
        leg: digit.leg,
        at_ms: millis(digit.at),
        duration_ms: millis(digit.duration),
        event: digit.event,
        key: digit.key,
    }
}

fn sample_rate(text: &str) -> Result<u32, &'static str> {
    let rate = text.parse().ok().filter(|rate| SAMPLE_RATES.contains(rate));
    rate.ok_or("one of 8000, 16000, 24000, 32000, 44100, 48000")
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const fn cause(cause: GapCause) -> &'static str {
    match cause {
        GapCause::Lost => "lost",
        GapCause::Guessed => "guessed",
        GapCause::ComfortNoise => "comfort noise",
        GapCause::Silent => "silent",
        GapCause::Unrecorded => "unrecorded",
        GapCause::Paused => "paused",
    }
}

fn undecoded(heard: &Heard) -> String {
    let codec = if heard.encoding.is_empty() {
        "unknown codec"
    } else {
        &heard.encoding
    };
    format!("leg {} {} {codec} ({} packets)", heard.leg, heard.ssrc, heard.packets)
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for sound in report.wav.iter().chain(&report.flac) {
        let (seconds, rate) = (sound.duration_ms as f64 / 1000.0, sound.sample_rate);
        let file = sound.file.display();
        text += &format!("{file}: {seconds:.3} s at {rate} Hz, caller left, callee right\n");
        let lost: u64 = sound
            .gaps
            .iter()
            .filter(|gap| matches!(gap.cause, "lost" | "unrecorded"))
            .map(|gap| gap.length_ms)
            .sum();
        if sound.packets_lost > 0 || lost > 0 {
            text += &format!(
                "  {} packets lost, {lost} ms of silence for them and for gaps\n",
                sound.packets_lost
            );
        }
        let is_paused = |gap: &&GapReport| gap.cause == "paused" && gap.leg == Leg::A;
        let paused: u64 = sound.gaps.iter().filter(is_paused).map(|gap| gap.length_ms).sum();
        if paused > 0 {
            text += &format!("  {paused} ms of silence where the recording was paused\n");
        }
        let guessed = sound.gaps.iter().filter(|gap| gap.cause == "guessed").count();
        if sound.holes_recovered > 0 || guessed > 0 {
            let recovered = sound.holes_recovered;
            text += &format!("  of what was lost, {recovered} holes are heard from copies, {guessed} from guesses\n");
        }
        for stream in &sound.undecoded {
            text += &format!("  not decoded, so silent: {stream}; its packets are kept, see --pcapng\n");
        }
        for VideoReport { leg, line, behind_ms } in &sound.video {
            text += &format!(
                "  video of {leg}, line {line}: {behind_ms} ms behind this sound; its packets are kept, see --pcapng\n"
            );
        }
    }
    if let Some(pcapng) = &report.pcapng {
        text += &format!("{}: {} packets\n", pcapng.file.display(), pcapng.packets);
    }
    let prompts = report.notices.iter().filter(|notice| notice.kind == NoticeKind::Prompt);
    for notice in prompts {
        let Notice { leg, name, from, .. } = notice;
        let rest = if notice.whole { "" } else { ", broken off" };
        text += &format!("told: {leg}, by prompt {name} at {from}{rest}\n");
    }
    text.extend(report.consents.iter().map(|known| format!("{known}, {}\n", known.at)));
    if let Some(chat) = &report.chat {
        text += &format!("{}: {} messages\n", chat.file.display(), chat.messages);
    }
    super::logging::visible_lines(&text)
}

const fn hint(failure: &Failure) -> &'static str {
    match failure {
        Failure::NoCall { .. } => "see `onrecord calls list --data DIR`; a call that still runs is sealed when it ends",
        Failure::Damaged(_) | Failure::OtherCall { .. } | Failure::Survey(_) => "see `onrecord verify --data DIR`",
        Failure::NoArchive(_) => archive::NO_ARCHIVE_HINT,
        Failure::Unreadable(_) | Failure::Unread(_) => "is this user the one that runs `serve`?",
        Failure::Wav(_) | Failure::Flac(_) | Failure::Pcapng(_) | Failure::Unwritable(_) => {
            "is there room, and may this user write there?"
        }
    }
}
