//! Text that is shared, not copied: what was read once is handed on, whole or in pieces.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A piece of text that nobody changes any more. A clone, and a piece of it, cost no memory; a piece keeps the whole.
#[derive(Clone, Default)]
pub(super) struct Text {
    whole: Arc<str>,
    from: u32,
    to: u32,
}

impl Text {
    /// `piece`, which stands in this text; a copy of it where it does not.
    pub(super) fn piece(&self, piece: &str) -> Self {
        let from = piece.as_ptr().addr().checked_sub(self.whole.as_ptr().addr());
        let from = from.filter(|from| !piece.is_empty() && from + piece.len() <= self.whole.len());
        let span = from.and_then(|from| Some((u32::try_from(from).ok()?, u32::try_from(from + piece.len()).ok()?)));
        span.map_or_else(
            || Self::from(piece),
            |(from, to)| Self {
                whole: Arc::clone(&self.whole),
                from,
                to,
            },
        )
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        if text.is_empty() {
            return Self::default();
        }
        Self {
            whole: text.into(),
            from: 0,
            to: u32::try_from(text.len()).expect("invariant: text of messages, which is short"),
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.whole.get(self.from as usize..self.to as usize).unwrap_or_default()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_shared_and_what_stands_elsewhere_is_copied() {
        let text = Text::from("sip:alice@example.com");
        let user = text.piece(&text[4..9]);
        assert_eq!(&*user, "alice");
        assert!(Arc::ptr_eq(&user.whole, &text.whole));
        assert_eq!(user.piece(&user[1..]), Text::from("lice"));
        let elsewhere = text.piece("alice");
        assert_eq!(elsewhere, user);
        assert!(!Arc::ptr_eq(&elsewhere.whole, &text.whole));
        assert_eq!(text.piece(&text[21..]), Text::default());
    }
}
