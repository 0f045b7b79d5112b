//! Both legs side by side: the caller left, the callee right, in blocks.

use super::timeline::Timeline;
use super::{PEAKS_PER_SECOND, Sounding, Survey};
use crate::recorder::Frame;

/// 100 ms of sound; the last block may be shorter.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Block {
    /// Left: leg A, the caller. Right: leg B, the callee.
    pub samples: Vec<[i16; 2]>,
}

/// A recording's sound, rendered while its frames are read: the second reading.
#[derive(Debug)]
pub struct Rendering<I> {
    timeline: Timeline,
    frames: I,
    block_samples: usize,
    is_failed: bool,
}

impl<I, E> Rendering<I>
where
    I: Iterator<Item = Result<Frame, E>>,
{
    /// `frames` from the first on, as the survey read them.
    pub fn new(survey: &Survey, frames: impl IntoIterator<IntoIter = I>) -> Self {
        Self {
            timeline: Timeline::new(survey),
            frames: frames.into_iter(),
            block_samples: usize::try_from(survey.sample_rate / PEAKS_PER_SECOND).unwrap_or(1),
            is_failed: false,
        }
    }

    /// Complete after the last block.
    pub const fn sounding(&self) -> &Sounding {
        self.timeline.sounding()
    }

    fn fill(&mut self) -> Result<(), E> {
        while self.timeline.ready() < self.block_samples as u64 {
            match self.frames.next() {
                Some(frame) => self.timeline.handle_frame(&frame?),
                None => {
                    self.timeline.finish();
                    break;
                }
            }
        }
        Ok(())
    }
}

impl<I, E> Iterator for Rendering<I>
where
    I: Iterator<Item = Result<Frame, E>>,
{
    type Item = Result<Block, E>;

    /// Ends after the first error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_failed {
            return None;
        }
        if let Err(error) = self.fill() {
            self.is_failed = true;
            return Some(Err(error));
        }
        let samples = self.timeline.take_samples(self.block_samples);
        (!samples.is_empty()).then_some(Ok(Block { samples }))
    }
}
