//! How a connection comes to be: dialled or answered, then what its transport asks for above TCP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsStream;

use super::sip_connection::{self, Ending, Line, Refusal};
use super::{tls, websocket};
use crate::sip::{Flow, Transport};

/// What was sent by a connection of ours and is not acknowledged for so long breaks it: well before an INVITE is given up
/// (32 s), so that it can be tried by another. Our CRLFs are such data; with probes by the kernel beside them Linux would
/// break an idle connection at the first probe that is lost, whatever number of tries it is told (tcp(7), TCP_USER_TIMEOUT).
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);
/// Who opened a connection may be out of reach for longer, and cannot be dialled.
const ACCEPTED_UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(90);
/// The kernel looks after an accepted connection that is idle for so long.
const KEPT_ALIVE_AFTER: Duration = Duration::from_secs(60);
const KEPT_ALIVE_EVERY: Duration = Duration::from_secs(10);
const KEPT_ALIVE_TRIES: u32 = 3;

pub(super) enum Opening {
    /// Ours to open.
    Dial,
    /// The peer has opened it.
    Answer(TcpStream),
}

/// Opens the connection and serves it to its end. `writes` are the messages for the peer.
pub(super) async fn serve(line: &Line, opening: Opening, writes: mpsc::Receiver<Bytes>) -> Ending {
    let accepted = matches!(opening, Opening::Answer(_));
    let stream = match opening {
        Opening::Answer(stream) => stream,
        Opening::Dial => match timeout(line.limits.connect_time_max, dial(line.flow)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Ending::Broken(error.kind()),
            Err(_) => return Ending::Broken(io::ErrorKind::TimedOut),
        },
    };
    if let Err(error) = tune(&stream, accepted) {
        return Ending::Broken(error.kind());
    }
    match line.flow.transport {
        // Its flows never come here.
        Transport::Udp => Ending::Broken(io::ErrorKind::Unsupported),
        Transport::Tcp if accepted => sip_connection::run(line, stream, writes, true).await,
        Transport::Tcp => sip_connection::run_dialled(line, stream, writes).await,
        Transport::Ws => websocket::run(line, stream, writes).await,
        Transport::Tls => match secured(line, stream, accepted).await {
            Ok(stream) if !accepted => sip_connection::run_dialled(line, stream, writes).await,
            Ok(stream) => {
                // Who has not proved who it is has nothing of others' come to it (RFC 5923 §9.2).
                let proved = stream.get_ref().1.peer_certificates().is_some();
                sip_connection::run(line, stream, writes, proved).await
            }
            Err(ending) => ending,
        },
        Transport::Wss => match secured(line, stream, accepted).await {
            Ok(stream) => websocket::run(line, stream, writes).await,
            Err(ending) => ending,
        },
    }
}

async fn secured(line: &Line, stream: TcpStream, accepted: bool) -> Result<TlsStream<TcpStream>, Ending> {
    let contexts = line.shared.tls.borrow().clone();
    let owner = line.shared.peers.owner(line.flow.remote);
    let handshake = async {
        if accepted {
            tls::answer(&contexts, owner.as_ref(), line.flow, stream).await
        } else {
            tls::dial(&contexts, owner.as_ref(), line.flow, stream).await
        }
    };
    match timeout(line.limits.handshake_time_max, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if accepted => Err(Ending::Refused(Refusal::Tls(error))),
        Ok(Err(error)) => {
            tracing::warn!(remote = %line.flow.remote, %error, "TLS peer not accepted");
            Err(Ending::Broken(io::ErrorKind::PermissionDenied))
        }
        Err(_) => Err(Ending::Refused(Refusal::SlowHandshake)),
    }
}

fn tune(stream: &TcpStream, accepted: bool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    if !accepted {
        return socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
    }
    let keepalive = TcpKeepalive::new()
        .with_time(KEPT_ALIVE_AFTER)
        .with_interval(KEPT_ALIVE_EVERY)
        .with_retries(KEPT_ALIVE_TRIES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(ACCEPTED_UNACKNOWLEDGED_MAX))
}

/// Connects from the listener's address, so that the peer sees the source it was told of; the port is ephemeral.
async fn dial(flow: Flow) -> io::Result<TcpStream> {
    let socket = if flow.remote.is_ipv6() {
        TcpSocket::new_v6()?
    } else {
        TcpSocket::new_v4()?
    };
    socket.bind(SocketAddr::new(flow.local.ip(), 0))?;
    socket.connect(flow.remote).await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tuned(accepted: bool) -> (TcpStream, tokio::net::TcpListener) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let at = listener.local_addr().expect("bound");
        let stream = TcpStream::connect(at).await.expect("connects");
        tune(&stream, accepted).expect("tuned");
        (stream, listener)
    }

    #[tokio::test]
    async fn a_connection_whose_peer_is_gone_breaks_while_an_invite_is_still_waited_for() {
        let (stream, _listener) = tuned(false).await;
        let socket = SockRef::from(&stream);
        assert_eq!(socket.tcp_user_timeout().ok().flatten(), Some(UNACKNOWLEDGED_MAX));
        assert!(!socket.keepalive().expect("an option"), "one lost probe would end it");
        assert!(UNACKNOWLEDGED_MAX < crate::sip::transaction::TIMEOUT);
    }

    #[tokio::test]
    async fn an_accepted_connection_outlives_as_many_lost_probes_as_it_is_granted() {
        let (stream, _listener) = tuned(true).await;
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().expect("an option"));
        assert_eq!(socket.tcp_keepalive_time().ok(), Some(KEPT_ALIVE_AFTER));
        let probes = KEPT_ALIVE_AFTER + KEPT_ALIVE_EVERY * KEPT_ALIVE_TRIES;
        assert!(socket.tcp_user_timeout().ok().flatten() >= Some(probes));
    }
}
