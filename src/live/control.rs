//! The control socket: `DATA/control.sock`, a Unix socket for its owner alone, one JSON line for each request and reply.
//!
//! It is how `status` and `reload` speak to a running `serve`. Requests are answered by the supervisor.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Client;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncBufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::drain::DrainOrder;
use super::fault_switch::InjectedFault;
use super::status::Status;
use crate::model::{Generation, SessionId};

const SOCKET_NAME: &str = "control.sock";

/// The longest request line, in bytes.
const REQUEST_BYTES_MAX: u64 = 4096;

/// The longest reply that a client reads, in bytes.
const REPLY_BYTES_MAX: u64 = 16 << 20;

/// Questions that wait for the supervisor. Full: the connection waits, others are not accepted meanwhile.
pub(super) const QUESTIONS_MAX: usize = 8;

/// How long one side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Status,
    /// Load the policy files, and trunks and routes of the config again, as SIGHUP does.
    Reload,
    /// Take no new calls, and end.
    Drain {
        order: DrainOrder,
    },
    /// Keep nothing of this call until `Resume`, or its policies' time is over. `why`: for its recording.
    Pause {
        session: SessionId,
        #[serde(default)]
        why: Option<String>,
    },
    /// Keep it again.
    Resume {
        session: SessionId,
    },
    /// Break a volume on purpose, or mend it; refused unless `serve` was started with `--allow-faults`.
    Fault {
        /// Its place in the configuration; without it all volumes.
        volume: Option<u16>,
        fault: InjectedFault,
    },
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    Status(Box<Status>),
    Reloaded {
        generation: Generation,
        /// Tables of the config that changed and need a restart.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        restart: Vec<String>,
        /// What `check` warns of in the config that is in force now, a line each.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
    },
    /// How many calls run.
    Draining {
        calls: u64,
        /// Those of them that a hand-over cannot leave to the next start, and ends.
        #[serde(default)]
        lost: u64,
    },
    Done,
    /// Not done, and why, as text for a person.
    Refused {
        why: String,
    },
}

/// A request with the place for its answer.
#[derive(Debug)]
pub(super) struct Question {
    pub request: Request,
    pub answer: oneshot::Sender<Reply>,
}

/// Where `serve` with this data directory listens.
pub fn socket_path(data: &Path) -> PathBuf {
    data.join(SOCKET_NAME)
}

/// The listening socket; its file goes when it is dropped.
#[derive(Debug)]
pub(super) struct ControlSocket {
    path: PathBuf,
}

impl ControlSocket {
    /// Listens on the runtime it is called on. The caller holds the lock of the data directory, so a socket file
    /// that is there already was left by a process that is gone.
    pub(super) fn open(data: &Path, questions: mpsc::Sender<Question>) -> io::Result<Self> {
        let path = socket_path(data);
        match std::fs::remove_file(&path) {
            Ok(()) => tracing::info!(path = %path.display(), "removed the control socket of an earlier run"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        tokio::spawn(serve(listener, questions));
        Ok(Self { path })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "control socket");
        }
    }
}

/// One client at a time: they are few, short, and the owner's own.
async fn serve(listener: UnixListener, questions: mpsc::Sender<Question>) {
    loop {
        match listener.accept().await {
            Ok((mut client, _)) => match timeout(PATIENCE, converse(&mut client, &questions)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "control client"),
                Err(_) => tracing::debug!("control client said nothing for too long"),
            },
            Err(error) => {
                tracing::error!(%error, "control socket lost");
                return;
            }
        }
    }
}

async fn converse(client: &mut UnixStream, questions: &mpsc::Sender<Question>) -> io::Result<()> {
    let (from_client, mut to_client) = client.split();
    let mut from_client = AsyncBufReader::new(from_client.take(REQUEST_BYTES_MAX));
    let mut line = String::new();
    if from_client.read_line(&mut line).await? == 0 {
        return Ok(());
    }
    let reply = match serde_json::from_str(&line) {
        Ok(request) => answer(request, questions).await,
        Err(error) => Reply::Refused {
            why: format!("not a request: {error}"),
        },
    };
    let mut reply = serde_json::to_vec(&reply)?;
    reply.push(b'\n');
    to_client.write_all(&reply).await
}

async fn answer(request: Request, questions: &mpsc::Sender<Question>) -> Reply {
    let (answer, answered) = oneshot::channel();
    let asked = questions.send(Question { request, answer }).await;
    match (asked, answered.await) {
        (Ok(()), Ok(reply)) => reply,
        _ => Reply::Refused {
            why: "shutting down".to_owned(),
        },
    }
}

/// Why a question to a running `serve` has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nothing listens there: no `serve` runs with this data directory.
    #[error("no `serve` runs with this data directory: nobody listens at {path}")]
    NotRunning { path: PathBuf },
    /// The socket is another user's.
    #[error("{path} belongs to another user")]
    Forbidden { path: PathBuf },
    #[error("the control socket broke: {0}")]
    Broken(#[from] io::Error),
    #[error("the reply makes no sense: {0}")]
    Unreadable(#[from] serde_json::Error),
}

/// Asks the `serve` that runs with this data directory; blocks for ten seconds at most.
pub fn ask(data: &Path, request: &Request) -> Result<Reply, AskError> {
    let path = socket_path(data);
    let mut client = Client::connect(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning { path },
        io::ErrorKind::PermissionDenied => AskError::Forbidden { path },
        _ => AskError::Broken(error),
    })?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    client.write_all(&line)?;
    let mut reply = String::new();
    BufReader::new(client.take(REPLY_BYTES_MAX)).read_line(&mut reply)?;
    Ok(serde_json::from_str(&reply)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(work)
    }

    async fn ask_from_a_thread(data: &Path, line: &'static str) -> String {
        let path = socket_path(data);
        tokio::task::spawn_blocking(move || {
            let mut client = Client::connect(path).expect("connects");
            client.write_all(line.as_bytes()).expect("writes");
            let mut reply = String::new();
            BufReader::new(client).read_line(&mut reply).expect("reads");
            reply
        })
        .await
        .expect("no panic")
    }

    #[test]
    fn a_request_is_answered_and_nonsense_is_refused() {
        let data = tempfile::tempdir().expect("a directory");
        std::fs::write(socket_path(data.path()), "left over").expect("a stale file");
        on_a_runtime(async {
            let (questions, mut asked) = mpsc::channel(QUESTIONS_MAX);
            let socket = ControlSocket::open(data.path(), questions).expect("listens");
            let mode = std::fs::metadata(socket_path(data.path()))
                .expect("is there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "for its owner alone");

            let client = ask_from_a_thread(data.path(), "{\"do\":\"reload\"}\n");
            let supervisor = async {
                let question = asked.recv().await.expect("a question");
                assert_eq!(question.request, Request::Reload);
                question
                    .answer
                    .send(Reply::Reloaded {
                        generation: Generation(7),
                        restart: Vec::new(),
                        warnings: Vec::new(),
                    })
                    .expect("waits for it");
            };
            let (reply, ()) = tokio::join!(client, supervisor);
            assert_eq!(reply, "{\"reply\":\"reloaded\",\"generation\":7}\n");

            let reply = ask_from_a_thread(data.path(), "{\"do\":\"sudo\"}\n").await;
            assert!(reply.starts_with("{\"reply\":\"refused\""), "{reply}");
            drop(socket);
            assert!(!socket_path(data.path()).exists());
        });
    }

    #[test]
    fn without_a_server_the_answer_says_so() {
        let data = tempfile::tempdir().expect("a directory");
        let answer = ask(data.path(), &Request::Status);
        assert!(matches!(answer, Err(AskError::NotRunning { .. })), "{answer:?}");
    }
}
