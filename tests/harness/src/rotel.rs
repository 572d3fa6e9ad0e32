//! rotel, another OpenTelemetry collector: the benches compare the exporter with it, and a test sends OTLP to it.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;
use crate::{Error, Result, envoy, ports, wait};

/// A running agent.
pub struct Rotel {
    process: Process,
    http: SocketAddr,
    grpc: SocketAddr,
}

impl Rotel {
    /// Starts the agent with options, on free ports.
    pub fn start(name: &str, program: &Path, options: &[&str], dir: &Path) -> Result<Rotel> {
        let address = || ports::reserve().map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let (http, grpc) = (address()?, address()?);
        let mut command = Command::new(program);
        command.arg("start").args(options);
        command.args(["--otlp-http-endpoint", &http.to_string()]);
        command.args(["--otlp-grpc-endpoint", &grpc.to_string()]);
        let mut process = Process::start(name, command, dir)?;
        wait::try_until("rotel's addresses", || {
            process.check_running()?;
            Ok(TcpStream::connect(http).and_then(|_| TcpStream::connect(grpc)).ok())
        })?;
        Ok(Rotel { process, http, grpc })
    }

    /// The address of OTLP/HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The address of OTLP/gRPC.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

/// Returns the path of the agent: `ROTEL`, else the program that `scripts/rotel` downloads.
pub fn program() -> Result<PathBuf> {
    let program = match std::env::var_os("ROTEL") {
        Some(path) => PathBuf::from(path),
        None => envoy::root().join("build/rotel/rotel-agent"),
    };
    if program.is_file() {
        return Ok(program);
    }
    Err(Error::new(format!(
        "no rotel at {}; run scripts/rotel, or set ROTEL=/path/to/rotel-agent",
        program.display()
    )))
}
