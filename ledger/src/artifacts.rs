//! Content-addressed files of one tenant, each recorded with BLAKE3 (its name) and SHA-256 (in a file beside it).

use crate::error::{Damage, Error};
use crate::reserve::Reserve;
use crate::storage::{
    Access, Storage, StoredFile, Window, create_temporary, full_or, list_if_any, publish, read_small, write_whole,
};
use cairn_schemas::{Blake3, Sha256};
use sha2::Digest;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes copied and hashed at once.
const COPY_BYTES: usize = 1 << 20;
const SIDECAR_SUFFIX: &str = "sha256";

/// What an artifact is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Artifact {
    pub blake3: Blake3,
    pub sha256: Sha256,
    pub bytes: u64,
}

/// A tenant's artifacts. They are never shared between tenants, which would tell one what another has.
#[derive(Clone)]
pub struct Artifacts {
    disk: Arc<dyn Storage>,
    root: PathBuf,
    dir: PathBuf,
    writable: bool,
    /// Artifacts stop before the disk is full.
    reserve: Option<Arc<Reserve>>,
}

impl Artifacts {
    /// `root` is the ledger's directory, to which findings are relative.
    pub(crate) fn new(disk: Arc<dyn Storage>, root: &Path, dir: PathBuf, writable: bool) -> Self {
        Self { disk, root: root.to_owned(), dir, writable, reserve: None }
    }

    /// The same, stored only where that leaves room for appends beside the reserve.
    pub(crate) fn beside(self, reserve: Option<Arc<Reserve>>) -> Self {
        Self { reserve, ..self }
    }

    fn check_room(&self, bytes: usize) -> Result<(), Error> {
        self.reserve.iter().try_for_each(|reserve| reserve.check_room_for_derived(bytes as u64, &self.dir))
    }

    /// Stores bytes durably. Storing the same bytes again changes nothing.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Artifact, Error> {
        self.put(bytes, &self.dir.clone())
    }

    /// Stores a copy of a file durably.
    pub fn put_file(&self, path: &Path) -> Result<Artifact, Error> {
        let file = File::open(path).map_err(Error::io("opening", path))?;
        self.put(file, path)
    }

    fn put(&self, mut from: impl Read, from_path: &Path) -> Result<Artifact, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        if !self.writable {
            return Err(Error::ReadOnly);
        }
        self.check_room(0)?;
        self.disk.create_dirs(&self.dir).map_err(Error::io("creating", &self.dir))?;
        let unnamed = self.dir.join(format!("put-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let file = create_temporary(&*self.disk, &unnamed, Access::Default)?;
        let put = self.copy(&mut from, from_path, &*file, &unnamed).and_then(|artifact| self.name(&unnamed, artifact));
        if put.is_err() {
            // Best effort: what is left of a failed put has a temporary name and is worthless.
            let _ = self.disk.remove(&crate::storage::temporary(&unnamed));
        }
        put
    }

    fn copy(
        &self,
        from: &mut impl Read,
        from_path: &Path,
        to: &dyn StoredFile,
        to_path: &Path,
    ) -> Result<Artifact, Error> {
        let (mut digests, mut buffer, mut bytes) = (Digests::default(), vec![0; COPY_BYTES], 0);
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(Error::io("reading", from_path))?,
            };
            self.check_room(read)?;
            digests.update(&buffer[..read]);
            to.write_all_at(&buffer[..read], bytes).map_err(full_or("writing", to_path, read as u64))?;
            bytes += read as u64;
        }
        to.sync().map_err(full_or("syncing", to_path, bytes))?;
        Ok(digests.finish(bytes))
    }

    /// Gives the copy its name. The digest file comes first: where the artifact stands, both digests do.
    fn name(&self, unnamed: &Path, artifact: Artifact) -> Result<Artifact, Error> {
        let path = self.path(&artifact.blake3);
        let folder = crate::storage::parent(&path);
        self.disk.create_dirs(folder).map_err(Error::io("creating", folder))?;
        if self.contains(&artifact.blake3) && self.check(&artifact.blake3).is_ok() {
            // Whoever stored it may have been cut short before its name was durable.
            self.disk.sync_dir(folder).map_err(Error::io("syncing", folder))?;
            let temporary = crate::storage::temporary(unnamed);
            self.disk.remove(&temporary).map_err(Error::io("removing", &temporary))?;
            return Ok(artifact);
        }
        write_whole(&*self.disk, &self.sidecar(&artifact.blake3), Access::Default, sidecar_text(&artifact).as_bytes())?;
        let temporary = crate::storage::temporary(unnamed);
        self.disk.rename(&temporary, &crate::storage::temporary(&path)).map_err(Error::io("renaming to", &path))?;
        publish(&*self.disk, &path)?;
        Ok(artifact)
    }

    /// Writes the file of the second digest for an artifact whose bytes stand there, once they are checked.
    pub(crate) fn write_sidecar(&self, digest: &Blake3) -> Result<(), Error> {
        let artifact = self.digests(digest)?;
        write_whole(&*self.disk, &self.sidecar(digest), Access::Default, sidecar_text(&artifact).as_bytes())
    }

    /// The whole content, checked against its digest.
    pub fn get(&self, digest: &Blake3) -> Result<Vec<u8>, Error> {
        let path = self.path(digest);
        let file = self.open_stored(digest)?;
        let length = file.bytes().map_err(Error::io("measuring", &path))?;
        let mut bytes = vec![0; usize::try_from(length).expect("an artifact to get fits the address space")];
        file.read_exact_at(&mut bytes, 0).map_err(Error::io("reading", &path))?;
        let found = Blake3::of(&bytes);
        match found == *digest {
            true => Ok(bytes),
            false => Err(self.damage(&path, format!("content with BLAKE3 {digest}"), found.to_hex())),
        }
    }

    /// The file itself, for what reads it piece by piece; its digest is not checked.
    pub fn open(&self, digest: &Blake3) -> Result<File, Error> {
        let path = self.path(digest);
        File::open(&path).map_err(|e| self.not_open(digest, &path, e))
    }

    pub fn contains(&self, digest: &Blake3) -> bool {
        self.disk.open(&self.path(digest)).is_ok()
    }

    /// Where the artifact stands, or would stand.
    pub fn path(&self, digest: &Blake3) -> PathBuf {
        let name = digest.to_hex();
        self.dir.join(&name[..2]).join(name)
    }

    /// Both digests and the length, checked against the stored bytes.
    pub fn check(&self, digest: &Blake3) -> Result<Artifact, Error> {
        let artifact = self.digests(digest)?;
        let sidecar = self.sidecar(digest);
        let found = read_small(&*self.disk, &sidecar)?.unwrap_or_default();
        if found != sidecar_text(&artifact).as_bytes() {
            let found = format!(
                "{} bytes that begin `{}`",
                found.len(),
                String::from_utf8_lossy(&found[..found.len().min(64)])
            );
            return Err(self.damage(&sidecar, format!("the line `{}`", sidecar_text(&artifact).trim_end()), found));
        }
        Ok(artifact)
    }

    /// Both digests and the length of the stored bytes, whose BLAKE3 must be their name.
    fn digests(&self, digest: &Blake3) -> Result<Artifact, Error> {
        let path = self.path(digest);
        let file = self.open_stored(digest)?;
        let length = file.bytes().map_err(Error::io("measuring", &path))?;
        let (mut window, mut digests, mut at) = (Window::new(&*file, length), Digests::default(), 0);
        while at < length {
            let bytes = window.get(at, COPY_BYTES).map_err(Error::io("reading", &path))?;
            digests.update(bytes);
            at += bytes.len() as u64;
        }
        let artifact = digests.finish(length);
        if artifact.blake3 != *digest {
            return Err(self.damage(&path, format!("content with BLAKE3 {digest}"), artifact.blake3.to_hex()));
        }
        Ok(artifact)
    }

    /// Digests of all artifacts, in order.
    pub fn iter(&self) -> Result<impl Iterator<Item = Blake3> + use<>, Error> {
        let mut found = Vec::new();
        for folder in list_if_any(&*self.disk, &self.dir)? {
            let path = self.dir.join(&folder);
            if folder.ends_with(crate::storage::TEMPORARY_SUFFIX) {
                continue;
            }
            let names = list_if_any(&*self.disk, &path)?;
            for name in &names {
                let (stem, suffix) = name.split_once('.').unwrap_or((name, ""));
                let digest =
                    stem.parse::<Blake3>().ok().filter(|digest| digest.to_hex() == *stem && stem.starts_with(&folder));
                match (digest, suffix) {
                    (Some(digest), "") => found.push(digest),
                    // Left by a crash between the two; the next put of the same bytes uses it.
                    (Some(_), SIDECAR_SUFFIX) => {}
                    _ if name.ends_with(crate::storage::TEMPORARY_SUFFIX) => {}
                    _ => {
                        return Err(self.damage(
                            &path.join(name),
                            "a name that is a BLAKE3 digest".into(),
                            name.clone(),
                        ));
                    }
                }
            }
        }
        found.sort_unstable();
        Ok(found.into_iter())
    }

    /// Removes an artifact and what stands beside it, for good.
    pub(crate) fn destroy(&self, digest: &Blake3) -> Result<(), Error> {
        let path = self.path(digest);
        for file in [&path, &self.sidecar(digest)] {
            match self.disk.remove(file) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("removing", file)(e)),
                _ => {}
            }
        }
        let folder = crate::storage::parent(&path);
        self.disk.sync_dir(folder).map_err(Error::io("syncing", folder))
    }

    pub(crate) fn sidecar(&self, digest: &Blake3) -> PathBuf {
        self.path(digest).with_extension(SIDECAR_SUFFIX)
    }

    fn open_stored(&self, digest: &Blake3) -> Result<Arc<dyn StoredFile>, Error> {
        let path = self.path(digest);
        self.disk.open(&path).map_err(|e| self.not_open(digest, &path, e))
    }

    fn not_open(&self, digest: &Blake3, path: &Path, e: io::Error) -> Error {
        match e.kind() {
            io::ErrorKind::NotFound => Error::NoArtifact { digest: *digest },
            _ => Error::io("opening", path)(e),
        }
    }

    fn damage(&self, path: &Path, expected: String, found: String) -> Error {
        let file = path.strip_prefix(&self.root).unwrap_or(path).to_owned();
        Damage { log: "-".into(), position: None, file, offset: 0, expected, found }.into()
    }
}

/// The line that `sha256sum --check` reads, in the artifact's folder.
fn sidecar_text(artifact: &Artifact) -> String {
    format!("{}  {}\n", artifact.sha256, artifact.blake3)
}

#[derive(Default)]
struct Digests {
    blake3: blake3::Hasher,
    sha256: sha2::Sha256,
}

impl Digests {
    fn update(&mut self, bytes: &[u8]) {
        self.blake3.update(bytes);
        self.sha256.update(bytes);
    }
    fn finish(self, bytes: u64) -> Artifact {
        Artifact {
            blake3: Blake3::from_bytes(*self.blake3.finalize().as_bytes()),
            sha256: Sha256::from_bytes(self.sha256.finalize().into()),
            bytes,
        }
    }
}
