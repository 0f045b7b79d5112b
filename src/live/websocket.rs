//! SIP over WebSocket (RFC 7118), the server's side: the upgrade, then one message of SIP in each of WebSocket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Utf8Bytes, error::ProtocolError};

use super::sip_connection::{Ending, Line, Refusal, closed};
use crate::model::Timestamp;
use crate::sip::MESSAGE_BYTES_MAX;

/// The subprotocol's name (RFC 7118 §4.1).
const SIP: &str = "sip";

const READ_BYTES: usize = 16 * 1024;

/// What one peer that does not read can have us hold: a few of the longest messages.
const WRITE_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;

/// Why a WebSocket was not opened. The peer's fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum UpgradeError {
    #[error("no WebSocket handshake in time")]
    Slow,
    #[error("no WebSocket handshake")]
    Malformed,
    #[error("WebSocket handshake without the subprotocol `sip`")]
    NotSip,
    #[error("WebSocket handshake by a page of another origin")]
    Origin,
}

/// Serves the connection to its end. `writes` are the messages for the peer.
pub(super) async fn run<S>(line: &Line, stream: S, mut writes: mpsc::Receiver<Bytes>) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let opening = timeout(
        line.limits.handshake_time_max,
        upgrade(Counted::new(stream), Arc::clone(&line.shared.origins)),
    );
    let mut socket = match opening.await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) => return Ending::Refused(error.into()),
        Err(_) => return Ending::Refused(UpgradeError::Slow.into()),
    };
    // Nobody can connect to it: what is for the trunk goes to whom it has connected last.
    for at in line.shared.homes.at_host(line.flow.transport, line.flow.remote.ip()) {
        if let Err(refusal) = line.stand_for(at).await {
            return Ending::Refused(refusal);
        }
    }
    let ending = exchange(line, &mut socket, &mut writes).await;
    if let Err(error) = timeout(line.limits.handshake_time_max, socket.close(None)).await {
        tracing::debug!(remote = %line.flow.remote, %error, "WebSocket close");
    }
    ending
}

async fn exchange<S>(
    line: &Line,
    socket: &mut WebSocketStream<Counted<S>>,
    writes: &mut mpsc::Receiver<Bytes>,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let clock = line.shared.clock;
    let mut quiet_since = clock.now();
    let mut spoke = quiet_since;
    let mut pinged = false;
    // Who has just connected owes a message, until we have said something ourselves.
    let mut owed_by = Some(quiet_since + line.limits.message_time_max);
    let mut slow = Slow::new(clock.now(), socket.get_ref().read());
    loop {
        let due = (quiet_since + line.limits.silence_max).min(spoke + line.limits.idle_time_max);
        let due = due.min(slow.look_at(line.limits.message_time_max));
        let due = owed_by.map_or(due, |owed_by| owed_by.min(due));
        let to_send = tokio::select! {
            read = socket.next() => {
                quiet_since = clock.now();
                pinged = false;
                match read {
                    None | Some(Ok(Message::Close(_))) => return closed(writes),
                    Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                        (spoke, owed_by) = (quiet_since, None);
                        slow = Slow::new(quiet_since, socket.get_ref().read());
                        match on_message(line, message.into_data()).await {
                            Ok(answer) => answer,
                            Err(refusal) => return Ending::Refused(refusal),
                        }
                    }
                    // Its pong leaves with the next look at the socket.
                    Some(Ok(Message::Ping(payload) | Message::Pong(payload))) => {
                        slow.on_control(payload.len());
                        None
                    }
                    Some(Ok(Message::Frame(_))) => None,
                    Some(Err(error)) => return broken(&error, writes),
                }
            }
            Some(message) = writes.recv() => {
                (spoke, owed_by) = (clock.now(), None);
                Some(framed(message))
            }
            () = sleep_until(clock.instant(due).into()) => {
                let is_slow = slow.is_over(due, socket.get_ref().read(), line.limits.message_time_max);
                if is_slow || owed_by.is_some_and(|owed_by| owed_by <= due) {
                    return Ending::Refused(Refusal::SlowSender);
                }
                if due < (quiet_since + line.limits.silence_max).min(spoke + line.limits.idle_time_max) {
                    continue;
                }
                if spoke + line.limits.idle_time_max <= due {
                    return closed(writes);
                }
                if std::mem::replace(&mut pinged, true) {
                    return Ending::Refused(Refusal::WebSocket);
                }
                quiet_since = due;
                Some(Message::Ping(Bytes::new()))
            }
        };
        if let Some(message) = to_send
            && let Err(ending) = deliver(line, socket, writes, message).await
        {
            return ending;
        }
    }
}

async fn deliver<S>(
    line: &Line,
    socket: &mut WebSocketStream<Counted<S>>,
    writes: &mut mpsc::Receiver<Bytes>,
    message: Message,
) -> Result<(), Ending>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match timeout(line.limits.message_time_max, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(broken(&error, writes)),
        Err(_) => Err(Ending::Broken(io::ErrorKind::TimedOut)),
    }
}

/// Whether a message is on its way in that does not come to its end. A socket tells of whole messages only: looked at is how
/// many bytes have come that belong to none.
struct Slow {
    /// The last look, and the bytes that belong to nothing that is whole.
    at: Timestamp,
    accounted: u64,
    /// A look before this one has seen the beginning.
    begun: bool,
}

/// A control frame of a client: its head and its mask (RFC 6455 §5.2).
const CONTROL_HEAD_BYTES: usize = 6;

impl Slow {
    /// A message has just come to its end.
    const fn new(at: Timestamp, read: u64) -> Self {
        Self {
            at,
            accounted: read,
            begun: false,
        }
    }

    /// One may stand between the parts of a message (RFC 6455 §5.4).
    const fn on_control(&mut self, payload: usize) {
        self.accounted += (CONTROL_HEAD_BYTES + payload) as u64;
    }

    fn look_at(&self, limit: Duration) -> Timestamp {
        self.at + limit
    }

    /// A message that is seen to have begun by one look has until the next to end: twice the limit at most.
    fn is_over(&mut self, now: Timestamp, read: u64, limit: Duration) -> bool {
        if now < self.look_at(limit) {
            return false;
        }
        self.at = now;
        std::mem::replace(&mut self.begun, read > self.accounted) && self.begun
    }
}

/// A stream that counts what was read from it.
struct Counted<S> {
    inner: S,
    read: u64,
}

impl<S> Counted<S> {
    const fn new(inner: S) -> Self {
        Self { inner, read: 0 }
    }

    const fn read(&self) -> u64 {
        self.read
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.read += (buffer.filled().len() - before) as u64;
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// One message, or a keep-alive of RFC 5626 §3.5.1, which is answered.
async fn on_message(line: &Line, bytes: Bytes) -> Result<Option<Message>, Refusal> {
    if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
        return Ok((bytes.len() == 4).then(|| Message::Text(Utf8Bytes::from_static("\r\n"))));
    }
    line.arrive(bytes).await.map(|()| None)
}

/// As text if it is that (RFC 7118 §4.2).
fn framed(message: Bytes) -> Message {
    match Utf8Bytes::try_from(message.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(message),
    }
}

fn broken(error: &Error, writes: &mut mpsc::Receiver<Bytes>) -> Ending {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => closed(writes),
        Error::Io(error) => Ending::Broken(error.kind()),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => closed(writes),
        Error::Capacity(CapacityError::MessageTooLong { .. }) | Error::Protocol(_) | Error::Utf8(_) => {
            Ending::Refused(Refusal::WebSocket)
        }
        _ => Ending::Broken(io::ErrorKind::Other),
    }
}

async fn upgrade<S>(stream: S, origins: Arc<Vec<String>>) -> Result<WebSocketStream<S>, UpgradeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut refusal = UpgradeError::Malformed;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    #[allow(clippy::result_large_err)] // the shape that tungstenite asks for
    let agree = |request: &Request, mut response: Response| match agreed(request.headers(), &origins) {
        Ok(()) => {
            let protocol = HeaderValue::from_static(SIP);
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
            Ok(response)
        }
        Err(error) => {
            refusal = error;
            let mut answer = ErrorResponse::new(None);
            *answer.status_mut() = match error {
                UpgradeError::Origin => StatusCode::FORBIDDEN,
                _ => StatusCode::BAD_REQUEST,
            };
            Err(answer)
        }
    };
    tokio_tungstenite::accept_hdr_async_with_config(stream, agree, Some(config))
        .await
        .map_err(|_| refusal)
}

/// The subprotocol is asked for, and a browser's page, if it is one, is of an origin that may.
fn agreed(headers: &HeaderMap, origins: &[String]) -> Result<(), UpgradeError> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut offered = offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    if !offered.any(|protocol| protocol.trim() == SIP) {
        return Err(UpgradeError::NotSip);
    }
    let from = headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
    let may = |from: &[u8]| {
        origins
            .iter()
            .any(|origin| origin.as_bytes().eq_ignore_ascii_case(from))
    };
    match from {
        Some(from) if !origins.is_empty() && !may(from) => Err(UpgradeError::Origin),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
