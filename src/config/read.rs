//! The tables of `onrecord.toml`, each with what may be wrong with it.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;

use super::{Config, DATA_DEFAULT, LAG_MAX_DEFAULT, NODE_DEFAULT, Policies, RESERVE_DEFAULT, Recorder, Volume};
use crate::policy::reader::Table;
use crate::policy::{Code, scalar};

/// Longer lists of trunks, peers, routes, listeners and volumes are refused.
pub(super) const LIST_MAX: usize = 1_000;
const LAG_RANGE: RangeInclusive<Duration> = Duration::from_millis(200)..=Duration::from_secs(60);

/// All of the document. What is missing or wrong is noted, and stands at its default here.
pub(super) fn config(root: &Table<'_>) -> Config {
    let data = path(root, "data").unwrap_or_else(|| PathBuf::from(DATA_DEFAULT));
    let listen = super::listen::listen(root);
    let (trunks, deliveries) = super::trunk::trunks(root, &listen);
    let sip = super::sip::sip(root);
    let config = Config {
        node: node(root),
        listen,
        routes: super::routing::routes(root, &trunks),
        session_expires: sip.session_expires,
        ring_max: sip.ring_max,
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
