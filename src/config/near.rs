//! `listen`, `media` and `media_advertised` of a `[[trunk]]`: our end towards it.

use std::net::{IpAddr, SocketAddr};

use super::listen::{Listen, ip, listener};
use crate::policy::Code;
use crate::policy::reader::Table;
use crate::sip::Transport;
use crate::trunk::{Near, NearMedia};

/// `transports`: those that the trunk's destinations name; its names may lead to any.
pub(super) fn near(table: &Table<'_>, listen: &Listen, transports: Option<&[Transport]>) -> Near {
    Near {
        listener: own_listener(table, listen, transports),
        media: media(table, listen),
    }
}

fn own_listener(
    table: &Table<'_>,
    listen: &Listen,
    transports: Option<&[Transport]>,
) -> Option<(Transport, SocketAddr)> {
    let text = table.text("listen")?;
    let named = listener(text.get_ref(), None).map(|own| (own.transport, own.address));
    let is_ours = |own: &(Transport, SocketAddr)| {
        listen
            .sip
            .iter()
            .any(|listener| (listener.transport, listener.address) == *own)
    };
    let Some(own) = named.filter(is_ours) else {
        table.malformed("listen", &text.span(), text.get_ref(), "one of `sip` in `[listen]`");
        return None;
    };
    if transports.is_some_and(|transports| !transports.contains(&own.0)) {
        let wanted = "of a transport that the trunk is reached by";
        table.malformed("listen", &text.span(), text.get_ref(), wanted);
    }
    Some(own)
}

fn media(table: &Table<'_>, listen: &Listen) -> Option<NearMedia> {
    let at = |key| table.text(key).and_then(|text| Some((ip(table, key, &text)?, text)));
    let (bound, told) = (at("media"), at("media_advertised"));
    if let Some((told, text)) = &told {
        match &bound {
            None => {
                let finding = table.at(Code::Missing, &text.span(), "`media` is missing");
                table.note(finding.label("stands for `media` of the trunk, which is the address that is bound"));
            }
            Some((bound, _)) if bound.is_ipv4() != told.is_ipv4() => {
                table.malformed(
                    "media_advertised",
                    &text.span(),
                    text.get_ref(),
                    "of the family of `media`",
                );
            }
            Some(_) => {}
        }
    }
    let (bound, _) = bound?;
    let of_node = |bound: IpAddr| listen.media_addresses().find(|(local, _)| *local == bound);
    Some(NearMedia {
        bound,
        told: told.map_or_else(|| of_node(bound).map_or(bound, |(_, public)| public), |(told, _)| told),
    })
}
