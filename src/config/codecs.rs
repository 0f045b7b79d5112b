//! `codecs` of a trunk: payload formats by the names that SDP has for them.

use std::collections::BTreeSet;
use std::ops::Range;

use super::trunk::{WORDS_MAX, too_many};
use crate::policy::reader::{Table, shown};
use crate::policy::{Code, nearest};

/// What phones, gateways and browsers offer (IANA, RTP Payload Format Media Types).
const KNOWN: &[&str] = &[
    "AMR",
    "AMR-WB",
    "AV1",
    "BV16",
    "BV32",
    "CN",
    "DVI4",
    "EVRC",
    "EVRC0",
    "EVRCB",
    "EVRCWB",
    "EVS",
    "FLEXFEC-03",
    "G719",
    "G722",
    "G7221",
    "G723",
    "G726-16",
    "G726-24",
    "G726-32",
    "G726-40",
    "G728",
    "G729",
    "G7291",
    "G729D",
    "G729E",
    "GSM",
    "GSM-EFR",
    "GSM-HR-08",
    "H261",
    "H263",
    "H263-1998",
    "H263-2000",
    "H264",
    "H264-SVC",
    "H265",
    "H266",
    "iLBC",
    "iSAC",
    "JPEG",
    "L16",
    "L24",
    "L8",
    "LPC",
    "MP4A-LATM",
    "MP4V-ES",
    "MPA",
    "mpeg4-generic",
    "MPV",
    "opus",
    "PCMA",
    "PCMA-WB",
    "PCMU",
    "PCMU-WB",
    "QCELP",
    "raw",
    "red",
    "rtx",
    "SILK",
    "speex",
    "t140",
    "t38",
    "telephone-event",
    "theora",
    "tone",
    "ulpfec",
    "VMR-WB",
    "vorbis",
    "VP8",
    "VP9",
];

/// What else people call them.
const ALIASES: &[(&str, &str)] = &[
    ("alaw", "PCMA"),
    ("a-law", "PCMA"),
    ("g711a", "PCMA"),
    ("g.711a", "PCMA"),
    ("ulaw", "PCMU"),
    ("u-law", "PCMU"),
    ("mulaw", "PCMU"),
    ("g711u", "PCMU"),
    ("g.711u", "PCMU"),
    ("g711", "PCMA` and `PCMU"),
    ("g.711", "PCMA` and `PCMU"),
    ("g.722", "G722"),
    ("g.726", "G726-32"),
    ("g726", "G726-32"),
    ("g.729", "G729"),
    ("g729a", "G729"),
    ("dtmf", "telephone-event"),
    ("rfc2833", "telephone-event"),
    ("rfc4733", "telephone-event"),
    ("h.264", "H264"),
    ("t.140", "t140"),
];

pub(super) fn codecs(table: &Table<'_>) -> Option<Vec<String>> {
    let texts = table.texts("codecs")?;
    too_many(table, "codecs", texts.len(), WORDS_MAX);
    if texts.is_empty() {
        let wanted = "at least one; without the field all may cross";
        table.malformed("codecs", &table.key_span("codecs"), "[]", wanted);
    }
    let mut names = BTreeSet::new();
    for text in texts.iter().take(WORDS_MAX) {
        let is_name = |name: &str| {
            (1..=64).contains(&name.len()) && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._+".contains(&c))
        };
        if is_name(text.get_ref()) {
            names.insert(text.get_ref().to_ascii_lowercase());
            doubt(table, text.get_ref(), &text.span());
        } else {
            let wanted = "the encoding name of a payload format, like \"PCMA\" or \"telephone-event\"";
            table.malformed("codecs", &text.span(), text.get_ref(), wanted);
        }
    }
    Some(names.into_iter().collect())
}

/// A name that no description is known to have is taken all the same: payload formats may be private.
fn doubt(table: &Table<'_>, name: &str, span: &Range<usize>) {
    if KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return;
    }
    let alias = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name));
    let meant = alias.map(|(_, meant)| *meant);
    let meant = meant.or_else(|| nearest(name, KNOWN.iter().copied()));
    let message = format!("no codec is known as `{}` in SDP", shown(name));
    let finding = table.at(Code::UnknownCodec, span, message);
    let finding = finding.effect("it allows nothing; where no codec is left calls are refused with 488");
    table.note(match meant {
        Some(meant) => finding.hint(format!("did you mean `{meant}`?")),
        None => finding,
    });
}
