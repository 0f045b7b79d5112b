//! Builds every part of a running `serve` from its configuration, and joins them by queues.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::alarm::Alarm;
use super::clock::Clock;
use super::control::{ControlSocket, QUESTIONS_MAX};
use super::dialog_store::DialogStore;
use super::disk_threads::{DiskThreads, Failures};
use super::fault_switch::FaultSwitches;
use super::file_reader::FileReader;
use super::homes::Homes;
use super::identity;
use super::media_links::MediaLinks;
use super::media_thread::{ExtentLink, MediaLink, MediaThread, Wakes};
use super::neighbours::{self, Neighbours};
use super::peers::Peers;
use super::policies::Policies;
use super::policy_watch::PolicyWatch;
use super::process::{self, DataError, DataLocks};
use super::recorder::{self, RecorderParts, RecorderQueue};
use super::recovery::{self, RecoveryError};
use super::resolver::{self, Resolver};
use super::signaling::{Backlog, EVENTS_MAX, SignalingTask};
use super::sip_sockets::{ARRIVALS_MAX, BindError, SipCounters, SipSockets};
use super::sip_streams::StreamLimits;
use super::status::{self, Status};
use super::supervisor::Supervisor;
use super::threads::{Media, Threads};
use super::tls::{Contexts, TlsError};
use super::tls_watch::TlsWatch;
use super::token_key;
use super::topology;
use super::vitals::{Vitals, Watch};
use super::waker::Waker;
use crate::board::Board;
use crate::config::{Config, MediaSockets, Peer};
use crate::disk::{Disk, Layout};
use crate::engine::{CallView, Input, Line, Signaling, TrunkView};
use crate::policy::{Finding, PolicySet};
use crate::recorder::{Intake, IntakeConfig, VolumeConfig, Writer, WriterConfig};
use crate::trunk::{Site, Source};

/// How long calls that have ended are gathered before they are sealed.
const SEAL_EVERY: Duration = Duration::from_millis(250);

const MEDIA_THREADS_MAX: u16 = 4;

/// What the command line says beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    /// The file that the configuration was read from: a reload takes trunks and routes from it.
    pub config_file: Option<PathBuf>,
    /// The control socket may break volumes on purpose.
    pub allow_faults: bool,
}

/// Why `serve` did not start. Nothing was accepted, and everything that was begun is undone.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operator's to mend: a node without policies would record nothing.
    #[error("the policy files have errors")]
    Policies(Vec<Finding>),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A directory of the recorder cannot be made.
    #[error("the recorder's directories cannot be made: {0}")]
    Volumes(io::Error),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error("`sockets = \"shared\"` wants CAP_NET_ADMIN, CAP_BPF, CAP_NET_RAW and Linux 5.9: {0}")]
    Sharing(io::Error),
    /// The kernel gave no thread, socket or timer.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// Runs the proxy until it is told to end. Blocks. Returns the exit code: see docs/OPERATING.md.
pub fn serve(config: &Config, options: ServeOptions) -> Result<ExitCode, StartError> {
    process::keep_files_private();
    process::log_panics();
    let clock = Clock::start();
    let files = FileReader::start()?;
    let certificates = TlsWatch::load(clock, files.clone(), config)?;
    let policies = Policies::load(clock, config).map_err(StartError::Policies)?;
    let volumes = config.recorder.volumes.iter().map(|volume| volume.path.as_path());
    let _locks = DataLocks::take(&config.data, volumes)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (asked, questions) = mpsc::channel(QUESTIONS_MAX);
        let switches = FaultSwitches::new(config.recorder.volumes.len());
        let calls_max = process::calls_for(process::raise_file_limit(), &config.listen.media);
        let peers = neighbours::peers(config);
        let homes = Homes::of(&config.trunks);
        let (views, views_seen) = watch::channel(Vec::new());
        let (retired, retired_seen) = watch::channel(Vec::new());
        let parts = Parts {
            clock,
            config,
            peers: peers.clone(),
            homes: homes.clone(),
            views,
            retired,
            policies: policies.set(),
            switches: switches.clone(),
            calls_max,
            tls: certificates.newest(),
        };
        let (threads, recorder, listeners) = parts.start()?;
        let about = about(clock, config, listeners, calls_max);
        announce(config, &about, &policies, &options);
        let dns = resolver::system_or_none().map_err(io::Error::other)?;
        let sip = config.listen.sip.iter();
        let ways: Vec<_> = sip.map(|listener| (listener.transport, listener.address)).collect();
        let (resolver, link) = Resolver::new(clock, dns, &ways, peers, threads.events.clone(), retired_seen);
        tokio::spawn(resolver.run());
        link.follow(config.trunks.clone()).await;
        let supervisor = Supervisor {
            clock,
            files,
            threads,
            policy_watch: PolicyWatch::start(clock, policies.folder()),
            policies,
            certificates,
            neighbours: Neighbours::new(options.config_file, config.clone(), link, homes, views_seen),
            recorder,
            questions,
            switches: options.allow_faults.then_some(switches),
            about,
            drain: None,
        };
        let _control = ControlSocket::open(&config.data, asked)?;
        Ok(supervisor.run().await?)
    })
}

fn about(clock: Clock, config: &Config, listeners: Vec<String>, calls_max: u64) -> Status {
    let by_ports = Signaling::calls_with_ports(config.listen.media.ports.clone());
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        node: config.node.clone(),
        pid: std::process::id(),
        started: clock.now(),
        listeners,
        calls_max: calls_max.min(by_ports as u64),
        ..Status::default()
    }
}

fn announce(config: &Config, about: &Status, policies: &Policies, options: &ServeOptions) {
    for listener in &about.listeners {
        tracing::info!(%listener, "listens");
    }
    let media = &config.listen.media;
    tracing::info!(address = %media.address, ports = ?media.ports, sockets = ?media.sockets, calls_max = about.calls_max, "media");
    for trunk in &config.trunks {
        let networks = trunk.networks.iter().map(ToString::to_string);
        let peers: Vec<String> = trunk.peers.iter().map(peer_text).chain(networks).collect();
        let names: Vec<String> = trunk.sites.iter().filter_map(Site::authority).collect();
        let (peers, names) = (peers.join(" "), names.join(" "));
        tracing::info!(name = %trunk.name, peers, names, transport = trunk.transport.as_str(), "trunk");
    }
    let status = policies.status();
    tracing::info!(generation = %status.generation, hash = status.hash, "policies");
    for volume in &config.recorder.volumes {
        tracing::info!(path = %volume.path.display(), reserve = volume.reserve, "volume");
    }
    if options.allow_faults {
        tracing::warn!("--allow-faults: the control socket can break volumes");
    }
}

/// As the configuration writes it: without a port, any may send.
fn peer_text(peer: &Peer) -> String {
    match peer.port {
        Some(_) => peer.address().to_string(),
        None => peer.ip.to_string(),
    }
}

/// With the links to each, and from each to the recorder.
type MediaThreads = (Vec<MediaLink>, Vec<ExtentLink>, Vec<Media>);

/// What the threads are made from.
struct Parts<'a> {
    clock: Clock,
    config: &'a Config,
    peers: Peers,
    homes: Homes,
    views: watch::Sender<Vec<TrunkView>>,
    retired: watch::Sender<Vec<Source>>,
    policies: Arc<PolicySet>,
    switches: FaultSwitches,
    calls_max: u64,
    tls: watch::Receiver<Arc<Contexts>>,
}

impl Parts<'_> {
    /// Recovers, then starts every thread. Sockets come last: nothing is accepted before it can be recorded.
    fn start(self) -> Result<(Threads, Watch, Vec<String>), StartError> {
        let Self { clock, config, .. } = self;
        let recorder_config = self.recorder_config();
        let volumes = config
            .recorder
            .volumes
            .iter()
            .map(|volume| volume.path.clone())
            .collect();
        let layout = Layout {
            data: config.data.clone(),
            volumes,
        };
        let mut disk = Disk::open(layout).map_err(StartError::Volumes)?;
        let report = recovery::recover(clock, &recorder_config, |request| disk.execute(request))?;

        let (events, events_inbox) = mpsc::channel(EVENTS_MAX);
        let (waker, news, vitals) = (Waker::new(), Arc::new(Notify::new()), Vitals::default());
        let alarm = Alarm::default();
        let (media_links, extent_links, media) =
            self.start_media(&waker, &alarm, &news)
                .map_err(|error| match config.listen.media.sockets {
                    MediaSockets::Own => StartError::System(error),
                    MediaSockets::Shared => StartError::Sharing(error),
                })?;
        let volumes = u16::try_from(config.recorder.volumes.len()).unwrap_or(u16::MAX);
        let failures = Failures {
            clock,
            vitals: vitals.clone(),
        };
        let disks = DiskThreads::start(&disk, volumes, &self.switches, &waker, &failures)?;
        let (recorder_queue, recorder) = recorder::start(RecorderParts {
            clock,
            writer: Writer::new(recorder_config, report.first_segment, clock.now()),
            links: extent_links,
            disks,
            events: events.clone(),
            vitals: vitals.clone(),
            alarm,
            waker,
        })?;
        let (board, counters) = (Arc::new(Board::new()), Arc::new(SipCounters::default()));
        let sip = SipParts {
            media: MediaLinks::new(media_links, Arc::clone(&news)),
            news,
            recorder: recorder_queue,
            events: events_inbox,
            board: Arc::clone(&board),
            counters: Arc::clone(&counters),
            tls: self.tls.clone(),
        };
        let Sip {
            listeners,
            thread: signaling,
            stop,
        } = self.start_sip(sip)?;
        let threads = Threads {
            events,
            board,
            counters,
            recorder,
            signaling,
            stop: Some(stop),
            media,
        };
        Ok((threads, Watch::new(vitals, config.recorder.lag_max), listeners))
    }

    fn recorder_config(&self) -> WriterConfig {
        let recorder = &self.config.recorder;
        let volumes = recorder
            .volumes
            .iter()
            .map(|volume| VolumeConfig {
                reserve: volume.reserve,
            })
            .collect();
        WriterConfig {
            volumes,
            lag_max: recorder.lag_max,
            seal_every: SEAL_EVERY,
            ..WriterConfig::default()
        }
    }

    fn start_media(&self, waker: &Waker, alarm: &Alarm, news: &Arc<Notify>) -> io::Result<MediaThreads> {
        let (mut links, mut extents, mut threads) = (Vec::new(), Vec::new(), Vec::new());
        let clock = self.clock;
        let sharing = topology::sharing(&self.config.listen.media);
        for number in 0..media_threads() {
            let lag_max = self.config.recorder.lag_max;
            let intake = Intake::new(IntakeConfig {
                number,
                lag_max,
                ..IntakeConfig::default()
            });
            let (news, waker) = (Arc::clone(news), waker.clone());
            let wakes = Wakes {
                signalling: Box::new(move || news.notify_one()),
                recorder: Box::new(move || waker.wake_by(clock.now() + recorder::EXTENTS_WAIT)),
            };
            let name = format!("media-{number}");
            let media = MediaThread::spawn(&name, clock, sharing.clone(), intake, alarm.clone(), wakes)?;
            links.push(media.link);
            extents.push(media.extents);
            threads.push(Media {
                thread: media.thread,
                pulse: media.pulse,
            });
        }
        Ok((links, extents, threads))
    }

    /// Starts the `sip` thread with a runtime of its own, and waits for its listeners to be bound.
    fn start_sip(self, sip: SipParts) -> Result<Sip, StartError> {
        let (stop, stopped) = oneshot::channel();
        let (bound_sender, bound) = sync_channel(1);
        let config = self.config.clone();
        let (clock, policies, calls_max) = (self.clock, self.policies, self.calls_max);
        let (peers, homes, views, retired) = (self.peers, self.homes, self.views, self.retired);
        let news = Arc::clone(&sip.news);
        let (dialogs, survivors) = DialogStore::open(self.clock, &config.data, move || news.notify_one())?;
        let token_key = token_key::keep(&config.data)?;
        let secret = token_key::fresh()?;
        let identities = [identity::mint()?, identity::mint()?];
        let thread = Builder::new().name("sip".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return report(&bound_sender, Err(error.into())),
            };
            runtime.block_on(async {
                let (arrivals_sender, arrivals) = mpsc::channel(ARRIVALS_MAX);
                let setting = topology::sockets(&config, peers, homes, sip.tls);
                let limits = StreamLimits::default();
                let opened = SipSockets::open(clock, setting, sip.counters, arrivals_sender, limits);
                let sockets = match opened {
                    Ok(sockets) => sockets,
                    Err(error) => return report(&bound_sender, Err(error.into())),
                };
                let listeners = sockets.listeners();
                report(&bound_sender, Ok(listeners.clone()));
                let calls_max = usize::try_from(calls_max).unwrap_or(usize::MAX);
                let signaling_config = topology::signaling(&config, listeners, calls_max);
                let task = SignalingTask {
                    clock,
                    signaling: Signaling::new(signaling_config, policies, seed())
                        .with_token_key(token_key)
                        .with_secret(secret)
                        .with_identities(identities),
                    sockets,
                    arrivals,
                    events: sip.events,
                    recorder: sip.recorder,
                    media: sip.media,
                    board: sip.board,
                    dialogs,
                    survivors,
                    stop: stopped,
                    backlog: Backlog::default(),
                    views,
                    views_due: clock.now(),
                    retired,
                    line: Line::default(),
                    refusing: 0,
                };
                // A task of its own: the future that a runtime blocks on is woken through the kernel, even by its own thread.
                if let Err(ended) = tokio::spawn(task.run()).await
                    && let Ok(panic) = ended.try_into_panic()
                {
                    resume_unwind(panic);
                }
            });
        })?;
        let listeners = bound.recv().map_err(|_| io::Error::other("the sip thread ended"))??;
        let listeners = listeners
            .into_iter()
            .map(|(transport, address)| status::listener(transport, address));
        Ok(Sip {
            listeners: listeners.collect(),
            thread,
            stop,
        })
    }
}

/// A running `sip` thread.
struct Sip {
    /// As bound.
    listeners: Vec<String>,
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// What the `sip` thread is given.
struct SipParts {
    media: MediaLinks,
    /// Wakes signalling.
    news: Arc<Notify>,
    recorder: RecorderQueue,
    events: mpsc::Receiver<Input>,
    board: Arc<Board<CallView>>,
    counters: Arc<SipCounters>,
    tls: watch::Receiver<Arc<Contexts>>,
}

fn report<T>(to: &SyncSender<Result<T, StartError>>, what: Result<T, StartError>) {
    if to.send(what).is_err() {
        tracing::debug!("nobody waits for the listeners");
    }
}

/// Half of the processors: the other half is the recorder's and the disks'.
fn media_threads() -> u16 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(processors / 2)
        .unwrap_or(MEDIA_THREADS_MAX)
        .clamp(1, MEDIA_THREADS_MAX)
}

/// From the kernel's random numbers: tags, branches and Call-IDs must not be guessed.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
