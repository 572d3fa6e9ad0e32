//! [`check`]: a request to a service that was built, so that all of them are known to do the same.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use logtracer_harness::origin::Origin;
use logtracer_harness::process::Process;
use logtracer_harness::wire::Connection;
use logtracer_harness::{Error, Result, lines, ports, wait};

use crate::{Kind, Service};

const TRACE_ID: &str = "463ac35c9f6413ad48485a3953bb6124";

/// The path of the call that the service makes.
const CALL: &str = "/items";

/// The lines of a request: one of the handler, one of the layer.
const LINES: usize = 2;

/// Starts a service, sends a request with a trace to it, and looks for the trace in its lines and in its call. Its
/// output is in `folder`.
pub(crate) fn check(program: &Path, service: Service, folder: &Path) -> Result<()> {
    let next = Origin::start()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::reserve()?));
    let mut command = Command::new(program);
    command.env("LISTEN", address.to_string()).env("STOCK", format!("http://{}{CALL}", next.http()));
    command.env_remove("RUST_LOG").env_remove("LOG_LEVEL").env_remove("LOGGING_FORMAT");
    let mut running = Process::start(service.name, command, folder)?;
    let mut connection = wait::try_until("the service listens", || {
        running.check_running()?;
        Ok(Connection::open(address).ok())
    })?;

    connection.send(format!(
        "GET /basket/17 HTTP/1.1\r\nhost: {address}\r\nuser-agent: curl/8.5.0\r\nconnection: close\r\n\
         traceparent: 00-{TRACE_ID}-00f067aa0ba902b7-01\r\n\r\n"
    ))?;
    let response = connection.response()?;
    if response.status() != 200 || response.body != b"200 OK" {
        return Err(Error::new(format!("it responds {response:?}")));
    }
    if service.kind == Kind::Bare {
        return Ok(());
    }
    let has_trace = |headers: &[(String, String)]| headers.iter().any(|(_, value)| value.contains(TRACE_ID));
    let calls = next.requests(CALL);
    if calls.len() != 1 || !has_trace(&calls[0].headers) {
        return Err(Error::new(format!("not one call with the trace: {calls:?}")));
    }
    let written = wait::try_until("its lines", || {
        Ok(Some(lines::read(running.stdout())?).filter(|written| written.len() >= LINES))
    })?;
    match written.iter().find(|line| !line.to_string().contains(TRACE_ID)) {
        Some(line) => Err(Error::new(format!("a line without the trace: {line}"))),
        None => Ok(()),
    }
}
