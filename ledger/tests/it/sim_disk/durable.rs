//! What a crash may leave: replays changes, and gives a state of the disk for every choice that was open.
//!
//! The rules, between two syncs of a file or a folder:
//! - each 512-byte sector of each write is kept or lost by itself, in any order; torn inside a sector where asked for;
//! - a file's length is kept or lost apart from its bytes, so that unwritten ones read as zeros;
//! - each change of a folder's names is kept or lost by itself; a rename is one change, and its file's bytes another matter;
//! - a rename from one folder to another may leave both names, never none;
//! - a sync makes one file's bytes and length durable, or one folder's names, and nothing else;
//! - a failed sync settles at once what of the file is on the disk, and no later sync writes the rest.

use super::choose::Choose;
use super::{Change, Node, ROOT, Tree};
use std::collections::BTreeMap;

pub(crate) const SECTOR_BYTES: usize = 512;

/// How a write to one sector may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sectors {
    /// Whole or not at all, as disks promise.
    Atomic,
    /// Also with a part of the bytes, which no disk should do.
    Torn,
}

#[derive(Clone, Debug)]
pub(crate) struct Durable {
    files: BTreeMap<Node, File>,
    folders: BTreeMap<Node, Folder>,
    sectors: Sectors,
    renames: usize,
}

#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    pending: Vec<Pending>,
    /// Length that programs see.
    length: usize,
}

#[derive(Clone, Debug)]
enum Pending {
    Write { at: usize, bytes: std::sync::Arc<[u8]> },
    SetLength(usize),
}

#[derive(Clone, Debug, Default)]
struct Folder {
    names: BTreeMap<String, Node>,
    pending: Vec<Named>,
}

/// Names of one folder that change together.
#[derive(Clone, Debug)]
struct Named {
    set: Vec<(String, Option<Node>)>,
    part: Part,
}

/// Part of which rename between folders a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    /// The new name.
    To(usize),
    /// The old name, which does not go before the new one is there.
    From(usize),
}

impl Durable {
    pub(crate) fn new(tree: &Tree, sectors: Sectors) -> Self {
        let file = |bytes: &Vec<u8>| File { length: bytes.len(), bytes: bytes.clone(), pending: Vec::new() };
        let folder = |names: &BTreeMap<_, _>| Folder { names: names.clone(), pending: Vec::new() };
        Self {
            files: tree.files.iter().map(|(node, bytes)| (*node, file(bytes))).collect(),
            folders: tree.folders.iter().map(|(node, names)| (*node, folder(names))).collect(),
            sectors,
            renames: 0,
        }
    }

    /// Takes one more change. Only a failed sync leaves anything to choose here.
    pub(crate) fn apply(&mut self, change: &Change, choose: &mut dyn Choose) {
        match change {
            Change::CreateFile { folder, name, node } => {
                self.files.insert(*node, File::default());
                self.name(*folder, vec![(name.clone(), Some(*node))], Part::Whole);
            }
            Change::CreateFolder { folder, name, node } => {
                self.folders.insert(*node, Folder::default());
                self.name(*folder, vec![(name.clone(), Some(*node))], Part::Whole);
            }
            Change::Rename { from, to, node } if from.0 == to.0 => {
                self.name(from.0, vec![(from.1.clone(), None), (to.1.clone(), Some(*node))], Part::Whole);
            }
            Change::Rename { from, to, node } => {
                self.renames += 1;
                self.name(to.0, vec![(to.1.clone(), Some(*node))], Part::To(self.renames));
                self.name(from.0, vec![(from.1.clone(), None)], Part::From(self.renames));
            }
            Change::Remove { folder, name } => self.name(*folder, vec![(name.clone(), None)], Part::Whole),
            Change::Write { node, at, bytes } => {
                let file = self.file(*node);
                file.length = file.length.max(at + bytes.len());
                file.pending.push(Pending::Write { at: *at, bytes: bytes.clone() });
            }
            Change::SetLength { node, length } => {
                let file = self.file(*node);
                file.length = *length;
                file.pending.push(Pending::SetLength(*length));
            }
            Change::Sync { node } => self.file(*node).sync(),
            Change::SyncFailed { node } => {
                let sectors = self.sectors;
                let file = self.file(*node);
                file.bytes = file.crashed(sectors, choose);
                file.pending.clear();
            }
            Change::SyncFolder { folder } => self.sync_folder(*folder),
            Change::Known(_) => {}
        }
    }

    /// What is left after a crash here. Nothing that lost its name is in it.
    pub(crate) fn crash(&self, choose: &mut dyn Choose) -> Tree {
        let folders = self.crashed_folders(choose);
        let mut tree = Tree { files: BTreeMap::new(), folders: BTreeMap::new() };
        let mut reachable = vec![ROOT];
        while let Some(node) = reachable.pop() {
            match folders.get(&node) {
                Some(names) => {
                    reachable.extend(names.values());
                    tree.folders.insert(node, names.clone());
                }
                None => {
                    tree.files.insert(node, self.files[&node].crashed(self.sectors, choose));
                }
            }
        }
        tree
    }

    fn crashed_folders(&self, choose: &mut dyn Choose) -> BTreeMap<Node, BTreeMap<String, Node>> {
        let mut lost = Vec::new();
        let mut kept: BTreeMap<Node, Vec<bool>> = BTreeMap::new();
        for (node, folder) in &self.folders {
            let keep = folder.pending.iter().map(|change| {
                let keep = !matches!(change.part, Part::From(_)) && choose.flip();
                if let (Part::To(rename), false) = (change.part, keep) {
                    lost.push(rename);
                }
                keep
            });
            kept.insert(*node, keep.collect());
        }
        let mut crashed = BTreeMap::new();
        for (node, folder) in &self.folders {
            let mut names = folder.names.clone();
            for (change, keep) in folder.pending.iter().zip(&kept[node]) {
                let keep = match change.part {
                    Part::From(rename) => !lost.contains(&rename) && choose.flip(),
                    _ => *keep,
                };
                if keep {
                    change.apply(&mut names);
                }
            }
            crashed.insert(*node, names);
        }
        crashed
    }

    fn name(&mut self, folder: Node, set: Vec<(String, Option<Node>)>, part: Part) {
        self.folders.get_mut(&folder).expect("a folder").pending.push(Named { set, part });
    }

    fn file(&mut self, node: Node) -> &mut File {
        self.files.get_mut(&node).expect("a file")
    }

    fn sync_folder(&mut self, node: Node) {
        let folder = self.folders.get_mut(&node).expect("a folder");
        let mut renamed_away = Vec::new();
        for change in std::mem::take(&mut folder.pending) {
            change.apply(&mut folder.names);
            if let Part::From(rename) = change.part {
                renamed_away.push(rename);
            }
        }
        for folder in self.folders.values_mut() {
            let names = &mut folder.names;
            folder.pending.retain(|change| match change.part {
                Part::To(rename) if renamed_away.contains(&rename) => {
                    change.apply(names);
                    false
                }
                _ => true,
            });
        }
    }
}

impl Named {
    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        for (name, node) in &self.set {
            match node {
                Some(node) => names.insert(name.clone(), *node),
                None => names.remove(name),
            };
        }
    }
}

impl File {
    fn sync(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Write { at, bytes } => put(&mut self.bytes, at, &bytes),
                Pending::SetLength(length) => self.bytes.resize(length, 0),
            }
        }
        self.bytes.resize(self.length, 0);
    }

    fn crashed(&self, sectors: Sectors, choose: &mut dyn Choose) -> Vec<u8> {
        // Bytes may be on the disk beyond the length that is.
        let (mut bytes, mut length) = (self.bytes.clone(), self.bytes.len());
        for pending in &self.pending {
            match pending {
                Pending::SetLength(to) if choose.flip() => {
                    bytes.resize(*to, 0);
                    length = *to;
                }
                Pending::SetLength(_) => {}
                Pending::Write { at, bytes: written } => {
                    for (at, sector) in split(*at, written) {
                        let ways = if sectors == Sectors::Torn { 4 } else { 2 };
                        match choose.pick(ways) {
                            0 => {}
                            1 => put(&mut bytes, at, sector),
                            way => {
                                let cut = 1 + choose.pick(sector.len());
                                let part = if way == 2 { (at, &sector[..cut]) } else { (at + cut, &sector[cut..]) };
                                put(&mut bytes, part.0, part.1);
                            }
                        }
                    }
                    if at + written.len() > length {
                        length = new_length(length, at + written.len(), choose);
                    }
                }
            }
        }
        bytes.resize(length, 0);
        bytes
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, written: &[u8]) {
    bytes.resize(bytes.len().max(at + written.len()), 0);
    bytes[at..at + written.len()].copy_from_slice(written);
}

/// The old length, the new one, or where a sector between them ends.
fn new_length(old: usize, new: usize, choose: &mut dyn Choose) -> usize {
    let ends = (old / SECTOR_BYTES + 1..=(new - 1) / SECTOR_BYTES).map(|sector| sector * SECTOR_BYTES);
    let lengths: Vec<usize> = std::iter::once(old).chain(ends.filter(|end| *end > old)).chain([new]).collect();
    lengths[choose.pick(lengths.len())]
}

fn split(mut at: usize, mut bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    std::iter::from_fn(move || {
        let (sector, rest) = bytes.split_at((SECTOR_BYTES - at % SECTOR_BYTES).min(bytes.len()));
        let found = (at, sector);
        (at, bytes) = (at + sector.len(), rest);
        (!sector.is_empty()).then_some(found)
    })
}
