//! A phone that asks who is calling (RFC 3261 §22): at first, and again when a nonce has grown stale.

use std::collections::{BTreeMap, BTreeSet};

use onrecord::model::Timestamp;

use super::phone::Phone;
use super::script::Doubt;
use super::text::Heard;

/// Challenges to one request in a row; more the proxy need not answer.
const ROW_MAX: u32 = 2;
pub const REALM: &str = "carrier";

#[derive(Clone, Debug)]
pub struct Doubting {
    doubt: Doubt,
    /// Nonces that were given out, and that still hold.
    nonces: u32,
    holding: BTreeSet<String>,
    /// Challenges in a row, by method.
    row: BTreeMap<String, u32>,
    /// Nonces with their counts that were used up (RFC 7616 §3.4).
    used: BTreeSet<(String, String)>,
}

impl Doubting {
    pub const fn new(doubt: Doubt) -> Self {
        Self {
            doubt,
            nonces: 0,
            holding: BTreeSet::new(),
            row: BTreeMap::new(),
            used: BTreeSet::new(),
        }
    }

    const fn names(&self) -> (&'static str, &'static str) {
        match self.doubt.status {
            401 => ("WWW-Authenticate", "Authorization"),
            _ => ("Proxy-Authenticate", "Proxy-Authorization"),
        }
    }
}

impl Phone {
    /// Challenges a request instead of taking it.
    pub fn doubts(&mut self, now: Timestamp, at: usize) -> bool {
        let request = &self.answering[at].request;
        let Some(doubting) = self.doubting.as_mut().filter(|_| request.method != "CANCEL") else {
            return false;
        };
        let (asks, shows) = doubting.names();
        let status = doubting.doubt.status;
        if !doubting.doubt.of_proxy {
            let opens = request.method == "INVITE" && request.to_tag.is_empty();
            let proved = request.header(shows).is_some();
            if opens && !proved {
                self.answer(
                    now,
                    at,
                    status,
                    &format!("{asks}: Digest realm=\"b\", nonce=\"1\"\r\n"),
                    "",
                );
            }
            return opens && !proved;
        }
        let shown = shown(request, shows);
        let mut wrong = None;
        if let Some((nonce, count)) = &shown
            && !doubting.used.insert((nonce.clone(), count.clone()))
        {
            wrong = Some(format!("{} has a nonce count that was used before", request.told()));
        }
        let row = doubting.row.entry(request.method.clone()).or_default();
        let holds = shown
            .as_ref()
            .is_some_and(|(nonce, _)| doubting.holding.contains(nonce));
        let is_taken = *row >= ROW_MAX || (holds && !self.rng.one_in(8));
        if is_taken {
            *row = 0;
        } else {
            *row += 1;
            if let Some((nonce, _)) = &shown {
                doubting.holding.remove(nonce);
            }
            doubting.nonces += 1;
            doubting.holding.insert(format!("n{}", doubting.nonces));
            let stale = if shown.is_some() { ", stale=true" } else { "" };
            self.seen.insert(if shown.is_some() {
                "a stale nonce"
            } else {
                "a challenge for the proxy"
            });
            let more = format!(
                "{asks}: Digest realm=\"{REALM}\", nonce=\"n{}\", qop=\"auth\", algorithm=MD5{stale}\r\n",
                doubting.nonces
            );
            self.answer(now, at, status, &more, "");
        }
        if let Some(wrong) = wrong {
            self.wrong(wrong);
        }
        !is_taken
    }
}

/// The nonce in our realm, and its count.
fn shown(request: &Heard, name: &str) -> Option<(String, String)> {
    let value = request
        .all(name)
        .find(|value| value.contains(&format!("realm=\"{REALM}\"")))?;
    let after = |key: &str| {
        let (_, rest) = value.split_once(key)?;
        Some(rest.trim_start_matches('"').split(['"', ',']).next()?.to_owned())
    };
    Some((after(" nonce=")?, after(" nc=").unwrap_or_default()))
}
