//! A decoder's session with its caches: rows of tokens in, logits out, keys and values appended in place.
//! The caches are one buffer a layer, [slots, kv heads, capacity, cache width]; a run sees consecutive slots of it.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::NonNull;

use ort::AsPointer;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session as OrtSession};
use ort::value::{DynTensor, DynValue, Tensor, TensorElementType};

use super::fused::{self, Form, LAST, LOGITS, POSITIONS, READ, TOKENS, TOTAL};
use super::options::Quantisation;
use super::place::{INLINE_BYTES_MAX, Places, WeightSource};
use crate::graph::ElementType;
use crate::models::{DecoderConfig, Positions};
use crate::{Device, Error, Runtime};

const GRAPH: &str = "decoder_fused";
/// Of the page of memory that holds a position; the allocator gives zeroed pages only when they are touched.
const CACHE_ALIGNMENT: usize = 16;

/// Rows to run: those of the slots `first..first + starts.len()`, each with the same number of new tokens.
pub(crate) struct Step<'a> {
    pub(crate) first: usize,
    /// [rows · length], row by row.
    pub(crate) tokens: &'a [u32],
    /// Positions that each row has already.
    pub(crate) starts: &'a [usize],
    /// Which of the rows·length tokens to give logits for.
    pub(crate) read: &'a [usize],
}

pub(crate) struct DecoderSession {
    /// By first slot and rows; each holds on to views of the caches.
    bindings: HashMap<(usize, usize), IoBinding>,
    /// By number of rows read.
    logits: HashMap<usize, Tensor<f32>>,
    inner: OrtSession,
    config: DecoderConfig,
    memory: MemoryInfo<'static>,
    caches: Vec<Region>,
    slots: usize,
    capacity: usize,
    /// Bytes of one cache of one slot.
    slot_bytes: usize,
    weight_bytes: u64,
}

impl DecoderSession {
    pub(crate) fn open(
        runtime: &Runtime,
        config: &DecoderConfig,
        source: &dyn WeightSource,
        quantise: Option<Quantisation>,
        room: (usize, usize),
    ) -> Result<Self, Error> {
        Self::open_with(runtime, config, source, quantise, room, INLINE_BYTES_MAX)
    }

    /// `room`: slots, and positions of each.
    pub(super) fn open_with(
        runtime: &Runtime,
        config: &DecoderConfig,
        source: &dyn WeightSource,
        quantise: Option<Quantisation>,
        (slots, capacity): (usize, usize),
        inline_bytes_max: u64,
    ) -> Result<Self, Error> {
        let matrices = config.parameter_shapes().into_iter().filter(|(_, shape)| shape.len() == 2);
        let matrices: Vec<String> = matrices.map(|(name, _)| name).collect();
        let mut places = Places::new(source, &matrices, quantise, inline_bytes_max)?;
        let form = Form { capacity, cache: cache_element(runtime.device()) };
        let graph = fused::graph(config, form, &mut places)?;
        let folder = places.folder()?;
        let inner = runtime.bare_session(&graph, folder.as_deref())?;
        let slot_bytes = config.kv_heads() * capacity * fused::cache_width(config) * form.cache.bytes();
        let memory = device_memory(runtime.device()).map_err(failed)?;
        // On another device one more, through which slots are exchanged.
        let rooms = if runtime.device() == Device::Cpu { slots } else { slots + 1 };
        let region = || Region::new(&inner, runtime.device(), &memory, form.cache, rooms * slot_bytes);
        let caches = (0..2 * config.layers).map(|_| region()).collect::<Result<Vec<_>, Error>>()?;
        Ok(Self {
            inner,
            config: config.clone(),
            memory,
            caches,
            slots,
            capacity,
            slot_bytes,
            bindings: HashMap::new(),
            logits: HashMap::new(),
            weight_bytes: places.bytes(),
        })
    }

    pub(crate) fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// Runs the rows and appends to their caches. Gives logits [read, vocabulary], until the next run.
    pub(crate) fn run(&mut self, step: &Step<'_>) -> Result<&[f32], Error> {
        let rows = step.starts.len();
        let length = step.tokens.len() / rows;
        let longest = step.starts.iter().max().expect("a step has rows") + length;
        assert!(step.tokens.len() == rows * length && length > 0, "every row has as many tokens");
        assert!(step.first + rows <= self.slots && longest <= self.capacity, "room was planned before");
        assert!(rows == 1 || length == 1 || step.starts.iter().all(|&start| start == 0), "several rows have no past");
        let reads = step.read.len();
        self.bind(step.first, rows).map_err(failed)?;
        self.run_bound(step, (rows, length, longest)).map_err(failed)?;
        let logits = &self.logits[&reads];
        Ok(logits.extract_tensor().1)
    }

    fn run_bound(&mut self, step: &Step<'_>, (rows, length, longest): (usize, usize, usize)) -> Result<(), ort::Error> {
        let reads = step.read.len();
        if !self.logits.contains_key(&reads) {
            let tensor = Tensor::<f32>::new(&Allocator::default(), [reads, self.config.vocabulary])?;
            self.logits.insert(reads, tensor);
        }
        let tokens: Vec<i64> = step.tokens.iter().map(|&token| i64::from(token)).collect();
        let last: Vec<i32> = step.starts.iter().map(|&start| (start + length - 1) as i32).collect();
        let read: Vec<i64> = step.read.iter().map(|&at| at as i64).collect();
        let binding = self.bindings.get_mut(&(step.first, rows)).expect("bound before");
        binding.bind_input(TOKENS, &Tensor::from_array(([rows, length], tokens))?)?;
        binding.bind_input(LAST, &Tensor::from_array(([rows], last))?)?;
        binding.bind_input(TOTAL, &Tensor::from_array(([0usize; 0], vec![longest as i32]))?)?;
        binding.bind_input(READ, &Tensor::from_array(([reads], read))?)?;
        if self.config.positions == Positions::Learned {
            let positions = step.starts.iter().flat_map(|&start| (start..start + length).map(|at| at as i64));
            binding.bind_input(POSITIONS, &Tensor::from_array(([rows, length], positions.collect::<Vec<_>>()))?)?;
        }
        binding.bind_output(LOGITS, self.logits.get_mut(&reads).expect("made above"))?;
        run(&mut self.inner, binding)
    }

    /// Makes sure that there is a binding of these slots' caches.
    fn bind(&mut self, first: usize, rows: usize) -> Result<(), ort::Error> {
        if self.bindings.contains_key(&(first, rows)) {
            return Ok(());
        }
        let shape =
            [rows, self.config.kv_heads(), self.capacity, fused::cache_width(&self.config)].map(|extent| extent as i64);
        let mut binding = self.inner.create_binding()?;
        for (index, region) in self.caches.iter().enumerate() {
            let (past, present) = &fused::cache_names(index / 2)[index % 2];
            let bytes = rows * self.slot_bytes;
            // The view lies within the region, which lives as long as this session and its bindings.
            let data = region.at(first * self.slot_bytes, bytes);
            binding
                .bind_input(past, &view(&self.memory, data, bytes, &shape, region.element, self.inner.allocator())?)?;
            let mut present_view = view(&self.memory, data, bytes, &shape, region.element, self.inner.allocator())?;
            binding.bind_output(present, &mut present_view)?;
        }
        self.bindings.insert((first, rows), binding);
        Ok(())
    }

    /// Copies the first `positions` positions of slot `from` over those of slot `to`.
    pub(crate) fn copy(&mut self, from: usize, to: usize, positions: usize) {
        self.each_head(from, to, positions, |region, from, to, bytes| {
            if region.host.is_none() {
                return self.copy_on_device(region, from, to, bytes);
            }
            // Both lie within one region, apart from each other because the slots differ, and nothing runs now.
            #[allow(unsafe_code)]
            unsafe {
                std::ptr::copy_nonoverlapping(from, to, bytes);
            }
        });
    }

    /// Exchanges the first `positions` positions of two slots.
    pub(crate) fn swap(&mut self, one: usize, other: usize, positions: usize) {
        if self.caches.iter().any(|region| region.host.is_none()) {
            // Past the last slot is room for this.
            self.copy(one, self.slots, positions);
            self.copy(other, one, positions);
            return self.copy(self.slots, other, positions);
        }
        self.each_head(one, other, positions, |_, one, other, bytes| {
            // As in `copy`.
            #[allow(unsafe_code)]
            unsafe {
                std::ptr::swap_nonoverlapping(one, other, bytes);
            }
        });
    }

    /// Gives the host's memory behind positions from `from` on of `slot` back; they read as zero from now on.
    pub(crate) fn release(&mut self, slot: usize, from: usize) {
        let page = rustix::param::page_size();
        let heads = self.config.kv_heads();
        let head_bytes = self.slot_bytes / heads;
        for region in self.caches.iter().filter(|region| region.host.is_some()) {
            for head in 0..heads {
                let begin = slot * self.slot_bytes + head * head_bytes;
                let kept = from * head_bytes / self.capacity;
                let data = region.at(begin + kept, head_bytes - kept);
                let to_page = data.align_offset(page);
                let bytes = (head_bytes - kept).saturating_sub(to_page) / page * page;
                if bytes > 0 {
                    // Whole pages of memory that is ours, private and anonymous, and holds numbers only. Where the
                    // system refuses, they stay resident.
                    #[allow(unsafe_code)]
                    let _ = unsafe {
                        rustix::mm::madvise(data.wrapping_byte_add(to_page), bytes, rustix::mm::Advice::LinuxDontNeed)
                    };
                }
            }
        }
    }

    fn each_head(&self, one: usize, other: usize, positions: usize, act: impl Fn(&Region, *mut u8, *mut u8, usize)) {
        assert!(one != other && positions <= self.capacity, "slots differ, and hold no more than they can");
        let heads = self.config.kv_heads();
        let head_bytes = self.slot_bytes / heads;
        let bytes = positions * head_bytes / self.capacity;
        for region in &self.caches {
            for head in 0..heads {
                let at = |slot: usize| region.at(slot * self.slot_bytes + head * head_bytes, bytes).cast::<u8>();
                act(region, at(one), at(other), bytes);
            }
        }
    }

    /// As the library copies between tensors. A failure there shows in the next run.
    fn copy_on_device(&self, region: &Region, from: *mut u8, to: *mut u8, bytes: usize) {
        let shape = [(bytes / region.element.bytes()) as i64];
        let tensor = |data: *mut u8| -> Result<DynTensor, ort::Error> {
            view(&self.memory, data.cast(), bytes, &shape, region.element, self.inner.allocator())?.downcast()
        };
        let copied = tensor(from).and_then(|from| from.copy_into(&mut tensor(to)?));
        if let Err(error) = copied {
            tracing::error!(%error, "a cache could not be copied on the device");
        }
    }
}

/// The attention operator has a kernel for f32 on the CPU, for f16 on CUDA.
fn cache_element(device: Device) -> ElementType {
    match device {
        Device::Cpu => ElementType::F32,
        Device::Cuda { .. } => ElementType::F16,
    }
}

/// Bytes of keys and values of one position in all layers.
pub(crate) fn position_bytes(config: &DecoderConfig, device: Device) -> u64 {
    (2 * config.layers * config.kv_heads() * fused::cache_width(config) * cache_element(device).bytes()) as u64
}

fn device_memory(device: Device) -> Result<MemoryInfo<'static>, ort::Error> {
    match device {
        Device::Cpu => MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default),
        Device::Cuda { ordinal } => {
            let ordinal = i32::try_from(ordinal).unwrap_or(i32::MAX);
            MemoryInfo::new(AllocationDevice::CUDA, ordinal, AllocatorType::Device, MemoryType::Default)
        }
    }
}

/// One cache of one layer for all slots.
struct Region {
    element: ElementType,
    bytes: usize,
    data: NonNull<u8>,
    host: Option<Layout>,
    /// Owns the bytes where they are not the host's.
    _device: Option<DynTensor>,
}

// Only the thread that owns the session touches the bytes; the pointer has no tie to the thread that made it.
#[allow(unsafe_code)]
unsafe impl Send for Region {}

impl Region {
    fn new(
        session: &OrtSession,
        device: Device,
        memory: &MemoryInfo<'static>,
        element: ElementType,
        bytes: usize,
    ) -> Result<Self, Error> {
        if device == Device::Cpu {
            let layout = Layout::from_size_align(bytes, CACHE_ALIGNMENT).expect("a cache is less than half of memory");
            // The layout is not empty. Zeroed memory of this size is not touched, and so not resident, before its use.
            #[allow(unsafe_code)]
            let data = unsafe { alloc_zeroed(layout) };
            let Some(data) = NonNull::new(data) else {
                let wanted = format!("the system does not give {bytes} bytes for keys and values of a layer");
                return Err(Error::Failed { reason: format!("{wanted}; use fewer slots or a shorter context") });
            };
            return Ok(Self { element, bytes, data, host: Some(layout), _device: None });
        }
        let allocator = Allocator::new(session, memory.clone()).map_err(failed)?;
        let extent = bytes / element.bytes();
        let mut tensor = DynTensor::new(&allocator, element_type(element), [extent]).map_err(failed)?;
        let data = NonNull::new(tensor.data_ptr_mut().cast::<u8>()).expect("the device gave memory");
        Ok(Self { element, bytes, data, host: None, _device: Some(tensor) })
    }

    /// The address of `bytes` bytes from `offset` on.
    fn at(&self, offset: usize, bytes: usize) -> *mut c_void {
        assert!(offset + bytes <= self.bytes, "{bytes} bytes at {offset} of {}", self.bytes);
        self.data.as_ptr().wrapping_add(offset).cast()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if let Some(layout) = self.host {
            // Allocated in `new` with this layout; views of it are gone with the session.
            #[allow(unsafe_code)]
            unsafe {
                dealloc(self.data.as_ptr(), layout);
            }
        }
    }
}

fn element_type(element: ElementType) -> TensorElementType {
    match element {
        ElementType::F16 => TensorElementType::Float16,
        _ => TensorElementType::Float32,
    }
}

/// A tensor over memory of ours. The wrapper copies what it is lent when it is bound, and past and present have to be
/// one buffer: so this goes to the library itself. `data` has to stay valid while the tensor is bound.
fn view(
    memory: &MemoryInfo<'static>,
    data: *mut c_void,
    bytes: usize,
    shape: &[i64],
    element: ElementType,
    allocator: &Allocator,
) -> Result<DynValue, ort::Error> {
    let mut value = std::ptr::null_mut();
    // The library keeps the address and frees nothing; the new value is ours to release, which `from_ptr` takes over.
    #[allow(unsafe_code)]
    unsafe {
        let status = (ort::api().CreateTensorWithDataAsOrtValue)(
            memory.ptr(),
            data,
            bytes,
            shape.as_ptr(),
            shape.len(),
            element_type(element).into(),
            &mut value,
        );
        ort::Error::result_from_status(status)?;
        Ok(DynValue::from_ptr(NonNull::new(value).expect("made without an error"), Some(allocator)))
    }
}

/// As `run_binding`, without wrapping the outputs, which are ours already.
fn run(session: &mut OrtSession, binding: &IoBinding) -> Result<(), ort::Error> {
    // Both are valid and used by this thread alone, as `&mut` says of the session.
    #[allow(unsafe_code)]
    unsafe {
        let status = (ort::api().RunWithBinding)(session.ptr().cast_mut(), std::ptr::null(), binding.ptr());
        ort::Error::result_from_status(status)
    }
}

fn failed(source: ort::Error) -> Error {
    Error::Run { graph: GRAPH.to_owned(), source: source.into() }
}
