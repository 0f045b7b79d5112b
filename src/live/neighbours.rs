//! The trunks and routes in force, how they are replaced while calls are up, and how they fare.

use std::path::PathBuf;

use tokio::sync::watch;

use super::homes::Homes;
use super::peers::Peers;
use super::policies::concise;
use super::resolver::ResolverLink;
use super::status::{DestinationStatus, TrunkStatus, listener};
use crate::config::{self, Config};
use crate::engine::{DestinationView, Input, Pulse, TrunkView};
use crate::policy::{Finding, Severity};
use crate::trunk::{Register, Trunk};

/// What a node knows of its neighbours.
pub(super) struct Neighbours {
    /// None: the embedded configuration, which does not change.
    file: Option<PathBuf>,
    config: Config,
    resolver: ResolverLink,
    homes: Homes,
    views: watch::Receiver<Vec<TrunkView>>,
}

/// A configuration with what is to be said of it, or why there is none.
type Read = Result<(Config, Vec<Finding>), Vec<Finding>>;

/// A configuration that was read and is not in force yet.
pub(super) struct Proposal {
    config: Config,
    /// The tables that changed and need a restart.
    restart: Vec<String>,
    /// What is wrong with it all the same, a line each.
    warnings: Vec<String>,
}

impl Proposal {
    pub(super) const fn warnings(&self) -> &Vec<String> {
        &self.warnings
    }
}

impl Neighbours {
    pub(super) fn new(
        file: Option<PathBuf>,
        config: Config,
        resolver: ResolverLink,
        homes: Homes,
        views: watch::Receiver<Vec<TrunkView>>,
    ) -> Self {
        Self {
            file,
            config,
            resolver,
            homes,
            views,
        }
    }

    /// What reads the file again, for [`Self::propose`]. None: there is no file.
    pub(super) fn look(&self) -> Option<impl FnOnce() -> Read + Send + 'static> {
        let file = self.file.clone()?;
        Some(move || config::load_with_notes(&file))
    }

    /// What would change with this; nothing is changed.
    pub(super) fn propose(&self, config: Config, findings: &[Finding]) -> Proposal {
        let (old, new) = (&self.config, &config);
        let tables = [
            ("node", old.node != new.node),
            ("data", old.data != new.data),
            ("listen", old.listen != new.listen),
            ("recorder", old.recorder != new.recorder),
            ("policies", old.policies != new.policies),
            ("register", registrations(old) != registrations(new)),
        ];
        let changed = tables.into_iter().filter(|(_, changed)| *changed);
        let restart = changed.map(|(name, _)| name.to_owned()).collect();
        let warnings = findings.iter().filter(|finding| finding.severity == Severity::Warning);
        Proposal {
            config,
            restart,
            warnings: warnings.map(concise).collect(),
        }
    }

    /// The configuration as it would be with the proposal: tables that need a restart as they are.
    pub(super) fn with(&self, proposal: &Proposal) -> Config {
        Config {
            trunks: proposal.config.trunks.clone(),
            routes: proposal.config.routes.clone(),
            deliveries: proposal.config.deliveries.clone(),
            ..self.config.clone()
        }
    }

    /// Puts trunks and routes in force: for signalling, what is new; for the sockets; and every name is asked for anew. Gives
    /// the tables that changed and need a restart.
    pub(super) async fn adopt(&mut self, proposal: Proposal) -> (Vec<Input>, Vec<String>) {
        let Proposal {
            config,
            restart,
            warnings,
        } = proposal;
        for warning in warnings {
            tracing::warn!("config: {warning}");
        }
        if !restart.is_empty() {
            tracing::warn!(tables = restart.join(" "), "changed in the config, and need a restart");
        }
        self.resolver.follow(config.trunks.clone()).await;
        // How a trunk is reached is the certificates' business as well, and may change alone.
        self.config.deliveries = config.deliveries;
        self.homes.follow(&config.trunks);
        let is_new = config.trunks != self.config.trunks || config.routes != self.config.routes;
        if !is_new {
            return (Vec::new(), restart);
        }
        tracing::info!(
            trunks = config.trunks.len(),
            routes = config.routes.len(),
            "trunks and routes loaded"
        );
        self.config.trunks = config.trunks;
        self.config.routes = config.routes;
        let input = Input::Trunks {
            trunks: self.config.trunks.clone(),
            routes: self.config.routes.clone(),
        };
        (vec![input], restart)
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn status(&self) -> Vec<TrunkStatus> {
        let trunk = |view: &TrunkView| TrunkStatus {
            name: view.name.as_str().to_owned(),
            calls: view.calls,
            destinations: view.destinations.iter().map(destination).collect(),
        };
        self.views.borrow().iter().map(trunk).collect()
    }
}

/// Registrations of our own, each with its trunk.
fn registrations(config: &Config) -> Vec<(&str, &Register)> {
    let trunks = config.trunks.iter();
    trunks
        .filter_map(|trunk| Some((trunk.name.as_str(), trunk.conduct.register.as_ref()?)))
        .collect()
}

fn destination(view: &DestinationView) -> DestinationStatus {
    let state = match (view.pulse, view.avoided) {
        (Some(Pulse::Down), _) => "down",
        (_, true) => "avoided",
        (Some(Pulse::Up), false) => "up",
        (Some(Pulse::Unknown) | None, false) => "unknown",
    };
    DestinationStatus {
        address: listener(view.transport, view.address),
        state: state.to_owned(),
    }
}

/// Who may speak to the sockets, before any name is located.
pub(super) fn peers(config: &Config) -> Peers {
    Peers::new(config.trunks.iter().flat_map(Trunk::senders))
}
