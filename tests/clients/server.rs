//! `cairn serve` as a process of its own, on a data directory that goes away with it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

pub(crate) struct Server {
    /// Goes away with the server.
    _folder: tempfile::TempDir,
    child: Child,
    pub(crate) url: String,
}

impl Server {
    /// Runs these commands on a fresh data directory, then serves it.
    /// `more` are arguments of `cairn serve`.
    pub(crate) fn start(commands: &[[String; 5]], more: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for arguments in commands {
            cairn_tests::outside::run(cairn(&folder).args(arguments)).unwrap_or_else(|e| panic!("{e}"));
        }
        let mut serve = cairn(&folder);
        serve.args(["serve", "--listen", "127.0.0.1:0"]).args(more).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = serve.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        let url = said.split_whitespace().find(|word| word.starts_with("http://"));
        let url = url.unwrap_or_else(|| panic!("it did not say where it listens: {said}")).to_owned();
        Self { _folder: folder, child, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cairn(folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command.current_dir(folder.path()).arg("--data").arg(folder.path().join("data")).stdin(Stdio::null());
    command.env("CAIRN_ORT_LIB", cairn_tests::root().join(".cache/onnxruntime/libonnxruntime.so"));
    command
}
