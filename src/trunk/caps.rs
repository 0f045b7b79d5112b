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
}

/// How much each trunk is used. As many entries as there are trunks with calls or caps.
#[derive(Clone, Debug, Default)]
pub struct Loads {
    trunks: BTreeMap<TrunkName, Load>,
    /// Which trunks a call counts on.
    calls: BTreeMap<SessionId, Vec<Share>>,
}

/// What one call has of one trunk.
#[derive(Clone, Debug)]
struct Share {
    trunk: TrunkName,
    /// Of its bucket.
    taken: u64,
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
        self.calls.insert(call, shares);
    }

    /// A call that is up was sent on: it is on these trunks now.
    pub fn follow<'a>(&mut self, call: SessionId, trunks: impl IntoIterator<Item = &'a TrunkName>) {
        let mut before = self.calls.remove(&call).unwrap_or_default();
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
        self.calls.insert(call, shares);
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

    /// The call has come to nothing that counts as a new call on this trunk: another may come in its stead. Once more changes
    /// nothing.
    pub fn give_back(&mut self, call: SessionId, trunk: &TrunkName) {
        let shares = self.calls.get_mut(&call).into_iter().flatten();
        for share in shares.filter(|share| share.trunk == *trunk) {
            if let Some(load) = self.trunks.get_mut(trunk) {
                // No more than it may hold: the next call that is asked for sees to that.
                load.bucket.level = load.bucket.level.saturating_add(std::mem::take(&mut share.taken));
            }
        }
    }

    /// Whether a call counts on a trunk.
    pub fn is_on(&self, call: SessionId, trunk: &TrunkName) -> bool {
        let shares = self.calls.get(&call);
        shares.is_some_and(|shares| shares.iter().any(|share| share.trunk == *trunk))
    }

    /// Its parties are gone. Once more changes nothing.
    pub fn end(&mut self, call: SessionId) {
        for share in self.calls.remove(&call).unwrap_or_default() {
            self.leave(&share.trunk);
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
    fn a_cap_of_one_trunk_takes_nothing_from_the_other() {
        let mut loads = Loads::default();
        let (a, b) = (TrunkName::from("a"), TrunkName::from("b"));
        let (one, none) = (caps(None, Some(1)), caps(Some(0), None));
        let now = Timestamp::ZERO;
        assert_eq!(loads.check(now, [(&a, one), (&b, none)]), Err(CapReached::Calls));
        assert_eq!(loads.check(now, [(&a, one)]), Ok(()));
    }
}
