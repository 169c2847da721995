//! Inclusion and consistency proofs: which hashes they are made of, how they are checked without a ledger, and their text.
//!
//! Sources: RFC 6962 section 2.1, RFC 9162 sections 2.1.3.2 and 2.1.4.2 (checking), C2SP tlog-proof, C2SP tlog-witness.

pub(crate) mod prove;

use crate::checkpoint::{Checkpoint, LogVerifier, SignedCheckpoint};
use crate::entry::Entry;
use crate::error::Error;
use crate::tree::{leaf_hash, node_hash};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use cairn_schemas::{Blake3, Position, Sha256, Timestamp, TypeCode};
use std::ops::Range;

const PROOF_LINE: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^64 leaves needs no longer proof.
pub(crate) const HASHES_MAX: usize = 64;

/// That an entry stands at an index of the log whose checkpoint this is (C2SP tlog-proof).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionProof {
    /// Index of the leaf: the event's position less one.
    pub index: u64,
    /// Hashes from the leaf's sibling to the root's child.
    pub path: Vec<Sha256>,
    /// The bytes of the entry, in the line `extra`: the leaf is their hash.
    pub entry: Option<Vec<u8>>,
    /// The checkpoint, a signed note.
    pub note: String,
}

/// That a log's tree of some size is the beginning of the tree that a checkpoint signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    pub old_size: u64,
    pub path: Vec<Sha256>,
    /// The newer checkpoint, a signed note.
    pub note: String,
}

/// The roots of two trees and the hashes that prove one the beginning of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    pub old_root: Sha256,
    pub new_root: Sha256,
    pub path: Vec<Sha256>,
}

impl InclusionProof {
    /// The text of a `.tlog-proof` file.
    pub fn encode(&self) -> String {
        let mut text = format!("{PROOF_LINE}\n");
        if let Some(entry) = &self.entry {
            text += &format!("extra {}\n", BASE64.encode(entry));
        }
        text += &format!("index {}\n", self.index);
        push_hashes(&mut text, &self.path);
        text + "\n" + &self.note
    }

    /// Reads a `.tlog-proof` file, byte for byte as [`InclusionProof::encode`] writes it. Nothing of it is checked yet.
    pub fn decode(text: &str) -> Result<Self, Error> {
        let rest = text
            .strip_prefix(PROOF_LINE)
            .and_then(|rest| rest.strip_prefix('\n'))
            .ok_or_else(|| wrong(format!("the first line is not `{PROOF_LINE}`")))?;
        let (head, note) = rest.split_once("\n\n").ok_or_else(|| wrong("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        let entry = match lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            Some(extra) => {
                lines.next();
                Some(BASE64.decode(extra).map_err(|_| wrong("the line `extra` is not base64"))?)
            }
            None => None,
        };
        let index = lines.next().and_then(|line| line.strip_prefix("index ")?.parse().ok());
        let index = index.ok_or_else(|| wrong("no line `index N`"))?;
        let path = lines.map(parse_hash).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        let proof = Self { index, path, entry, note: note.to_owned() };
        match proof.path.len() <= HASHES_MAX && proof.encode() == text {
            true => Ok(proof),
            false => Err(wrong("it is not written in its canonical form")),
        }
    }

    /// Checks that `entry` stands at the proof's index in the log of `key`, and gives the signed checkpoint.
    pub fn verify(&self, key: &LogVerifier, entry: &[u8]) -> Result<SignedCheckpoint, Error> {
        let signed = parse_note(&self.note, key)?;
        let Checkpoint { size, root, .. } = &signed.checkpoint;
        verify_inclusion(&leaf_hash(entry), self.index, *size, &self.path, root)?;
        Ok(signed)
    }
}

/// What an entry says, for people who hold a proof of it. Its bytes are what is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryFacts {
    pub position: Position,
    pub recorded_at: Timestamp,
    pub event_type: TypeCode,
    pub stream_version: u64,
    pub payload_bytes: u32,
    /// What salt and payload must hash to, as `docs/format.md` has it.
    pub commitment: Blake3,
}

impl EntryFacts {
    /// Decodes an entry that must stand at `index`.
    pub fn decode(index: u64, entry: &[u8]) -> Result<Self, Error> {
        let entry = Entry::decode(entry).map_err(|m| {
            wrong(format!("the entry has {} at its byte {} where {} was expected", m.found, m.at, m.expected))
        })?;
        if entry.position.get() - 1 != index {
            return Err(wrong(format!("the entry is that of position {}, the proof of {index}+1", entry.position)));
        }
        let Entry { position, recorded_at, event_type, stream_version, payload_bytes, commitment, .. } = entry;
        Ok(Self { position, recorded_at, event_type, stream_version, payload_bytes, commitment })
    }
}

impl ConsistencyProof {
    /// The text that a log sends to its witnesses (C2SP tlog-witness, `add-checkpoint`): `old N`, hashes, checkpoint.
    pub fn encode(&self) -> String {
        let mut text = format!("old {}\n", self.old_size);
        push_hashes(&mut text, &self.path);
        text + "\n" + &self.note
    }

    pub fn decode(text: &str) -> Result<Self, Error> {
        let (head, note) = text.split_once("\n\n").ok_or_else(|| wrong("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        let old_size = lines.next().and_then(|line| line.strip_prefix("old ")?.parse().ok());
        let old_size = old_size.ok_or_else(|| wrong("the first line is not `old N`"))?;
        let path = lines.map(parse_hash).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
        let proof = Self { old_size, path, note: note.to_owned() };
        match proof.path.len() < HASHES_MAX && proof.encode() == text {
            true => Ok(proof),
            false => Err(wrong("it is not written in its canonical form")),
        }
    }

    /// Checks that the tree of `old` is the beginning of the newer one, which is given back.
    pub fn verify(&self, key: &LogVerifier, old: &Checkpoint) -> Result<SignedCheckpoint, Error> {
        let signed = parse_note(&self.note, key)?;
        if old.origin != signed.checkpoint.origin || old.size != self.old_size {
            let (origin, size) = (&signed.checkpoint.origin, self.old_size);
            return Err(wrong(format!(
                "it begins at size {size} of {origin}, the older checkpoint has size {} of {}",
                old.size, old.origin
            )));
        }
        let Checkpoint { size, root, .. } = &signed.checkpoint;
        verify_consistency(old.size, &old.root, *size, root, &self.path)?;
        Ok(signed)
    }
}

/// Checks that a leaf stands at an index of the tree of this size and root (RFC 9162, section 2.1.3.2).
pub fn verify_inclusion(leaf: &Sha256, index: u64, size: u64, path: &[Sha256], root: &Sha256) -> Result<(), Error> {
    if index >= size {
        return Err(wrong(format!("the tree of {size} leaves has none of index {index}")));
    }
    let (mut at, mut last, mut node) = (index, size - 1, *leaf);
    for hash in path {
        if last == 0 {
            return Err(wrong("it holds more hashes than the tree is high"));
        }
        if at & 1 == 1 || at == last {
            node = node_hash(hash, &node);
            climb_to_right_child(&mut at, &mut last);
        } else {
            node = node_hash(&node, hash);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    match last == 0 && node == *root {
        true => Ok(()),
        false => Err(wrong(format!("its hashes lead to the root {node}, the checkpoint of size {size} has {root}"))),
    }
}

/// Checks that one tree is the beginning of another (RFC 9162, section 2.1.4.2).
///
/// Every tree begins with the empty one; between trees of one size only the equal root is consistent.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Sha256,
    new_size: u64,
    new_root: &Sha256,
    path: &[Sha256],
) -> Result<(), Error> {
    if old_size > new_size {
        return Err(wrong(format!("the older tree has {old_size} leaves, the newer one {new_size}")));
    }
    if old_size == 0 || old_size == new_size {
        let same = old_size == 0 || old_root == new_root;
        let empty = old_size != 0 || *old_root == crate::tree::empty_root();
        return match (path.is_empty(), same && empty) {
            (true, true) => Ok(()),
            (false, _) => Err(wrong("a proof from nothing, or between trees of one size, holds no hash")),
            (_, false) => Err(wrong(format!("two trees of size {old_size} have the roots {old_root} and {new_root}"))),
        };
    }
    let mut hashes = path.iter();
    let first = if old_size.is_power_of_two() { Some(old_root) } else { hashes.next() };
    let first = first.ok_or_else(|| wrong("it holds no hash"))?;
    let (mut at, mut last) = (old_size - 1, new_size - 1);
    while at & 1 == 1 {
        (at, last) = (at >> 1, last >> 1);
    }
    let (mut old, mut new) = (*first, *first);
    for hash in hashes {
        if last == 0 {
            return Err(wrong("it holds more hashes than the tree is high"));
        }
        if at & 1 == 1 || at == last {
            (old, new) = (node_hash(hash, &old), node_hash(hash, &new));
            climb_to_right_child(&mut at, &mut last);
        } else {
            new = node_hash(&new, hash);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    match last == 0 && old == *old_root && new == *new_root {
        true => Ok(()),
        false => Err(wrong(format!(
            "its hashes lead to the roots {old} and {new}, the trees of {old_size} and {new_size} leaves have {old_root} \
             and {new_root}"
        ))),
    }
}

fn climb_to_right_child(at: &mut u64, last: &mut u64) {
    while *at & 1 == 0 && *at != 0 {
        (*at, *last) = (*at >> 1, *last >> 1);
    }
}

/// The stretches of leaves whose roots prove a leaf, from its sibling upwards (RFC 6962 `PATH`).
pub(crate) fn inclusion_ranges(index: u64, size: u64) -> Vec<Range<u64>> {
    let (mut low, mut high, mut ranges) = (0, size, Vec::new());
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            ranges.push(middle..high);
            high = middle;
        } else {
            ranges.push(low..middle);
            low = middle;
        }
    }
    ranges.reverse();
    ranges
}

/// The stretches of leaves whose roots prove that a tree begins with an older one (RFC 6962 `PROOF`).
pub(crate) fn consistency_ranges(old: u64, new: u64) -> Vec<Range<u64>> {
    let (mut low, mut high, mut ranges) = (0, new, Vec::new());
    if old == 0 || old >= new {
        return ranges;
    }
    while old != high {
        let middle = low + split(high - low);
        if old <= middle {
            ranges.push(middle..high);
            high = middle;
        } else {
            ranges.push(low..middle);
            low = middle;
        }
    }
    if low != 0 {
        ranges.push(low..high);
    }
    ranges.reverse();
    ranges
}

/// The greatest power of two below `leaves`.
fn split(leaves: u64) -> u64 {
    1 << (63 - (leaves - 1).leading_zeros())
}

fn push_hashes(text: &mut String, hashes: &[Sha256]) {
    for hash in hashes {
        text.push_str(&BASE64.encode(hash.as_bytes()));
        text.push('\n');
    }
}

fn parse_hash(line: &str) -> Result<Sha256, String> {
    let bytes = BASE64.decode(line).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(Sha256::from_bytes).ok_or_else(|| format!("`{line}` is not a hash of 32 bytes in base64"))
}

fn parse_note(note: &str, key: &LogVerifier) -> Result<SignedCheckpoint, Error> {
    SignedCheckpoint::parse(note, key).map_err(|expected| wrong(format!("its checkpoint lacks {expected}")))
}

fn wrong(why: impl Into<String>) -> Error {
    Error::Proof { why: why.into() }
}

#[cfg(test)]
mod tests;
