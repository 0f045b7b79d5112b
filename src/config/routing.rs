//! `[[route]]`: which trunk's calls go where.

use toml::Spanned;

use super::Route;
use super::read::LIST_MAX;
use super::trunk::Trunks;
use crate::model::TrunkName;
use crate::policy::reader::{Table, shown};
use crate::policy::{Code, nearest};

const USER_BYTES_MAX: usize = 128;

/// The routes in the order in which they are tried.
pub(super) fn routes(root: &Table<'_>, trunks: &Trunks) -> Vec<Route> {
    let mut routes: Vec<(Route, std::ops::Range<usize>)> = Vec::new();
    for table in root.tables("route", "a route field").iter().take(LIST_MAX) {
        if let Some(route) = route(table, trunks) {
            routes.push((route, table.span().clone()));
        }
    }
    // Stable: equal priorities stay as written.
    routes.sort_by_key(|(route, _)| route.priority);
    for (index, (route, span)) in routes.iter().enumerate() {
        let before = routes.get(..index).unwrap_or_default();
        if before.iter().any(|(earlier, _)| takes_all_of(earlier, route)) {
            let finding = root.at(Code::UnreachableRoute, span, "no call reaches this route");
            root.note(finding.effect("a route before it takes all of its calls"));
        }
    }
    for (trunk, span) in trunks {
        if !routes.iter().any(|(route, _)| route.from == trunk.name) {
            let message = format!("no route leads from trunk `{}`", trunk.name);
            root.note(
                root.at(Code::NoRoute, span, message)
                    .effect("its calls are refused with 404"),
            );
        }
    }
    routes.into_iter().map(|(route, _)| route).collect()
}

fn takes_all_of(earlier: &Route, later: &Route) -> bool {
    let prefix = |route: &Route| route.prefix.clone().unwrap_or_default();
    earlier.from == later.from && prefix(later).starts_with(&prefix(earlier))
}

fn route(table: &Table<'_>, trunks: &Trunks) -> Option<Route> {
    let from = trunk(table, "from", trunks);
    let to = trunk(table, "to", trunks);
    let user = |key| {
        let is_user = |text: &str| {
            let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,/#".contains(&c);
            (!text.is_empty() && text.len() <= USER_BYTES_MAX && text.bytes().all(plain)).then(|| text.to_owned())
        };
        table
            .parsed(key, "characters of a SIP user part, like \"+44\"", is_user)
            .map(Spanned::into_inner)
    };
    let (prefix, to_user) = (user("prefix"), user("to_user"));
    let priority = table
        .integer("priority", i64::MIN..=i64::MAX)
        .map_or(0, Spanned::into_inner);
    table.finish();
    Some(Route {
        from: from?,
        to: to?,
        prefix,
        to_user,
        priority,
    })
}

fn trunk(table: &Table<'_>, key: &'static str, trunks: &Trunks) -> Option<TrunkName> {
    let name = table.required_text(key, "the name of a trunk")?;
    if !trunks.iter().any(|(trunk, _)| trunk.name.as_str() == *name.get_ref()) {
        let meant = nearest(name.get_ref(), trunks.iter().map(|(trunk, _)| trunk.name.as_str()));
        let finding = table.at(
            Code::UnknownTrunk,
            &name.span(),
            format!("there is no trunk `{}`", shown(name.get_ref())),
        );
        table.note(
            finding
                .label("the config has no trunk of this name")
                .maybe_hint(meant.map(|meant| format!("did you mean `{meant}`?"))),
        );
    }
    Some(TrunkName::from(*name.get_ref()))
}
