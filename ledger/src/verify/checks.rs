//! What a payload must agree on with its entry, and with the payloads before it.

use crate::error::{Error, Mismatch};
use crate::payload::{MacKeys, RecordKind, push_field};
use crate::segment::FoundRecord;
use cairn_schemas::{BorrowedPayload, StoredPayload};

pub(crate) fn decode(found: &FoundRecord<'_>) -> Result<StoredPayload, Error> {
    StoredPayload::decode(found.record.bytes).map_err(|e| undecodable(found, e))
}

pub(super) fn undecodable(found: &FoundRecord<'_>, why: cairn_schemas::Error) -> Error {
    found.site.damage(Some(found.entry.position.get()), found.at, Mismatch::new(37, "a stored payload", why))
}

/// The entry's MAC must be the one of the identity in its payload, under the tenant's key. `fields` is room to work in.
pub(super) fn check_identity(
    found: &FoundRecord<'_>,
    stored: &BorrowedPayload<'_>,
    keys: &MacKeys,
    fields: &mut Vec<u8>,
) -> Result<(), Error> {
    fields.clear();
    [stored.project, stored.source, stored.id].iter().for_each(|field| push_field(fields, field.as_bytes()));
    let expected = keys.identity_of_fields(fields);
    if expected == found.entry.identity {
        return Ok(());
    }
    let (expected, entry) = (hex::encode(expected.0), hex::encode(found.entry.identity.0));
    let mismatch = Mismatch::new(0, format!("identity MAC {expected} of the payload under the tenant's key"), entry);
    Err(found.site.damage(Some(found.entry.position.get()), found.at, mismatch))
}

/// The entry says whether fields of its payload are sealed under people's keys.
pub(super) fn check_sealed(found: &FoundRecord<'_>, has_sealed: bool) -> Result<(), Error> {
    if found.record.kind != RecordKind::Original || has_sealed == found.entry.has_sealed {
        return Ok(());
    }
    let shown = |has_sealed| if has_sealed { "sealed fields" } else { "no sealed fields" };
    let mismatch =
        Mismatch::new(37, format!("{}, as its entry says", shown(found.entry.has_sealed)), shown(has_sealed));
    Err(found.site.damage(Some(found.entry.position.get()), found.at, mismatch))
}

/// Streams whose names are kept as they are, so that neighbouring events of one need no digest.
const NAMES_KEPT: usize = 64;

/// Every number stands for one name. Grows with the number of streams, 8 bytes each.
pub(crate) struct StreamNames {
    digests: Vec<u64>,
    /// By the last bits of the number: the number, and the name that was checked.
    kept: Vec<(u64, String)>,
}

impl Default for StreamNames {
    fn default() -> Self {
        Self { digests: Vec::new(), kept: vec![(0, String::new()); NAMES_KEPT] }
    }
}

impl StreamNames {
    pub(crate) fn check(&mut self, found: &FoundRecord<'_>, name: &str) -> Result<(), Error> {
        let number = found.entry.stream.0;
        let (of, kept) = &mut self.kept[number as usize % NAMES_KEPT];
        if *of == number && kept == name {
            return Ok(());
        }
        let digest =
            u64::from_be_bytes(blake3::hash(name.as_bytes()).as_bytes()[..8].try_into().expect("8 of 32 bytes"));
        let index = number as usize - 1;
        if index == self.digests.len() {
            self.digests.push(digest);
        }
        if self.digests.get(index) == Some(&digest) {
            *of = number;
            kept.clear();
            kept.push_str(name);
            return Ok(());
        }
        let mismatch = Mismatch::new(37, format!("the name of stream {number}"), "another name");
        Err(found.site.damage(Some(found.entry.position.get()), found.at, mismatch))
    }
}
