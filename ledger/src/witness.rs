//! A witness for others' logs: cosigns a checkpoint only if it continues the last one it cosigned, and remembers that
//! one durably first. Source: C2SP tlog-witness (`add-checkpoint`).

use crate::checkpoint::{Checkpoint, ForeignNote, LogVerifier};
use crate::cosignature::{Algorithm, Cosigner, CosignerKey};
use crate::error::Error;
use crate::options::{Random, SystemRandom};
use crate::proof::{ConsistencyProof, verify_consistency};
use crate::storage::{Access, FileSystem, Storage, StoredFile, read_small, write_whole};
use crate::tree::empty_root;
use cairn_schemas::{Blake3, Clock, SystemClock};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of one request: a checkpoint with a hundred signatures fits.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;

/// How a witness is opened.
pub struct WitnessOptions {
    /// Its name, a URL without scheme; drawn at random at the first start where `None`.
    pub name: Option<String>,
    pub storage: Arc<dyn Storage>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
}

impl Default for WitnessOptions {
    fn default() -> Self {
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        Self { name: None, storage: Arc::new(FileSystem), clock, random }
    }
}

/// A witness: its key, and the last checkpoint that it cosigned of each log.
pub struct Witness {
    disk: Arc<dyn Storage>,
    clock: Arc<dyn Clock>,
    cosigner: Cosigner,
    logs: BTreeMap<String, WitnessedLog>,
    _lock: Arc<dyn StoredFile>,
}

struct WitnessedLog {
    /// Any of them vouches for a checkpoint of the log.
    keys: Vec<LogVerifier>,
    path: PathBuf,
    /// Size and root of the last checkpoint that was cosigned. Held while a request is answered, so that of two at once
    /// the second sees what the first left.
    latest: Mutex<(u64, cairn_schemas::Sha256)>,
}

/// Why a checkpoint is not cosigned. The statuses are those of the specification.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Malformed(String),
    #[error("no trusted key of {origin} signed the checkpoint")]
    BadSignature { origin: String },
    #[error("this witness does not know the log {origin}")]
    UnknownOrigin { origin: String },
    /// The last checkpoint that was cosigned has this size: prove from there, or it has another root.
    #[error("the last checkpoint cosigned has size {size}")]
    Conflict { size: u64 },
    #[error("{0}")]
    BadProof(String),
    #[error("{0}")]
    Failed(Error),
}

impl Refusal {
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Malformed(_) => 400,
            Refusal::BadSignature { .. } => 403,
            Refusal::UnknownOrigin { .. } => 404,
            Refusal::Conflict { .. } => 409,
            Refusal::BadProof(_) => 422,
            Refusal::Failed(_) => 500,
        }
    }
}

impl Witness {
    /// Opens a witness's folder, drawing its key where there is none. `logs` are the keys of the logs that it watches.
    pub fn open(dir: &Path, logs: Vec<LogVerifier>, options: WitnessOptions) -> Result<Self, Error> {
        let disk = options.storage;
        let folder = dir.join("logs");
        disk.create_dirs(&folder).map_err(Error::io("creating", &folder))?;
        let lock_path = dir.join("lock");
        let lock = disk.lock(&lock_path).map_err(Error::io("locking", &lock_path))?;
        let lock = lock.ok_or_else(|| Error::AlreadyOpen { dir: dir.to_owned(), holder: "another witness".into() })?;
        let cosigner = open_key(&*disk, &dir.join("witness.key"), options.name.as_deref(), &*options.random)?;
        let mut watched: BTreeMap<String, Vec<LogVerifier>> = BTreeMap::new();
        for key in logs {
            watched.entry(key.origin().to_owned()).or_default().push(key);
        }
        let mut logs = BTreeMap::new();
        for (origin, keys) in watched {
            let path = folder.join(format!("{}.checkpoint", Blake3::of(origin.as_bytes())));
            let latest = Mutex::new(read_latest(&*disk, &path, &origin, &keys)?);
            logs.insert(origin, WitnessedLog { keys, path, latest });
        }
        Ok(Self { disk, clock: options.clock, cosigner, logs, _lock: lock })
    }

    /// The key that its cosignatures are checked with.
    pub fn key(&self) -> &CosignerKey {
        self.cosigner.key()
    }

    /// Origins of the logs that it watches, and the size of each as it last cosigned it.
    pub fn logs(&self) -> Vec<(String, u64)> {
        self.logs.iter().map(|(origin, log)| (origin.clone(), log.latest.lock().0)).collect()
    }

    /// Answers an `add-checkpoint` request with a cosignature line. What it vouches for is durable before it answers.
    pub fn add_checkpoint(&self, body: &str) -> Result<String, Refusal> {
        let request = ConsistencyProof::decode(body).map_err(|e| Refusal::Malformed(e.to_string()))?;
        let note = ForeignNote::parse(&request.note)
            .map_err(|expected| Refusal::Malformed(format!("the checkpoint lacks {expected}")))?;
        let Checkpoint { origin, size, root } = &note.checkpoint;
        let log = self.logs.get(origin).ok_or_else(|| Refusal::UnknownOrigin { origin: origin.clone() })?;
        if !log.keys.iter().any(|key| note.is_signed_by(key)) {
            return Err(Refusal::BadSignature { origin: origin.clone() });
        }
        if request.old_size > *size {
            let why = format!("the old size {} is greater than the checkpoint's, {size}", request.old_size);
            return Err(Refusal::Malformed(why));
        }
        let mut latest = log.latest.lock();
        let (old_size, old_root) = *latest;
        if request.old_size != old_size {
            return Err(Refusal::Conflict { size: old_size });
        }
        if old_size == *size && old_root != *root {
            tracing::error!(origin, size, %root, cosigned = %old_root, "a log shows two trees of one size");
            return Err(Refusal::Conflict { size: old_size });
        }
        if let Err(e) = verify_consistency(old_size, &old_root, *size, root, &request.path) {
            tracing::error!(origin, old_size, size, error = %e, "a log does not continue what was cosigned");
            return Err(Refusal::BadProof(e.to_string()));
        }
        if old_size != *size || old_size == 0 {
            write_whole(&*self.disk, &log.path, Access::Default, request.note.as_bytes()).map_err(Refusal::Failed)?;
            *latest = (*size, *root);
        }
        Ok(self.cosigner.cosign(note.body, &note.checkpoint, self.clock.now()))
    }
}

/// What was cosigned last, which a key of the log must vouch for; an empty tree where nothing was.
fn read_latest(
    disk: &dyn Storage,
    path: &Path,
    origin: &str,
    keys: &[LogVerifier],
) -> Result<(u64, cairn_schemas::Sha256), Error> {
    let Some(bytes) = read_small(disk, path)? else { return Ok((0, empty_root())) };
    let wrong = |why: String| Error::Key { path: path.to_owned(), why };
    let note = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 text".into()))?;
    let note = ForeignNote::parse(&note).map_err(|expected| wrong(format!("it lacks {expected}")))?;
    match note.checkpoint.origin == origin && keys.iter().any(|key| note.is_signed_by(key)) {
        true => Ok((note.checkpoint.size, note.checkpoint.root)),
        false => Err(wrong(format!("no key given for {origin} signed it; name the key that did, too"))),
    }
}

fn open_key(disk: &dyn Storage, path: &Path, name: Option<&str>, random: &dyn Random) -> Result<Cosigner, Error> {
    let wrong = |why: String| Error::Key { path: path.to_owned(), why };
    if let Some(bytes) = read_small(disk, path)? {
        let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8 text".into()))?;
        let key = text.strip_suffix('\n').ok_or_else(|| "a newline at the end".to_owned()).and_then(Cosigner::decode);
        let key = key.map_err(|expected| wrong(format!("it is no witness's key: expected {expected}")))?;
        return match name.is_none_or(|name| name == key.key().name()) {
            true => Ok(key),
            false => Err(wrong(format!(
                "the key is that of `{}`; leave the name out, or name another folder",
                key.key().name()
            ))),
        };
    }
    let mut seed = [0; 32];
    random.fill(&mut seed);
    let name = name.map_or_else(
        || format!("cairn.local/witness/{}", hex::encode(&Blake3::of(&seed).as_bytes()[..8])),
        str::to_owned,
    );
    let key = Cosigner::new(&name, Algorithm::Ed25519, &seed);
    CosignerKey::decode(&key.key().encode())
        .map_err(|expected| wrong(format!("`{name}` is no witness's name: expected {expected}")))?;
    write_whole(disk, path, Access::Owner, format!("{}\n", key.encode()).as_bytes())?;
    Ok(key)
}
