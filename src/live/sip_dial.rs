//! How a connection comes to be: dialled or answered, then what its transport asks for above TCP.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsStream;

use super::sip_connection::{self, Ending, Line, Refusal};
use super::{tls, websocket};
use crate::sip::{Flow, Transport};

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
    if let Err(error) = tune(&stream) {
        return Ending::Broken(error.kind());
    }
    match line.flow.transport {
        // Its flows never come here.
        Transport::Udp => Ending::Broken(io::ErrorKind::Unsupported),
        Transport::Tcp => sip_connection::run(line, stream, writes, accepted).await,
        Transport::Ws => websocket::run(line, stream, writes).await,
        Transport::Tls => match secured(line, stream, accepted).await {
            Ok(stream) => {
                // Who has not proved who it is has nothing of others' come to it (RFC 5923 §9.2).
                let proved = accepted && stream.get_ref().1.peer_certificates().is_some();
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

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_keepalive(true)
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
