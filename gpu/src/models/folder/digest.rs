//! Which weights a folder holds: a digest that `b3sum` of the same files gives too.

use std::os::unix::fs::FileExt;

use super::{ModelFolder, file_error};
use crate::Error;

const PIECE_BYTES: usize = 1 << 20;

impl ModelFolder {
    /// BLAKE3 in hex of the file of weights; of several, that of the lines `<digest>  <name>` in the order of names.
    pub fn weights_digest(&self) -> Result<String, Error> {
        let mut lines = Vec::new();
        // Of the files as they were opened: what the numbers are read from.
        for (path, file) in self.shards.files() {
            let unreadable = |error: std::io::Error| file_error(path, format!("cannot be read: {error}"));
            let (mut hasher, mut piece, mut at) = (blake3::Hasher::new(), vec![0; PIECE_BYTES], 0);
            loop {
                let read = file.read_at(&mut piece, at).map_err(unreadable)?;
                if read == 0 {
                    break;
                }
                hasher.update(&piece[..read]);
                at += read as u64;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            lines.push((name, hasher.finalize().to_hex().to_string()));
        }
        lines.sort();
        match lines.as_slice() {
            [(_, only)] => Ok(only.clone()),
            several => {
                let text: String = several.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect();
                Ok(blake3::hash(text.as_bytes()).to_hex().to_string())
            }
        }
    }
}
