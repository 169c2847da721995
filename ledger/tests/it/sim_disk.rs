//! A disk in memory that tells what a crash may leave of it: whatever was not synced is kept, lost or torn.
//!
//! It records every change. [`durable::Durable`] replays the record up to a crash and gives any legal state of the disk.

pub(crate) mod choose;
pub(crate) mod durable;

use cairn_ledger::{Access, Storage, StoredFile};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Number of a file or a folder, never used twice.
pub(crate) type Node = u64;
const ROOT: Node = 0;

/// Files and folders as they stand at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<Node, Vec<u8>>,
    pub(crate) folders: BTreeMap<Node, BTreeMap<String, Node>>,
}

/// One change, in the order in which they were made.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    CreateFile {
        folder: Node,
        name: String,
        node: Node,
    },
    CreateFolder {
        folder: Node,
        name: String,
        node: Node,
    },
    Rename {
        from: (Node, String),
        to: (Node, String),
        node: Node,
    },
    Remove {
        folder: Node,
        name: String,
    },
    Write {
        node: Node,
        at: usize,
        bytes: Arc<[u8]>,
    },
    SetLength {
        node: Node,
        length: usize,
    },
    Sync {
        node: Node,
    },
    /// The pages are marked clean and will not be written again.
    SyncFailed {
        node: Node,
    },
    SyncFolder {
        folder: Node,
    },
    /// Everything before this entry of the client's history had happened.
    Known(usize),
}

/// What goes wrong at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Undone,
    /// Done, but the answer says that it failed.
    Unanswered,
    /// Half of a write is done.
    Half,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// One call fails; whether everything after it fails too.
    At {
        call: usize,
        how: How,
        dies: bool,
    },
    /// From this call on nothing more fits: no files and folders are created, writes that need room stop half way.
    FullFrom {
        call: usize,
    },
    Dead,
}

/// What a call is, for choosing how it may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Write,
    /// Any other change, or a sync.
    Change,
}

impl Call {
    /// Every way in which such a call may fail.
    pub(crate) fn faults(self) -> &'static [How] {
        match self {
            Call::Read => &[How::Undone],
            Call::Change => &[How::Undone, How::Unanswered],
            Call::Write => &[How::Undone, How::Unanswered, How::Half],
        }
    }
}

#[derive(Clone)]
pub(crate) struct SimDisk(Arc<Mutex<Inner>>);

struct Inner {
    live: Tree,
    next: Node,
    start: Tree,
    changes: Vec<Change>,
    calls: Vec<Call>,
    fault: Fault,
    locks: BTreeSet<PathBuf>,
}

struct SimFile {
    disk: SimDisk,
    node: Node,
    /// The lock that goes when the file is closed.
    lock: Option<PathBuf>,
}

impl Tree {
    pub(crate) fn empty() -> Self {
        Self { files: BTreeMap::new(), folders: BTreeMap::from([(ROOT, BTreeMap::new())]) }
    }

    fn find(&self, path: &Path) -> io::Result<Node> {
        path.components().try_fold(ROOT, |node, part| match part {
            Component::RootDir | Component::CurDir => Ok(node),
            part => {
                let folder = self.folders.get(&node).ok_or(io::ErrorKind::NotADirectory)?;
                let name = part.as_os_str().to_str().expect("names are text");
                folder.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
            }
        })
    }

    /// Folder and name of a path whose last part need not exist.
    fn place(&self, path: &Path) -> io::Result<(Node, String)> {
        let folder = self.find(path.parent().expect("a path below the root"))?;
        match self.folders.contains_key(&folder) {
            true => Ok((folder, path.file_name().expect("a name").to_str().expect("text").to_owned())),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn find_file(&self, path: &Path) -> io::Result<Node> {
        let node = self.find(path)?;
        if self.files.contains_key(&node) { Ok(node) } else { Err(io::ErrorKind::IsADirectory.into()) }
    }

    /// Every file that has a name, by path.
    pub(crate) fn named(&self) -> BTreeMap<PathBuf, &[u8]> {
        let (mut found, mut folders) = (BTreeMap::new(), vec![(PathBuf::from("/"), ROOT)]);
        while let Some((path, folder)) = folders.pop() {
            for (name, node) in &self.folders[&folder] {
                match self.files.get(node) {
                    Some(bytes) => drop(found.insert(path.join(name), &bytes[..])),
                    None => folders.push((path.join(name), *node)),
                }
            }
        }
        found
    }

    /// The same with another content in one file that exists.
    pub(crate) fn with_file(mut self, path: &Path, bytes: &[u8]) -> Self {
        let node = self.find_file(path).unwrap();
        *self.file(node) = bytes.to_vec();
        self
    }

    /// The same for the same folders, names and contents.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let (mut hasher, mut folders) = (blake3::Hasher::new(), vec![ROOT]);
        while let Some(folder) = folders.pop() {
            for (name, node) in &self.folders[&folder] {
                hasher.update(name.as_bytes()).update(&[0]);
                match self.files.get(node) {
                    Some(bytes) => drop(hasher.update(&(bytes.len() as u64).to_be_bytes()).update(bytes)),
                    None => folders.push(*node),
                }
            }
            hasher.update(&[0xff]);
        }
        *hasher.finalize().as_bytes()
    }

    /// Makes the change, which must be possible.
    fn apply(&mut self, change: &Change) {
        match change {
            Change::CreateFile { folder, name, node } => {
                self.files.insert(*node, Vec::new());
                self.entries(*folder).insert(name.clone(), *node);
            }
            Change::CreateFolder { folder, name, node } => {
                self.folders.insert(*node, BTreeMap::new());
                self.entries(*folder).insert(name.clone(), *node);
            }
            Change::Rename { from, to, node } => {
                self.entries(from.0).remove(&from.1);
                self.entries(to.0).insert(to.1.clone(), *node);
            }
            Change::Remove { folder, name } => drop(self.entries(*folder).remove(name)),
            Change::Write { node, at, bytes } => {
                let file = self.file(*node);
                let end = at + bytes.len();
                file.resize(file.len().max(end), 0);
                file[*at..end].copy_from_slice(bytes);
            }
            Change::SetLength { node, length } => self.file(*node).resize(*length, 0),
            Change::Sync { .. } | Change::SyncFailed { .. } | Change::SyncFolder { .. } | Change::Known(_) => {}
        }
    }

    fn entries(&mut self, folder: Node) -> &mut BTreeMap<String, Node> {
        self.folders.get_mut(&folder).expect("a folder")
    }
    fn file(&mut self, node: Node) -> &mut Vec<u8> {
        self.files.get_mut(&node).expect("a file")
    }
}

impl Inner {
    fn change(&mut self, change: Change) {
        self.live.apply(&change);
        self.changes.push(change);
    }

    fn new_node(&mut self) -> Node {
        self.next += 1;
        self.next
    }

    /// Counts a call. `Err` where it must fail before anything is done, `Ok` with what must go wrong on the way.
    fn call(&mut self, what: Call) -> io::Result<Option<How>> {
        let call = self.calls.len();
        self.calls.push(what);
        match self.fault {
            Fault::Dead => Err(broken()),
            Fault::At { call: at, how, dies } if at == call => {
                if dies {
                    self.fault = Fault::Dead;
                }
                Ok(Some(how))
            }
            _ => Ok(None),
        }
    }

    fn is_full(&self) -> bool {
        matches!(self.fault, Fault::FullFrom { call } if self.calls.len() > call)
    }

    fn changing(&mut self, change: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        self.calling(Call::Change, change)
    }

    fn calling(&mut self, what: Call, change: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        match self.call(what)? {
            None => change(self),
            Some(How::Undone | How::Half) => Err(broken()),
            Some(How::Unanswered) => {
                change(self)?;
                Err(broken())
            }
        }
    }

    fn reading(&mut self) -> io::Result<()> {
        self.calling(Call::Read, |_| Ok(()))
    }

    fn create_file(&mut self, path: &Path) -> io::Result<Node> {
        let (folder, name) = self.live.place(path)?;
        if self.live.folders[&folder].contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let node = self.new_node();
        self.change(Change::CreateFile { folder, name, node });
        Ok(node)
    }
}

fn broken() -> io::Error {
    io::Error::other("injected")
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

impl SimDisk {
    /// A disk on which all of this is durable.
    pub(crate) fn holding(tree: Tree) -> Self {
        let next = tree.files.keys().chain(tree.folders.keys()).copied().max().unwrap_or(ROOT);
        let (start, changes, locks) = (tree.clone(), Vec::new(), BTreeSet::new());
        let inner = Inner { live: tree, next, start, changes, calls: Vec::new(), fault: Fault::None, locks };
        Self(Arc::new(Mutex::new(inner)))
    }
    /// The same machine after its process was killed there: nothing is lost, and nothing more is durable than was.
    pub(crate) fn after(start: Tree, changes: &[Change]) -> Self {
        let disk = Self::holding(start);
        let mut inner = disk.0.lock();
        for change in changes {
            inner.live.apply(change);
        }
        let highest = inner.live.files.keys().chain(inner.live.folders.keys()).copied().max();
        inner.next = highest.unwrap_or(ROOT);
        inner.changes = changes.to_vec();
        drop(inner);
        disk
    }
    pub(crate) fn set(&self, fault: Fault) {
        self.0.lock().fault = fault;
    }
    pub(crate) fn is_dead(&self) -> bool {
        self.0.lock().fault == Fault::Dead
    }
    /// Calls made so far, reads included.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.0.lock().calls.clone()
    }
    /// Puts a note of what the client knows by now between the changes.
    pub(crate) fn known(&self, length: usize) {
        self.0.lock().changes.push(Change::Known(length));
    }
    /// What was durable at the beginning, and all changes since.
    pub(crate) fn record(&self) -> (Tree, Vec<Change>) {
        let inner = self.0.lock();
        (inner.start.clone(), inner.changes.clone())
    }
    /// What programs see: the page cache, whether it lies or not.
    pub(crate) fn live(&self) -> Tree {
        self.0.lock().live.clone()
    }

    fn opened(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        let mut inner = self.0.lock();
        inner.reading()?;
        let node = inner.live.find_file(path)?;
        Ok(Arc::new(SimFile { disk: self.clone(), node, lock: None }))
    }
}

impl Storage for SimDisk {
    fn create_new(&self, path: &Path, _: Access) -> io::Result<Arc<dyn StoredFile>> {
        let mut inner = self.0.lock();
        let mut node = None;
        inner.changing(|inner| {
            if inner.is_full() {
                return Err(full());
            }
            node = Some(inner.create_file(path)?);
            Ok(())
        })?;
        Ok(Arc::new(SimFile { disk: self.clone(), node: node.expect("just created"), lock: None }))
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        self.opened(path)
    }
    fn open_writable(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        self.opened(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Arc<dyn StoredFile>>> {
        let mut inner = self.0.lock();
        inner.reading()?;
        if !inner.locks.insert(path.to_owned()) {
            return Ok(None);
        }
        let node = match inner.live.find_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => inner.create_file(path)?,
            other => other?,
        };
        Ok(Some(Arc::new(SimFile { disk: self.clone(), node, lock: Some(path.to_owned()) })))
    }

    /// As the real one does it, one folder at a time: a crash may come between any two steps.
    fn create_dirs(&self, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        let exists = {
            let mut inner = self.0.lock();
            inner.reading()?;
            inner.live.find(path).is_ok_and(|node| inner.live.folders.contains_key(&node))
        };
        if exists {
            return self.sync_dir(parent);
        }
        self.create_dirs(parent)?;
        let mut inner = self.0.lock();
        inner.changing(|inner| {
            if inner.is_full() {
                return Err(full());
            }
            let (folder, name) = inner.live.place(path)?;
            let node = inner.new_node();
            inner.change(Change::CreateFolder { folder, name, node });
            Ok(())
        })?;
        drop(inner);
        self.sync_dir(parent)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.lock().changing(|inner| {
            let (from, to) = (inner.live.place(from)?, inner.live.place(to)?);
            let node = *inner.live.folders[&from.0].get(&from.1).ok_or(io::ErrorKind::NotFound)?;
            inner.change(Change::Rename { from, to, node });
            Ok(())
        })
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.lock().changing(|inner| {
            inner.live.find_file(path)?;
            let (folder, name) = inner.live.place(path)?;
            inner.change(Change::Remove { folder, name });
            Ok(())
        })
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.lock().changing(|inner| {
            let folder = inner.live.find(path)?;
            inner.change(Change::SyncFolder { folder });
            Ok(())
        })
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut inner = self.0.lock();
        inner.reading()?;
        let node = inner.live.find(path)?;
        let folder = inner.live.folders.get(&node).ok_or(io::ErrorKind::NotADirectory)?;
        Ok(folder.keys().cloned().collect())
    }
}

impl StoredFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        let mut inner = self.disk.0.lock();
        inner.reading()?;
        Ok(inner.live.files[&self.node].len() as u64)
    }
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let mut inner = self.disk.0.lock();
        inner.reading()?;
        let bytes = inner.live.files[&self.node].get(offset as usize..).and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn write_all_at(&self, from: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.disk.0.lock();
        let write = |inner: &mut Inner, bytes: &[u8]| {
            inner.change(Change::Write { node: self.node, at: offset as usize, bytes: bytes.into() });
        };
        let half = &from[..from.len() / 2];
        match inner.call(Call::Write)? {
            // What has its place already can be written over.
            None if inner.is_full() && offset as usize + from.len() > inner.live.files[&self.node].len() => {
                write(&mut inner, half);
                Err(full())
            }
            None => {
                write(&mut inner, from);
                Ok(())
            }
            Some(how) => {
                match how {
                    How::Undone => {}
                    How::Half => write(&mut inner, half),
                    How::Unanswered => write(&mut inner, from),
                }
                Err(broken())
            }
        }
    }
    fn set_bytes(&self, length: u64) -> io::Result<()> {
        self.disk.0.lock().changing(|inner| {
            inner.change(Change::SetLength { node: self.node, length: length as usize });
            Ok(())
        })
    }
    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.0.lock();
        let how = inner.call(Call::Change)?;
        let (change, answer) = match how {
            None => (Change::Sync { node: self.node }, Ok(())),
            Some(How::Unanswered) => (Change::Sync { node: self.node }, Err(broken())),
            Some(How::Undone | How::Half) => (Change::SyncFailed { node: self.node }, Err(broken())),
        };
        inner.change(change);
        answer
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if let Some(lock) = &self.lock {
            self.disk.0.lock().locks.remove(lock);
        }
    }
}
