//! rotel, an OpenTelemetry collector that is not ours: what the exporter is measured beside, and what reads its OTLP.

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
    /// Starts the agent with these options beside those for its addresses.
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

    /// Where it takes OTLP/HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it takes OTLP/gRPC.
    pub fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

/// The agent: `ROTEL`, else the one that `scripts/rotel` has got.
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
