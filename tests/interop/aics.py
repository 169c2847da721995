"""Checks a published log with the package aics-tlog. Usage: aics.py FOLDER, as tests/interop/fixture is laid out."""
import base64
import sys
from pathlib import Path

from aics_tlog import (FileSystemTileReader, consistency_proof_from_tiles, parse_note, parse_vkey,
                       audit_tiles, inclusion_proof_from_tiles, read_entry, verify_checkpoint, verify_consistency,
                       verify_leaf_inclusion)

folder = Path(sys.argv[1])
key = parse_vkey((folder / "verifier.key").read_text().rstrip("\n"))


def signed(text):
    result = verify_checkpoint(parse_note(text), key, expected_origin=key.name)
    assert result.ok and result.log_ok, result.error
    return result.size, result.root


size, root = signed((folder / "log/checkpoint").read_text())
old_size, old_root = signed((folder / "older").read_text())
tiles = FileSystemTileReader(folder / "log")
audited = audit_tiles(tiles, size, root)
for index in range(size):
    entry = read_entry(tiles, index, size)
    assert verify_leaf_inclusion(entry, index, size, inclusion_proof_from_tiles(tiles, index, size), root), index
given = [base64.b64decode(line, validate=True) for line in (folder / "consistency").read_text().splitlines()]
assert verify_consistency(old_size, size, old_root, root, given), "the consistency proof"
assert given == consistency_proof_from_tiles(tiles, old_size, size)
proofs = sorted((folder / "proofs").iterdir())
for path in proofs:
    head, note = path.read_text().split("\n\n", 1)
    format_line, extra, index, *hashes = head.split("\n")
    assert format_line == "c2sp.org/tlog-proof@v1"
    entry, index = base64.b64decode(extra.removeprefix("extra "), validate=True), int(index.removeprefix("index "))
    of_size, of_root = signed(note)
    hashes = [base64.b64decode(line, validate=True) for line in hashes]
    assert verify_leaf_inclusion(entry, index, of_size, hashes, of_root), path.name
print(f"{size} entries, {audited.tiles} tiles, {audited.bundles} bundles, {len(proofs)} proofs")
