//! The program `demo-service`: a service with the SDK.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use logtracer_harness::Result;
use logtracer_harness::process::{Process, sibling};

/// A running `demo-service`.
pub struct DemoService {
    process: Process,
    address: SocketAddr,
}

impl DemoService {
    /// Starts the service as `name`. It sends its own requests to `calls`.
    pub fn start(name: &str, project: &str, calls: Option<SocketAddr>, dir: &Path) -> Result<DemoService> {
        let mut command = Command::new(sibling("demo-service")?);
        command.args(["--name", name, "--project", project, "--listen", "127.0.0.1:0"]);
        if let Some(calls) = calls {
            command.args(["--calls", &format!("http://{calls}")]);
        }
        let mut process = Process::start(name, command, dir)?;
        let address = process.wait_until_ready()?.address("listen")?;
        Ok(DemoService { address, process })
    }

    /// The address of its listener.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file of its stdout, which holds its log lines.
    pub fn stdout(&self) -> &Path {
        self.process.stdout()
    }
}
