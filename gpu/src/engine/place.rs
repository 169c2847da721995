//! Where a model's constants come from and where its session finds them: in the graph while the model is small, in its
//! own file if it lies there as the graph needs it, in a passing file otherwise. The runtime packs matrices for its
//! kernels one by one and lets go of each original, so a large model is in memory once.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::options::Quantisation;
use super::quantise::{self, BLOCK};
use crate::graph::{Attribute, Builder, ElementType, MICROSOFT, Value};
use crate::{Error, Weights};

use ElementType::{F32, U8};

/// Constants up to this many bytes in all go into the graph.
pub(crate) const INLINE_BYTES_MAX: u64 = 64 << 20;
/// Constants in a file begin at multiples of this.
const ALIGNMENT: u64 = 64;

/// Tensors by name, f32.
pub(crate) trait WeightSource {
    fn shape(&self, name: &str) -> Result<Vec<usize>, Error>;

    fn read(&self, name: &str) -> Result<Cow<'_, [f32]>, Error>;

    /// The file and offset at which the tensor lies as little-endian f32, if it does.
    fn in_file(&self, name: &str) -> Option<(PathBuf, u64)>;
}

impl WeightSource for Weights {
    fn shape(&self, name: &str) -> Result<Vec<usize>, Error> {
        self.get(name).map(|tensor| tensor.shape.clone()).ok_or_else(|| missing(name))
    }

    fn read(&self, name: &str) -> Result<Cow<'_, [f32]>, Error> {
        self.get(name).map(|tensor| Cow::Borrowed(tensor.data.as_slice())).ok_or_else(|| missing(name))
    }

    fn in_file(&self, _: &str) -> Option<(PathBuf, u64)> {
        None
    }
}

fn missing(name: &str) -> Error {
    Error::Tensor { name: name.to_owned(), problem: "missing; the model needs it".to_owned() }
}

/// Puts a model's constants where its session will find them.
pub(crate) struct Places<'a> {
    source: &'a dyn WeightSource,
    quantise: Option<Quantisation>,
    store: Store,
    /// What the constants will take in memory.
    bytes: u64,
}

enum Store {
    Inline,
    /// The model's own files, all in this folder.
    Own {
        folder: PathBuf,
    },
    Passing(Passing),
}

impl<'a> Places<'a> {
    /// `names`: every matrix of the model, which decide where constants go: into the graph up to `inline_bytes_max`.
    pub(crate) fn new(
        source: &'a dyn WeightSource,
        names: &[String],
        quantise: Option<Quantisation>,
        inline_bytes_max: u64,
    ) -> Result<Self, Error> {
        let mut total = 0;
        for name in names {
            total += 4 * source.shape(name)?.iter().map(|&extent| extent as u64).product::<u64>();
        }
        let store = match (total <= inline_bytes_max, quantise) {
            (true, _) => Store::Inline,
            (false, None) => match common_folder(source, names) {
                Some(folder) => Store::Own { folder },
                None => Store::Passing(Passing::create()?),
            },
            (false, Some(_)) => Store::Passing(Passing::create()?),
        };
        Ok(Self { source, quantise, store, bytes: 0 })
    }

    /// All matrices in one new file that stays: `path`, which the graph names without its folder.
    pub(crate) fn exported(
        source: &'a dyn WeightSource,
        path: &Path,
        quantise: Option<Quantisation>,
    ) -> Result<Self, Error> {
        Ok(Self { source, quantise, store: Store::Passing(Passing::at(path.to_owned(), true)?), bytes: 0 })
    }

    /// Whether products by the same input are computed as one: only where their weights can be put side by side.
    pub(crate) fn joins(&self) -> bool {
        !matches!(self.store, Store::Own { .. })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The folder of the files that constants lie in. They must be there until the session is made.
    pub(crate) fn folder(&mut self) -> Result<Option<PathBuf>, Error> {
        match &mut self.store {
            Store::Inline => Ok(None),
            Store::Own { folder } => Ok(Some(folder.clone())),
            Store::Passing(file) => file.finish().map(Some),
        }
    }

    /// A table that rows are looked up in.
    pub(crate) fn table(&mut self, b: &mut Builder, name: &str) -> Result<Value, Error> {
        let shape = self.source.shape(name)?;
        // Only rows that are looked up become resident where the table is mapped.
        self.place(b, &format!("table.{name}"), &shape, &[name])
    }

    /// Vectors, one after another.
    pub(crate) fn vector(&mut self, b: &mut Builder, names: &[&str]) -> Result<Value, Error> {
        let mut data = Vec::new();
        for name in names {
            data.extend_from_slice(&self.source.read(name)?);
        }
        self.bytes += 4 * data.len() as u64;
        Ok(b.constant_f32(&data, &[data.len()]))
    }

    /// `x` [.., in] by weights [out, in], whose outputs lie one after another.
    pub(crate) fn product(&mut self, b: &mut Builder, x: Value, names: &[&str]) -> Result<Value, Error> {
        let mut outputs = 0;
        let mut inputs = 0;
        for name in names {
            let shape = self.source.shape(name)?;
            (outputs, inputs) = (outputs + shape[0], shape[1]);
        }
        if let Some(quantise) = self.quantise {
            return self.quantised_product(b, x, names, (outputs, inputs), quantise);
        }
        let weight = self.place(b, &names.join("+"), &[outputs, inputs], names)?;
        Ok(b.fused_matmul(x, weight, (false, true), 1.0))
    }

    fn quantised_product(
        &mut self,
        b: &mut Builder,
        x: Value,
        names: &[&str],
        (outputs, inputs): (usize, usize),
        quantise: Quantisation,
    ) -> Result<Value, Error> {
        let bits = quantise.bits();
        let mut whole = quantise::Blocks::default();
        for name in names {
            whole.extend(quantise::quantise(&self.source.read(name)?, inputs, quantise));
        }
        let blocks = inputs.div_ceil(BLOCK);
        let name = names.join("+");
        let packed = self.put(b, &format!("{name}.q"), U8, &[outputs, blocks, BLOCK * bits / 8], whole.packed)?;
        let scales = whole.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        let scales = self.put(b, &format!("{name}.scales"), F32, &[outputs, blocks], scales)?;
        let zeros = self.put(b, &format!("{name}.zeros"), U8, &[outputs, (blocks * bits).div_ceil(8)], whole.zeros)?;
        let mut shape = b.shape(x).to_vec();
        *shape.last_mut().expect("a product has an axis") = outputs;
        let attributes = vec![
            ("K", Attribute::Int(inputs as i64)),
            ("N", Attribute::Int(outputs as i64)),
            ("bits", Attribute::Int(bits as i64)),
            ("block_size", Attribute::Int(BLOCK as i64)),
            // Products in 8-bit integers with the input quantised on the way.
            ("accuracy_level", Attribute::Int(4)),
        ];
        Ok(b.node((MICROSOFT, "MatMulNBits"), &[x, packed, scales, zeros], &[(F32, shape)], attributes)[0])
    }

    /// Tensors one after another as one constant of f32.
    fn place(&mut self, b: &mut Builder, name: &str, shape: &[usize], parts: &[&str]) -> Result<Value, Error> {
        if let Store::Own { .. } = self.store {
            self.bytes += 4 * shape.iter().product::<usize>() as u64;
            let (path, offset) = self.source.in_file(parts[0]).ok_or_else(|| missing(parts[0]))?;
            let path = path.canonicalize().map_err(|error| unreadable(&path, &error))?;
            let file = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| missing(parts[0]))?;
            return Ok(b.constant_in_file(name, F32, shape, (file, offset)));
        }
        let mut bytes = Vec::with_capacity(4 * shape.iter().product::<usize>());
        for part in parts {
            bytes.extend(self.source.read(part)?.iter().flat_map(|value| value.to_le_bytes()));
        }
        self.put(b, name, F32, shape, bytes)
    }

    fn put(
        &mut self,
        b: &mut Builder,
        name: &str,
        element: ElementType,
        shape: &[usize],
        bytes: Vec<u8>,
    ) -> Result<Value, Error> {
        self.bytes += bytes.len() as u64;
        match &mut self.store {
            Store::Passing(file) => {
                let offset = file.append(&bytes)?;
                Ok(b.constant_in_file(name, element, shape, (&file.name, offset)))
            }
            _ => Ok(b.constant_bytes(element, bytes, shape)),
        }
    }
}

/// The one folder that all these tensors lie in as f32, links resolved.
fn common_folder(source: &dyn WeightSource, names: &[String]) -> Option<PathBuf> {
    let mut found: Option<PathBuf> = None;
    for name in names {
        let (path, _) = source.in_file(name)?;
        let folder = path.canonicalize().ok()?.parent()?.to_owned();
        if found.as_ref().is_some_and(|found| *found != folder) {
            return None;
        }
        found = Some(folder);
    }
    found
}

/// A file that is gone when its session has been made, unless it is kept.
struct Passing {
    path: PathBuf,
    name: String,
    kept: bool,
    writer: BufWriter<File>,
    length: u64,
}

impl Passing {
    fn create() -> Result<Self, Error> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("cairn-weights-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir();
        let folder = folder.canonicalize().map_err(|error| unreadable(&folder, &error))?;
        Self::at(folder.join(name), false)
    }

    fn at(path: PathBuf, kept: bool) -> Result<Self, Error> {
        let file = File::create_new(&path).map_err(|error| unreadable(&path, &error))?;
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        Ok(Self { path, name, kept, writer: BufWriter::with_capacity(1 << 20, file), length: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<u64, Error> {
        let padding = self.length.next_multiple_of(ALIGNMENT) - self.length;
        let written = self.writer.write_all(&vec![0; padding as usize]).and_then(|()| self.writer.write_all(bytes));
        written.map_err(|error| unreadable(&self.path, &error))?;
        let offset = self.length + padding;
        self.length = offset + bytes.len() as u64;
        Ok(offset)
    }

    fn finish(&mut self) -> Result<PathBuf, Error> {
        self.writer.flush().map_err(|error| unreadable(&self.path, &error))?;
        Ok(self.path.parent().expect("a file in a folder").to_owned())
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing to do about a file that is gone already.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::Format { what: path.display().to_string(), reason: error.to_string() }
}
