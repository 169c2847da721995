//! The crates `signed_note` and `tlog_tiles` read the committed log.

use crate::fixture::{committed, copy, files};
use base64::Engine;
use signed_note::{Note, StandardVerifier, VerifierList};
use std::path::{Path, PathBuf};
use tlog_tiles::{Checkpoint, Error, Hash, Tile, TileHashReader, TileReader};
use tlog_tiles::{check_record, check_tree, prove_record, prove_tree, record_hash, tree_hash};

/// Tiles of height 8 in a folder, where C2SP's paths leave the height out.
struct Folder(PathBuf);

impl TileReader for Folder {
    fn height(&self) -> u8 {
        8
    }
    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let path = |tile: &Tile| self.0.join("tile").join(tile.path().strip_prefix("tile/8/").unwrap());
        Ok(tiles.iter().map(|tile| std::fs::read(path(tile)).unwrap_or_default()).collect())
    }
    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// A checkpoint that the log's key has signed.
fn open(dir: &Path, note: &str) -> Result<Checkpoint, String> {
    let key = StandardVerifier::new(read(dir.join("verifier.key")).trim_end()).map_err(|e| e.to_string())?;
    let note = Note::from_bytes(note.as_bytes()).map_err(|e| e.to_string())?;
    note.verify(&VerifierList::new(vec![Box::new(key)])).map_err(|e| e.to_string())?;
    Checkpoint::from_bytes(note.text()).map_err(|e| format!("{e:?}"))
}

fn hashes(text: &str) -> Vec<Hash> {
    text.lines().map(|line| Hash::parse_hash(line).unwrap()).collect()
}

/// The entries of every bundle, in order.
fn entries(dir: &Path, size: u64) -> Result<Vec<Vec<u8>>, String> {
    let mut all = Vec::new();
    for bundle in 0..size.div_ceil(256) {
        let width = (size - bundle * 256).min(256);
        let partial = if width < 256 { format!(".p/{width}") } else { String::new() };
        let bytes =
            std::fs::read(dir.join(format!("log/tile/entries/{bundle:03}{partial}"))).map_err(|e| e.to_string())?;
        let mut rest = &bytes[..];
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            all.push(after.get(..length).ok_or("a bundle that ends in an entry")?.to_vec());
            rest = &after[length..];
        }
    }
    Ok(all)
}

/// All that the log publishes, checked with these crates alone.
fn accept(dir: &Path) -> Result<(), String> {
    let shown = |e: Error| format!("{e:?}");
    let newer = open(dir, &read(dir.join("log/checkpoint")))?;
    let older = open(dir, &read(dir.join("older")))?;
    let (size, root) = (newer.size(), *newer.hash());
    let tiles = Folder(dir.join("log"));
    let reader = TileHashReader::new(size, root, &tiles);
    if tree_hash(size, &reader).map_err(shown)? != root {
        return Err("the tiles lead to another root".into());
    }
    let entries = entries(dir, size)?;
    if entries.len() as u64 != size {
        return Err(format!("{} entries in the bundles of {size}", entries.len()));
    }
    for (index, entry) in (0..).zip(&entries) {
        let proof = prove_record(size, index, &reader).map_err(shown)?;
        check_record(&proof, size, root, index, record_hash(entry)).map_err(shown)?;
    }
    let made = prove_tree(size, older.size(), &reader).map_err(shown)?;
    let given = hashes(&read(dir.join("consistency")));
    check_tree(&given, size, root, older.size(), *older.hash()).map_err(shown)?;
    if made != given {
        return Err("the consistency proof is not the one that the tiles give".into());
    }
    for (path, bytes) in files(&dir.join("proofs")) {
        proof(dir, &String::from_utf8(bytes).unwrap()).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// A tlog-proof, read line by line.
fn proof(dir: &Path, text: &str) -> Result<(), String> {
    let (head, note) = text.split_once("\n\n").ok_or("no empty line")?;
    let lines: Vec<&str> = head.lines().collect();
    let [format, extra, index, path @ ..] = &lines[..] else { return Err("too few lines".into()) };
    let extra = extra.strip_prefix("extra ").ok_or("no entry")?;
    let entry = base64::engine::general_purpose::STANDARD.decode(extra).map_err(|e| e.to_string())?;
    let index = index.strip_prefix("index ").and_then(|index| index.parse().ok()).ok_or("no index")?;
    if *format != "c2sp.org/tlog-proof@v1" {
        return Err("another format".into());
    }
    let signed = open(dir, note)?;
    let path = path.iter().map(|line| Hash::parse_hash(line).map_err(|e| format!("{e:?}")));
    let path = path.collect::<Result<Vec<_>, _>>()?;
    check_record(&path, signed.size(), *signed.hash(), index, record_hash(&entry)).map_err(|e| format!("{e:?}"))
}

#[test]
fn the_crates_accept_the_committed_log_and_its_proofs() {
    accept(&committed()).unwrap();
}

#[test]
fn the_crates_refuse_a_changed_byte_of_each_file_that_the_log_publishes() {
    let dir = tempfile::tempdir().unwrap();
    copy(&committed(), dir.path());
    for (path, bytes) in files(dir.path()).into_iter().filter(|(path, _)| !path.starts_with("ledger")) {
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 1;
        std::fs::write(dir.path().join(&path), changed).unwrap();
        // What is not UTF-8 any more is refused before the crates see it.
        let refused = std::panic::catch_unwind(|| accept(dir.path())).map_or(true, |said| said.is_err());
        assert!(refused, "{} was changed and accepted", path.display());
        std::fs::write(dir.path().join(&path), bytes).unwrap();
    }
    accept(dir.path()).unwrap();
}
