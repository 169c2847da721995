//! The verifier in Python, which knows `docs/format.md` alone, and Cairn's own agree on every directory: sound ones,
//! every changed byte, and forgeries whose checksums are right.

mod flips;
mod support;
mod vectors;
