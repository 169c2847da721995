//! The chain over frames: `h(f) = BLAKE3(tag ‖ h(f-1) ‖ entries(f))`, begun from the log's origin.

use cairn_schemas::Blake3;

const GENESIS_TAG: &[u8] = b"cairn/v1/chain-genesis\0";
const FRAME_TAG: &[u8] = b"cairn/v1/chain-frame\0";

/// The head of an empty log. The origin in it ties every later head to that one log.
pub(crate) fn genesis(origin: &str) -> Blake3 {
    digest(&[GENESIS_TAG, origin.as_bytes()])
}

/// The head after a frame whose entries, with their lengths, are `entries`.
pub(crate) fn next(head: &Blake3, entries: &[u8]) -> Blake3 {
    digest(&[FRAME_TAG, head.as_bytes(), entries])
}

fn digest(parts: &[&[u8]]) -> Blake3 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    Blake3::from_bytes(*hasher.finalize().as_bytes())
}
