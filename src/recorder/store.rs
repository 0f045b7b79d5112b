//! Where a sealed call is read from: a file, a buffer, later an archive.

/// The medium did not give what was asked of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("cannot be read at byte {offset}")]
pub struct StoreError {
    pub offset: u64,
}

/// Random access to the bytes of one sealed call.
pub trait Store {
    fn size(&mut self) -> Result<u64, StoreError>;

    /// Fills `buffer` from `offset` on as far as there are bytes, and says how many it got.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError>;
}

impl Store for &[u8] {
    fn size(&mut self) -> Result<u64, StoreError> {
        Ok(self.len() as u64)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, StoreError> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        let rest = rest.unwrap_or_default();
        let bytes = rest.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }
}
