//! What a phone speaks SIP over: datagrams, a stream, or a WebSocket.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;

use rustls::{ClientConnection, ServerConnection, StreamOwned};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use super::certificates::Authority;
use super::phone::PATIENCE;

pub trait Pipe: Read + Write {}
impl<T: Read + Write> Pipe for T {}

pub enum Line {
    Datagrams(UdpSocket),
    Stream(&'static str, RefCell<(Box<dyn Pipe>, Vec<u8>)>),
    WebSocket(&'static str, Box<RefCell<WebSocket<Box<dyn Pipe>>>>),
}

impl Line {
    pub fn tcp(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::stream("TCP", stream)
    }

    fn stream(name: &'static str, pipe: impl Pipe + 'static) -> Self {
        Self::Stream(name, RefCell::new((Box::new(pipe), Vec::new())))
    }

    /// The client's side of TLS with `stream`'s other end, which has to be `server`; the handshake is done when the first
    /// message is sent or awaited.
    pub fn tls(stream: TcpStream, server: &str, ca: &Authority, own: Option<&str>) -> Self {
        Self::stream("TLS", secured(stream, server, ca, own))
    }

    /// The server's side of TLS, with a certificate for `name`; who connects has to have one of the same authority.
    pub fn tls_server(stream: TcpStream, ca: &Authority, name: &str) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let connection = ServerConnection::new(Arc::new(ca.server_config(name))).unwrap();
        Self::stream("TLS", StreamOwned::new(connection, stream))
    }

    /// A browser's WebSocket under TLS.
    pub fn wss(stream: TcpStream, server: &str, ca: &Authority) -> Self {
        use tungstenite::client::IntoClientRequest;
        let mut request = format!("wss://{server}/").into_client_request().unwrap();
        let sip = "sip".parse().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", sip);
        let pipe: Box<dyn Pipe> = Box::new(secured(stream, server, ca, None));
        let (socket, response) = tungstenite::client(request, pipe)
            .map_err(|error| error.to_string())
            .unwrap();
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "sip");
        Self::WebSocket("WSS", Box::new(RefCell::new(socket)))
    }

    /// As Via writes it.
    pub fn transport(&self) -> &'static str {
        match self {
            Self::Datagrams(_) => "UDP",
            Self::Stream(name, _) | Self::WebSocket(name, _) => name,
        }
    }

    pub fn send(&self, to: SocketAddr, text: &str) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => socket.send_to(text.as_bytes(), to).map(drop),
            Self::Stream(_, stream) => {
                let (pipe, _) = &mut *stream.borrow_mut();
                pipe.write_all(text.as_bytes())?;
                pipe.flush()
            }
            Self::WebSocket(_, socket) => socket
                .borrow_mut()
                .send(Message::Text(text.into()))
                .map_err(io::Error::other),
        }
    }

    /// One message, and where a datagram came from.
    pub fn receive(&self) -> io::Result<(String, Option<SocketAddr>)> {
        match self {
            Self::Datagrams(socket) => {
                let mut buffer = vec![0; 65_535];
                let (length, from) = socket.recv_from(&mut buffer)?;
                Ok((String::from_utf8_lossy(&buffer[..length]).into_owned(), Some(from)))
            }
            Self::Stream(_, stream) => {
                let (pipe, buffer) = &mut *stream.borrow_mut();
                loop {
                    if let Some(length) = whole(buffer) {
                        let message: Vec<u8> = buffer.drain(..length).collect();
                        return Ok((String::from_utf8_lossy(&message).into_owned(), None));
                    }
                    let mut more = [0; 4096];
                    match pipe.read(&mut more)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        length => buffer.extend_from_slice(&more[..length]),
                    }
                }
            }
            Self::WebSocket(_, socket) => loop {
                match socket.borrow_mut().read().map_err(io::Error::other)? {
                    Message::Text(text) => return Ok((text.to_string(), None)),
                    Message::Close(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => {}
                }
            },
        }
    }
}

fn secured(
    stream: TcpStream,
    server: &str,
    ca: &Authority,
    own: Option<&str>,
) -> StreamOwned<ClientConnection, TcpStream> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = server.to_owned().try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(ca.client_config(own)), name).unwrap();
    StreamOwned::new(connection, stream)
}

/// The length of the message at the front, if it is all there.
fn whole(buffer: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(buffer);
    let head = text.find("\r\n\r\n")? + 4;
    let length = text[..head]
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))?;
    let end = head + length.trim().parse::<usize>().ok()?;
    (buffer.len() >= end).then_some(end)
}
