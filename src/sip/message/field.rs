//! One header line as `rsip` models it. The only file that names `rsip`: its parser and writer are not used (they
//! know neither folding, compact names, IPv6 nor extensions), its header types are.

use rsip::headers::UntypedHeader as _;
use rsip::headers::untyped;

pub(super) use rsip::Header as Field;

/// Names in compact form (RFC 3261 §7.3.3, and the extensions that registered more) with their long ones.
const COMPACT: [(u8, &str); 20] = [
    (b'a', "Accept-Contact"),
    (b'b', "Referred-By"),
    (b'c', "Content-Type"),
    (b'd', "Request-Disposition"),
    (b'e', "Content-Encoding"),
    (b'f', "From"),
    (b'i', "Call-ID"),
    (b'j', "Reject-Contact"),
    (b'k', "Supported"),
    (b'l', "Content-Length"),
    (b'm', "Contact"),
    (b'n', "Identity-Info"),
    (b'o', "Event"),
    (b'r', "Refer-To"),
    (b's', "Subject"),
    (b't', "To"),
    (b'u', "Allow-Events"),
    (b'v', "Via"),
    (b'x', "Session-Expires"),
    (b'y', "Identity"),
];

/// The long name of a compact one; other names unchanged.
pub(super) fn long_name(name: &str) -> &str {
    match name.as_bytes() {
        [c] => COMPACT
            .iter()
            .find(|(short, _)| *short == c.to_ascii_lowercase())
            .map_or(name, |(_, long)| long),
        _ => name,
    }
}

macro_rules! fields {
    ($($variant:ident $name:literal)*) => {
        /// The field of that (long) name, in whatever case; extension headers keep their spelling.
        pub(super) fn field(name: &str, value: String) -> Field {
            $(if name.eq_ignore_ascii_case($name) {
                return Field::$variant(untyped::$variant::new(value));
            })*
            Field::Other(name.to_owned(), value)
        }

        /// Name and value.
        pub(super) fn parts(field: &Field) -> (&str, &str) {
            match field {
                $(Field::$variant(header) => ($name, header.value()),)*
                Field::Other(name, value) => (name, value),
            }
        }
    };
}

fields! {
    Via "Via"
    From "From"
    To "To"
    CallId "Call-ID"
    CSeq "CSeq"
    Contact "Contact"
    MaxForwards "Max-Forwards"
    ContentType "Content-Type"
    Allow "Allow"
    Supported "Supported"
    UserAgent "User-Agent"
    Route "Route"
    RecordRoute "Record-Route"
    Require "Require"
    Expires "Expires"
    Server "Server"
    Accept "Accept"
    AcceptEncoding "Accept-Encoding"
    AcceptLanguage "Accept-Language"
    AlertInfo "Alert-Info"
    AuthenticationInfo "Authentication-Info"
    Authorization "Authorization"
    CallInfo "Call-Info"
    ContentDisposition "Content-Disposition"
    ContentEncoding "Content-Encoding"
    ContentLanguage "Content-Language"
    ContentLength "Content-Length"
    Date "Date"
    ErrorInfo "Error-Info"
    Event "Event"
    InReplyTo "In-Reply-To"
    MimeVersion "MIME-Version"
    MinExpires "Min-Expires"
    Organization "Organization"
    Priority "Priority"
    ProxyAuthenticate "Proxy-Authenticate"
    ProxyAuthorization "Proxy-Authorization"
    ProxyRequire "Proxy-Require"
    ReplyTo "Reply-To"
    RetryAfter "Retry-After"
    Subject "Subject"
    SubscriptionState "Subscription-State"
    Timestamp "Timestamp"
    Unsupported "Unsupported"
    Warning "Warning"
    WwwAuthenticate "WWW-Authenticate"
}

/// Headers whose commas separate values (RFC 3261 §7.3.1 and the extensions that say so). Those of authentication and
/// dates hold commas that do not; unknown ones are left whole.
const LISTS: [&str; 33] = [
    "Accept",
    "Accept-Contact",
    "Accept-Encoding",
    "Accept-Language",
    "Alert-Info",
    "Allow",
    "Allow-Events",
    "Call-Info",
    "Contact",
    "Content-Encoding",
    "Content-Language",
    "Diversion",
    "Error-Info",
    "Geolocation",
    "History-Info",
    "In-Reply-To",
    "P-Asserted-Identity",
    "P-Associated-URI",
    "P-Preferred-Identity",
    "Path",
    "Privacy",
    "Proxy-Require",
    "Reason",
    "Record-Route",
    "Recv-Info",
    "Reject-Contact",
    "Require",
    "Resource-Priority",
    "Route",
    "Service-Route",
    "Supported",
    "Unsupported",
    "Via",
];

/// Whether the values of `name` may share a line, separated by commas.
pub(super) fn is_list(name: &str) -> bool {
    LISTS.iter().any(|list| list.eq_ignore_ascii_case(name)) || name.eq_ignore_ascii_case("Warning")
}
