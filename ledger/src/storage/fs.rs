//! The real file system.

use super::{Access, Storage, StoredFile};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

/// Files and folders of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSystem;

struct OpenFile(File);

impl StoredFile for OpenFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(&self.0, into, offset)
    }
    fn write_all_at(&self, from: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(&self.0, from, offset)
    }
    fn set_bytes(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
    fn reserve(&self, length: u64) -> io::Result<()> {
        rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, length).map_err(Into::into)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Unlocks when dropped: a child process that is being started may hold the file a moment longer.
struct LockedFile(OpenFile);

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Closing the file unlocks it too, only later.
        let _ = rustix::fs::flock(&self.0.0, rustix::fs::FlockOperation::Unlock);
    }
}

impl StoredFile for LockedFile {
    fn bytes(&self) -> io::Result<u64> {
        self.0.bytes()
    }
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        StoredFile::read_exact_at(&self.0, into, offset)
    }
    fn write_all_at(&self, from: &[u8], offset: u64) -> io::Result<()> {
        StoredFile::write_all_at(&self.0, from, offset)
    }
    fn set_bytes(&self, length: u64) -> io::Result<()> {
        self.0.set_bytes(length)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

fn opened(options: &OpenOptions, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
    let file = options.open(path)?;
    // Linux opens a folder for reading, and some file systems give it a length of 0.
    match file.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(Arc::new(OpenFile(file))),
    }
}

impl Storage for FileSystem {
    fn create_new(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StoredFile>> {
        let mode = match access {
            Access::Owner => 0o600,
            Access::Default => 0o666,
        };
        opened(OpenOptions::new().read(true).write(true).create_new(true).mode(mode), path)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        opened(OpenOptions::new().read(true), path)
    }
    fn open_writable(&self, path: &Path) -> io::Result<Arc<dyn StoredFile>> {
        opened(OpenOptions::new().read(true).write(true), path)
    }

    /// `flock` belongs to the open file: a second handle is refused in this process too, and the process's end frees it.
    fn lock(&self, path: &Path) -> io::Result<Option<Arc<dyn StoredFile>>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Arc::new(LockedFile(OpenFile(file))))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn create_dirs(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if path.is_dir() {
            // Whoever made it may have been killed before its name was durable; those above it were by then.
            return match self.sync_dir(parent) {
                // A folder that stands in somebody else's was not made here.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                other => other,
            };
        }
        self.create_dirs(parent)?;
        match std::fs::create_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        self.sync_dir(parent)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
    fn free_bytes(&self, folder: &Path) -> io::Result<u64> {
        let found = rustix::fs::statvfs(folder)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }
}
