//! The stack of `envoy/docker-compose.yaml`, on free ports of this host.

use std::process::Command;

use logtracer_harness::envoy::{self, Admin};
use logtracer_harness::store::Store;
use logtracer_harness::{Error, Result, lines, ports, wait};
use serde_json::Value;

use super::docker::{compose, docker, logs, run};

/// The services that print lines.
pub(super) const SERVICES: [&str; 5] = ["envoy", "frontend", "backend", "exporter", "cloud-trace"];

/// The service that rotates Envoy's file of lines, and the size at which it does: small, so that it rotates often.
pub(super) const PAGE_LOG: &str = "page-log";
pub(super) const PAGE_LOG_BYTES: u64 = 64 << 10;

/// A running stack, which is removed when the value is dropped.
pub(super) struct Stack {
    project: String,
    entrance: u16,
    admin: u16,
    page: u16,
    cloud_trace: u16,
}

impl Stack {
    /// Starts the stack under a unique name and waits until it serves requests.
    pub(super) fn start() -> Result<Stack> {
        let stack = Stack {
            project: format!("logtracer-test-{}", std::process::id()),
            entrance: ports::reserve()?,
            admin: ports::reserve()?,
            page: ports::reserve()?,
            cloud_trace: ports::reserve()?,
        };
        envoy::plugin()?;
        let up = run(stack.compose()?.args(["up", "--detach", "--no-build"])).map(drop);
        // The logs of the containers are lost when this value is dropped.
        let ready = up.and_then(|()| stack.wait_until_ready());
        ready.map_err(|cause| Error::new(format!("{cause}\n{}", stack.tail())))?;
        Ok(stack)
    }

    fn compose(&self) -> Result<Command> {
        let mut command = compose()?;
        command.arg("--file").arg(envoy::root().join("envoy/docker-compose.yaml"));
        command.args(["--project-name", &self.project, "--profile", "cloud-trace"]);
        command.env("SINKS", "store,cloud-trace").env("PAGE_LOG_BYTES", PAGE_LOG_BYTES.to_string());
        for (name, port) in [
            ("ENTRANCE", self.entrance),
            ("ADMIN", self.admin),
            ("PAGE", self.page),
            ("CLOUD_TRACE", self.cloud_trace),
        ] {
            command.env(name, port.to_string());
        }
        Ok(command)
    }

    /// Waits until Envoy and exporter are ready.
    pub(super) fn wait_until_ready(&self) -> Result<()> {
        wait::try_until("Envoy's readiness", || Ok(self.admin().is_ready()?.then_some(())))?;
        let ready = format!("{}readyz", self.store().page);
        let client = envoy::client()?;
        wait::until("the exporter's readiness", || {
            client.get(&ready).send().ok().filter(|answer| answer.status() == 200).map(drop)
        })
    }

    /// The URL that callers connect to, without a slash at its end.
    pub(super) fn entrance(&self) -> String {
        format!("http://127.0.0.1:{}", self.entrance)
    }

    /// The admin interface of Envoy.
    pub(super) fn admin(&self) -> Admin {
        Admin(self.admin)
    }

    /// The exporter's store.
    pub(super) fn store(&self) -> Store {
        Store { page: format!("http://127.0.0.1:{}/", self.page) }
    }

    /// The URL of the spans that Cloud Trace has.
    pub(super) fn cloud_trace(&self) -> String {
        format!("http://127.0.0.1:{}/spans", self.cloud_trace)
    }

    /// The id of a service's container.
    pub(super) fn container(&self, service: &str) -> Result<String> {
        let of = |label: &str, value: &str| format!("label=com.docker.compose.{label}={value}");
        let (project, service) = (of("project", &self.project), of("service", service));
        docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &project, "--filter", &service])
    }

    /// The result of its health check: `starting`, `healthy` or `unhealthy`.
    pub(super) fn health(&self, service: &str) -> Result<String> {
        docker(&["inspect", "--format", "{{.State.Health.Status}}", &self.container(service)?])
    }

    /// The network over which Envoy reaches the exporter.
    pub(super) fn telemetry(&self) -> String {
        format!("{}_telemetry", self.project)
    }

    /// The stdout of a service: each line is one JSON object.
    pub(super) fn lines(&self, service: &str) -> Result<Vec<Value>> {
        let (stdout, _) = logs(&self.container(service)?)?;
        stdout.lines().map(lines::parse).collect()
    }

    /// The last lines of all services, to find the cause of a failure.
    pub(super) fn tail(&self) -> String {
        const LAST: usize = 25;
        let mut text = String::new();
        for service in SERVICES {
            let (stdout, stderr) = match self.container(service).and_then(|container| logs(&container)) {
                Ok(printed) => printed,
                Err(cause) => (String::new(), cause.to_string()),
            };
            for (stream, printed) in [("stdout", stdout), ("stderr", stderr)] {
                let lines: Vec<&str> = printed.lines().collect();
                let skipped = lines.len().saturating_sub(LAST);
                text.push_str(&format!(
                    "\n--- {service}, {stream}: {} of {} lines\n",
                    lines.len() - skipped,
                    lines.len()
                ));
                for line in &lines[skipped..] {
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        text
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let down = self.compose().and_then(|mut command| {
            run(command.args(["down", "--volumes", "--remove-orphans", "--timeout", "5"]))
        });
        if let Err(cause) = down {
            eprintln!("logtracer-envoy-test: cannot remove the stack: {cause}");
        }
    }
}
