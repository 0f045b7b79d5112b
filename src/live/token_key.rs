//! The key of flow tokens, kept in `DATA/token_key`: phones that registered before a restart are called still.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::sip::TokenKey;

const FILE_NAME: &str = "token_key";
const KEY_BYTES: usize = 32;

/// The key of this data directory; a new one if there is none yet, or what is there is none.
pub(super) fn keep(data: &Path) -> io::Result<TokenKey> {
    let path = data.join(FILE_NAME);
    match fs::read(&path).map(<[u8; KEY_BYTES]>::try_from) {
        Ok(Ok(key)) => return Ok(TokenKey::new(key)),
        Ok(Err(_)) => tracing::warn!(path = %path.display(), "no key: phones have to register again to be called"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let key = fresh()?;
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(&key)?;
    Ok(TokenKey::new(key))
}

/// A secret of this process alone.
pub(super) fn fresh() -> io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_key_of_one_data_directory_stays_and_what_is_no_key_is_replaced() {
        let [one, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let key = keep(one.path()).unwrap();
        assert_eq!(keep(one.path()).unwrap(), key);
        assert_ne!(keep(other.path()).unwrap(), key);
        fs::write(one.path().join(FILE_NAME), b"short").unwrap();
        let new = keep(one.path()).unwrap();
        assert_ne!(new, key);
        assert_eq!(keep(one.path()).unwrap(), new);
    }
}
