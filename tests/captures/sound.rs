//! What every capture sounds like: as long as the call, and every packet of G.711 where it was heard.

use std::time::Duration;

use onrecord::disk::StoredFile;
use onrecord::model::{Leg, Timestamp};
use onrecord::playback::{Rendering, Survey};
use onrecord::recorder::{Frame, PacketKind, SealedCall};
use onrecord::rtp::RtpHeader;
use onrecord::rtp::codecs::Codec;

/// Of the length of the recording, and of a sound's place.
const OFF_MAX: Duration = Duration::from_millis(20);
/// The packets that some captures hold back: they belong earlier than they came.
const LATE_MAX: Duration = Duration::from_millis(50);
/// Of a call's packets. What two sources say at once is heard as their sum, and found at neither's place.
const FOUND_MIN: f64 = 0.9;

/// How many packets were looked for, and how many found.
#[derive(Debug, Default)]
struct Sounded {
    packets: u32,
    found: u32,
}

/// Renders a sealed call and looks for what was said in it.
pub(crate) fn listen(call: &mut SealedCall<StoredFile>) -> Result<(), String> {
    let (started, closing) = (call.header().started, call.manifest().closing.clone());
    let survey = Survey::of(started, Some(&closing), call.frames()).map_err(|why| why.to_string())?;
    let mut channels = [Vec::new(), Vec::new()];
    for block in Rendering::new(&survey, call.frames()) {
        for [left, right] in block.map_err(|why| why.to_string())?.samples {
            channels[0].push(left);
            channels[1].push(right);
        }
    }
    let length = Duration::from_secs_f64(channels[0].len() as f64 / f64::from(survey.sample_rate));
    if let Some(answered) = closing.answered.filter(|answered| *answered >= started) {
        let talked = closing.ended.since(answered);
        let early = answered.since(survey.start);
        if length.abs_diff(talked + early) > OFF_MAX {
            return Err(format!(
                "{length:?} of sound for {talked:?} of talk after {early:?} of early media"
            ));
        }
    }
    let mut sounded = Sounded::default();
    if survey.sample_rate == 8_000 {
        for frame in call.frames() {
            look_for(&frame.map_err(|why| why.to_string())?, &survey, &channels, &mut sounded);
        }
    }
    let share = f64::from(sounded.found) / f64::from(sounded.packets.max(1));
    if sounded.packets > 0 && share < FOUND_MIN {
        return Err(format!(
            "of {} packets of speech only {} are heard",
            sounded.packets, sounded.found
        ));
    }
    Ok(())
}

fn look_for(frame: &Frame, survey: &Survey, channels: &[Vec<i16>; 2], sounded: &mut Sounded) {
    let Some((at, leg, said)) = speech(frame) else { return };
    let channel = &channels[usize::from(leg == Leg::B)];
    let place = |at: Timestamp| usize::try_from(at.since(survey.start).as_nanos() * 8 / 1_000_000).unwrap();
    let (first, last) = (place(at - LATE_MAX - OFF_MAX), place(at + OFF_MAX));
    if at < survey.start || last + said.len() > channel.len() {
        return; // cut off with the call
    }
    sounded.packets += 1;
    sounded.found += u32::from((first..=last).any(|start| channel[start..start + said.len()] == said));
}

/// A packet of G.711 that is more than silence.
fn speech(frame: &Frame) -> Option<(Timestamp, Leg, Vec<i16>)> {
    let Frame::Packet {
        at,
        leg,
        kind: PacketKind::Rtp,
        bytes,
        ..
    } = frame
    else {
        return None;
    };
    let header = RtpHeader::parse(bytes)
        .ok()
        .filter(|header| matches!(header.payload_type, 0 | 8))?;
    let mut samples = Vec::new();
    let codec = Codec::of_payload_type(header.payload_type)?;
    codec.decoder().decode(header.payload, &mut samples);
    let is_speech = samples.iter().any(|sample| sample.unsigned_abs() > 500);
    is_speech.then_some((*at, *leg, samples))
}
