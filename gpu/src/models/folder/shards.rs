//! The safetensors files of a folder, one or many: what their headers say, checked against the files' lengths.
//! Tensors are read in pieces, so that no more than the numbers themselves is ever in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use half::slice::HalfFloatSliceExt;
use safetensors::tensor::{Dtype, Metadata};
use serde::Deserialize;

use super::{INDEX_FILE, WEIGHTS_FILE, file_error, read_json};
use crate::Error;

/// Longest header that is read; the format's own bound.
const HEADER_BYTES_MAX: u64 = 100_000_000;
/// Most shards of one model.
const SHARDS_MAX: usize = 4096;
/// Bytes of a tensor that are read at a time.
const PIECE_BYTES: usize = 1 << 20;

/// Where one tensor lies.
#[derive(Clone, Debug)]
pub(super) struct Located {
    shard: usize,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Of its first byte, in its file.
    offset: u64,
    length: u64,
}

pub(super) struct Shards {
    files: Vec<(PathBuf, File)>,
    tensors: BTreeMap<String, Located>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Shards {
    /// Opens the files and reads their headers.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let mut shards = Self { files: Vec::new(), tensors: BTreeMap::new() };
        let single = dir.join(WEIGHTS_FILE);
        if single.is_file() {
            shards.add(single)?;
            return Ok(shards);
        }
        let index_path = dir.join(INDEX_FILE);
        if !index_path.is_file() {
            let found = ["pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack"];
            let problem = match found.iter().find(|name| dir.join(name).is_file()) {
                Some(found) => {
                    format!(
                        "missing beside {found}; save the model as safetensors: `save_pretrained` of transformers does"
                    )
                }
                None => format!("missing, and {INDEX_FILE} too; a model's weights are expected in one of them"),
            };
            return Err(file_error(&single, problem));
        }
        let index: Index = read_json(&index_path)?;
        let names: BTreeSet<&String> = index.weight_map.values().collect();
        if names.is_empty() || names.len() > SHARDS_MAX {
            let problem = format!("names {} files, expected 1 to {SHARDS_MAX}", names.len());
            return Err(file_error(&index_path, problem));
        }
        for name in names {
            let plain = Path::new(name).file_name().is_some_and(|plain| plain == name.as_str());
            if !plain {
                return Err(file_error(&index_path, format!("names the file `{name}`, expected one in this folder")));
            }
            shards.add(dir.join(name))?;
        }
        for (tensor, file) in &index.weight_map {
            let found = shards.tensors.get(tensor).map(|located| shards.files[located.shard].0.clone());
            if found != Some(dir.join(file)) {
                let problem = format!("does not hold tensor `{tensor}`, which {INDEX_FILE} says it does");
                return Err(file_error(&dir.join(file), problem));
            }
        }
        Ok(shards)
    }

    fn add(&mut self, path: PathBuf) -> Result<(), Error> {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(file_error(&path, format!("missing; {INDEX_FILE} names it: copy the whole model again")));
            }
            Err(error) => return Err(file_error(&path, format!("cannot be opened: {error}"))),
        };
        let unreadable = |error: std::io::Error| file_error(&path, format!("cannot be read: {error}"));
        let length = file.metadata().map_err(unreadable)?.len();
        let truncated =
            |needed: u64| file_error(&path, format!("has {length} bytes, expected {needed}: truncated, copy it again"));
        let mut start = [0; 8];
        if length < 8 {
            return Err(truncated(8));
        }
        file.read_exact_at(&mut start, 0).map_err(unreadable)?;
        let header_length = u64::from_le_bytes(start);
        if header_length > HEADER_BYTES_MAX {
            return Err(file_error(&path, format!("its header would have {header_length} bytes: not safetensors")));
        }
        if length < 8 + header_length {
            return Err(truncated(8 + header_length));
        }
        let mut header = vec![0; usize::try_from(header_length).expect("bounded above")];
        file.read_exact_at(&mut header, 8).map_err(unreadable)?;
        let metadata: Metadata =
            serde_json::from_slice(&header).map_err(|error| file_error(&path, format!("not safetensors: {error}")))?;
        let needed = 8 + header_length + metadata.data_len() as u64;
        match length.cmp(&needed) {
            std::cmp::Ordering::Less => return Err(truncated(needed)),
            std::cmp::Ordering::Greater => {
                return Err(file_error(&path, format!("has {length} bytes, its header speaks of {needed}")));
            }
            std::cmp::Ordering::Equal => {}
        }
        let shard = self.files.len();
        for (name, info) in metadata.tensors() {
            let (begin, end) = info.data_offsets;
            let located = Located {
                shard,
                dtype: info.dtype,
                shape: info.shape.clone(),
                offset: 8 + header_length + begin as u64,
                length: (end - begin) as u64,
            };
            if let Some(other) = self.tensors.insert(name.clone(), located) {
                let other = self.files[other.shard].0.display().to_string();
                return Err(file_error(&path, format!("holds tensor `{name}`, as {other} does; expected in one only")));
            }
        }
        self.files.push((path, file));
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Located> {
        self.tensors.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub(super) fn path(&self, located: &Located) -> &Path {
        &self.files[located.shard].0
    }

    /// The file of a tensor and where in it the numbers begin.
    pub(super) fn place(&self, located: &Located) -> (PathBuf, u64) {
        (self.files[located.shard].0.clone(), located.offset)
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    pub(super) fn files(&self) -> &[(PathBuf, File)] {
        &self.files
    }

    /// Files and their bytes in all.
    pub(super) fn size(&self) -> (usize, u64) {
        (self.files.len(), self.tensors.values().map(|located| located.length).sum())
    }

    /// How many numbers there are of each type.
    pub(super) fn types(&self) -> BTreeMap<Dtype, u64> {
        let mut types = BTreeMap::new();
        for located in self.tensors.values() {
            *types.entry(located.dtype).or_insert(0) += located.shape.iter().map(|&n| n as u64).product::<u64>();
        }
        types
    }

    /// Hands the tensor's numbers to `take` in pieces of whole rows, in order. Refuses what is not a finite number.
    pub(super) fn read(
        &self,
        name: &str,
        located: &Located,
        columns: usize,
        mut take: impl FnMut(&[f32]),
    ) -> Result<(), Error> {
        let (path, file) = &self.files[located.shard];
        let width = if located.dtype == Dtype::F32 { 4 } else { 2 };
        let row = (columns * width).max(1);
        let piece = (PIECE_BYTES / row).max(1) * row;
        let total = usize::try_from(located.length).expect("a tensor fits the address space");
        let mut bytes = vec![0; piece.min(total)];
        let mut numbers = vec![0.0; bytes.len() / width];
        let mut done = 0;
        while done < total {
            let count = piece.min(total - done);
            let bytes = &mut bytes[..count];
            let at = located.offset + done as u64;
            file.read_exact_at(bytes, at)
                .map_err(|error| file_error(path, format!("tensor `{name}` cannot be read at byte {at}: {error}")))?;
            let numbers = &mut numbers[..count / width];
            decode(located.dtype, bytes, numbers);
            if let Some(wrong) = numbers.iter().position(|number| !number.is_finite()) {
                let element = done / width + wrong;
                let problem =
                    format!("tensor `{name}`: element {element} is {}, expected a finite number", numbers[wrong]);
                return Err(file_error(path, problem));
            }
            take(numbers);
            done += count;
        }
        Ok(())
    }

    /// Whether two tensors of one type and shape hold the same bytes.
    pub(super) fn same(&self, a: &Located, b: &Located) -> Result<bool, Error> {
        if (a.dtype, &a.shape) != (b.dtype, &b.shape) {
            return Ok(false);
        }
        let (mut left, mut right) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
        let mut done = 0;
        while done < a.length {
            let count = usize::try_from((a.length - done).min(PIECE_BYTES as u64)).expect("a piece");
            for (located, bytes) in [(a, &mut left), (b, &mut right)] {
                let (path, file) = &self.files[located.shard];
                file.read_exact_at(&mut bytes[..count], located.offset + done)
                    .map_err(|error| file_error(path, format!("cannot be read: {error}")))?;
            }
            if left[..count] != right[..count] {
                return Ok(false);
            }
            done += count as u64;
        }
        Ok(true)
    }
}

fn decode(dtype: Dtype, bytes: &[u8], numbers: &mut [f32]) {
    let halves = || bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair));
    match dtype {
        Dtype::F32 => {
            for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *number = f32::from_le_bytes(*bytes);
            }
        }
        Dtype::BF16 => {
            numbers.iter_mut().zip(halves()).for_each(|(number, bits)| *number = f32::from_bits(u32::from(bits) << 16));
        }
        Dtype::F16 => {
            let halves: Vec<half::f16> = halves().map(half::f16::from_bits).collect();
            halves.convert_to_f32_slice(numbers);
        }
        other => unreachable!("{other:?} is refused when the folder is opened"),
    }
}
