//! SIP without I/O: messages and their wire form, transactions, dialogs (RFC 3261).

pub mod dialog;
pub mod digest;
pub mod framing;
pub(crate) mod start_line;
pub mod transaction;

mod flow;
mod flow_token;
mod glance;
mod grammar;
mod host;
mod instance;
mod message;
mod method;
mod mint;
mod name_addr;
mod params;
mod response;
mod text;
mod uri;
mod via;

pub(crate) use grammar::{split_list as elements, unquoted};
pub(crate) use uri::unescaped;

pub use dialog::{Dialog, DialogError};
pub use flow::{Flow, Transport};
pub use flow_token::TokenKey;
pub use framing::{Framer, FramingError};
pub use glance::Glance;
pub use host::HostPort;
pub use instance::instance_id;
pub use message::{
    CSEQ_MAX, CSeq, HEADER_BYTES_MAX, HEADERS_MAX, Headers, MAX_FORWARDS, MESSAGE_BYTES_MAX, Message, ParseError,
    Request, Response, Wrong,
};
pub use method::{METHOD_BYTES_MAX, Method};
pub use mint::Mint;
pub use name_addr::{NameAddr, NameAddrError};
pub use params::{Params, ParamsError};
pub use response::reason_phrase;
pub use transaction::{ClientId, Event, InviteKey, Output, ServerId, TransactionLimits, Transactions};
pub use uri::{DEFAULT_PORT, Scheme, URI_BYTES_MAX, Uri, UriError};
pub use via::{MAGIC_COOKIE, Via, ViaError};
