//! Bytes of a span and of a line, where `envoy/envoy.yaml` is all that is configured.
//!
//! ```text
//! h2load ──► Envoy ──► an Envoy that answers everything
//!              │ lines and spans
//!              ▼
//!           exporter ──► its store, and a sink that never answers, for which the spans wait in the outbox
//! ```

use std::time::Duration;

use super::{CONNECTIONS, folder, load, setup};
use crate::envoy::{Envoy, fill, reference};
use crate::exporter::Exporter;
use crate::{Error, Result, ports, wait};

/// The exporter looks every ten seconds how large its store is.
const STORE_IS_MEASURED: Duration = Duration::from_secs(12);

/// Bytes of one of many that are alike but for their ids and times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sizes {
    /// Of a span that waits in the outbox.
    pub outbox_span: f64,
    /// Of a span in the store.
    pub store_span: f64,
    /// Of a line on stdout.
    pub line: f64,
}

/// Sends `requests` requests, each a trace of its own, and measures what they leave.
pub fn sizes(requests: u64) -> Result<Sizes> {
    let dir = tempfile::tempdir().map_err(Error::when("a temporary folder"))?;
    let (service, service_admin) = (ports::reserve()?, ports::reserve()?);
    let config = fill(include_str!("service.yaml"), &[("ADMIN", &service_admin), ("LISTENER", &service)])?;
    let _service = Envoy::start(&config, service_admin, &folder(dir.path(), "service")?)?;
    let nobody = format!("otlp=http://127.0.0.1:{}", ports::reserve()?);
    let options = ["--sink", "store", "--sink", &nobody].map(str::to_owned);
    let exporter = Exporter::start_with(&options, &folder(dir.path(), "exporter")?)?;
    let (port, admin) = (ports::reserve()?, ports::reserve()?);
    let config = reference(port, admin, service, exporter.http().port())?;
    let envoy = Envoy::start(&config, admin, &folder(dir.path(), "envoy")?)?;

    load::send_new_traces(port, CONNECTIONS, requests)?;
    let all = requests as f64;
    wait::try_until("every line, and every span in the store", || {
        let is_done =
            exporter.metric("spans_delivered_total")? == all && setup::lines_in(envoy.stdout())? == requests;
        Ok(is_done.then_some(()))
    })?;
    std::thread::sleep(STORE_IS_MEASURED);
    let lines = envoy.stdout().metadata().map_err(Error::when("the lines"))?.len();
    Ok(Sizes {
        outbox_span: exporter.metric("outbox_bytes")? / all,
        store_span: exporter.metric("store_bytes")? / all,
        line: lines as f64 / all,
    })
}
