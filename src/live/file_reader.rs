//! Files of the operator's (config, policies, certificates) are read by a thread of their own: a disk that hangs holds up what
//! waits for them, and not the supervisor, which watches over the calls.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::Builder;

use tokio::sync::oneshot;

/// Readings that wait behind the one in work. Full: the disk hangs, and nothing more is asked of it.
const READINGS_MAX: usize = 1;

type Job = Box<dyn FnOnce() + Send>;

/// A result that is on its way; an error when the reading panicked.
pub(super) type Reading<T> = oneshot::Receiver<T>;

/// The end that asks. The thread ends with the last of them; while its disk hangs nobody waits for it.
#[derive(Clone, Debug)]
pub(super) struct FileReader(SyncSender<Job>);

impl FileReader {
    pub(super) fn start() -> io::Result<Self> {
        let (sender, jobs) = sync_channel::<Job>(READINGS_MAX);
        let _detached = Builder::new().name("files".to_owned()).spawn(move || {
            while let Ok(job) = jobs.recv() {
                job();
            }
        })?;
        Ok(Self(sender))
    }

    /// None: it still has to do with what it was asked before.
    pub(super) fn ask<T: Send + 'static>(&self, read: impl FnOnce() -> T + Send + 'static) -> Option<Reading<T>> {
        let (answer, reading) = oneshot::channel();
        let job = Box::new(move || {
            if answer.send(read()).is_err() {
                tracing::debug!("nobody waits for these files any more");
            }
        });
        self.0.try_send(job).ok().map(|()| reading)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_disk_that_hangs_holds_up_two_readings_and_takes_no_third() {
        let files = FileReader::start().unwrap();
        let (disk_moves, disk_hangs) = sync_channel::<()>(1);
        let (begun, is_begun) = sync_channel(1);
        let first = files.ask(move || {
            begun.send(()).unwrap();
            disk_hangs.recv().is_ok()
        });
        is_begun.recv().unwrap();
        let second = files.ask(|| 2);
        assert!(files.ask(|| 3).is_none());
        disk_moves.send(()).unwrap();
        assert_eq!((first.unwrap().await, second.unwrap().await), (Ok(true), Ok(2)));
        assert_eq!(files.ask(|| 4).unwrap().await, Ok(4));
    }
}
