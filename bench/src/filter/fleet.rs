//! [`Fleet`]: an Envoy for each set-up, all in front of the same service.

use logtracer_harness::envoy::Envoy;
use logtracer_harness::{Error, Result, ports};
use tempfile::TempDir;

use super::setup::Surroundings;
use super::{Effort, Setup};
use crate::folder;
use crate::h2load::Load;
use crate::service::Service;

pub(super) struct Fleet {
    pub(super) envoys: Vec<Member>,
    _service: Service,
    _dir: TempDir,
}

/// One Envoy.
pub(super) struct Member {
    pub(super) setup: Setup,
    pub(super) envoy: Envoy,
    port: u16,
    /// The requests so far.
    sent: u64,
}

impl Fleet {
    /// Starts an Envoy for each set-up, each with a number of worker threads.
    pub(super) fn start(setups: &[Setup], workers: u8, effort: &Effort) -> Result<Self> {
        let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
        let service = Service::start(dir.path())?;
        let around = Surroundings::new(service.port, &effort.empty_filter);
        let start = |(index, setup): (usize, &Setup)| {
            let (port, admin) = (ports::reserve()?, ports::reserve()?);
            let config = setup.configuration(port, admin, &around)?;
            let dir = folder(dir.path(), &format!("{index}"))?;
            let envoy = Envoy::start_with_workers(workers, &config, admin, &dir)?;
            Ok(Member { setup: *setup, envoy, port, sent: 0 })
        };
        let envoys = setups.iter().enumerate().map(start).collect::<Result<_>>()?;
        Ok(Self { envoys, _service: service, _dir: dir })
    }

    /// Waits until each Envoy has written its lines and sent its spans.
    pub(super) fn check(&self) -> Result<()> {
        self.envoys.iter().try_for_each(|member| member.setup.check(&member.envoy, member.sent))
    }
}

impl Member {
    pub(super) fn send(&mut self, load: Load, requests: u64) -> Result<()> {
        self.sent += requests;
        load.send(self.port, requests)
    }
}
