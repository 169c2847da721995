//! moto's server, which speaks S3, as a process of its own on a free port.

use cairn_tests::outside::run;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The variable that names the server's process to a test that runs beside it.
const PROCESS: &str = "CAIRN_TEST_S3_PROCESS";

struct Server {
    child: Child,
    endpoint: String,
    python: std::path::PathBuf,
}

/// Makes the buckets with boto3, the client that comes with moto.
const CREATE: &str = "
import boto3, sys
s3 = boto3.client('s3', endpoint_url=sys.argv[1])
s3.create_bucket(Bucket='plain')
s3.create_bucket(Bucket='versioned')
s3.put_bucket_versioning(Bucket='versioned', VersioningConfiguration={'Status': 'Enabled'})
";

impl Server {
    /// `None`, with the reason printed, where it cannot be had.
    fn start() -> Option<Self> {
        let requirements = cairn_tests::root().join("tests/object_store/requirements.txt");
        let python = match cairn_tests::outside::python("python-moto", 11, &requirements) {
            Ok(python) => python,
            Err(why) => {
                cairn_tests::outside::skipped("the S3-compatible server", &why);
                return None;
            }
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(python.with_file_name("moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let server = Self { child, endpoint: format!("http://127.0.0.1:{port}"), python };
        server.wait_until_it_answers(port);
        Some(server)
    }

    fn wait_until_it_answers(&self, port: u16) {
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the server did not answer on port {port}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", "test".into()),
            ("AWS_SECRET_ACCESS_KEY", "test".into()),
            ("AWS_DEFAULT_REGION", "us-east-1".into()),
        ]
    }

    fn create_buckets(&self) {
        let mut command = Command::new(&self.python);
        command.args(["-c", CREATE, &self.endpoint]).envs(self.variables());
        run(&mut command).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the body of a test in a process of its own, whose `AWS_` variables point at a fresh server with the buckets
/// `plain` and `versioned`. The body may stop the server.
pub(crate) fn with_server(test: &str, body: impl FnOnce(&dyn Fn())) {
    if let Ok(process) = std::env::var(PROCESS) {
        return body(&|| drop(run(Command::new("kill").args(["-9", &process])).unwrap()));
    }
    let Some(server) = Server::start() else { return };
    server.create_buckets();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test, "--nocapture"]).envs(server.variables()).env(PROCESS, server.child.id().to_string());
    let said = String::from_utf8_lossy(&run(&mut again).unwrap_or_else(|e| panic!("{e}"))).into_owned();
    assert!(said.contains("1 passed"), "{said}");
}
