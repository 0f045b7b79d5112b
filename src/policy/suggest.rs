//! What somebody may have meant.

/// Names longer than this are not compared: the cost is the product of both lengths.
const CHARS_MAX: usize = 64;
/// So many candidates are looked at.
const CANDIDATES_MAX: usize = 1_000;

/// The candidate that is nearest to `name`, if one is near: a third of the letters may differ, or one begins with the
/// other.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    if name.is_empty() || name.len() > CHARS_MAX {
        return None;
    }
    candidates
        .into_iter()
        .take(CANDIDATES_MAX)
        .filter(|candidate| candidate.len() <= CHARS_MAX && !candidate.is_empty())
        .filter_map(|candidate| cost(&name, &candidate.to_ascii_lowercase()).map(|cost| (cost, candidate)))
        .min()
        .map(|(_, candidate)| candidate)
}

/// How unlike two names are: a slip or two, then one being the beginning of the other, then more slips; none if too
/// many.
fn cost(name: &str, candidate: &str) -> Option<(u8, usize)> {
    let distance = distance(name, candidate);
    let allowed = (name.len().max(candidate.len()) / 3).max(1);
    let is_part = name.len() >= 4 && candidate.starts_with(name) || candidate.len() >= 4 && name.starts_with(candidate);
    match distance {
        0..=2 if distance <= allowed => Some((0, distance)),
        _ if is_part => Some((1, distance)),
        _ if distance <= allowed => Some((2, distance)),
        _ => None,
    }
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && *x == b[j - 1] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_its_word() {
        for (written, meant) in [
            ("required_before_call", Some("required_before_call_establishment")),
            ("requierd_during_call", Some("required_during_call")),
            ("trading_desk", Some("trading-desk")),
            ("Enabled", Some("enabled")),
            ("zebra", None),
            ("", None),
        ] {
            let names = [
                "required_before_call_establishment",
                "required_during_call",
                "enabled",
                "trading-desk",
                "paired",
            ];
            assert_eq!(nearest(written, names), meant, "{written}");
        }
    }

    #[test]
    fn swapped_neighbours_count_once() {
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
