//! Certificates that change while calls are up: read again when their files differ, and on `reload`. Connections that stand
//! are left alone; the next handshake shows the new one.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep_until;

use super::clock::Clock;
use super::file_reader::{FileReader, Reading};
use super::tls::{Contexts, TlsError};
use crate::config::Config;
use crate::model::Timestamp;

/// How often the files are read: a few kilobytes. Their links are swapped in as many ways as there are tools, so the bytes
/// are compared and not the events of a directory.
const READ_EVERY: Duration = Duration::from_secs(5);

pub(super) struct TlsWatch {
    clock: Clock,
    files: FileReader,
    config: Arc<Config>,
    contexts: watch::Sender<Arc<Contexts>>,
    read_at: Timestamp,
    /// The look at the files that is under way.
    reading: Option<Reading<Result<Contexts, TlsError>>>,
    /// The last failure has been logged.
    told: bool,
}

impl TlsWatch {
    /// The first generation, read at once: nothing runs yet.
    pub(super) fn load(clock: Clock, files: FileReader, config: &Config) -> Result<Self, TlsError> {
        let contexts = Contexts::load(config)?;
        Ok(Self {
            clock,
            files,
            config: Arc::new(config.clone()),
            contexts: watch::Sender::new(Arc::new(contexts)),
            read_at: clock.now() + READ_EVERY,
            reading: None,
            told: false,
        })
    }

    /// Always the newest generation.
    pub(super) fn newest(&self) -> watch::Receiver<Arc<Contexts>> {
        self.contexts.subscribe()
    }

    /// Trunks are others now, and these are their certificates.
    pub(super) fn adopt(&mut self, config: Config, contexts: Contexts) {
        self.config = Arc::new(config);
        self.reading = None;
        self.contexts.send_replace(Arc::new(contexts));
    }

    /// What reads the files of the config in force, for [`Self::renew`].
    pub(super) fn look(&self) -> impl FnOnce() -> Result<Contexts, TlsError> + Send + 'static {
        let config = Arc::clone(&self.config);
        move || Contexts::load(&config)
    }

    /// The files were read. With an error the generation in force stays.
    pub(super) fn renew(&mut self, read: Result<Contexts, TlsError>) -> Result<(), TlsError> {
        // What was begun before is older.
        self.reading = None;
        let contexts = read?;
        self.told = false;
        if !contexts.is_same(&self.contexts.borrow()) {
            tracing::info!("certificates read anew: used from the next connection on");
            self.contexts.send_replace(Arc::new(contexts));
        }
        Ok(())
    }

    /// Returns after each look at the files; never where there are none. May be cancelled.
    pub(super) async fn followed(&mut self) {
        if self.contexts.borrow().is_empty() {
            pending::<()>().await;
        }
        let read = match &mut self.reading {
            Some(reading) => reading.await,
            None => {
                sleep_until(self.clock.instant(self.read_at).into()).await;
                self.read_at = self.clock.now() + READ_EVERY;
                self.reading = self.files.ask(self.look());
                return;
            }
        };
        self.reading = None;
        // Half of a renewal does not fit its other half: the next look sees all of it.
        if let Ok(read) = read
            && let Err(error) = self.renew(read)
            && !std::mem::replace(&mut self.told, true)
        {
            tracing::warn!(%error, "certificates: those in force stay");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;
    use crate::live::tls::tests::config;

    #[tokio::test]
    async fn a_file_that_cannot_be_read_to_its_end_holds_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let clock = Clock::start();
        let mut certificates = TlsWatch::load(clock, FileReader::start().unwrap(), &config).unwrap();
        let before = Arc::clone(&certificates.newest().borrow());
        let chain = folder.path().join("chain.pem");
        let good = fs::read(&chain).unwrap();
        // Who opens a pipe waits for its other end, as on a disk that hangs.
        fs::remove_file(&chain).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &chain, mode).unwrap();
        certificates.read_at = clock.now();
        certificates.followed().await;
        for _ in 0..3 {
            let waits = tokio::time::timeout(Duration::from_millis(20), certificates.followed());
            assert!(waits.await.is_err(), "and is asked once");
        }
        assert!(Arc::ptr_eq(&before, &certificates.newest().borrow()));

        fs::write(&chain, &good).unwrap();
        certificates.followed().await;
        assert!(
            certificates.reading.is_none() && !certificates.told,
            "it is read to the end"
        );
    }
}
