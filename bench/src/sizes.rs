//! Bytes of a span and of a line with the configuration of `envoy/envoy.yaml`.
//!
//! ```text
//! h2load ──► Envoy ──► service
//!              │ lines and spans
//!              ▼
//!           exporter ──► its store, and an unavailable sink, whose spans stay in the outbox
//! ```

use std::time::Duration;

use logtracer_harness::envoy::{Envoy, reference};
use logtracer_harness::exporter::Exporter;
use logtracer_harness::{Error, Result, ports, wait};

use crate::filter::setup;
use crate::folder;
use crate::h2load::{self, CONNECTIONS};
use crate::service::Service;

/// A wait that is longer than the ten seconds between two measurements of the exporter's store.
const STORE_MEASUREMENT: Duration = Duration::from_secs(12);

/// Mean bytes of one of many that differ only in ids and times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sizes {
    /// A span in the outbox.
    pub outbox_span: f64,
    /// A span in the store.
    pub store_span: f64,
    /// A line on stdout.
    pub line: f64,
}

/// Sends `requests` requests, each in a new trace, and measures their lines and spans.
pub fn measure(requests: u64) -> Result<Sizes> {
    let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
    let service = Service::start(dir.path())?;
    let unavailable = format!("otlp=http://127.0.0.1:{}", ports::reserve()?);
    let options = ["--sink", "store", "--sink", &unavailable].map(str::to_owned);
    let exporter = Exporter::start_with(&options, &folder(dir.path(), "exporter")?)?;
    let (port, admin) = (ports::reserve()?, ports::reserve()?);
    let config = reference(port, admin, service.port, exporter.http().port())?;
    let envoy = Envoy::start(&config, admin, &folder(dir.path(), "envoy")?)?;

    h2load::send_new_traces(port, CONNECTIONS, requests)?;
    let all = requests as f64;
    wait::try_until("every line, and every span in the store", || {
        let is_done =
            exporter.metric("spans_delivered_total")? == all && setup::lines_in(envoy.stdout())? == requests;
        Ok(is_done.then_some(()))
    })?;
    std::thread::sleep(STORE_MEASUREMENT);
    let lines = envoy.stdout().metadata().map_err(Error::when("the lines"))?.len();
    Ok(Sizes {
        outbox_span: exporter.metric("outbox_bytes")? / all,
        store_span: exporter.metric("store_bytes")? / all,
        line: lines as f64 / all,
    })
}
