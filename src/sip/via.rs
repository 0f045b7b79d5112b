//! The path of a request, and the way back for its responses (RFC 3261 §18.2, §20.42, RFC 3581).

use std::fmt;
use std::net::SocketAddr;

use super::flow::{Flow, Transport};
use super::grammar::{self, find, is_space, push_number, split_once};
use super::host::{self, HostPort};
use super::params::Params;
use super::text::Text;
use super::uri::DEFAULT_PORT;

/// Starts the branch of every element that follows RFC 3261 (§8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// What every Via begins with.
const VERSION: &str = "SIP/2.0/";
/// A space before sent-by, and a port with its colon.
const PORT_BYTES_MAX: usize = 7;

/// One Via value: `SIP/2.0/UDP host:port;params`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Via {
    transport: Text,
    host: Text,
    port: Option<u16>,
    pub params: Params,
}

/// The text is no Via value. The peer's fault: 400.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("malformed Via")]
pub struct ViaError;

impl Via {
    /// Ours: sent by `sent_by`, asking for `rport` (RFC 3581 §3).
    pub fn new(transport: Transport, sent_by: SocketAddr, branch: &str) -> Self {
        Self::named(transport, &sent_by.into(), branch)
    }

    /// Ours, by the name that peers know us by. A `branch` that is no token is made one.
    pub fn named(transport: Transport, sent_by: &HostPort, branch: &str) -> Self {
        let branch = grammar::as_token(branch);
        let params = ";rport".len() + ";branch=".len() + branch.len();
        let mut text = String::with_capacity(VERSION.len() + 4 + sent_by.host().len() + PORT_BYTES_MAX + params);
        for part in [VERSION, transport.as_str(), " ", sent_by.host()] {
            text.push_str(part);
        }
        if let Some(port) = sent_by.port() {
            text.push(':');
            push_number(&mut text, port.into());
        }
        text.push_str(";rport;branch=");
        text.push_str(&branch);
        Self::parse(&text).expect("invariant: a host and tokens are a Via")
    }

    /// One element of a Via header. Space may stand around `/`, `:`, `;` and `=`.
    pub fn parse(text: &str) -> Result<Self, ViaError> {
        let whole = Text::from(text);
        let mut rest = &*whole;
        let mut part = || {
            let (part, after) = split_once(rest, b'/').ok_or(ViaError)?;
            rest = after;
            Ok(part.trim_matches(is_space))
        };
        let (name, version) = (part()?, part()?);
        let rest = rest.trim_matches(is_space);
        let gap = rest.find(is_space).ok_or(ViaError)?;
        let (transport, rest) = rest.split_at_checked(gap).ok_or(ViaError)?;
        if !name.eq_ignore_ascii_case("SIP") || version != "2.0" || !grammar::is_token(transport) {
            return Err(ViaError);
        }
        let end = find(rest, b';').unwrap_or(rest.len());
        let (sent_by, params) = rest.split_at_checked(end).ok_or(ViaError)?;
        let sent_by = sent_by.trim_matches(is_space);
        let spaced = sent_by.contains(is_space).then(|| sent_by.replace([' ', '\t'], ""));
        let sent_by = spaced.as_deref().unwrap_or(sent_by);
        let (host_bytes, port) = host::split_host_port(sent_by).map_err(|_| ViaError)?;
        Ok(Self {
            transport: whole.piece(transport),
            host: whole.piece(sent_by.get(..host_bytes).ok_or(ViaError)?),
            port,
            params: Params::piece_of(&whole, params).map_err(|_| ViaError)?,
        })
    }

    /// As a header has it.
    pub(super) fn written(&self) -> String {
        let fixed = VERSION.len() + self.transport.len() + self.host.len() + PORT_BYTES_MAX;
        let mut out = String::with_capacity(fixed + self.params.as_str().len());
        for part in [VERSION, &self.transport, " ", &self.host] {
            out.push_str(part);
        }
        if let Some(port) = self.port {
            out.push(':');
            push_number(&mut out, port.into());
        }
        out.push_str(self.params.as_str());
        out
    }

    /// As written, like `UDP`; not only those that we speak.
    pub fn transport(&self) -> &str {
        &self.transport
    }

    /// The host of sent-by, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    pub fn branch(&self) -> Option<&str> {
        self.params.get("branch").filter(|branch| !branch.is_empty())
    }

    /// Whether the branch is one of RFC 3261, unique by itself: more than just the cookie (RFC 4475 §3.2.1).
    pub fn has_magic_cookie(&self) -> bool {
        let split = self
            .branch()
            .and_then(|branch| branch.split_at_checked(MAGIC_COOKIE.len()));
        split.is_some_and(|(cookie, rest)| cookie.eq_ignore_ascii_case(MAGIC_COOKIE) && !rest.is_empty())
    }

    /// Notes where the request really came from: `received` if sent-by says otherwise or `rport` was asked for, and
    /// then `rport` (RFC 3261 §18.2.1, RFC 3581 §4). What the peer wrote there itself is overwritten.
    pub fn stamp(&mut self, source: SocketAddr) {
        let asked = self.params.contains("rport");
        let elsewhere = host::parse_ip(&self.host) != Some(source.ip());
        if asked {
            self.params.set("rport", &source.port().to_string());
        }
        if asked || elsewhere {
            self.params.set("received", &source.ip().to_string());
        } else {
            self.params.remove("received");
        }
    }

    /// Where the responses to a request that came by `flow` go (RFC 3261 §18.2.2, RFC 3581 §4). Always the source's
    /// address: `maddr` and names in sent-by are not followed, so that nobody aims our answers at a third party.
    pub fn response_flow(&self, flow: Flow) -> Flow {
        if flow.transport.is_reliable() || self.params.contains("rport") {
            return flow;
        }
        let remote = SocketAddr::new(flow.remote.ip(), self.port.unwrap_or(DEFAULT_PORT));
        Flow { remote, ..flow }
    }

    /// Where they go once the connection `flow` is gone: to the port in sent-by, at the source's address (RFC 3261 §18.2.2).
    /// None where that led to the same, and for WebSockets, which are the peer's to open.
    pub fn response_flow_anew(&self, flow: Flow) -> Option<Flow> {
        let port = self.port.unwrap_or(flow.transport.default_port());
        let remote = SocketAddr::new(flow.remote.ip(), port);
        let helps = flow.transport.is_stream() && !flow.transport.is_websocket() && remote != flow.remote;
        helps.then_some(Flow { remote, ..flow })
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written())
    }
}

#[cfg(test)]
mod tests;
