//! A real Prometheus, which scrapes other programs and evaluates rules.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::process::Process;
use crate::{Error, Result, envoy, ports, wait};

/// A running Prometheus.
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
    client: Client,
}

/// A program that Prometheus scrapes.
pub struct Target {
    /// The address of its metrics.
    pub address: SocketAddr,
    /// Their path.
    pub path: &'static str,
    /// The labels of its series, like those that Kubernetes adds.
    pub labels: Value,
}

impl Prometheus {
    /// Starts Prometheus with its files in `dir`. It scrapes the targets each second, and evaluates a file of rules.
    pub fn start(targets: &[Target], rules: &Path, dir: &Path) -> Result<Prometheus> {
        let jobs: Vec<Value> = targets
            .iter()
            .enumerate()
            .map(|(index, target)| {
                json!({
                    "job_name": format!("target-{index}"),
                    "metrics_path": target.path,
                    "static_configs": [{ "targets": [target.address.to_string()], "labels": target.labels }],
                })
            })
            .collect();
        let config = json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" },
            "rule_files": [rules],
            "scrape_configs": jobs,
        });
        let file = dir.join("prometheus.yaml");
        std::fs::write(&file, config.to_string()).map_err(Error::when(file.display()))?;

        let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()?));
        let mut command = Command::new("prometheus");
        command.arg("--config.file").arg(file).arg("--storage.tsdb.path").arg(dir.join("prometheus"));
        command.args(["--web.listen-address", &address.to_string(), "--log.level", "warn"]);
        let process = Process::start("prometheus", command, dir)
            .map_err(Error::when("run scripts/need prometheus prometheus prometheus"))?;
        let mut prometheus = Prometheus { process, address, client: envoy::client()? };
        wait::try_until("Prometheus' readiness", || {
            prometheus.process.check_running()?;
            let ready = prometheus.client.get(format!("http://{address}/-/ready")).send();
            Ok(ready.is_ok_and(|ready| ready.status() == 200).then_some(()))
        })?;
        Ok(prometheus)
    }

    /// Evaluates an expression now, and returns its series. The error of an invalid expression has Prometheus' message.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>> {
        match self.get("query", &[("query", expression)])?["result"].take() {
            Value::Array(series) => Ok(series),
            other => Err(Error::new(format!("{expression}: not a vector: {other}"))),
        }
    }

    /// Returns the state of every rule, as Prometheus reports it.
    pub fn rules(&self) -> Result<Vec<Value>> {
        let groups = self.get("rules", &[])?["groups"].take();
        let rules = |group: &Value| group["rules"].as_array().cloned().unwrap_or_default();
        Ok(groups.as_array().into_iter().flatten().flat_map(rules).collect())
    }

    fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let url =
            reqwest::Url::parse_with_params(&format!("http://{}/api/v1/{path}", self.address), parameters)
                .map_err(Error::when(path))?;
        let mut body: Value =
            self.client.get(url).send().and_then(|response| response.json()).map_err(Error::when(path))?;
        match body["error"].as_str() {
            None => Ok(body["data"].take()),
            Some(error) => Err(Error::new(error.to_owned())),
        }
    }
}
