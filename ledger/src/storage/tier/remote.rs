//! The bucket itself: `object_store` is asynchronous, the ledger is not; a small runtime stands between them.

use super::apart;
use super::config::ObjectStoreConfig;
use crate::error::Error;
use crate::keys::Marker;
use crate::log::Mode;
use crate::storage::StoredFile;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of one part of an upload, the least that S3 takes being 5 MiB.
const PART_BYTES: u64 = 8 << 20;
/// A request is given up after this long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Retries of one request, and how long they may take together.
const RETRIES_MAX: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);
const PROBE: &str = "probe";
/// The object that says which ledger has this prefix: what its file `ledger` says.
const OWNER: &str = "ledger";

pub(super) struct Remote {
    store: Arc<dyn ObjectStore>,
    prefix: Key,
    /// Where the store is a folder: `object_store` does not sync what it writes there.
    folder: Option<PathBuf>,
    /// `None` only while it is being dropped.
    runtime: Option<tokio::runtime::Runtime>,
    /// Lengths of objects, which never change: what was listed need not be asked for again.
    lengths: Mutex<HashMap<String, u64>>,
}

impl Remote {
    /// Connects to a store that is apart from the ledger in `dir` and is no other ledger's. To write, it puts and deletes
    /// a small object, to know that it may, refuses a bucket that keeps versions of what is deleted, since erasure could
    /// not reach them, and leaves the ledger's marker there. A ledger that is not created yet has none.
    pub(super) fn reach(
        config: &ObjectStoreConfig,
        dir: &Path,
        marker: Option<&Marker>,
        mode: Mode,
    ) -> Result<Self, Error> {
        apart::check(&config.url, dir)?;
        let remote = Self::connect(config)?;
        let using = || Error::io("using", Path::new(&config.url));
        if mode == Mode::Write {
            remote.probe().map_err(using())?;
        }
        match (remote.owner().map_err(using())?, marker) {
            (Some(owner), Some(marker)) if owner == marker.encode() => {}
            (Some(owner), _) => {
                let owner =
                    Marker::decode(&owner).map_or("something else".into(), |owner| format!("ledger {}", owner.origin));
                let why =
                    format!("it holds the segments of {owner}, not of this ledger; name an empty prefix or folder");
                return Err(Error::Key { path: config.url.clone().into(), why });
            }
            (None, Some(marker)) if mode == Mode::Write => remote.claim(marker).map_err(using())?,
            (None, _) => {}
        }
        Ok(remote)
    }

    fn connect(config: &ObjectStoreConfig) -> Result<Self, Error> {
        let wrong = |why: String| Error::Key { path: config.url.clone().into(), why };
        let (store, prefix, folder): (Arc<dyn ObjectStore>, &str, _) = match config.url.split_once("://") {
            Some(("s3", rest)) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                (Arc::new(s3(bucket).map_err(|e| wrong(e.to_string()))?), prefix, None)
            }
            Some(("file", path)) if path.starts_with('/') => {
                std::fs::create_dir_all(path).map_err(Error::io("creating", Path::new(path)))?;
                let local = LocalFileSystem::new_with_prefix(path).map_err(|e| wrong(e.to_string()))?;
                (Arc::new(local), "", Some(PathBuf::from(path)))
            }
            _ => return Err(wrong("an object store is s3://bucket/prefix or file:///folder".into())),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("cairn-object-store")
            .enable_all()
            .build()
            .map_err(Error::io("starting the object store's runtime for", Path::new(&config.url)))?;
        Ok(Self { store, prefix: Key::from(prefix), folder, runtime: Some(runtime), lengths: Mutex::default() })
    }

    fn key(&self, key: &str) -> Key {
        self.prefix.parts().chain(Key::from(key).parts()).collect()
    }

    /// Runs a request on the store's own runtime, so that callers inside another runtime may wait for it too.
    fn wait<T: Send + 'static>(
        &self,
        doing: String,
        request: impl Future<Output = object_store::Result<T>> + Send + 'static,
    ) -> io::Result<T> {
        let (answer, answered) = std::sync::mpsc::sync_channel(1);
        self.runtime.as_ref().expect("there until it is dropped").spawn(async move {
            // Whoever asked waits below.
            let _ = answer.send(request.await);
        });
        let answer = answered.recv().map_err(|_| io::Error::other("the object store's runtime has ended"))?;
        answer.map_err(|e| {
            let kind = match e {
                object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
                _ => io::ErrorKind::Other,
            };
            io::Error::new(kind, format!("object store, {doing}: {e}"))
        })
    }

    /// Writes a small object and deletes it again. A store that numbers versions would keep what is deleted.
    fn probe(&self) -> io::Result<()> {
        let (store, key) = (self.store.clone(), self.key(PROBE));
        let put = self.wait(format!("writing {key}"), async move {
            let put = store.put(&key, "cairn may write and delete here".into()).await?;
            store.delete(&key).await?;
            Ok(put)
        })?;
        match put.version.filter(|version| version != "null") {
            None => Ok(()),
            Some(_) => Err(io::Error::other(
                "the bucket keeps versions of deleted objects, which erasure could not reach; use one without versioning",
            )),
        }
    }

    /// What the store says of the ledger that it belongs to, if it says so.
    fn owner(&self) -> io::Result<Option<String>> {
        let (store, key) = (self.store.clone(), self.key(OWNER));
        let read = self.wait(format!("reading {key}"), async move { store.get(&key).await?.bytes().await });
        match read {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Not synced where the store is a folder: the next opening writes it again.
    fn claim(&self, marker: &Marker) -> io::Result<()> {
        let (store, key, text) = (self.store.clone(), self.key(OWNER), marker.encode());
        self.wait(format!("writing {key}"), async move { store.put(&key, text.into()).await.map(drop) })
    }

    /// Whether an object is the very file at `path`, by device and inode.
    pub(super) fn is_same_file(&self, key: &str, path: &Path) -> io::Result<bool> {
        let Some(folder) = &self.folder else { return Ok(false) };
        let identity = |path: &Path| match std::fs::metadata(path) {
            Ok(found) => Ok(Some((found.dev(), found.ino()))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        };
        let ours = identity(path)?;
        Ok(ours.is_some() && ours == identity(&folder.join(key))?)
    }

    /// Keys below a folder, with their lengths.
    pub(super) fn list(&self, folder: &str) -> io::Result<BTreeMap<String, u64>> {
        let (store, key, from) = (self.store.clone(), self.key(folder), self.prefix.parts().count());
        let doing = format!("listing {key}");
        let listed = self.wait(doing, async move { store.list_with_delimiter(Some(&key)).await })?;
        let name = |location: &Key| location.parts().skip(from).collect::<Key>().to_string();
        let found: BTreeMap<_, _> = listed.objects.iter().map(|meta| (name(&meta.location), meta.size)).collect();
        self.lengths.lock().extend(found.clone());
        Ok(found)
    }

    pub(super) fn bytes(&self, key: &str) -> io::Result<u64> {
        if let Some(length) = self.lengths.lock().get(key) {
            return Ok(*length);
        }
        let (store, location) = (self.store.clone(), self.key(key));
        let length = self.wait(format!("looking up {key}"), async move { store.head(&location).await })?.size;
        self.lengths.lock().insert(key.to_owned(), length);
        Ok(length)
    }

    pub(super) fn read(&self, key: &str, range: Range<u64>) -> io::Result<Vec<u8>> {
        let (store, location, expected) = (self.store.clone(), self.key(key), range.end - range.start);
        let doing = format!("reading bytes {} to {} of {key}", range.start, range.end);
        let bytes = self.wait(doing, async move { store.get_range(&location, range).await })?;
        match bytes.len() as u64 == expected {
            true => Ok(bytes.into()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Length and BLAKE3 of what is stored.
    pub(super) fn digest(&self, key: &str) -> io::Result<(u64, blake3::Hash)> {
        use futures_util::StreamExt;
        let (store, location) = (self.store.clone(), self.key(key));
        self.wait(format!("reading back {key}"), async move {
            let (mut stream, mut hasher) = (store.get(&location).await?.into_stream(), blake3::Hasher::new());
            while let Some(piece) = stream.next().await {
                hasher.update(&piece?);
            }
            Ok((hasher.count(), hasher.finalize()))
        })
    }

    /// Uploads a file in parts; the object is there whole or not at all.
    pub(super) fn put(&self, key: &str, file: Arc<dyn StoredFile>) -> io::Result<()> {
        let (store, location, bytes) = (self.store.clone(), self.key(key), file.bytes()?);
        self.wait(format!("writing {key}"), async move {
            let mut upload = store.put_multipart(&location).await?;
            let mut at = 0;
            while at < bytes {
                let mut part = vec![0; PART_BYTES.min(bytes - at) as usize];
                let sent = match file.read_exact_at(&mut part, at) {
                    Ok(()) => upload.put_part(part.into()).await,
                    Err(e) => Err(object_store::Error::Generic { store: "local disk", source: Box::new(e) }),
                };
                if let Err(e) = sent {
                    // Best effort: what an upload left is no object, and expires as the bucket's rules have it.
                    let _ = upload.abort().await;
                    return Err(e);
                }
                at += PART_BYTES.min(bytes - at);
            }
            upload.complete().await
        })?;
        if let Some(folder) = &self.folder {
            let path = folder.join(key);
            for synced in path.ancestors().take_while(|above| above.starts_with(folder)) {
                std::fs::File::open(synced)?.sync_all()?;
            }
        }
        self.lengths.lock().insert(key.to_owned(), bytes);
        Ok(())
    }

    /// Deletes an object; says whether the store had it.
    pub(super) fn delete(&self, key: &str) -> io::Result<bool> {
        let (store, location) = (self.store.clone(), self.key(key));
        self.lengths.lock().remove(key);
        self.wait(format!("deleting {key}"), async move {
            match store.head(&location).await {
                Err(object_store::Error::NotFound { .. }) => return Ok(false),
                other => other?,
            };
            store.delete(&location).await.map(|()| true)
        })
    }
}

impl Drop for Remote {
    /// A runtime must not wait for its end inside another one.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn s3(bucket: &str) -> object_store::Result<object_store::aws::AmazonS3> {
    let endpoint =
        ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].iter().find_map(|name| std::env::var(name).ok());
    let plain = endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let client =
        ClientOptions::new().with_timeout(REQUEST_TIMEOUT).with_connect_timeout(CONNECT_TIMEOUT).with_allow_http(plain);
    let retry = RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    let mut builder =
        AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry).with_client_options(client);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    builder.build()
}
