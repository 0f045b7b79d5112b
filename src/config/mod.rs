//! `onrecord.toml`: where we listen, who may send, where calls go, where recordings lie.
//!
//! Relative paths in it are relative to the folder that the file is in, wherever the program is started.

mod carried;
pub(crate) mod certified;
mod codecs;
mod credentials;
mod listen;
mod load;
mod near;
mod prompts;
mod read;
mod routing;
mod sip;
#[cfg(test)]
mod tests;
mod trunk;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use listen::{Certificate, Delivery, Listen, ListenTls, Listener, MediaListen, MediaSockets, TrunkTls};
pub use load::{compile, embedded_policies, load, load_policies, load_with_notes};
#[cfg(feature = "shell")]
pub(crate) use load::{configs_in, is_policy_file, samples};
pub use prompts::{WavError, samples_of_wav};
pub use sip::RING_MAX_DEFAULT;

use crate::model::TrunkName;
use crate::policy::RejectCode;
use crate::sip::Transport;
pub use crate::trunk::{Conduct, Peer, Route, SIP_PORT, Trunk};

/// Everything that `onrecord.toml` says, defaults filled in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// This node's name, as recordings and headers tell it.
    pub node: String,
    /// Catalog and sealed calls; the spool too where no volume is named.
    pub data: PathBuf,
    pub listen: Listen,
    pub trunks: Vec<Trunk>,
    /// How each of them is reached; one that is not here by its transport alone.
    pub deliveries: BTreeMap<TrunkName, Delivery>,
    /// In the order in which they are tried: by priority, lowest first, then as written.
    pub routes: Vec<Route>,
    /// How long a session may go unrefreshed on either leg (RFC 4028). Default 30 min; None: no timers of ours.
    pub session_expires: Option<Duration>,
    /// How long a callee may ring without a word, counted from its INVITE and anew from each 1xx. Default 10 min.
    pub ring_max: Duration,
    pub recorder: Recorder,
    pub policies: Policies,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recorder {
    /// At least one: `data`/spool if none is named. The first that takes writes is written to.
    pub volumes: Vec<Volume>,
    /// How far what is durable may trail what was relayed before the recorder counts as failed. Default 1 s.
    pub lag_max: Duration,
    /// For policies that leave theirs at `"auto"`.
    pub reject_code: RejectCode,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Volume {
    pub path: PathBuf,
    /// Strict calls are refused while fewer bytes than this are free. Default 1 GiB.
    pub reserve: u64,
}

/// Where the policy files are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Policies {
    Folder(PathBuf),
    /// Those that are built in: `serve` without a config.
    Embedded,
}

pub(crate) const LAG_MAX_DEFAULT: Duration = Duration::from_secs(1);
pub(crate) const RESERVE_DEFAULT: u64 = 1 << 30;
const DATA_DEFAULT: &str = "onrecord-data";
const PORTS_DEFAULT: RangeInclusive<u16> = 40_000..=59_999;
const NODE_DEFAULT: &str = "onrecord";

impl Config {
    /// What `serve` runs with when it is given no config: loopback only, a PBX on 127.0.0.1:5080, a carrier on
    /// 127.0.0.1:5090, everything recorded strictly.
    pub fn embedded() -> Self {
        let loopback = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
        let trunk = |name: &str, port| {
            let peer = Peer {
                ip: loopback,
                port: Some(port),
            };
            Trunk::new(name.into(), vec![peer])
        };
        let route = |from: &str, to: &str| Route {
            from: from.into(),
            to: to.into(),
            prefix: None,
            to_user: None,
            priority: 0,
        };
        let listener = |transport| Listener {
            transport,
            address: SocketAddr::new(loopback, SIP_PORT),
            advertised: None,
        };
        let data = PathBuf::from(DATA_DEFAULT);
        Self {
            node: NODE_DEFAULT.to_owned(),
            listen: Listen {
                sip: vec![listener(Transport::Udp), listener(Transport::Tcp)],
                media: MediaListen {
                    address: loopback,
                    advertised: None,
                    address6: None,
                    ports: PORTS_DEFAULT,
                    sockets: MediaSockets::Own,
                },
                tls: None,
                origins: Vec::new(),
            },
            deliveries: BTreeMap::new(),
            trunks: vec![trunk("pbx", 5080), trunk("carrier", 5090)],
            routes: vec![route("pbx", "carrier"), route("carrier", "pbx")],
            session_expires: Some(sip::SESSION_EXPIRES_DEFAULT),
            ring_max: RING_MAX_DEFAULT,
            recorder: Recorder {
                volumes: vec![Volume {
                    path: data.join("spool"),
                    reserve: RESERVE_DEFAULT,
                }],
                lag_max: LAG_MAX_DEFAULT,
                reject_code: RejectCode::Auto,
            },
            policies: Policies::Embedded,
            data,
        }
    }

    /// Makes relative paths those below the folder of the file.
    fn resolve(&mut self, folder: &Path) {
        let volumes = self.recorder.volumes.iter_mut().map(|volume| &mut volume.path);
        let policies = match &mut self.policies {
            Policies::Folder(path) => Some(path),
            Policies::Embedded => None,
        };
        self.listen.resolve(folder);
        for delivery in self.deliveries.values_mut() {
            delivery.resolve(folder);
        }
        let trunks = self.trunks.iter_mut();
        let passwords = trunks.filter_map(|trunk| trunk.conduct.password_file.as_mut());
        for path in volumes.chain([&mut self.data]).chain(policies).chain(passwords) {
            *path = folder.join(&*path);
        }
    }

    /// The trunk whose peer sends from there.
    pub fn trunk_of(&self, source: SocketAddr) -> Option<&Trunk> {
        self.trunks
            .iter()
            .find(|trunk| trunk.senders().any(|known| known.is_source(source, Transport::Udp)))
    }

    pub fn trunk_names(&self) -> Vec<TrunkName> {
        self.trunks.iter().map(|trunk| trunk.name.clone()).collect()
    }
}
