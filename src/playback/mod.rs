//! Frames back into sound and packets: the derived, reproducible views of a recording (WAV, FLAC, peaks, pcapng).
//!
//! The raw frames are the master. A view reads them in order, twice ([`Survey`] first), and holds only a few seconds of
//! them: a call of a day needs no more memory than one of a minute.
//!
//! Time axis of all sound: from the answer, or from the first audio packet if that came before (early media), to the
//! end of the call. A sample's place is its RTP timestamp, tied to the arrival clock; see `timeline`.

mod address;
mod bits;
mod clock;
mod export;
mod flac;
mod formats;
mod lane;
mod lip_sync;
mod mix;
mod pauses;
mod pcapng;
mod peaks;
mod resample;
#[cfg(test)]
mod rig;
mod run;
mod sounding;
mod step;
mod stream;
mod survey;
mod timeline;
mod wav;

pub use export::{ExportError, export_pcapng};
pub use flac::{FlacError, write_flac};
pub use lip_sync::Behind;
pub use mix::{Block, Rendering};
pub use pauses::Unkept;
pub use peaks::{PEAKS_PER_SECOND, Peak, Peaks};
pub use resample::resampled;
pub use sounding::{Digit, Gap, GapCause, Sounding};
pub use survey::{Heard, LENGTH_MAX, SAMPLE_RATES, Survey, SurveyError};
pub use wav::{WavError, wav_bytes, write_wav};
