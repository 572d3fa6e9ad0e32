//! Two services with their sidecars and the exporter: `frontend` calls `backend`, by HTTP and gRPC.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use logtracer_harness::envoy::{self, Envoy};
use logtracer_harness::exporter::Exporter;
use logtracer_harness::{Error, Result, ports};
use tempfile::TempDir;

use crate::kept::SINKS;
use crate::service::DemoService;

/// The Google Cloud project in the lines of the mesh, as in `envoy/mesh.yaml`.
pub const PROJECT: &str = "demo-project";

/// A running mesh. The exporter reads the lines of each program.
pub struct Mesh {
    /// The service that receives requests from outside.
    pub frontend: DemoService,
    /// The service that `frontend` calls.
    pub backend: DemoService,
    /// One Envoy for all sidecars.
    pub envoy: Envoy,
    /// The exporter.
    pub exporter: Exporter,
    entrance: u16,
    _dir: TempDir,
}

impl Mesh {
    /// Starts all programs with the viewer's page at `view` (port 0: any).
    pub fn start(view: &str) -> Result<Mesh> {
        let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
        let path = dir.path();
        let tails = create_log_files(path)?;
        let mut options: Vec<String> =
            ["--view", view].iter().chain(&SINKS).map(ToString::to_string).collect();
        options.extend(tails.iter().flat_map(|file| ["--tail".into(), file.display().to_string()]));
        let exporter = Exporter::start_with_view(&options, path)?;

        let ports = Ports::reserve()?;
        let outbound = SocketAddr::from(([127, 0, 0, 1], ports.frontend_outbound));
        let frontend = DemoService::start("frontend", PROJECT, Some(outbound), path)?;
        let backend = DemoService::start("backend", PROJECT, None, path)?;

        let config = configuration(&ports, frontend.address(), backend.address(), exporter.http())?;
        let envoy = Envoy::start(&config, ports.admin, path)?;
        Ok(Mesh { frontend, backend, envoy, exporter, entrance: ports.frontend_inbound, _dir: dir })
    }

    /// Returns the URL of a path of the frontend for callers from outside.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.entrance)
    }
}

/// The ports of Envoy's listeners.
pub struct Ports {
    admin: u16,
    frontend_inbound: u16,
    frontend_outbound: u16,
    backend_inbound: u16,
}

impl Ports {
    /// Reserves free ports.
    pub fn reserve() -> Result<Ports> {
        Ok(Ports {
            admin: ports::reserve()?,
            frontend_inbound: ports::reserve()?,
            frontend_outbound: ports::reserve()?,
            backend_inbound: ports::reserve()?,
        })
    }
}

/// Returns `envoy/mesh.yaml` with programs on 127.0.0.1 instead of containers.
pub fn configuration(
    ports: &Ports,
    frontend: SocketAddr,
    backend: SocketAddr,
    exporter: SocketAddr,
) -> Result<String> {
    let file = envoy::root().join("envoy/mesh.yaml");
    let mut filled = std::fs::read_to_string(&file).map_err(Error::when(file.display()))?;
    let plugin = format!("\"{}\"", envoy::plugin()?.display());
    for (in_container, here) in [
        ("0.0.0.0, port_value: 9901", loopback(ports.admin)),
        ("0.0.0.0, port_value: 8080", loopback(ports.frontend_inbound)),
        ("0.0.0.0, port_value: 8081", loopback(ports.frontend_outbound)),
        ("127.0.0.1, port_value: 8082", loopback(ports.backend_inbound)),
        ("frontend, port_value: 3000", loopback(frontend.port())),
        ("backend, port_value: 3000", loopback(backend.port())),
        ("exporter, port_value: 4318", loopback(exporter.port())),
        ("/etc/logtracer/plugin.wasm", plugin),
        ("/var/log/logtracer/envoy.log", "/dev/null".to_owned()), // stdout is a file here
    ] {
        if !filled.contains(in_container) {
            return Err(Error::new(format!("{} has no {in_container}", file.display())));
        }
        filled = filled.replace(in_container, &here);
    }
    Ok(filled)
}

fn loopback(port: u16) -> String {
    format!("127.0.0.1, port_value: {port}")
}

/// Creates the files for the stdout of the programs, so that the exporter can follow them from the start.
fn create_log_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let files = ["frontend.out", "envoy.out", "backend.out"].map(|name| dir.join(name));
    for file in &files {
        std::fs::write(file, "").map_err(Error::when(file.display()))?;
    }
    Ok(files.to_vec())
}
