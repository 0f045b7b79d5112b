//! The proxy of the demo: `onrecord serve` as a process of its own, as anybody would run it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Broken;
use crate::live::clock::Clock;
use crate::live::control::{self, Reply, Request};
use crate::live::status::Status;

/// How long the proxy may take to start.
const START_MAX: Duration = Duration::from_secs(20);

/// How long between two looks at something that the control socket or the disk tells.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Ports below those that kernels hand out, in blocks: one for SIP, the next left free, the rest for media.
const BLOCK_FIRST: u16 = 16_400;
const BLOCK_PORTS: u16 = 102;
const BLOCKS: u16 = 150;

pub(super) struct Proxy {
    clock: Clock,
    data: PathBuf,
    child: Child,
}

/// Where the proxy is to listen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub sip: SocketAddr,
    media: (u16, u16),
}

impl Ports {
    /// The first block in which every port is free, beginning at one that differs from process to process.
    pub(super) fn find() -> Option<Self> {
        let first = std::process::id() % u32::from(BLOCKS);
        let blocks = (0..u32::from(BLOCKS)).filter_map(|n| u16::try_from((first + n) % u32::from(BLOCKS)).ok());
        let mut bases = blocks.map(|block| BLOCK_FIRST + block * BLOCK_PORTS);
        bases.find(|base| are_free(*base)).map(|base| Self {
            sip: SocketAddr::from((Ipv4Addr::LOCALHOST, base)),
            media: (base + 2, base + BLOCK_PORTS - 1),
        })
    }
}

fn are_free(base: u16) -> bool {
    let bound: Result<Vec<UdpSocket>, io::Error> = (base..base + BLOCK_PORTS)
        .map(|port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)))
        .collect();
    bound.is_ok()
}

impl Proxy {
    /// Writes the configuration into `data`, starts the proxy, and waits until it answers.
    pub(super) fn start(clock: Clock, data: &Path, ports: Ports, peers: [SocketAddr; 2]) -> Result<Self, Broken> {
        let cannot = |error: io::Error| Broken::new(format!("cannot start the proxy: {error}"));
        let config = config(data, ports, peers)?;
        write_files(data, &config)?;
        let log = File::create(log_path(data)).map_err(cannot)?;
        let program = std::env::current_exe().map_err(cannot)?;
        let mut serve = Command::new(program);
        serve
            .arg("serve")
            .arg("--config")
            .arg(config_path(data))
            .arg("--allow-faults");
        let child = serve
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(cannot)?;
        let mut proxy = Self {
            clock,
            data: data.to_owned(),
            child,
        };
        proxy.await_start()?;
        Ok(proxy)
    }

    fn await_start(&mut self) -> Result<(), Broken> {
        let latest = self.clock.now() + START_MAX;
        while self.status().is_err() {
            if let Some(status) = self.ended() {
                return Err(Broken::new(format!("the proxy ended at once, {status}")));
            }
            if self.clock.now() >= latest {
                return Err(Broken::new("the proxy does not answer on its control socket"));
            }
            thread::park_timeout(LOOK_EVERY);
        }
        Ok(())
    }

    pub(super) fn status(&self) -> Result<Status, Broken> {
        match self.ask(&Request::Status)? {
            Reply::Status(status) => Ok(*status),
            reply => Err(Broken::new(format!("the proxy answered {reply:?}"))),
        }
    }

    pub(super) fn ask(&self, request: &Request) -> Result<Reply, Broken> {
        control::ask(&self.data, request).map_err(|error| Broken::new(error.to_string()))
    }

    /// How it ended, if it did without being told to.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// SIGTERM, as a service manager does it, and what `serve` makes of it.
    pub(super) fn end(mut self) -> Result<ExitStatus, Broken> {
        let cannot = |error: io::Error| Broken::new(format!("cannot end the proxy: {error}"));
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).map_err(|error| cannot(error.into()))?;
        }
        self.child.wait().map_err(cannot)
    }
}

/// A demo that breaks off leaves no process behind.
impl Drop for Proxy {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait()
            && let Err(error) = self.child.kill().and_then(|()| self.child.wait())
        {
            tracing::warn!(%error, "the proxy may still run");
        }
    }
}

/// Looks until there is something to see, or it is too late.
pub(super) fn await_some<T>(clock: Clock, patience: Duration, look: impl Fn() -> Option<T>) -> Option<T> {
    let latest = clock.now() + patience;
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if clock.now() >= latest {
            return None;
        }
        thread::park_timeout(LOOK_EVERY);
    }
}

pub(super) fn log_path(data: &Path) -> PathBuf {
    data.join("serve.log")
}

fn config_path(data: &Path) -> PathBuf {
    data.join("onrecord.toml")
}

fn config(data: &Path, ports: Ports, peers: [SocketAddr; 2]) -> Result<String, Broken> {
    let quoted = |path: PathBuf| match path.to_str() {
        // JSON's strings are TOML's, too.
        Some(path) => serde_json::to_string(path).map_err(|error| Broken::new(error.to_string())),
        None => Err(Broken::new(format!("{}: not UTF-8, so no TOML", path.display()))),
    };
    let data = std::path::absolute(data).map_err(|error| Broken::new(format!("{}: {error}", data.display())))?;
    let (spool, policies) = (quoted(data.join("spool"))?, quoted(data.join("policies"))?);
    let data = quoted(data)?;
    let (sip, (first, last), [pbx, carrier]) = (ports.sip, ports.media, peers);
    Ok(format!(
        r#"# Written by `onrecord demo`: alice's phone is the PBX, bob's is the carrier.
node = "demo"
data = {data}
[listen]
sip = ["udp:{sip}"]
media = {{ address = "127.0.0.1", ports = "{first}-{last}" }}
[[trunk]]
name = "pbx"
peers = ["{pbx}"]
[[trunk]]
name = "carrier"
peers = ["{carrier}"]
[[route]]
from = "pbx"
to = "carrier"
[[route]]
from = "carrier"
to = "pbx"
[recorder]
volumes = [{{ path = {spool}, reserve = "16MiB" }}]
[policies]
path = {policies}
"#
    ))
}

fn write_files(data: &Path, config: &str) -> Result<(), Broken> {
    let policies = data.join("policies");
    let cannot = |error| Broken::new(format!("{}: {error}", data.display()));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&policies)
        .map_err(cannot)?;
    fs::write(config_path(data), config).map_err(cannot)?;
    for (name, text) in crate::config::samples() {
        fs::write(policies.join(name), text).map_err(cannot)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_configuration_that_is_written_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a \"strange\" \\ place");
        let ports = Ports::find().unwrap();
        let peers = ["127.0.0.1:7000", "127.0.0.1:8000"].map(|peer| peer.parse().unwrap());
        write_files(&data, &config(&data, ports, peers).unwrap()).unwrap();
        let (config, notes) = crate::config::load_with_notes(&config_path(&data)).unwrap();
        assert_eq!(notes, []);
        assert_eq!(config.data, data);
        let policies = crate::config::load_policies(&data.join("policies"), crate::model::Generation(1)).unwrap();
        assert_eq!(policies.unknown_trunks(&config.trunk_names()), []);
    }
}
