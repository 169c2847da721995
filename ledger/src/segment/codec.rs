//! How a block of payload records is stored: as it is, or as one LZ4 block where that saves enough.
//!
//! Source: the LZ4 block format. Hashes and commitments are over the records, so the codec touches none of them.

use crate::error::Mismatch;
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};

/// A block is compressed where that saves at least one part in so many.
const SAVED_AT_LEAST: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Plain = 0,
    Lz4 = 1,
}

impl Codec {
    pub(crate) fn of_byte(byte: u8) -> Option<Self> {
        [Codec::Plain, Codec::Lz4].into_iter().find(|codec| *codec as u8 == byte)
    }

    /// The records of a block, from its stored bytes.
    pub(crate) fn unpack(self, stored: Vec<u8>, plain_bytes: usize) -> Result<Vec<u8>, Mismatch> {
        if self == Codec::Plain {
            return Ok(stored);
        }
        let mut plain = vec![0; plain_bytes];
        match decompress_into(&stored, &mut plain) {
            Ok(found) if found == plain_bytes => Ok(plain),
            other => {
                let found = other.map_or_else(|e| e.to_string(), |bytes| format!("one of {bytes} bytes"));
                Err(Mismatch::new(0, format!("an LZ4 block of {plain_bytes} bytes"), found))
            }
        }
    }
}

/// Compresses blocks, one after another, in the same memory.
pub(crate) struct Packer {
    table: CompressTable,
    out: Vec<u8>,
}

impl Packer {
    pub(crate) fn new() -> Self {
        Self { table: CompressTable::large(), out: Vec::new() }
    }

    /// What is to be stored of a block.
    pub(crate) fn pack<'a>(&'a mut self, plain: &'a [u8]) -> (Codec, &'a [u8]) {
        self.out.resize(get_maximum_output_size(plain.len()), 0);
        match compress_into_with_table(plain, &mut self.out, &mut self.table) {
            Ok(packed) if packed + plain.len() / SAVED_AT_LEAST <= plain.len() => (Codec::Lz4, &self.out[..packed]),
            _ => (Codec::Plain, plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packs_where_it_saves_and_refuses_what_was_not_packed() {
        let mut packer = Packer::new();
        let text = b"the same words again and again, ".repeat(100);
        let (codec, packed) = packer.pack(&text);
        assert_eq!(codec, Codec::Lz4);
        assert!(packed.len() < text.len() / 10);
        let packed = packed.to_vec();
        for plain_bytes in [text.len() - 1, text.len() + 1] {
            codec.unpack(packed.clone(), plain_bytes).unwrap_err();
        }
        for length in 0..packed.len() {
            codec.unpack(packed[..length].to_vec(), text.len()).unwrap_err();
        }
        let mut noise = vec![0; 4096];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert_eq!(packer.pack(&noise), (Codec::Plain, &noise[..]));
        assert_eq!(packer.pack(b"x"), (Codec::Plain, &b"x"[..]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn comes_back(seed in proptest::collection::vec(any::<u8>(), 1..300), times in 1..60_usize) {
            let plain = seed.repeat(times);
            let mut packer = Packer::new();
            let (codec, stored) = packer.pack(&plain);
            prop_assert_eq!(codec.unpack(stored.to_vec(), plain.len()).unwrap(), plain);
        }

        /// Whatever stands in a file, decoding ends with an answer.
        #[test]
        fn arbitrary_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = Codec::Lz4.unpack(bytes, 4096);
        }
    }
}
