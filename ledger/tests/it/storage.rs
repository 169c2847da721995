//! What every disk behind the `Storage` trait must do, on each implementation there is.

use crate::common::in_memory;
use crate::faults::FaultyDisk;
use crate::sim_disk::{SimDisk, Tree};
use cairn_ledger::{Access, FileSystem, Storage};
use std::io::ErrorKind;
use std::path::Path;

fn conforms(disk: &dyn Storage, dir: &Path) {
    let (folder, path) = (dir.join("a/b"), dir.join("a/b/file"));
    assert_eq!(disk.list(&folder).unwrap_err().kind(), ErrorKind::NotFound);
    disk.create_dirs(&folder).unwrap();
    disk.create_dirs(&folder).unwrap();
    assert_eq!(disk.open(&path).map(drop).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.remove(&path).unwrap_err().kind(), ErrorKind::NotFound);

    let file = disk.create_new(&path, Access::Default).unwrap();
    assert_eq!(disk.create_new(&path, Access::Default).map(drop).unwrap_err().kind(), ErrorKind::AlreadyExists);
    file.write_all_at(b"hello", 2).unwrap();
    file.sync().unwrap();
    assert_eq!(file.bytes().unwrap(), 7);
    let mut found = [9; 7];
    disk.open(&path).unwrap().read_exact_at(&mut found, 0).unwrap();
    assert_eq!(&found, b"\0\0hello", "what was skipped reads as zeros");
    assert_eq!(file.read_exact_at(&mut found, 1).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    disk.open_writable(&path).unwrap().set_bytes(4).unwrap();
    assert_eq!(file.bytes().unwrap(), 4, "one file, however often it is opened");

    let other = dir.join("a/b/other");
    disk.create_new(&other, Access::Owner).unwrap();
    assert_eq!(disk.list(&folder).unwrap(), ["file", "other"]);
    disk.rename(&path, &other).unwrap();
    disk.sync_dir(&folder).unwrap();
    assert_eq!(disk.list(&folder).unwrap(), ["other"]);
    assert_eq!(disk.open(&other).unwrap().bytes().unwrap(), 4);
    disk.remove(&other).unwrap();
    assert_eq!(file.bytes().unwrap(), 4, "an open file outlives its name");

    let lock = dir.join("lock");
    let held = disk.lock(&lock).unwrap().expect("nobody holds it");
    held.write_all_at(b"note", 0).unwrap();
    assert!(disk.lock(&lock).unwrap().is_none());
    assert_eq!(disk.open(&lock).unwrap().bytes().unwrap(), 4, "the note is read by those who are refused");
    drop(held);
    assert!(disk.lock(&lock).unwrap().is_some());
}

#[test]
fn the_file_system_conforms() {
    conforms(&FileSystem, in_memory().path());
}

#[test]
fn the_faulty_disk_conforms_while_it_has_no_fault() {
    conforms(&FaultyDisk::sound(), in_memory().path());
}

#[test]
fn the_simulated_disk_conforms_while_it_has_no_fault() {
    conforms(&SimDisk::holding(Tree::empty()), Path::new("/"));
}

/// Keys are for their owner alone.
#[test]
fn secret_files_are_not_readable_by_others() {
    use std::os::unix::fs::PermissionsExt;
    let dir = in_memory();
    FileSystem.create_new(&dir.path().join("key"), Access::Owner).unwrap();
    assert_eq!(dir.path().join("key").metadata().unwrap().permissions().mode() & 0o077, 0);
}
