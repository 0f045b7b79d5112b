//! What the trunks make of a call before and after it is decided: numbers rewritten, the route taken, where it leads.

use std::fmt::Write as _;

use serde_json::json;

use crate::b2bua::{self, arrive};
use crate::config::Config;
use crate::model::Timestamp;
use crate::policy::{CallFacts, PolicySet};
use crate::sip::{Method, NameAddr, Request, Uri};
use crate::trunk::{Applied, Passage, Paths, Route, Site, Topology, Trunk, rewrite};

/// A call from a trunk on its way through the node.
pub(super) struct Way {
    /// As routes and policies see it.
    pub seen: Request,
    /// The Request-URI before the rules of what comes in.
    pub dialled: String,
    /// What the config says of the trunk that it comes from.
    pub writes_e164: bool,
    arrived: Vec<Applied>,
    onward: Option<Onward>,
    topology: Topology,
    /// The Request-URI as it leaves, with each host that it may leave for.
    targets: Vec<Uri>,
}

struct Onward {
    route: Route,
    request_uri: String,
    left: Vec<Applied>,
    /// Addresses as `udp:192.0.2.10:5060`, names as they are configured, in order of priority.
    destinations: Vec<String>,
}

/// None if `trunk` is none of the config, or `from` or `to` are no URIs.
pub(super) fn way(config: &Config, policies: &PolicySet, trunk: &str, from: &str, to: &str) -> Option<Way> {
    let trunk = config.trunks.iter().find(|known| known.name.as_str() == trunk)?;
    let (from, to) = (uri(from)?, uri(to)?);
    let parties = (NameAddr::new(from), NameAddr::new(to.clone()));
    let dialled = to.to_string();
    let mut seen = Request::new(Method::Invite, to, parties.0, parties.1, "explain", 1);
    let arrived = arrive(&mut seen, trunk, policies);
    let listeners = config.listen.sip.iter();
    let listeners = listeners
        .map(|listener| (listener.transport, listener.address))
        .collect();
    let topology = Topology::new(config.trunks.clone(), config.routes.clone(), listeners).with_paths(paths(config));
    let user = seen.uri.user().unwrap_or_else(|| seen.uri.opaque());
    let onward = topology
        .route(&trunk.name, user)
        .map(|(route, to)| leave(&seen, route, to));
    let destinations = topology.destinations(Timestamp::ZERO, trunk, &seen.uri, &mut |_| 0);
    let mut targets: Vec<Uri> = destinations
        .unwrap_or_default()
        .into_iter()
        .map(|to| to.target)
        .collect();
    if let Some((sent, to)) = topology.onward(&trunk.name, &seen.uri) {
        let names = to.sites.iter().filter_map(Site::authority);
        targets.extend(names.filter_map(|name| sent.with_authority(&name)));
    }
    Some(Way {
        seen,
        dialled,
        writes_e164: trunk.e164,
        arrived,
        onward,
        targets,
        topology,
    })
}

/// What the listeners are known as outside.
fn paths(config: &Config) -> Paths {
    let mut paths = Paths::default();
    for listener in &config.listen.sip {
        if let Some(at) = &listener.advertised {
            paths.advertise(listener.transport, listener.address, at.clone());
        }
    }
    paths
}

fn leave(seen: &Request, route: &Route, to: &Trunk) -> Onward {
    let mut request = seen.clone();
    let user = route.to_user.as_deref();
    if let Some(uri) = user.and_then(|user| rewrite::with_user(&request.uri, user)) {
        request.uri = uri;
    }
    let left = rewrite::apply(&to.rewrites, Passage::Out, &mut request);
    let address = |transport: crate::sip::Transport, address| crate::live::status::listener(transport, address);
    let mut sites: Vec<&Site> = to.sites.iter().collect();
    sites.sort_by_key(|site| site.rank.priority);
    let mut destinations: Vec<String> = sites
        .into_iter()
        .filter_map(|site| match site.place(to.transport) {
            Some((transport, at)) => Some(address(transport, at)),
            None => site.authority(),
        })
        .collect();
    if to.sites.is_empty() {
        destinations = to
            .peers
            .iter()
            .map(|peer| address(to.transport, peer.address_by(to.transport)))
            .collect();
    }
    Onward {
        route: route.clone(),
        request_uri: request.uri.to_string(),
        left,
        destinations,
    }
}

/// `alice@example.com` and `+44…` too, as people write them.
fn uri(text: &str) -> Option<Uri> {
    match Uri::parse(text) {
        Ok(uri) if text.contains(':') => Some(uri),
        _ if text.contains('@') => Uri::parse(&format!("sip:{text}")).ok(),
        _ => Uri::parse(&format!("tel:{text}")).ok(),
    }
}

impl Way {
    pub(super) fn to_trunk(&self) -> Option<&str> {
        Some(self.onward.as_ref()?.route.to.as_str())
    }

    /// As a live call's: users at our own addresses are known by other names too.
    pub(super) fn at_our_address(&self, facts: CallFacts) -> CallFacts {
        b2bua::at_our_address(facts, &self.topology, &self.targets)
    }

    /// Several lines for a terminal.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        write_applied(&mut out, "in", &self.arrived);
        let Some(onward) = &self.onward else {
            out.push_str("route  none: 404\n");
            return out;
        };
        let route = &onward.route;
        let prefix = route.prefix.as_ref().map(|prefix| format!(" (prefix {prefix})"));
        let _ = writeln!(
            out,
            "route  {} → {}{}",
            route.from,
            route.to,
            prefix.unwrap_or_default()
        );
        write_applied(&mut out, "out", &onward.left);
        let _ = writeln!(
            out,
            "to     {} at {}",
            onward.request_uri,
            onward.destinations.join(", ")
        );
        super::logging::visible_lines(&out)
    }

    /// The same for scripts.
    pub(super) fn json(&self) -> serde_json::Value {
        let rules = |applied: &[Applied]| -> Vec<serde_json::Value> {
            let rule =
                |rule: &Applied| json!({"field": rule.field.to_string(), "before": rule.before, "after": rule.after});
            applied.iter().map(rule).collect()
        };
        let onward = self.onward.as_ref().map(|onward| {
            json!({
                "from": onward.route.from,
                "to": onward.route.to,
                "prefix": onward.route.prefix,
                "request_uri": onward.request_uri,
                "rewritten": rules(&onward.left),
                "destinations": onward.destinations,
            })
        });
        json!({ "rewritten": rules(&self.arrived), "route": onward })
    }
}

fn write_applied(out: &mut String, way: &str, applied: &[Applied]) {
    for rule in applied {
        let _ = writeln!(out, "{way:6} {}: {} → {}", rule.field, rule.before, rule.after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Generation;
    use crate::policy::SourceFile;

    const CONFIG: &str = r#"
[listen]
sip = ["udp:127.0.0.1:5070"]
media = { address = "127.0.0.1", ports = "40000-59999" }
[[trunk]]
name = "pbx"
peers = ["127.0.0.1:5080"]
e164 = true
[[trunk]]
name = "carrier"
peers = ["127.0.0.1:5090"]
destinations = [{ address = "sip.example.com", priority = 2 }, { address = "127.0.0.1:5090", priority = 1 }]
[[trunk.rewrite]]
on = "out"
field = "request_uri"
match = '^\+'
replace = "00"
[[route]]
from = "pbx"
to = "carrier"
prefix = "+44"
"#;

    #[test]
    fn the_user_that_route_and_rules_make_is_told_to_the_policies_as_in_a_call() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("onrecord.toml");
        let route = "to_user = \"+44112\"\n";
        std::fs::write(
            &path,
            CONFIG.replace("'^\\+'", "'^\\+44'").replace("\"00\"", "\"\"") + route,
        )
        .expect("written");
        let config = crate::config::load(&path).expect("valid");
        let policies = PolicySet::compile(&[], Generation(1)).expect("valid");
        let way = way(&config, &policies, "pbx", "1001@x", "+44201234@127.0.0.1").expect("a way");
        let facts = way.at_our_address(CallFacts {
            trunk: Some("pbx".into()),
            request_uri: way.seen.uri.to_string(),
            ..CallFacts::default()
        });
        assert_eq!(facts.sent_on_as, ["sip:112@127.0.0.1", "sip:112@sip.example.com"]);
        assert!(policies.decide(&facts).emergency);
    }

    #[test]
    fn numbers_route_and_destinations_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("onrecord.toml");
        std::fs::write(&path, CONFIG).expect("written");
        let config = crate::config::load(&path).expect("valid");
        let file = SourceFile {
            path: "plan.toml".to_owned(),
            text: "[[dial_plan]]\ncountry_code = \"44\"\n".to_owned(),
        };
        let policies = PolicySet::compile(&[file], Generation(1)).expect("valid");
        let told = |to| way(&config, &policies, "pbx", "1001@x", to).expect("a way").text();
        assert_eq!(
            told("sip:0201234@127.0.0.1"),
            "in     request_uri: 0201234 → +44201234\nin     to: 0201234 → +44201234\nroute  pbx → carrier (prefix +44)\n\
             out    request_uri: +44201234 → 0044201234\n\
             to     sip:0044201234@127.0.0.1 at udp:127.0.0.1:5090, sip.example.com\n"
        );
        assert_eq!(told("1001@x"), "route  none: 404\n");
        assert!(way(&config, &policies, "nobody", "a@x", "b@x").is_none());
        let json = way(&config, &policies, "pbx", "1001@x", "0201234@x")
            .expect("a way")
            .json();
        assert_eq!(json["route"]["destinations"][1], "sip.example.com");
    }
}
