//! A tenant's log up to a signed checkpoint, with chosen artifacts, in a directory that is verified without its ledger.

use crate::artifacts::{Artifact, Artifacts};
use crate::checkpoint::SignedCheckpoint;
use crate::error::{Error, Mismatch};
use crate::keys::{self, with_check};
use crate::layout::{Layout, LogLayout};
use crate::ledger::{Ledger, beside_writer};
use crate::log::{Log, read_checkpoint, start_state};
use crate::scan::LogFiles;
use crate::segment::writer::{SegmentStart, SegmentWriter};
use crate::storage::{Access, FileSystem, Storage, read_small, write_whole};
use crate::verify::authority::Authority;
use crate::verify::{Erased, StreamNames, decode, verify_entries};
use cairn_schemas::{Blake3, Ref, Sha256, StoredPayload, TenantId};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const BUNDLE_LINE: &str = "cairn bundle 1";
const SEGMENT_BYTES: u64 = 64 << 20;
/// How findings name the log of a bundle.
const LOG_NAME: &str = "bundle";

/// What a bundle holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    pub origin: String,
    /// Whose signature the checkpoint bears: compare it with the key that the log's owner published.
    pub verifier_key: String,
    pub checkpoint: SignedCheckpoint,
    pub chain_head: Blake3,
    pub artifacts: Vec<Artifact>,
    /// Which of the artifacts some event of the log names as used or produced.
    pub artifacts_named: Vec<Blake3>,
    /// What was erased with authority before it was exported.
    pub erased: Erased,
}

/// Writes a tenant's whole log up to its current checkpoint, and these artifacts, into an absent or empty directory.
pub fn export_bundle(ledger: &Ledger, tenant: &TenantId, artifacts: &[Blake3], dir: &Path) -> Result<Bundle, Error> {
    let disk: Arc<dyn Storage> = Arc::new(FileSystem);
    disk.create_dirs(dir).map_err(Error::io("creating", dir))?;
    if !disk.list(dir).map_err(Error::io("listing", dir))?.is_empty() {
        return Err(not_a_bundle(dir, "a bundle is written into an absent or empty directory, this one holds files"));
    }
    let checkpoint = ledger.checkpoint(tenant)?;
    let log = ledger.log(tenant).ok_or_else(|| Error::NoLog { tenant: tenant.clone() })?;
    let paths = Paths::new(dir);
    disk.create_dirs(&paths.log.segments()).map_err(Error::io("creating", &paths.log.segments()))?;
    beside_writer(|| write_segments(&*disk, &log, &checkpoint, &paths.log))?;
    keys::write_verifier(&*disk, &paths.log.verifier_key(), &log.verifier)?;
    write_whole(&*disk, &paths.log.checkpoint(), Access::Default, checkpoint.note.as_bytes())?;
    let (from, to) = (ledger.artifacts(tenant), paths.artifacts(&disk, true));
    let chosen: BTreeSet<&Blake3> = artifacts.iter().collect();
    let mut written = Vec::new();
    for digest in chosen {
        from.check(digest)?;
        written.push(to.put_file(&from.path(digest))?);
    }
    let marker = marker_text(&checkpoint, &written);
    write_whole(&*disk, &paths.marker, Access::Default, marker.as_bytes())?;
    verify_bundle(dir)
}

/// Verifies a bundle by itself: every byte of every file, and that there is no other file.
///
/// It proves what the holder of [`Bundle::verifier_key`] signed; whether that key is the right one is for the caller.
///
/// A directory that holds nothing of a bundle is [`Error::NotABundle`], one that lacks some of it is damaged.
pub fn verify_bundle(dir: &Path) -> Result<Bundle, Error> {
    if !looks_like_bundle(dir) {
        return Err(not_a_bundle(dir, "it has neither a file `bundle` nor a log; name what was exported"));
    }
    verify_parts(dir).map_err(|e| e.or_damage(dir, LOG_NAME))
}

/// Whether a directory holds the list, the key or the checkpoint of a bundle: one that lost some of them is one still.
pub fn looks_like_bundle(dir: &Path) -> bool {
    let paths = Paths::new(dir);
    [paths.marker, paths.log.verifier_key(), paths.log.checkpoint()].iter().any(|path| path.exists())
}

fn verify_parts(dir: &Path) -> Result<Bundle, Error> {
    let disk: Arc<dyn Storage> = Arc::new(FileSystem);
    let (paths, layout) = (Paths::new(dir), Layout::new(dir));
    let missing = |path: &Path| keys::damaged(&layout, path, "a file of every bundle".into(), "no file");
    let marker = read_small(&*disk, &paths.marker)?.ok_or_else(|| missing(&paths.marker))?;
    let key_path = paths.log.verifier_key();
    let verifier = keys::read_verifier(&*disk, &layout, &key_path)?.ok_or_else(|| missing(&key_path))?;
    let files = LogFiles::new(disk.clone(), dir, LOG_NAME, paths.log.clone());
    let checkpoint = read_checkpoint(&files, &verifier)?;
    let stored = paths.artifacts(&disk, false);
    let artifacts = stored.iter()?.map(|digest| stored.check(&digest)).collect::<Result<Vec<_>, _>>()?;
    if marker != marker_text(&checkpoint, &artifacts).as_bytes() {
        let expected = "the list of this checkpoint and these artifacts".to_owned();
        return Err(keys::damaged(&layout, &paths.marker, expected, "another list"));
    }
    check_no_other_file(&*disk, &layout, &paths, &artifacts, &stored)?;
    let (chain_head, artifacts_named, erased) = verify_log(&files, &checkpoint, &verifier, &artifacts)?;
    let (origin, verifier_key) = (verifier.origin().to_owned(), verifier.encode());
    Ok(Bundle { origin, verifier_key, checkpoint, chain_head, artifacts, artifacts_named, erased })
}

struct Paths {
    dir: PathBuf,
    marker: PathBuf,
    log: LogLayout,
}

impl Paths {
    fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), marker: dir.join("bundle"), log: LogLayout { dir: dir.join("log") } }
    }
    fn artifacts(&self, disk: &Arc<dyn Storage>, writable: bool) -> Artifacts {
        Artifacts::new(disk.clone(), &self.dir, self.dir.join("artifacts"), writable)
    }
}

fn not_a_bundle(dir: &Path, why: &str) -> Error {
    Error::NotABundle { dir: dir.to_owned(), why: why.to_owned() }
}

/// Reads the log as verification does and writes what it read as sealed segments.
fn write_segments(disk: &dyn Storage, log: &Log, checkpoint: &SignedCheckpoint, to: &LogLayout) -> Result<(), Error> {
    let size = checkpoint.checkpoint.size;
    let state = start_state(&log.verifier, checkpoint);
    let start = SegmentStart { first: 1, chain: state.chain, tree: state.tree.clone() };
    if size == 0 {
        return Ok(());
    }
    let mut writer = Some(SegmentWriter::create(disk, to, start)?);
    verify_entries(&log.files, state, checkpoint, &mut |found| {
        if writer.as_ref().is_some_and(|writer| writer.bytes() >= SEGMENT_BYTES && writer.next() <= size) {
            let full = writer.take().expect("just looked at");
            let next = full.finish()?.end;
            writer = Some(SegmentWriter::create(disk, to, next)?);
        }
        let current = writer.as_mut().expect("there is always one");
        if current.next() > size {
            return Ok(());
        }
        current.frame(found.entries, found.source_offsets)?;
        found.records.iter().try_for_each(|record| current.record(&record.record))
    })?;
    writer.expect("there is always one").finish().map(drop)
}

fn marker_text(checkpoint: &SignedCheckpoint, artifacts: &[Artifact]) -> String {
    let mut text = format!("{BUNDLE_LINE}\norigin {}\n", checkpoint.checkpoint.origin);
    text += &format!("size {}\nroot {}\n", checkpoint.checkpoint.size, checkpoint.checkpoint.root);
    for Artifact { blake3, sha256, bytes } in artifacts {
        text += &format!("artifact {blake3} {sha256} {bytes}\n");
    }
    with_check(&text, "check ")
}

type Verified = (Blake3, Vec<Blake3>, Erased);

fn verify_log(
    files: &LogFiles,
    checkpoint: &SignedCheckpoint,
    verifier: &crate::checkpoint::LogVerifier,
    artifacts: &[Artifact],
) -> Result<Verified, Error> {
    let looked_for: BTreeSet<Blake3> = artifacts.iter().map(|artifact| artifact.blake3).collect();
    let (mut names, mut named) = (StreamNames::default(), BTreeSet::new());
    let mut authority = Authority::new(verifier.origin());
    let state = start_state(verifier, checkpoint);
    let scan = verify_entries(files, state, checkpoint, &mut |found| {
        authority.frame(found);
        for record in &found.records {
            let stored = decode(record)?;
            names.check(record, &stored.stream)?;
            authority.look(record, &stored.data)?;
            named.extend(artifacts_of(&stored).filter(|digest| looked_for.contains(digest)));
        }
        Ok(())
    })?;
    let (size, root): (u64, Sha256) = (scan.state.head, scan.state.tree.root());
    let signed = &checkpoint.checkpoint;
    if (size, root) != (signed.size, signed.root) || scan.tail.is_some() || !scan.leftover.is_empty() {
        let expected = format!("{} entries with root {}, and nothing more", signed.size, signed.root);
        let site = files.at(files.layout.segments());
        return Err(site.damage(Some(size), 0, Mismatch::new(0, expected, format!("{size} entries with root {root}"))));
    }
    Ok((scan.state.chain, named.into_iter().collect(), authority.settle_alone()?))
}

fn artifacts_of(stored: &StoredPayload) -> impl Iterator<Item = Blake3> {
    stored.used.iter().chain(&stored.produced).filter_map(|reference| match reference {
        Ref::Artifact(digest) | Ref::Doc(digest) => Some(*digest),
        _ => None,
    })
}

/// The segments' own names are checked where they are read; here the rest.
fn check_no_other_file(
    disk: &dyn Storage,
    layout: &Layout,
    paths: &Paths,
    artifacts: &[Artifact],
    stored: &Artifacts,
) -> Result<(), Error> {
    let too_much =
        |path: &Path| keys::damaged(layout, path, "only what the bundle lists".into(), "something besides it");
    let mut known: BTreeSet<PathBuf> =
        [&paths.marker, &paths.log.dir, &paths.dir.join("artifacts")].into_iter().cloned().collect();
    known.extend([paths.log.verifier_key(), paths.log.checkpoint(), paths.log.segments()]);
    for artifact in artifacts {
        let path = stored.path(&artifact.blake3);
        known.insert(crate::storage::parent(&path).to_owned());
        known.extend([path, stored.sidecar(&artifact.blake3)]);
    }
    let mut folders = vec![paths.dir.clone(), paths.log.dir.clone()];
    folders.extend(known.iter().filter(|path| path.starts_with(paths.dir.join("artifacts")) && path.is_dir()).cloned());
    for folder in folders {
        for name in disk.list(&folder).map_err(Error::io("listing", &folder))? {
            if !known.contains(&folder.join(&name)) {
                return Err(too_much(&folder.join(&name)));
            }
        }
    }
    let temporary: Vec<String> =
        disk.list(&paths.log.segments()).map_err(Error::io("listing", &paths.log.segments()))?;
    match temporary.iter().find(|name| name.ends_with(crate::storage::TEMPORARY_SUFFIX)) {
        Some(name) => Err(too_much(&paths.log.segments().join(name))),
        None => Ok(()),
    }
}
