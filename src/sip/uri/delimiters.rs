//! What parts a URI, found in one pass: every message holds several.

use super::UriError;

/// Where the characters stand that part a SIP URI.
#[derive(Default)]
pub(super) struct Delimiters {
    /// The first of all, behind the scheme.
    pub(super) colon: Option<usize>,
    pub(super) bracket: Option<usize>,
    /// It stands nowhere else unescaped, while `;` and `?` may stand in the user part.
    pub(super) at: Option<usize>,
    /// The colon in the user part.
    pub(super) password: Option<usize>,
    /// The first behind the user part, before a `?`.
    pub(super) semicolon: Option<usize>,
    /// The first behind the user part.
    pub(super) question: Option<usize>,
}

impl Delimiters {
    pub(super) fn of(text: &str) -> Result<Self, UriError> {
        let mut found = Self::default();
        let mut second_colon = None;
        for (place, c) in text.bytes().enumerate() {
            match CHARACTERS[usize::from(c)] {
                Character::Plain => continue,
                Character::Bad => return Err(UriError::BadCharacter),
                Character::Delimiter => {}
            }
            match c {
                b':' if found.colon.is_none() => found.colon = Some(place),
                b':' if second_colon.is_none() => second_colon = Some(place),
                b'[' => found.bracket = Some(place),
                b'@' if found.at.is_none() => {
                    found = Self {
                        at: Some(place),
                        password: second_colon,
                        semicolon: None,
                        question: None,
                        ..found
                    };
                }
                b';' if found.semicolon.or(found.question).is_none() => found.semicolon = Some(place),
                b'?' if found.question.is_none() => found.question = Some(place),
                _ => {}
            }
        }
        Ok(found)
    }
}

#[derive(Clone, Copy)]
enum Character {
    Plain,
    /// One of [`Delimiters`].
    Delimiter,
    /// Space, control characters, quotes or angle brackets.
    Bad,
}

/// What each byte of a URI may be.
const CHARACTERS: [Character; 256] = {
    let mut characters = [Character::Plain; 256];
    let mut c = 0;
    while c < characters.len() {
        characters[c] = match c as u8 {
            ..=b' ' | b'"' | b'<' | b'>' | 0x7f => Character::Bad,
            b':' | b'[' | b'@' | b';' | b'?' => Character::Delimiter,
            _ => Character::Plain,
        };
        c += 1;
    }
    characters
};
