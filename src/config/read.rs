//! The tables of `onrecord.toml`, each with what may be wrong with it.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::{
    Config, DATA_DEFAULT, LAG_MAX_DEFAULT, Listen, Listener, MediaListen, NODE_DEFAULT, PORTS_DEFAULT, Policies,
    RESERVE_DEFAULT, Recorder, Volume,
};
use crate::policy::reader::{Table, Words};
use crate::policy::{Code, scalar};
use crate::sip::Transport;

/// Longer lists of trunks, peers, routes, listeners and volumes are refused.
pub(super) const LIST_MAX: usize = 1_000;
/// Fewer ports than a call with audio and video needs on both legs draw a warning; so many are ten such calls.
const PORTS_FEW: usize = 80;
const LAG_RANGE: RangeInclusive<Duration> = Duration::from_millis(200)..=Duration::from_secs(60);
pub(super) const TRANSPORTS: &Words<Transport> = &[("udp", Transport::Udp), ("tcp", Transport::Tcp)];

/// All of the document. What is missing or wrong is noted, and stands at its default here.
pub(super) fn config(root: &Table<'_>) -> Config {
    let data = path(root, "data").unwrap_or_else(|| PathBuf::from(DATA_DEFAULT));
    let trunks = super::trunk::trunks(root);
    let config = Config {
        node: node(root),
        listen: listen(root),
        routes: super::routing::routes(root, &trunks),
        session_expires: super::sip::session_expires(root),
        recorder: recorder(root, &data),
        policies: policies(root),
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

fn listen(root: &Table<'_>) -> Listen {
    let fallback = Config::embedded().listen;
    let Some(listen) = root.table("listen", "a listen field") else {
        let finding = root
            .at(Code::Missing, root.span(), "`[listen]` is missing")
            .label("where do calls arrive?");
        root.note(finding.hint("add `[listen]` with `sip = [\"udp:192.0.2.1:5060\"]` and `media = { … }`"));
        return fallback;
    };
    let wanted = "like \"udp:192.0.2.1:5060\"";
    let mut sip: Vec<Listener> = Vec::new();
    let texts = listen.required_texts("sip", wanted);
    if let Some(texts) = &texts
        && texts.is_empty()
    {
        listen.malformed(
            "sip",
            &listen.key_span("sip"),
            "[]",
            "at least one address to listen on",
        );
    }
    for text in texts.unwrap_or_default().into_iter().take(LIST_MAX) {
        match listener(text.get_ref()) {
            Some(new) if sip.contains(&new) => {
                let message = format!("`{}` is listed twice", text.get_ref());
                listen.note(listen.at(Code::DuplicateListener, &text.span(), message));
            }
            Some(new) => {
                not_any(&listen, &text, new.address.ip());
                sip.push(new);
            }
            None => listen.malformed("sip", &text.span(), text.get_ref(), wanted),
        }
    }
    let media = media(&listen, &sip);
    listen.finish();
    Listen {
        sip,
        media: media.unwrap_or(fallback.media),
    }
}

/// 0.0.0.0 would be written into Via, Contact and SDP, where nobody can answer to it.
fn not_any(table: &Table<'_>, text: &Spanned<&str>, ip: IpAddr) {
    if ip.is_unspecified() || ip.is_multicast() {
        let message = format!("`{}` cannot be told to peers", text.get_ref());
        let finding = table
            .at(Code::UnusableAddress, &text.span(), message)
            .effect("Via, Contact and SDP carry this address, and peers answer to it")
            .hint("name the address of an interface, one listener each");
        table.note(finding);
    }
}

fn listener(text: &str) -> Option<Listener> {
    let (transport, address) = text.split_once(':')?;
    let (_, transport) = TRANSPORTS.iter().find(|(word, _)| *word == transport)?;
    let address: SocketAddr = address.parse().ok()?;
    (address.port() != 0).then_some(Listener {
        transport: *transport,
        address,
    })
}

fn media(listen: &Table<'_>, sip: &[Listener]) -> Option<MediaListen> {
    let Some(media) = listen.table("media", "a media field") else {
        let finding = listen
            .at(Code::Missing, listen.span(), "`media` is missing")
            .label("needs `media`");
        listen.note(finding.hint("add `media = { address = \"192.0.2.1\", ports = \"40000-59999\" }`"));
        return None;
    };
    let address = media
        .required_text("address", "the IP address that RTP arrives at")
        .and_then(|text| {
            let ip: Option<IpAddr> = text.get_ref().parse().ok();
            match ip {
                Some(ip) => not_any(&media, &text, ip),
                None => media.malformed("address", &text.span(), text.get_ref(), "an IP address"),
            }
            ip
        });
    let ports = media.parsed("ports", "a range, like \"40000-59999\", from 1024 up", ports);
    let span = ports.as_ref().map(Spanned::span);
    let ports = ports.map_or(PORTS_DEFAULT, Spanned::into_inner);
    if let Some(span) = span {
        let is_few = ports.len() < PORTS_FEW;
        let taken = sip
            .iter()
            .find(|l| l.transport == Transport::Udp && ports.contains(&l.address.port()));
        if is_few || taken.is_some() {
            let message = match taken {
                Some(listener) => format!("SIP listens on port {} of this range", listener.address.port()),
                None => format!("{} ports; a call with audio and video takes 8", ports.len()),
            };
            let effect = "calls are refused when no ports are free";
            media.note(media.at(Code::FewPorts, &span, message).effect(effect));
        }
    }
    media.finish();
    Some(MediaListen {
        address: address?,
        ports,
    })
}

fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?);
    (first >= 1_024 && first < last).then_some(first..=last)
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
