//! Runs the services of an example as processes of their own, so that one command shows the trace of several services.
//!
//! Nothing here is needed in a service: the files beside this folder show what a service does.

#![allow(dead_code, reason = "no example uses all of it")]

mod received;

use std::error::Error;
use std::future::Future;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command};

use tokio::signal::unix::{SignalKind, signal};

use received::Received;

/// OpenTelemetry's variable for the address that spans are sent to.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// The running services, and the spans of all.
pub(crate) struct Services {
    running: Vec<Child>,
    endpoint: String,
    /// Empty if the spans are sent elsewhere.
    received: Received,
}

impl Services {
    /// Receives spans and shows them at the end, unless `OTEL_EXPORTER_OTLP_ENDPOINT` is the address of an exporter.
    pub(crate) async fn new() -> std::io::Result<Self> {
        let received = Received::default();
        let endpoint = match endpoint() {
            Some(endpoint) => endpoint,
            None => received.serve().await?,
        };
        Ok(Self { running: Vec::new(), endpoint, received })
    }

    /// The address to send spans to.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Starts this program again, with the name of a service and the URL of the one that it calls; returns its URL.
    pub(crate) fn start(&mut self, service: &str, calls: &str) -> std::io::Result<String> {
        // The service gets the open socket, so it can be called before it is ready.
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let mut command = Command::new(std::env::current_exe()?);
        command.args([service, calls]).env(ENDPOINT, &self.endpoint).stdin(OwnedFd::from(listener));
        self.running.push(command.spawn()?);
        Ok(url)
    }

    /// Stops the services, the last one first, and shows the spans on stderr, because stdout has the log lines.
    pub(crate) fn stop(mut self) -> Result<(), Box<dyn Error>> {
        while let Some(mut service) = self.running.pop() {
            // The standard library cannot send SIGTERM.
            Command::new("sh").args(["-c", "kill $0", &service.id().to_string()]).status()?;
            let status = service.wait()?;
            if !status.success() {
                return Err(format!("a service ended with {status}").into());
            }
        }
        match self.received.tree() {
            tree if tree.is_empty() => eprintln!("\nThe spans are at {}", self.endpoint),
            tree => eprint!("\n{tree}"),
        }
        Ok(())
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for service in &mut self.running {
            let _ = service.kill();
        }
    }
}

/// Returns the address to send spans to, if the environment has one.
pub(crate) fn endpoint() -> Option<String> {
    std::env::var(ENDPOINT).ok().filter(|endpoint| !endpoint.is_empty())
}

/// Returns the socket that [`Services::start`] has opened. A service binds one of its own.
pub(crate) fn listener() -> std::io::Result<tokio::net::TcpListener> {
    let listener = TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// Completes on SIGTERM, which Kubernetes sends before it ends a container.
pub(crate) fn stopped() -> impl Future<Output = ()> {
    // Registered now, because a service may be stopped before it waits.
    let terminate = signal(SignalKind::terminate());
    async {
        match terminate {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(_) => std::future::pending().await,
        }
    }
}
