//! Watches the policy directory: a file that is changed and then left alone for a moment is news.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::clock::Clock;
use crate::model::Timestamp;

/// Editors write, rename and chmod in bursts: a load waits until nothing happened for this long.
const QUIET: Duration = Duration::from_millis(200);

/// A directory that never falls quiet is read all the same after this long.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells when the files may have changed. Without inotify there is SIGHUP and `reload`.
#[derive(Debug)]
pub(super) struct PolicyWatch {
    clock: Clock,
    /// None: there is nothing to watch.
    directory: Option<PathBuf>,
    /// None when the kernel gives no watch.
    watcher: Option<RecommendedWatcher>,
    changes: mpsc::Receiver<()>,
    burst: Option<Burst>,
}

/// Changes that have not fallen quiet yet.
#[derive(Clone, Copy, Debug)]
struct Burst {
    first: Timestamp,
    last: Timestamp,
}

impl Burst {
    fn quiet_at(self) -> Timestamp {
        (self.last + QUIET).min(self.first + PATIENCE)
    }
}

impl PolicyWatch {
    pub(super) fn start(clock: Clock, directory: Option<&Path>) -> Self {
        // One place: a change while another waits is the same news.
        let (sender, changes) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_change(event.kind)) && sender.try_send(()).is_err() {
                tracing::trace!("a change while another waits");
            }
        });
        let watcher = watcher.inspect_err(|error| {
            tracing::warn!(%error, "policy files are not watched: use SIGHUP or `onrecord reload`");
        });
        let mut watch = Self {
            clock,
            directory: directory.map(Path::to_owned),
            watcher: watcher.ok(),
            changes,
            burst: None,
        };
        watch.attach();
        watch
    }

    /// Returns when something changed and fell quiet; never when nothing can be watched. May be cancelled: what was heard
    /// of is not forgotten.
    pub(super) async fn changed(&mut self) {
        loop {
            let quiet = match self.burst {
                Some(burst) => burst.quiet_at(),
                None => {
                    if self.changes.recv().await.is_none() {
                        pending::<()>().await;
                    }
                    self.hear();
                    continue;
                }
            };
            tokio::select! {
                biased;
                () = sleep_until(self.clock.instant(quiet).into()) => break,
                Some(()) = self.changes.recv() => self.hear(),
            }
        }
        self.burst = None;
        // The directory itself may be another one now (an atomic swap of directories): watch what is there.
        self.attach();
    }

    fn hear(&mut self) {
        let now = self.clock.now();
        let first = self.burst.map_or(now, |burst| burst.first);
        self.burst = Some(Burst { first, last: now });
    }

    fn attach(&mut self) {
        let (Some(watcher), Some(directory)) = (&mut self.watcher, &self.directory) else {
            return;
        };
        if let Err(error) = watcher.unwatch(directory) {
            tracing::trace!(%error, "not watched before");
        }
        if let Err(error) = watcher.watch(directory, RecursiveMode::Recursive) {
            tracing::warn!(%error, path = %directory.display(), "policy directory is not watched");
        }
    }
}

/// Reading a file is news too for inotify, and a load reads: it must not cause the next load.
const fn is_change(kind: EventKind) -> bool {
    matches!(kind, EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_changes_is_told_once_and_reading_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("desk.toml");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let clock = Clock::start();
            let mut watch = PolicyWatch::start(clock, Some(directory.path()));
            for text in ["a", "ab", "abc"] {
                std::fs::write(&file, text).expect("writes");
            }
            tokio::time::timeout(Duration::from_secs(10), watch.changed())
                .await
                .expect("is told");

            assert_eq!(std::fs::read_to_string(&file).expect("reads"), "abc");
            let again = tokio::time::timeout(Duration::from_millis(400), watch.changed()).await;
            assert!(again.is_err(), "told of reading");

            std::fs::write(&file, "abcd").expect("writes");
            let hurried = async {
                let hurry = Duration::from_millis(20);
                while tokio::time::timeout(hurry, watch.changed()).await.is_err() {}
            };
            tokio::time::timeout(Duration::from_secs(10), hurried)
                .await
                .expect("is told again, even who asks in small steps");
        });
    }
}
