//! The shape of the sound, small enough to draw: the lowest and highest sample of every 100 ms.

use serde::Serialize;

use super::{Rendering, Survey};
use crate::recorder::Frame;

pub const PEAKS_PER_SECOND: u32 = 10;

/// Lowest and highest sample of one channel in 100 ms.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Peak(pub i16, pub i16);

/// Both channels' peaks, in step: 8 bytes for 100 ms.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Peaks {
    /// Leg A, the caller.
    pub left: Vec<Peak>,
    /// Leg B, the callee.
    pub right: Vec<Peak>,
}

impl Peaks {
    /// Renders the recording and keeps only its shape.
    pub fn of<E>(survey: &Survey, frames: impl IntoIterator<Item = Result<Frame, E>>) -> Result<Self, E> {
        let mut peaks = Self::default();
        for block in Rendering::new(survey, frames) {
            let block = block?;
            let channel = |channel: usize| {
                let samples = block.samples.iter().map(move |sample| sample[channel & 1]);
                samples.fold(Peak(i16::MAX, i16::MIN), |Peak(low, high), sample| {
                    Peak(low.min(sample), high.max(sample))
                })
            };
            peaks.left.push(channel(0));
            peaks.right.push(channel(1));
        }
        Ok(peaks)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::*;
    use super::*;
    use crate::model::Leg;

    #[test]
    fn peaks_follow_the_sound_of_each_channel() {
        let codes = speech(1, 10);
        let frames = call(Phone::new(Leg::B).speak(300, &codes));
        let survey = Survey::of(STARTED, Some(&closing(1_050)), readable(&frames)).expect("a short call");
        let peaks = Peaks::of(&survey, readable(&frames)).expect("readable");
        assert_eq!((peaks.left.len(), peaks.right.len()), (11, 11));
        assert!(peaks.left.iter().all(|peak| *peak == Peak(0, 0)));
        let spoken = decoded(&codes[..800]);
        let wanted = Peak(
            *spoken.iter().min().expect("samples"),
            *spoken.iter().max().expect("samples"),
        );
        assert_eq!(
            (peaks.right[2], peaks.right[3], peaks.right[5]),
            (Peak(0, 0), wanted, Peak(0, 0))
        );
    }
}
