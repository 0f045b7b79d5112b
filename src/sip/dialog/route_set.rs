//! The proxies that stay on a dialog's path (RFC 3261 §12.1, §12.2.1.1).

use serde::{Deserialize, Serialize};

use crate::sip::message::Headers;
use crate::sip::name_addr::NameAddr;
use crate::sip::uri::Uri;

/// In the order in which our requests visit them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct RouteSet(Vec<NameAddr>);

/// Where a request goes: its Request-URI and Route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Routed {
    pub(super) uri: Uri,
    pub(super) routes: Vec<NameAddr>,
}

impl RouteSet {
    /// Who sent the request reads the response's Record-Route backwards (§12.1.2).
    pub(super) fn of_uac(response: &Headers) -> Self {
        let mut routes = response.record_routes();
        routes.reverse();
        Self(routes)
    }

    /// Who answered it reads the request's as it stands (§12.1.1).
    pub(super) fn of_uas(request: &Headers) -> Self {
        Self(request.record_routes())
    }

    pub(super) fn first(&self) -> Option<&Uri> {
        self.0.first().map(NameAddr::uri)
    }

    /// Loose routers leave the target in the Request-URI; a strict one wants itself there and the target last in Route.
    pub(super) fn route(&self, target: &Uri) -> Routed {
        match self.0.split_first() {
            Some((strict, rest)) if !strict.uri.is_loose() => {
                let mut routes = rest.to_vec();
                routes.push(NameAddr::new(target.clone()));
                Routed {
                    uri: strict.uri.without_headers(),
                    routes,
                }
            }
            _ => Routed {
                uri: target.clone(),
                routes: self.0.clone(),
            },
        }
    }
}
