//! What every job and every question needs: the ledger, its projections, the tenant, and a device when one is asked for.

use crate::Error;
use crate::runner::JobIndex;
use cairn_gpu::{Device, Runtime, RuntimeOptions};
use cairn_ledger::{Ledger, Options};
use cairn_projections::Projections;
use cairn_schemas::{Blake3, TenantId};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// One data directory, open. Cheap to clone; the directory is given back when the last clone goes.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    data: PathBuf,
    ledger: Ledger,
    projections: Projections,
    tenant: TenantId,
    writable: bool,
    runtime: OnceLock<Runtime>,
    /// Jobs that this process is running, by key: without it a second pipeline would take them for dead.
    running: Mutex<HashSet<Blake3>>,
    jobs: Mutex<JobIndex>,
}

impl Context {
    /// Opens for writing, and creates what is missing. Refused while another process holds the directory.
    pub fn open(data: &Path) -> Result<Self, Error> {
        Self::open_with(data, Options::default())
    }

    /// Opens for writing as [`Context::open`] does, with options of the ledger.
    pub fn open_with(data: &Path, options: Options) -> Result<Self, Error> {
        let ledger = Ledger::open(data, options)?;
        let tenant = TenantId::default();
        let projections = Projections::open(&data.join("projections"), ledger.clone(), tenant.clone())?;
        Ok(Self::over(data, ledger, projections, tenant, true))
    }

    /// Opens for reading beside whoever writes: exclusive when the directory is free, else what is durable now.
    pub fn open_reader(data: &Path) -> Result<Self, Error> {
        if !data.is_dir() {
            return Err(Error::NoData { path: data.to_owned() });
        }
        match Self::open(data) {
            Err(Error::Ledger(cairn_ledger::Error::AlreadyOpen { .. })) => {}
            other => return other,
        }
        let tenant = TenantId::default();
        let ledger = Ledger::open_read_only(data)?;
        let projections = Projections::in_memory(ledger.clone(), tenant.clone())?;
        match projections.catch_up() {
            // The others cover the head, and it says itself how far it is.
            Ok(()) | Err(cairn_projections::Error::Stopped { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self::over(data, ledger, projections, tenant, false))
    }

    fn over(data: &Path, ledger: Ledger, projections: Projections, tenant: TenantId, writable: bool) -> Self {
        let data = data.to_owned();
        let (runtime, running, jobs) = (OnceLock::new(), Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { data, ledger, projections, tenant, writable, runtime, running, jobs }))
    }

    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }
    pub fn projections(&self) -> &Projections {
        &self.0.projections
    }
    pub fn tenant(&self) -> &TenantId {
        &self.0.tenant
    }
    pub fn data_dir(&self) -> &Path {
        &self.0.data
    }
    pub fn is_writable(&self) -> bool {
        self.0.writable
    }

    /// The device, loaded when first asked for. A failure is not remembered: the library may be there next time.
    pub fn runtime(&self) -> Result<&Runtime, Error> {
        if let Some(runtime) = self.0.runtime.get() {
            return Ok(runtime);
        }
        let runtime = Runtime::load(&RuntimeOptions { device: device()?, ..RuntimeOptions::default() })?;
        Ok(self.0.runtime.get_or_init(|| runtime))
    }

    pub(crate) fn jobs(&self) -> &Mutex<JobIndex> {
        &self.0.jobs
    }

    /// The secret under which matches of personal data are digested, made when first asked for. It stays with the data.
    pub(crate) fn match_key(&self) -> Result<[u8; 32], Error> {
        let folder = self.0.data.join("keys").join(self.0.tenant.as_str());
        let path = folder.join("matches.key");
        if let Ok(bytes) = std::fs::read(&path) {
            let why = format!("{} bytes, where a key has 32", bytes.len());
            return bytes.try_into().map_err(|_| Error::Stored { what: path.display().to_string(), why });
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| Error::refused("the system's randomness", e.to_string()))?;
        std::fs::create_dir_all(&folder).map_err(Error::io("make the folder of", &path))?;
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&path).and_then(|mut file| file.write_all(&key).and_then(|()| file.sync_all()));
        written.map_err(Error::io("write", &path))?;
        Ok(key)
    }

    /// Claims a job's key for this process until the claim is dropped.
    pub(crate) fn claim(&self, key: Blake3, job: &str) -> Result<Claim, Error> {
        if !self.0.running.lock().insert(key) {
            return Err(Error::AlreadyRunning { job: job.to_owned() });
        }
        Ok(Claim { context: self.clone(), key })
    }
}

/// `CAIRN_DEVICE`: `cpu` (the default), `cuda:N`, or `auto` for a GPU where one really works.
pub fn device() -> Result<Device, Error> {
    let given = std::env::var("CAIRN_DEVICE").unwrap_or_default();
    match given.as_str() {
        "" | "cpu" => Ok(Device::Cpu),
        "auto" => Ok(Device::detect()),
        other => {
            let ordinal = other.strip_prefix("cuda:").and_then(|n| n.parse().ok());
            let wrong = || Error::refused(format!("CAIRN_DEVICE is `{other}`"), "expected cpu, cuda:0 or auto");
            ordinal.map(|ordinal| Device::Cuda { ordinal }).ok_or_else(wrong)
        }
    }
}

/// Says that a job is being run here.
pub(crate) struct Claim {
    context: Context,
    key: Blake3,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.context.0.running.lock().remove(&self.key);
    }
}
