//! How much one trunk may be used: calls at a time, and new calls a second. Overload of the whole node is no matter of these.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::model::{SessionId, Timestamp, TrunkName};

/// The limits of one trunk, calls in both directions counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Caps {
    pub calls_max: Option<u32>,
    /// So many may come at once; as many again each second.
    pub calls_per_second: Option<NonZeroU32>,
}

/// Why a trunk takes no more calls for now.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CapReached {
    #[error("as many calls as the trunk may have are up")]
    Calls,
    #[error("more new calls a second than the trunk may have")]
    Rate,
}

/// A bucket of tokens: one call takes one, and they come back with time.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// In nanoseconds of what one call a second would have gained: a call costs [`TOKEN`].
    level: u64,
    filled: Option<Timestamp>,
}

const TOKEN: u64 = 1_000_000_000;

impl Bucket {
    fn fill(&mut self, now: Timestamp, rate: NonZeroU32) {
        let full = TOKEN.saturating_mul(u64::from(rate.get()));
        let gained = self.filled.map_or(full, |filled| {
            let nanos = u64::try_from(now.since(filled).as_nanos()).unwrap_or(u64::MAX);
            nanos.saturating_mul(u64::from(rate.get()))
        });
        self.level = self.level.saturating_add(gained).min(full);
        self.filled = Some(now);
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    calls: u32,
    bucket: Bucket,
    /// For calls whose callers are to come again: so many of these count as none.
    returns: Bucket,
}

/// How much each trunk is used. As many entries as there are trunks with calls or caps.
#[derive(Clone, Debug, Default)]
pub struct Loads {
    trunks: BTreeMap<TrunkName, Load>,
    calls: BTreeMap<SessionId, Standing>,
}

/// What one call counts for.
#[derive(Clone, Debug, Default)]
struct Standing {
    /// On which trunks.
    shares: Vec<Share>,
    /// Who is to have its place (RFC 3891): one at a time.
    heir: Option<SessionId>,
    /// Whose place it is to have, while that one is there.
    replaces: Option<SessionId>,
}

/// What one call has of one trunk.
#[derive(Clone, Debug)]
struct Share {
    trunk: TrunkName,
    /// Of its bucket.
    taken: u64,
}

impl Standing {
    fn is_on(&self, trunk: &TrunkName) -> bool {
        self.shares.iter().any(|share| share.trunk == *trunk)
    }

    fn has_taken_of(&self, trunk: &TrunkName) -> bool {
        self.shares.iter().any(|share| share.trunk == *trunk && share.taken > 0)
    }
}

impl Loads {
    /// Whether one more call may begin on all of these trunks. Takes nothing.
    pub fn check<'a>(
        &mut self,
        now: Timestamp,
        trunks: impl IntoIterator<Item = (&'a TrunkName, Caps)>,
    ) -> Result<(), CapReached> {
        for (name, caps) in trunks {
            if caps == Caps::default() {
                continue;
            }
            let load = self.trunks.entry(name.clone()).or_default();
            if caps.calls_max.is_some_and(|max| load.calls >= max) {
                return Err(CapReached::Calls);
            }
            if let Some(rate) = caps.calls_per_second {
                load.bucket.fill(now, rate);
                if load.bucket.level < TOKEN {
                    return Err(CapReached::Rate);
                }
            }
        }
        Ok(())
    }

    /// A call begins; it may exceed the caps, as emergency calls do.
    pub fn begin<'a>(&mut self, call: SessionId, trunks: impl IntoIterator<Item = &'a TrunkName>) {
        let shares = distinct(trunks).into_iter().map(|name| self.enter(name)).collect();
        self.calls.entry(call).or_default().shares = shares;
    }

    /// Whether the place of a call on a trunk is free for one that is to replace it. Nobody takes the place of who has not
    /// got his own yet: a trunk has at most twice its calls, until those that were replaced end.
    pub fn has_place_of(&self, replaced: SessionId, trunk: &TrunkName) -> bool {
        let standing = self.calls.get(&replaced);
        standing.is_some_and(|standing| standing.heir.is_none() && standing.replaces.is_none() && standing.is_on(trunk))
    }

    /// A call that begins is to replace another.
    pub fn succeed(&mut self, call: SessionId, replaced: SessionId) {
        let Some(standing) = self.calls.get_mut(&replaced).filter(|standing| standing.heir.is_none()) else {
            return;
        };
        standing.heir = Some(call);
        self.calls.entry(call).or_default().replaces = Some(replaced);
    }

    /// A call that is up was sent on: it is on these trunks now.
    pub fn follow<'a>(&mut self, call: SessionId, trunks: impl IntoIterator<Item = &'a TrunkName>) {
        let standing = self.calls.entry(call).or_default();
        let mut before = std::mem::take(&mut standing.shares);
        let mut shares = Vec::new();
        for name in distinct(trunks) {
            let known = before.iter().position(|share| share.trunk == name);
            shares.push(match known {
                Some(at) => before.swap_remove(at),
                None => self.enter(name),
            });
        }
        for share in before {
            self.leave(&share.trunk);
        }
        self.calls.entry(call).or_default().shares = shares;
    }

    fn enter(&mut self, trunk: TrunkName) -> Share {
        let load = self.trunks.entry(trunk.clone()).or_default();
        load.calls += 1;
        let taken = load.bucket.level.min(TOKEN);
        load.bucket.level -= taken;
        Share { trunk, taken }
    }

    fn leave(&mut self, name: &TrunkName) {
        if let Some(load) = self.trunks.get_mut(name) {
            load.calls = load.calls.saturating_sub(1);
        }
    }

    /// The trunk has not heard of the call, which is none of its new ones then. Once more changes nothing.
    pub fn give_back(&mut self, call: SessionId, trunk: &TrunkName) {
        let shares = self.calls.get_mut(&call).map(|standing| standing.shares.iter_mut());
        for share in shares.into_iter().flatten().filter(|share| share.trunk == *trunk) {
            if let Some(load) = self.trunks.get_mut(trunk) {
                // No more than it may hold: the next call that is asked for sees to that.
                load.bucket.level = load.bucket.level.saturating_add(std::mem::take(&mut share.taken));
            }
        }
    }

    /// The caller is to come again, with credentials or for another: both are one new call. So many a second as the trunk may
    /// have new ones: who never comes again would else ask it without end.
    pub fn expect_return(&mut self, now: Timestamp, call: SessionId, trunk: &TrunkName, caps: Caps) {
        let standing = self.calls.get(&call);
        let is_new = standing.is_some_and(|standing| standing.has_taken_of(trunk));
        let (Some(load), Some(rate), true) = (self.trunks.get_mut(trunk), caps.calls_per_second, is_new) else {
            return;
        };
        load.returns.fill(now, rate);
        if load.returns.level >= TOKEN {
            load.returns.level -= TOKEN;
            self.give_back(call, trunk);
        }
    }

    /// Whether a call counts on a trunk.
    pub fn is_on(&self, call: SessionId, trunk: &TrunkName) -> bool {
        self.calls.get(&call).is_some_and(|standing| standing.is_on(trunk))
    }

    /// Its parties are gone. Once more changes nothing.
    pub fn end(&mut self, call: SessionId) {
        let Some(standing) = self.calls.remove(&call) else {
            return;
        };
        for share in &standing.shares {
            self.leave(&share.trunk);
        }
        if let Some(replaced) = standing.replaces.and_then(|replaced| self.calls.get_mut(&replaced)) {
            replaced.heir.take_if(|heir| *heir == call);
        }
        if let Some(heir) = standing.heir.and_then(|heir| self.calls.get_mut(&heir)) {
            heir.replaces = None;
        }
    }

    /// Calls that are up on a trunk.
    pub fn calls(&self, trunk: &TrunkName) -> u32 {
        self.trunks.get(trunk).map_or(0, |load| load.calls)
    }

    /// Forgets trunks that are not configured any more and have no calls.
    pub fn retain(&mut self, is_configured: impl Fn(&TrunkName) -> bool) {
        self.trunks.retain(|name, load| load.calls > 0 || is_configured(name));
    }
}

fn distinct<'a>(trunks: impl IntoIterator<Item = &'a TrunkName>) -> Vec<TrunkName> {
    let mut names: Vec<TrunkName> = trunks.into_iter().cloned().collect();
    names.sort();
    names.dedup();
    names
}

/// When a caller may try again: soon for a rate, after about a short call for a number.
pub const fn retry_after(reached: CapReached) -> Duration {
    match reached {
        CapReached::Rate => Duration::from_secs(2),
        CapReached::Calls => Duration::from_secs(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(calls_max: Option<u32>, rate: Option<u32>) -> Caps {
        Caps {
            calls_max,
            calls_per_second: rate.and_then(NonZeroU32::new),
        }
    }

    fn offer(loads: &mut Loads, now: u64, call: u128, caps: Caps) -> Result<(), CapReached> {
        let name = TrunkName::from("carrier");
        loads.check(Timestamp::from_millis(now), [(&name, caps)])?;
        loads.begin(SessionId::from_u128(call), [&name, &name]);
        Ok(())
    }

    #[test]
    fn a_trunk_has_so_many_calls_at_a_time_and_a_call_counts_once() {
        let (mut loads, two) = (Loads::default(), caps(Some(2), None));
        assert_eq!(offer(&mut loads, 0, 1, two), Ok(()));
        assert_eq!(offer(&mut loads, 0, 2, two), Ok(()));
        assert_eq!(offer(&mut loads, 0, 3, two), Err(CapReached::Calls));
        loads.end(SessionId::from_u128(1));
        loads.end(SessionId::from_u128(1));
        assert_eq!(offer(&mut loads, 0, 4, two), Ok(()));
        assert_eq!(loads.calls(&"carrier".into()), 2);
    }

    #[test]
    fn new_calls_come_at_most_so_often() {
        let (mut loads, ten) = (Loads::default(), caps(None, Some(10)));
        let taken = |loads: &mut Loads, now| (0..100).filter(|call| offer(loads, now, *call, ten).is_ok()).count();
        assert_eq!(taken(&mut loads, 0), 10, "a burst of one second's worth");
        assert_eq!(taken(&mut loads, 99), 0);
        assert_eq!(taken(&mut loads, 100), 1);
        assert_eq!(
            taken(&mut loads, 60_000),
            10,
            "a pause saves up no more than a second's worth"
        );
    }

    #[test]
    fn a_call_that_was_sent_on_counts_where_it_is_and_is_new_there_alone() {
        let mut loads = Loads::default();
        let names = ["pbx", "a", "b"].map(TrunkName::from);
        let [pbx, a, b] = &names;
        let (call, two) = (SessionId::from_u128(1), caps(None, Some(2)));
        for name in &names {
            assert_eq!(loads.check(Timestamp::ZERO, [(name, two)]), Ok(()));
        }
        loads.begin(call, [pbx, a]);
        loads.follow(call, [pbx, b]);
        assert_eq!([pbx, a, b].map(|name| loads.calls(name)), [1, 0, 1]);
        assert!(loads.is_on(call, b) && !loads.is_on(call, a));
        let left = names.each_ref().map(|name| {
            (0..9)
                .take_while(|call| {
                    let taken = loads.check(Timestamp::ZERO, [(name, two)]).is_ok();
                    loads.begin(SessionId::from_u128(10 + call), taken.then_some(name));
                    taken
                })
                .count()
        });
        assert_eq!(left, [1, 1, 1], "each has had one new call in this second");
        loads.end(call);
        assert_eq!(loads.calls(pbx), 1);
    }

    #[test]
    fn what_a_call_gives_back_another_may_take_and_that_is_no_more_than_it_took() {
        let (mut loads, one) = (Loads::default(), caps(None, Some(1)));
        let (name, call) = (TrunkName::from("carrier"), SessionId::from_u128);
        assert_eq!(offer(&mut loads, 0, 1, one), Ok(()));
        // An emergency, which finds nothing left.
        loads.begin(call(2), [&name]);
        loads.give_back(call(2), &name);
        assert_eq!(offer(&mut loads, 0, 3, one), Err(CapReached::Rate));
        loads.give_back(call(1), &name);
        loads.give_back(call(1), &name);
        loads.give_back(call(1), &"other".into());
        assert_eq!(offer(&mut loads, 0, 4, one), Ok(()));
        assert_eq!(offer(&mut loads, 0, 5, one), Err(CapReached::Rate));
        assert_eq!(loads.calls(&name), 3, "it gives back no place");
    }

    #[test]
    fn callers_who_are_to_come_again_are_no_new_calls_but_only_so_many() {
        let (mut loads, two) = (Loads::default(), caps(None, Some(2)));
        let name = TrunkName::from("carrier");
        let asked = |loads: &mut Loads, now| {
            let admitted = (0..20).filter(|call| {
                let is_in = offer(loads, now, *call, two).is_ok();
                if is_in {
                    for _ in ["its caller's", "its callee's"] {
                        loads.expect_return(Timestamp::from_millis(now), SessionId::from_u128(*call), &name, two);
                    }
                    loads.end(SessionId::from_u128(*call));
                }
                is_in
            });
            admitted.count()
        };
        assert_eq!(asked(&mut loads, 0), 4, "two that come again and two new ones");
        assert_eq!(asked(&mut loads, 0), 0);
        assert_eq!(asked(&mut loads, 1000), 4);
    }

    #[test]
    fn the_place_of_a_call_is_taken_by_one_at_a_time_who_has_it_when_that_call_ends() {
        let mut loads = Loads::default();
        let (name, call) = (TrunkName::from("carrier"), SessionId::from_u128);
        loads.begin(call(1), [&name]);
        assert!(loads.has_place_of(call(1), &name) && !loads.has_place_of(call(1), &"other".into()));
        for (heir, takes) in [(2, true), (3, false)] {
            assert_eq!(loads.has_place_of(call(1), &name), takes);
            loads.succeed(call(heir), call(1));
            loads.begin(call(heir), [&name]);
        }
        assert!(!loads.has_place_of(call(2), &name), "it has none to give yet");
        loads.end(call(3));
        assert!(!loads.has_place_of(call(1), &name));
        loads.end(call(2));
        assert!(loads.has_place_of(call(1), &name), "who was to have it is gone");
        loads.succeed(call(4), call(1));
        loads.begin(call(4), [&name]);
        loads.end(call(1));
        assert!(loads.has_place_of(call(4), &name));
        assert_eq!(loads.calls(&name), 1);
    }

    #[test]
    fn a_cap_of_one_trunk_takes_nothing_from_the_other() {
        let mut loads = Loads::default();
        let (a, b) = (TrunkName::from("a"), TrunkName::from("b"));
        let (one, none) = (caps(None, Some(1)), caps(Some(0), None));
        let now = Timestamp::ZERO;
        assert_eq!(loads.check(now, [(&a, one), (&b, none)]), Err(CapReached::Calls));
        assert_eq!(loads.check(now, [(&a, one)]), Ok(()));
    }
}
