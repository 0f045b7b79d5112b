//! Certificates that change while calls are up: read again when their files differ, and on `reload`. Connections that stand
//! are left alone; the next handshake shows the new one.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep_until;

use super::clock::Clock;
use super::tls::{Contexts, TlsError};
use crate::config::Config;
use crate::model::Timestamp;

/// How often the files are read: a few kilobytes. Their links are swapped in as many ways as there are tools, so the bytes
/// are compared and not the events of a directory.
const READ_EVERY: Duration = Duration::from_secs(5);

pub(super) struct TlsWatch {
    clock: Clock,
    config: Config,
    contexts: watch::Sender<Arc<Contexts>>,
    read_at: Timestamp,
    /// The last failure has been logged.
    told: bool,
}

/// Certificates of a configuration that is not in force yet.
pub(super) struct TlsProposal {
    config: Config,
    contexts: Contexts,
}

impl TlsWatch {
    pub(super) fn load(clock: Clock, config: &Config) -> Result<Self, TlsError> {
        let contexts = Contexts::load(config)?;
        Ok(Self {
            clock,
            config: config.clone(),
            contexts: watch::Sender::new(Arc::new(contexts)),
            read_at: clock.now() + READ_EVERY,
            told: false,
        })
    }

    /// Always the newest generation.
    pub(super) fn newest(&self) -> watch::Receiver<Arc<Contexts>> {
        self.contexts.subscribe()
    }

    /// What holds with other trunks; nothing is changed.
    pub(super) fn propose(config: Config) -> Result<TlsProposal, TlsError> {
        let contexts = Contexts::load(&config)?;
        Ok(TlsProposal { config, contexts })
    }

    /// Trunks are others now.
    pub(super) fn adopt(&mut self, proposal: TlsProposal) {
        self.config = proposal.config;
        self.contexts.send_replace(Arc::new(proposal.contexts));
    }

    /// Reads the files at once. With an error the generation in force stays.
    pub(super) fn reload(&mut self) -> Result<(), TlsError> {
        let contexts = Contexts::load(&self.config)?;
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
        sleep_until(self.clock.instant(self.read_at).into()).await;
        self.read_at = self.clock.now() + READ_EVERY;
        // Half of a renewal does not fit its other half: the next look sees all of it.
        if let Err(error) = self.reload()
            && !std::mem::replace(&mut self.told, true)
        {
            tracing::warn!(%error, "certificates: those in force stay");
        }
    }
}
