//! What the two objects of a sealed segment have in common: a body, a footer that describes it, a tail that finds it.
//!
//! Tail: footer length (u32), CRC-32C of the footer (u32), magic (8 bytes). Nothing follows it.

use crate::error::{Error, Mismatch};
use crate::frame::checksum_mismatch;
use crate::site::Site;
use crate::storage::{Access, Storage, StoredFile, create_temporary, full_or, publish, temporary};
use crate::wire::Reader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const TAIL_BYTES: usize = 16;
/// No footer is longer: at 32 bytes a block it covers far more than a segment can hold.
const FOOTER_BYTES_MAX: usize = 64 << 20;
const WRITE_BYTES: usize = 1 << 20;

/// Writes an object from front to back under a temporary name.
pub(crate) struct ObjectWriter<'a> {
    disk: &'a dyn Storage,
    path: PathBuf,
    file: Arc<dyn StoredFile>,
    buffer: Vec<u8>,
    written: u64,
}

impl<'a> ObjectWriter<'a> {
    pub(crate) fn create(disk: &'a dyn Storage, path: &Path) -> Result<Self, Error> {
        let file = create_temporary(disk, path, Access::Default)?;
        Ok(Self { disk, path: path.to_owned(), file, buffer: Vec::new(), written: 0 })
    }
    /// Bytes put so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(bytes);
        match self.buffer.len() >= WRITE_BYTES {
            true => self.flush(),
            false => Ok(()),
        }
    }
    /// Ends the object and makes its content durable; it has its name only after [`ObjectWriter::publish`].
    pub(crate) fn finish(&mut self, footer: &[u8], magic: [u8; 8]) -> Result<(), Error> {
        let length = u32::try_from(footer.len()).expect("a footer is at most 64 MiB");
        self.put(footer)?;
        self.put(&length.to_be_bytes())?;
        self.put(&crc32c::crc32c(footer).to_be_bytes())?;
        self.put(&magic)?;
        self.flush()?;
        self.file.sync().map_err(full_or("syncing", &self.path, self.written))
    }
    /// Removes what was written so far.
    pub(crate) fn abandon(self) -> Result<(), Error> {
        let path = temporary(&self.path);
        self.disk.remove(&path).map_err(Error::io("removing", &path))
    }
    pub(crate) fn publish(self) -> Result<(), Error> {
        publish(self.disk, &self.path)
    }
    fn flush(&mut self) -> Result<(), Error> {
        let length = self.buffer.len() as u64;
        self.file.write_all_at(&self.buffer, self.written).map_err(full_or("writing", &self.path, length))?;
        self.written += length;
        self.buffer.clear();
        Ok(())
    }
}

/// An object's footer, checked against its checksum, and where it stands.
pub(crate) struct Footer {
    pub(crate) bytes: Vec<u8>,
    /// Length of the body, which is where the footer begins.
    pub(crate) at: u64,
}

/// Reads the tail and the footer.
pub(crate) fn read_footer(file: &dyn StoredFile, site: &Site, magic: [u8; 8]) -> Result<Footer, Error> {
    let file_bytes = file.bytes().map_err(site.io("measuring"))?;
    let Some(tail_at) = file_bytes.checked_sub(TAIL_BYTES as u64) else {
        return Err(site.damage(None, 0, Mismatch::new(0, "a sealed object", format!("{file_bytes} bytes"))));
    };
    let mut tail = [0; TAIL_BYTES];
    file.read_exact_at(&mut tail, tail_at).map_err(site.io("reading"))?;
    let mut from = Reader::new(&tail);
    let in_tail = |m| site.damage(None, tail_at, m);
    let (length, expected) = (from.u32().map_err(in_tail)?, from.u32().map_err(in_tail)?);
    from.expect("object magic", &magic).map_err(in_tail)?;
    let at = match tail_at.checked_sub(u64::from(length)) {
        Some(at) if length as usize <= FOOTER_BYTES_MAX => at,
        _ => return Err(in_tail(Mismatch::new(0, format!("a footer of at most {tail_at} bytes"), length))),
    };
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, at).map_err(site.io("reading"))?;
    let found = crc32c::crc32c(&bytes);
    if expected != found {
        return Err(site.damage(None, at, checksum_mismatch(0, "footer", found, expected)));
    }
    Ok(Footer { bytes, at })
}
