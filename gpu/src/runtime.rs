//! ONNX Runtime: finding and loading the library, choosing the device, making sessions from graphs and running them.
//! One library per process; every session has its own pinned number of threads and deterministic kernels.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ort::ep::CUDA;
use ort::logging::LogLevel;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session as OrtSession, SessionInputValue};
use ort::value::{DynTensor, DynValue, PrimitiveTensorElementType, TensorRef};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::graph::{Builder, ElementType, Graph, Port};

/// Names the library to use and nothing else.
const LIBRARY_VARIABLE: &str = "CAIRN_ORT_LIB";
const LIBRARY_NAME: &str = "libonnxruntime.so";
const CACHE_PATH: &str = ".cache/onnxruntime/libonnxruntime.so";
const CUDA_PROVIDER_NAME: &str = "libonnxruntime_providers_cuda.so";
/// Where constants outside a model given as bytes are looked for.
const EXTERNAL_FOLDER: &str = "session.model_external_initializers_file_folder_path";
/// How long a waiting thread of an inference session stays awake.
const SPIN_DURATION: &str = "session.intra_op.spin_duration_us";
const SPIN_DURATION_US: &str = "50";
/// Makes one operator of adding and normalising, whose kernel takes twice the time of the two.
const SLOWER_FUSION: &str = "SkipLayerNormFusion";
const THREADS_MAX: usize = 1024;

/// Where graphs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    Cpu,
    Cuda { ordinal: u32 },
}

impl Device {
    /// The first GPU if a graph really runs on it, the CPU otherwise. That the library was compiled with CUDA says
    /// nothing about the machine, so this runs one.
    pub fn detect() -> Self {
        let cuda = Self::Cuda { ordinal: 0 };
        let options = RuntimeOptions { device: cuda, ..RuntimeOptions::default() };
        match Runtime::load(&options) {
            Ok(_) => cuda,
            Err(_) => Self::Cpu,
        }
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda { ordinal } => write!(f, "cuda:{ordinal}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeOptions {
    /// Threads inside one operator. Part of a run's identity, although results are the same for any number.
    pub threads: usize,
    pub device: Device,
}

impl Default for RuntimeOptions {
    fn default() -> Self {
        Self { threads: 2, device: Device::Cpu }
    }
}

/// What a run's identity records about where it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    pub library_version: String,
    /// BLAKE3 of the library file, hex.
    pub library_digest: String,
    pub device: String,
    pub threads: usize,
    /// Instruction sets that decide which kernels run, and so the last bits of results.
    pub cpu_flags: Vec<String>,
}

/// The loaded library and the settings for sessions. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
}

struct Shared {
    environment: ort::environment::Environment,
    options: RuntimeOptions,
    description: Environment,
}

struct Library {
    path: PathBuf,
    version: String,
    digest: String,
    environment: ort::environment::Environment,
}

/// Loading cannot be undone, and only one environment may ever exist in a process.
static LIBRARY: Mutex<Option<Library>> = Mutex::new(None);

impl Runtime {
    /// Loads the library (once per process) and checks that the device works.
    pub fn load(options: &RuntimeOptions) -> Result<Self, Error> {
        if options.threads == 0 || options.threads > THREADS_MAX {
            return Err(Error::invalid("threads", options.threads, format!("1 to {THREADS_MAX}")));
        }
        let path = locate()?;
        let mut library = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
        if library.is_none() {
            *library = Some(Library::open(path.clone())?);
        }
        let library = library.as_ref().expect("opened above");
        if library.path != path {
            return Err(Error::LibraryAlreadyLoaded { loaded: library.path.clone(), wanted: path });
        }
        let runtime = Self {
            shared: Arc::new(Shared {
                environment: library.environment.clone(),
                options: *options,
                description: Environment {
                    library_version: library.version.clone(),
                    library_digest: library.digest.clone(),
                    device: options.device.to_string(),
                    threads: options.threads,
                    cpu_flags: cpu_flags(),
                },
            }),
        };
        if let Device::Cuda { .. } = options.device {
            runtime.check_cuda(&library.path)?;
        }
        Ok(runtime)
    }

    pub fn describe(&self) -> Environment {
        self.shared.description.clone()
    }

    pub fn device(&self) -> Device {
        self.shared.options.device
    }

    /// Threads inside one operator.
    pub fn threads(&self) -> usize {
        self.shared.options.threads
    }

    /// A session for `graph`. Its shapes are fixed, so the runtime plans memory once.
    pub fn session(&self, graph: &Graph) -> Result<Session, Error> {
        let refused = |source: ort::Error| Error::Session { graph: graph.name().to_owned(), source: source.into() };
        let mut builder = self.session_builder().map_err(refused)?;
        let inner = builder.commit_from_memory(graph.bytes()).map_err(refused)?;
        Ok(Session {
            graph: graph.name().to_owned(),
            device: self.device(),
            inner,
            inputs: graph.inputs().to_vec(),
            outputs: graph.outputs().to_vec(),
        })
    }

    /// A bare session for `graph`, whose extents may be open and whose constants may lie in files of `folder`.
    pub(crate) fn bare_session(&self, graph: &Graph, folder: Option<&Path>) -> Result<OrtSession, Error> {
        let refused = |source: ort::Error| Error::Session { graph: graph.name().to_owned(), source: source.into() };
        let mut builder = self.inference_builder(folder).map_err(refused)?;
        builder.commit_from_memory(graph.bytes()).map_err(refused)
    }

    fn inference_builder(&self, folder: Option<&Path>) -> Result<SessionBuilder, ort::Error> {
        // Between two operators of a token's step threads would fall asleep and be woken hundreds of times: a quarter of
        // the step. So short a wait costs a busy machine nothing.
        let builder = self.session_builder()?.with_intra_op_spinning(true)?;
        let builder = builder.with_config_entry(SPIN_DURATION, SPIN_DURATION_US)?;
        let builder = builder.with_disabled_optimizers(SLOWER_FUSION)?;
        Ok(match folder {
            Some(folder) => builder.with_config_entry(EXTERNAL_FOLDER, folder.to_string_lossy())?,
            None => builder,
        })
    }

    fn session_builder(&self) -> Result<SessionBuilder, ort::Error> {
        let mut builder = OrtSession::builder(&self.shared.environment)?
            .with_intra_threads(self.shared.options.threads)?
            .with_inter_threads(1)?
            .with_parallel_execution(false)?
            .with_deterministic_compute(true)?
            .with_memory_pattern(true)?
            // Waiting threads sleep: a tenth slower on an idle machine, twice as fast beside another busy process.
            .with_intra_op_spinning(false)?
            .with_optimization_level(GraphOptimizationLevel::All)?;
        if let Device::Cuda { ordinal } = self.shared.options.device {
            let cuda = CUDA::default().with_device_id(i32::try_from(ordinal).unwrap_or(i32::MAX)).with_tf32(false);
            builder =
                builder.with_execution_providers([cuda.build().error_on_failure()])?.with_disable_cpu_fallback()?;
        }
        Ok(builder)
    }

    /// Runs one small product on the GPU: the only answer to whether it is there and works.
    fn check_cuda(&self, library: &Path) -> Result<(), Error> {
        let unusable = |reason: String| Error::Device { device: self.device().to_string(), reason };
        let provider = library.with_file_name(CUDA_PROVIDER_NAME);
        if !provider.exists() {
            return Err(unusable(format!("{} is absent", provider.display())));
        }
        let mut b = Builder::new("cuda_check");
        let x = b.input("x", ElementType::F32, &[2, 2]);
        let y = b.matmul(x, x);
        b.output("y", y);
        let mut session = self.session(&b.finish()).map_err(|error| unusable(chain(&error)))?;
        let mut outputs =
            session.run(&[("x", Feed::F32(&[1.0, 2.0, 3.0, 4.0]))]).map_err(|error| unusable(chain(&error)))?;
        match outputs.take_f32("y")?.as_slice() {
            [7.0, 10.0, 15.0, 22.0] => Ok(()),
            found => Err(unusable(format!("a product of [[1,2],[3,4]] with itself gave {found:?}"))),
        }
    }
}

/// A graph ready to run.
pub struct Session {
    graph: String,
    device: Device,
    inner: OrtSession,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

/// What is given to one input. Shapes are the graph's own, slices hold the elements in row-major order.
#[derive(Clone, Copy)]
pub enum Feed<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    I64(&'a [i64]),
    Bool(&'a [bool]),
    /// An earlier output, handed on without a copy.
    Resident(&'a Resident),
}

/// A tensor that stays where the runtime made it.
pub struct Resident {
    port: Port,
    value: DynTensor,
}

/// The outputs of one run, in the graph's order.
pub struct Outputs {
    graph: String,
    values: Vec<Option<Resident>>,
}

impl Session {
    /// Runs the graph once. Every declared input has to be given, each exactly once.
    pub fn run(&mut self, inputs: &[(&str, Feed<'_>)]) -> Result<Outputs, Error> {
        let values = self.prepare(inputs)?;
        let results = match self.device {
            Device::Cpu => run_on_host(&mut self.inner, values, &self.outputs),
            Device::Cuda { ordinal } => run_on_cuda(&mut self.inner, &values, &self.outputs, ordinal),
        };
        let results = results.map_err(|source| Error::Run { graph: self.graph.clone(), source: source.into() })?;
        let values = self.outputs.iter().cloned().zip(results).map(|(port, value)| Some(Resident { port, value }));
        Ok(Outputs { graph: self.graph.clone(), values: values.collect() })
    }

    fn prepare<'a>(&self, inputs: &[(&'a str, Feed<'a>)]) -> Result<Vec<(&'a str, SessionInputValue<'a>)>, Error> {
        let feed_error = |problem: String| Error::Feed { graph: self.graph.clone(), problem };
        for port in &self.inputs {
            match inputs.iter().filter(|(name, _)| *name == port.name).count() {
                1 => {}
                0 => return Err(feed_error(format!("input `{}` is missing", port.name))),
                n => return Err(feed_error(format!("input `{}` is given {n} times", port.name))),
            }
        }
        inputs
            .iter()
            .map(|(name, feed)| {
                let port = self
                    .inputs
                    .iter()
                    .find(|port| port.name == *name)
                    .ok_or_else(|| feed_error(format!("there is no input `{name}`")))?;
                let (element, count) = feed.describe();
                if element != port.element || count != port.elements() {
                    return Err(feed_error(format!(
                        "input `{name}` has {count} elements of {element:?}, expected {:?} of {:?}",
                        port.shape, port.element
                    )));
                }
                let value = feed
                    .value(port)
                    .map_err(|source| Error::Run { graph: self.graph.clone(), source: source.into() })?;
                Ok((*name, value))
            })
            .collect()
    }
}

impl<'a> Feed<'a> {
    fn describe(&self) -> (ElementType, usize) {
        match self {
            Self::F32(data) => (ElementType::F32, data.len()),
            Self::F64(data) => (ElementType::F64, data.len()),
            Self::I64(data) => (ElementType::I64, data.len()),
            Self::Bool(data) => (ElementType::Bool, data.len()),
            Self::Resident(resident) => (resident.port.element, resident.port.elements()),
        }
    }

    fn value(&self, port: &Port) -> Result<SessionInputValue<'a>, ort::Error> {
        fn borrow<'a, T: PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static>(
            shape: &[usize],
            data: &'a [T],
        ) -> Result<SessionInputValue<'a>, ort::Error> {
            Ok(TensorRef::from_array_view((shape.to_vec(), data))?.into())
        }
        match *self {
            Self::F32(data) => borrow(&port.shape, data),
            Self::F64(data) => borrow(&port.shape, data),
            Self::I64(data) => borrow(&port.shape, data),
            Self::Bool(data) => borrow(&port.shape, data),
            Self::Resident(resident) => Ok((&resident.value).into()),
        }
    }
}

impl Outputs {
    /// Takes output `name` without copying it.
    pub fn take(&mut self, name: &str) -> Result<Resident, Error> {
        self.values
            .iter_mut()
            .find(|value| value.as_ref().is_some_and(|value| value.port.name == name))
            .and_then(Option::take)
            .ok_or_else(|| Error::Feed { graph: self.graph.clone(), problem: format!("there is no output `{name}`") })
    }

    /// Takes output `name` and copies it to a vector.
    pub fn take_f32(&mut self, name: &str) -> Result<Vec<f32>, Error> {
        self.take(name)?.to_f32()
    }

    /// Takes output `name` and copies it to a vector.
    pub fn take_f64(&mut self, name: &str) -> Result<Vec<f64>, Error> {
        self.take(name)?.copy()
    }

    /// Takes output `name` and copies it to a vector.
    pub fn take_i64(&mut self, name: &str) -> Result<Vec<i64>, Error> {
        self.take(name)?.copy()
    }
}

impl Resident {
    pub fn shape(&self) -> &[usize] {
        &self.port.shape
    }

    /// The elements, copied from the device.
    pub fn to_f32(&self) -> Result<Vec<f32>, Error> {
        self.copy()
    }

    /// Reads the elements in place where they lie in host memory, from a copy otherwise.
    pub(crate) fn with_f32<R>(&self, read: impl FnOnce(&[f32]) -> R) -> Result<R, Error> {
        self.with(read)
    }

    fn copy<T: PrimitiveTensorElementType + Copy>(&self) -> Result<Vec<T>, Error> {
        self.with(<[T]>::to_vec)
    }

    fn with<T: PrimitiveTensorElementType, R>(&self, read: impl FnOnce(&[T]) -> R) -> Result<R, Error> {
        let failed =
            |source: ort::Error| Error::Run { graph: format!("reading `{}`", self.port.name), source: source.into() };
        if self.value.memory_info().is_cpu_accessible() {
            let (_, data) = self.value.try_extract_tensor::<T>().map_err(failed)?;
            return Ok(read(data));
        }
        let host = self.value.to(AllocationDevice::CPU, 0).map_err(failed)?;
        let (_, data) = host.try_extract_tensor::<T>().map_err(failed)?;
        Ok(read(data))
    }
}

fn run_on_host(
    session: &mut OrtSession,
    inputs: Vec<(&str, SessionInputValue<'_>)>,
    outputs: &[Port],
) -> Result<Vec<DynTensor>, ort::Error> {
    let mut results = session.run(inputs)?;
    outputs.iter().map(|port| taken(results.remove(&port.name))).collect()
}

/// Outputs stay on the GPU. They are bound anew each run, because a kept binding reuses the buffer under earlier results.
fn run_on_cuda(
    session: &mut OrtSession,
    inputs: &[(&str, SessionInputValue<'_>)],
    outputs: &[Port],
    ordinal: u32,
) -> Result<Vec<DynTensor>, ort::Error> {
    let ordinal = i32::try_from(ordinal).unwrap_or(i32::MAX);
    let memory = MemoryInfo::new(AllocationDevice::CUDA, ordinal, AllocatorType::Device, MemoryType::Default)?;
    let mut binding = session.create_binding()?;
    for (name, value) in inputs {
        binding.bind_input(*name, value)?;
    }
    for port in outputs {
        binding.bind_output_to_device(port.name.as_str(), &memory)?;
    }
    binding.synchronize_inputs()?;
    let mut results = session.run_binding(&binding)?;
    let values = outputs.iter().map(|port| taken(results.remove(&port.name))).collect();
    drop(results);
    binding.synchronize_outputs()?;
    values
}

fn taken(value: Option<DynValue>) -> Result<DynTensor, ort::Error> {
    value.expect("the session has the graph's outputs").downcast()
}

impl Library {
    fn open(path: PathBuf) -> Result<Self, Error> {
        let unusable = |reason: String| Error::Library { path: path.clone(), reason };
        let bytes = std::fs::read(&path).map_err(|error| unusable(error.to_string()))?;
        let digest = blake3::hash(&bytes).to_hex().to_string();
        let builder = ort::init_from(&path).map_err(|error| unusable(error.to_string()))?;
        let environment =
            builder.with_name("cairn").with_telemetry(false).build().map_err(|error| unusable(error.to_string()))?;
        environment.set_log_level(LogLevel::Error);
        let version = version(&path);
        tracing::debug!(path = %path.display(), version, "loaded ONNX Runtime");
        Ok(Self { path, version, digest, environment })
    }
}

/// The release is in the build information's branch name (`rel-1.31.1`), else in the resolved file's name.
fn version(path: &Path) -> String {
    let branch = ort::info().split_once("git-branch=rel-").map(|(_, rest)| rest);
    let branch = branch.and_then(|rest| rest.split(',').next()).map(str::to_owned);
    let resolved = path.canonicalize().ok();
    let suffix = resolved.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    let suffix = suffix.and_then(|name| name.split_once(".so.")).map(|(_, version)| version.to_owned());
    suffix.or(branch).unwrap_or_else(|| "unknown".to_owned())
}

/// The first library found, as an absolute path.
fn locate() -> Result<PathBuf, Error> {
    let executable = std::env::current_exe().ok();
    let working = std::env::current_dir().unwrap_or_default();
    locate_from(std::env::var_os(LIBRARY_VARIABLE), executable.as_deref().and_then(Path::parent), &working)
}

fn locate_from(named: Option<OsString>, executable_folder: Option<&Path>, working: &Path) -> Result<PathBuf, Error> {
    if let Some(path) = named {
        let path = PathBuf::from(path);
        let reason = |error: std::io::Error| format!("{error}, although {LIBRARY_VARIABLE} names it");
        return path.canonicalize().map_err(|error| Error::Library { path, reason: reason(error) });
    }
    let mut looked = vec![format!("{LIBRARY_VARIABLE} (not set)")];
    if let Some(folder) = executable_folder {
        if let Some(path) = beside(folder) {
            return Ok(path);
        }
        looked.push(folder.join(LIBRARY_NAME).display().to_string());
    }
    for start in [Some(working), executable_folder].into_iter().flatten() {
        for folder in start.ancestors() {
            if let Ok(path) = folder.join(CACHE_PATH).canonicalize() {
                return Ok(path);
            }
        }
        looked.push(format!("{CACHE_PATH} in {} and its parents", start.display()));
    }
    Err(Error::LibraryMissing { looked: looked.join(", ") })
}

/// `libonnxruntime.so` or a versioned name of it in `folder`, the last in name order.
fn beside(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut names: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(LIBRARY_NAME))
        })
        .collect();
    names.sort();
    names.pop().and_then(|path| path.canonicalize().ok())
}

#[cfg(target_arch = "x86_64")]
fn cpu_flags() -> Vec<String> {
    macro_rules! detected {
        ($($flag:tt),+) => {
            [$(($flag, std::is_x86_feature_detected!($flag))),+]
        };
    }
    let flags = detected!(
        "sse4.1",
        "sse4.2",
        "avx",
        "f16c",
        "fma",
        "avx2",
        "avxvnni",
        "avx512f",
        "avx512bw",
        "avx512dq",
        "avx512vl",
        "avx512vnni",
        "avx512bf16",
        "avx512fp16"
    );
    flags.iter().filter(|(_, present)| *present).map(|(flag, _)| (*flag).to_owned()).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_flags() -> Vec<String> {
    vec![std::env::consts::ARCH.to_owned()]
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("cairn-gpu-{}-{name}", std::process::id()));
        std::fs::create_dir_all(folder.join(".cache/onnxruntime")).unwrap();
        std::fs::create_dir_all(folder.join("bin")).unwrap();
        std::fs::create_dir_all(folder.join("a/b")).unwrap();
        folder.canonicalize().unwrap()
    }

    #[test]
    fn the_library_is_looked_for_in_order() {
        let root = folder("order");
        let (bin, deep) = (root.join("bin"), root.join("a/b"));
        let missing = locate_from(None, Some(&bin), &deep).unwrap_err().to_string();
        for part in ["CAIRN_ORT_LIB (not set)", "bin/libonnxruntime.so", "make setup", &deep.display().to_string()] {
            assert!(missing.contains(part), "{missing}");
        }
        let cached = root.join(CACHE_PATH);
        std::fs::write(&cached, "").unwrap();
        assert_eq!(locate_from(None, Some(&bin), &deep).unwrap(), cached);
        let versioned = bin.join("libonnxruntime.so.1.31.1");
        std::fs::write(&versioned, "").unwrap();
        assert_eq!(locate_from(None, Some(&bin), &deep).unwrap(), versioned);
        let named = root.join("a/other.so");
        let error = locate_from(Some(named.clone().into()), Some(&bin), &deep).unwrap_err().to_string();
        assert!(error.contains("a/other.so") && error.contains(LIBRARY_VARIABLE), "{error}");
        std::fs::write(&named, "").unwrap();
        assert_eq!(locate_from(Some(named.clone().into()), Some(&bin), &deep).unwrap(), named);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn the_environment_says_what_ran() {
        let runtime = Runtime::load(&RuntimeOptions { threads: 1, device: Device::Cpu }).unwrap();
        let environment = runtime.describe();
        assert!(environment.library_version.starts_with("1."), "{environment:?}");
        assert_eq!(environment.library_digest.len(), 64);
        assert_eq!((environment.device.as_str(), environment.threads), ("cpu", 1));
        assert!(Runtime::load(&RuntimeOptions { threads: 0, device: Device::Cpu }).is_err());
    }

    /// Without a GPU, asking for one is an error that says so, and detection falls back.
    #[test]
    fn a_gpu_that_is_not_there_is_not_found() {
        let device = Device::Cuda { ordinal: 0 };
        match Runtime::load(&RuntimeOptions { threads: 1, device }) {
            Ok(_) => assert_eq!(Device::detect(), device),
            Err(error) => {
                assert!(error.to_string().starts_with("device cuda:0 is not usable"), "{error}");
                assert_eq!(Device::detect(), Device::Cpu);
            }
        }
    }

    #[test]
    fn feeds_that_do_not_fit_are_named() {
        let runtime = Runtime::load(&RuntimeOptions { threads: 1, device: Device::Cpu }).unwrap();
        let mut b = Builder::new("twice");
        let x = b.input("x", ElementType::F32, &[2]);
        let y = b.add(x, x);
        b.output("y", y);
        let mut session = runtime.session(&b.finish()).unwrap();
        let mut run = |inputs: &[(&str, Feed<'_>)]| {
            session.run(inputs).map(|mut outputs| outputs.take_f32("y").unwrap()).map_err(|error| error.to_string())
        };
        let good = ("x", Feed::F32(&[1.0, 2.0]));
        assert_eq!(run(&[good]).unwrap(), [2.0, 4.0]);
        for (inputs, expected) in [
            (vec![], "input `x` is missing"),
            (vec![good, good], "input `x` is given 2 times"),
            (vec![good, ("z", Feed::F32(&[1.0]))], "there is no input `z`"),
            (vec![("x", Feed::F32(&[1.0]))], "input `x` has 1 elements of F32, expected [2] of F32"),
            (vec![("x", Feed::I64(&[1, 2]))], "input `x` has 2 elements of I64, expected [2] of F32"),
        ] {
            let message = run(&inputs).unwrap_err();
            assert_eq!(message, format!("graph `twice`: {expected}"));
        }
    }
}
