//! Where a call may be sent, and the order in which that is tried.

use std::sync::Arc;

use super::Trunk;
use crate::sip::{Flow, Uri};

/// One address that a call may be sent to, with the path there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Destination {
    pub trunk: Arc<Trunk>,
    pub flow: Flow,
    /// The Request-URI there, the trunk's rules for what leaves applied.
    pub target: Uri,
}

/// Priority and weight of a choice (RFC 2782): lower priorities are tried first; of equal ones, each is the first with the
/// chance that its weight is of the sum.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Rank {
    pub priority: u16,
    pub weight: u16,
}

/// A number from 0 to the given one, both included, each as likely.
pub type Draw<'a> = &'a mut dyn FnMut(u32) -> u32;

/// Puts choices in the order of RFC 2782 ("Weight").
pub fn in_order<T>(choices: Vec<(Rank, T)>, draw: Draw<'_>) -> Vec<T> {
    let mut left = choices;
    // Stable, and weights of 0 in front: they have a small chance where all others have a large one.
    left.sort_by_key(|(rank, _)| *rank);
    let mut ordered = Vec::with_capacity(left.len());
    while let Some((first, _)) = left.first() {
        let priority = first.priority;
        let equal = || left.iter().take_while(|(rank, _)| rank.priority == priority);
        let sum: u32 = equal().map(|(rank, _)| u32::from(rank.weight)).sum();
        // Without weights the order is as written.
        let drawn = if sum == 0 { 0 } else { draw(sum) };
        let mut running = 0;
        let chosen = equal().position(|(rank, _)| {
            running += u32::from(rank.weight);
            running >= drawn
        });
        let (_, choice) = left.remove(chosen.unwrap_or_default());
        ordered.push(choice);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(priority: u16, weight: u16) -> Rank {
        Rank { priority, weight }
    }

    #[test]
    fn lower_priorities_come_first_and_without_weights_the_order_stays() {
        let choices = vec![
            (rank(20, 0), "d"),
            (rank(10, 0), "a"),
            (rank(10, 0), "b"),
            (rank(10, 0), "c"),
        ];
        assert_eq!(in_order(choices, &mut |_| unreachable!()), ["a", "b", "c", "d"]);
    }

    #[test]
    fn the_drawn_number_falls_into_the_share_of_a_weight() {
        let choices = || vec![(rank(1, 60), "big"), (rank(1, 0), "spare"), (rank(1, 40), "small")];
        let first = |drawn| in_order(choices(), &mut |max| u32::min(drawn, max))[0];
        assert_eq!((first(0), first(1), first(40)), ("spare", "small", "small"));
        assert_eq!((first(41), first(100)), ("big", "big"));
    }

    #[test]
    fn over_many_draws_each_is_first_as_often_as_it_weighs() {
        let mut first = [0_u32; 2];
        for drawn in 0..=100 {
            let order = in_order(vec![(rank(1, 75), 0), (rank(1, 25), 1)], &mut |max| drawn.min(max));
            first[order[0]] += 1;
        }
        assert_eq!(first, [75, 26]);
    }
}
