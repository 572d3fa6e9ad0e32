//! The service and the collector behind every Envoy under load: one Envoy that responds to every request.

use std::path::Path;

use logtracer_harness::envoy::{Envoy, fill};
use logtracer_harness::{Result, ports};

use crate::folder;

pub(crate) struct Service {
    pub(crate) port: u16,
    _envoy: Envoy,
}

impl Service {
    /// Starts the service with its files in `dir`.
    pub(crate) fn start(dir: &Path) -> Result<Service> {
        let (port, admin) = (ports::reserve()?, ports::reserve()?);
        let config = fill(include_str!("service.yaml"), &[("ADMIN", &admin), ("LISTENER", &port)])?;
        let envoy = Envoy::start(&config, admin, &folder(dir, "service")?)?;
        Ok(Service { port, _envoy: envoy })
    }
}
