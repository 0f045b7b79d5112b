//! The tables of `onrecord.toml`, each with what may be wrong with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::listen::{Delivery, TRANSPORTS, delivery};
use super::{
    Config, DATA_DEFAULT, LAG_MAX_DEFAULT, NODE_DEFAULT, Peer, Policies, RESERVE_DEFAULT, Recorder, Trunk, Volume,
};
use crate::model::TrunkName;
use crate::policy::reader::Table;
use crate::policy::{Code, scalar};
use crate::sip::Transport;

/// Longer lists of trunks, peers, routes, listeners and volumes are refused.
pub(super) const LIST_MAX: usize = 1_000;
const LAG_RANGE: RangeInclusive<Duration> = Duration::from_millis(200)..=Duration::from_secs(60);

/// All of the document. What is missing or wrong is noted, and stands at its default here.
pub(super) fn config(root: &Table<'_>) -> Config {
    let data = path(root, "data").unwrap_or_else(|| PathBuf::from(DATA_DEFAULT));
    let (trunks, deliveries) = trunks(root);
    let config = Config {
        node: node(root),
        listen: super::listen::listen(root),
        routes: super::routing::routes(root, &trunks),
        session_expires: super::sip::session_expires(root),
        recorder: recorder(root, &data),
        policies: policies(root),
        deliveries: super::certified::agreed(root, &trunks, deliveries),
        trunks: trunks.into_iter().map(|(trunk, _)| trunk).collect(),
        data,
    };
    root.finish();
    config
}

fn node(root: &Table<'_>) -> String {
    let Some(node) = root.text("node") else {
        return NODE_DEFAULT.to_owned();
    };
    if !crate::policy::is_name(node.get_ref()) {
        root.malformed(
            "node",
            &node.span(),
            node.get_ref(),
            "letters, digits, `-`, `_` and `.`, at most 64 of them",
        );
    }
    node.into_inner().to_owned()
}

pub(super) fn path(table: &Table<'_>, key: &'static str) -> Option<PathBuf> {
    let text = table.text(key)?;
    if text.get_ref().is_empty() || text.get_ref().contains('\0') {
        table.malformed(key, &text.span(), text.get_ref(), "a path");
        return None;
    }
    Some(PathBuf::from(text.get_ref()))
}

fn policies(root: &Table<'_>) -> Policies {
    let Some(policies) = root.table("policies", "a policies field") else {
        return Policies::Folder(PathBuf::from("policies"));
    };
    let folder = path(&policies, "path").unwrap_or_else(|| PathBuf::from("policies"));
    policies.finish();
    Policies::Folder(folder)
}

/// Trunks and where their names are written.
pub(super) type Trunks = Vec<(Trunk, std::ops::Range<usize>)>;

fn trunks(root: &Table<'_>) -> (Trunks, BTreeMap<TrunkName, Delivery>) {
    let tables = root.tables("trunk", "a trunk field");
    if tables.is_empty() && !root.has("trunk") {
        let finding = root
            .at(Code::Missing, root.span(), "there is no `[[trunk]]`")
            .label("who may send calls?");
        root.note(finding.hint("add `[[trunk]]` with `name = \"pbx\"` and `peers = [\"192.0.2.10\"]`"));
    }
    let mut trunks: Trunks = Vec::new();
    let mut deliveries = BTreeMap::new();
    for table in tables.iter().take(LIST_MAX) {
        let name = table.required_text("name", "what routes and grants call it by");
        let peers = peers(table, &trunks);
        let transport = table
            .choice("transport", TRANSPORTS)
            .map_or(Transport::Udp, Spanned::into_inner);
        let trusted = table.boolean("trusted").unwrap_or(false);
        let delivery = delivery(table, transport);
        let conduct = super::credentials::conduct(table);
        table.finish();
        let Some(name) = name else { continue };
        if !crate::policy::is_name(name.get_ref()) {
            table.malformed(
                "name",
                &name.span(),
                name.get_ref(),
                "letters, digits, `-`, `_` and `.`, at most 64 of them",
            );
        }
        if trunks.iter().any(|(other, _)| other.name.as_str() == *name.get_ref()) {
            let message = format!(
                "trunk `{}` is defined twice",
                crate::policy::reader::shown(name.get_ref())
            );
            table.note(table.at(Code::DuplicateTrunk, &name.span(), message));
        }
        if delivery != Delivery::default() {
            deliveries.insert(TrunkName::from(*name.get_ref()), delivery);
        }
        trunks.push((
            Trunk {
                name: TrunkName::from(*name.get_ref()),
                peers,
                transport,
                trusted,
                conduct,
            },
            name.span(),
        ));
    }
    (trunks, deliveries)
}

fn peers(table: &Table<'_>, others: &Trunks) -> Vec<Peer> {
    let wanted =
        "an IP address, with or without a port, like \"192.0.2.10\", \"192.0.2.10:5060\" or \"[2001:db8::1]:5060\"";
    let texts = table.required_texts("peers", wanted);
    if let Some(texts) = &texts
        && texts.is_empty()
    {
        table.malformed(
            "peers",
            &table.key_span("peers"),
            "[]",
            "at least one; calls are sent to the first",
        );
    }
    let mut peers: Vec<Peer> = Vec::new();
    for text in texts.unwrap_or_default().into_iter().take(LIST_MAX) {
        let Some(peer) = peer(text.get_ref()) else {
            table.malformed("peers", &text.span(), text.get_ref(), wanted);
            continue;
        };
        let overlaps = |other: &&Peer| {
            other.ip.to_canonical() == peer.ip.to_canonical()
                && (other.port.is_none() || peer.port.is_none() || other.port == peer.port)
        };
        let owner = others
            .iter()
            .find(|(trunk, _)| trunk.peers.iter().any(|p| overlaps(&p)));
        if let Some((owner, _)) = owner {
            let message = format!("`{}` is a peer of trunk `{}` too", text.get_ref(), owner.name);
            let finding = table.at(Code::DuplicatePeer, &text.span(), message);
            table.note(
                finding
                    .effect("a message from there could be of either trunk")
                    .hint("tell them apart by their ports"),
            );
        }
        peers.push(peer);
    }
    peers
}

fn peer(text: &str) -> Option<Peer> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() != 0).then_some(Peer {
            ip: address.ip(),
            port: Some(address.port()),
        });
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().map(|ip| Peer { ip, port: None })
}

fn recorder(root: &Table<'_>, data: &std::path::Path) -> Recorder {
    let spool = || {
        vec![Volume {
            path: data.join("spool"),
            reserve: RESERVE_DEFAULT,
        }]
    };
    let Some(recorder) = root.table("recorder", "a recorder field") else {
        return Recorder {
            volumes: spool(),
            lag_max: LAG_MAX_DEFAULT,
            reject_code: Default::default(),
        };
    };
    let lag_max = recorder.duration("lag_max").map_or(LAG_MAX_DEFAULT, |lag| {
        if !LAG_RANGE.contains(lag.get_ref()) {
            recorder.out_of_range("lag_max", &lag.span(), "from 200ms (two commits) to 60s");
        }
        lag.into_inner()
    });
    let reject_code = crate::policy::reject_code(&recorder);
    let volumes = volumes(&recorder);
    recorder.finish();
    Recorder {
        volumes: if volumes.is_empty() { spool() } else { volumes },
        lag_max,
        reject_code,
    }
}

fn volumes(recorder: &Table<'_>) -> Vec<Volume> {
    let mut volumes: Vec<Volume> = Vec::new();
    for table in recorder.tables("volumes", "a volume field").into_iter().take(LIST_MAX) {
        let at = table
            .required_text("path", "the folder of the spool")
            .map(|text| (PathBuf::from(text.get_ref()), text));
        let reserve = table.parsed("reserve", "a size, like \"1GiB\"", scalar::size);
        table.finish();
        if let Some((path, text)) = at {
            if volumes.iter().any(|volume| volume.path == path) {
                let message = format!(
                    "volume `{}` is listed twice",
                    crate::policy::reader::shown(text.get_ref())
                );
                let finding = table.at(Code::DuplicateVolume, &text.span(), message);
                table.note(finding.hint("a second volume is a second directory, best on another disk"));
            }
            volumes.push(Volume {
                path,
                reserve: reserve.map_or(RESERVE_DEFAULT, Spanned::into_inner),
            });
        }
    }
    volumes
}
