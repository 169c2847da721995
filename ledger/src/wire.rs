//! Reading and writing numbers: big-endian throughout, as C2SP entry bundles are.

use crate::error::Mismatch;

/// A cursor over bytes that answers with a [`Mismatch`] where they end too early.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
    pub(crate) fn at(&self) -> usize {
        self.at
    }
    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }
    #[inline]
    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Mismatch> {
        let left = self.bytes.len() - self.at;
        if length > left {
            return Err(self.too_short(length, left));
        }
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }
    #[cold]
    fn too_short(&self, length: usize, left: usize) -> Mismatch {
        Mismatch::new(self.at, format!("{length} more bytes"), format!("{left} bytes"))
    }
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Mismatch> {
        Ok(self.bytes(N)?.try_into().expect("bytes() gave N bytes"))
    }
    pub(crate) fn u8(&mut self) -> Result<u8, Mismatch> {
        Ok(self.array::<1>()?[0])
    }
    pub(crate) fn u16(&mut self) -> Result<u16, Mismatch> {
        Ok(u16::from_be_bytes(self.array()?))
    }
    pub(crate) fn u32(&mut self) -> Result<u32, Mismatch> {
        Ok(u32::from_be_bytes(self.array()?))
    }
    pub(crate) fn u64(&mut self) -> Result<u64, Mismatch> {
        Ok(u64::from_be_bytes(self.array()?))
    }
    pub(crate) fn i64(&mut self) -> Result<i64, Mismatch> {
        Ok(i64::from_be_bytes(self.array()?))
    }
    /// Reads exactly these bytes.
    pub(crate) fn expect(&mut self, what: &str, expected: &[u8]) -> Result<(), Mismatch> {
        let at = self.at;
        let found = self.bytes(expected.len())?;
        if found != expected {
            return Err(Mismatch::new(at, format!("{what} {}", hex::encode(expected)), hex::encode(found)));
        }
        Ok(())
    }
    /// Refuses bytes that follow the value.
    pub(crate) fn end(&self) -> Result<(), Mismatch> {
        if self.is_at_end() {
            return Ok(());
        }
        let left = self.bytes.len() - self.at;
        Err(Mismatch::new(self.at, "the end", format!("{left} more bytes")))
    }
}
