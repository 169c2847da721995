//! What computed a run: the program by name, version and digest, and the library, device and CPU it ran on.

use crate::Error;
use cairn_gpu::{Environment, Runtime};
use cairn_schemas::{Blake3, RawJson};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::sync::OnceLock;

/// The program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    pub name: String,
    pub version: String,
    /// BLAKE3 of the executable file; absent where the system does not say which it is.
    pub executable: Option<Blake3>,
}

/// This program. The executable is read once a process.
pub fn code() -> &'static Code {
    static CODE: OnceLock<Code> = OnceLock::new();
    CODE.get_or_init(|| Code {
        name: "cairn".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        executable: executable_digest(),
    })
}

fn executable_digest() -> Option<Blake3> {
    // On Linux the running file itself, even where its path has since been given to another build.
    let mut file =
        std::fs::File::open("/proc/self/exe").or_else(|_| std::fs::File::open(std::env::current_exe()?)).ok()?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(Blake3::from_bytes(*hasher.finalize().as_bytes())),
            read => hasher.update(&buffer[..read]),
        };
    }
}

/// Library, device, threads and instruction sets, as recorded with a run.
pub fn environment(runtime: &Runtime) -> RawJson {
    RawJson::of(&described(&runtime.describe()))
}

fn described(environment: &Environment) -> serde_json::Value {
    serde_json::json!({
        "library": "onnxruntime",
        "library_version": environment.library_version,
        "library_digest": environment.library_digest,
        "device": environment.device,
        "threads": environment.threads,
        "cpu_flags": environment.cpu_flags,
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
    })
}

/// Where two recorded environments differ: `threads: 2, here 4`.
pub fn differences(recorded: &RawJson, here: &RawJson) -> Vec<String> {
    let (recorded, here) = (recorded.to_value(), here.to_value());
    let empty = serde_json::Map::new();
    let (recorded, here) = (recorded.as_object().unwrap_or(&empty), here.as_object().unwrap_or(&empty));
    let mut keys: Vec<&String> = recorded.keys().chain(here.keys()).collect();
    keys.sort();
    keys.dedup();
    let missing = serde_json::Value::Null;
    let value = |map: &serde_json::Map<String, serde_json::Value>, key: &str| map.get(key).unwrap_or(&missing).clone();
    keys.into_iter()
        .filter(|key| value(recorded, key) != value(here, key))
        .map(|key| format!("{key}: recorded {}, here {}", value(recorded, key), value(here, key)))
        .collect()
}

/// Where the recorded program differs from this one.
pub(crate) fn program_differences(recorded: &RawJson) -> Vec<String> {
    let differences = differences(recorded, &RawJson::of(code()));
    differences.into_iter().map(|difference| format!("program {difference}")).collect()
}

/// A digest read from the hexadecimal text that the device crate gives.
pub(crate) fn digest(hex: &str) -> Result<Blake3, Error> {
    Ok(hex.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_knows_its_own_digest() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(code().executable, Some(Blake3::of(&own)));
    }

    #[test]
    fn differences_name_key_and_both_values() {
        let recorded = RawJson::parse(r#"{"threads":2,"device":"cpu","gone":1}"#).unwrap();
        let here = RawJson::parse(r#"{"threads":4,"device":"cpu"}"#).unwrap();
        assert_eq!(differences(&recorded, &here), ["gone: recorded 1, here null", "threads: recorded 2, here 4"]);
        assert!(differences(&here, &here).is_empty());
    }
}
