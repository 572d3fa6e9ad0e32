//! The metadata server of a machine in Google Cloud
//! (<https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys>).
//!
//! No call to it uses a proxy: that of another machine would describe that machine.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::Client;
use tokio::time::{sleep, timeout};

use super::super::http;

/// How long the attributes of this machine are waited for.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The size of a value. Names and numbers are shorter.
const MAX_VALUE_BYTES: usize = 4096;

/// Returns a value, without white space around it.
///
/// # Errors
///
/// There is no metadata server, or it does not have the value.
pub(super) async fn value(client: &Client, path: &str) -> anyhow::Result<String> {
    let host = std::env::var("GCE_METADATA_HOST").ok().filter(|host| !host.is_empty());
    let host = host.as_deref().unwrap_or("metadata.google.internal");
    let response = client
        .get(format!("http://{host}/computeMetadata/v1/{path}"))
        .header("metadata-flavor", "Google")
        .timeout(Duration::from_secs(5))
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .context("no metadata server")?;
    if response.headers().get("metadata-flavor").is_none_or(|value| value != "Google") {
        bail!("the server at {host} is not a metadata server");
    }
    let (text, is_cut) = http::read(response, MAX_VALUE_BYTES)
        .await
        .context("failed to read the response of the metadata server")?;
    if is_cut {
        return Err(anyhow!("the metadata server has more than {MAX_VALUE_BYTES} bytes at {path}"));
    }
    let text = std::str::from_utf8(&text).context("invalid response of the metadata server")?;
    Ok(text.trim().to_owned())
}

/// Returns the attributes of this machine as OpenTelemetry names them
/// (<https://opentelemetry.io/docs/specs/semconv/resource/cloud/>), or none if no metadata server responds in time.
pub(crate) async fn attributes() -> Vec<(&'static str, String)> {
    const PAUSE: Duration = Duration::from_millis(500);
    let Ok(client) = http::direct_client() else { return Vec::new() };
    let read = async {
        loop {
            match machine(&client).await {
                Ok(attributes) => return attributes,
                // It can start after the pod.
                Err(_) => sleep(PAUSE).await,
            }
        }
    };
    timeout(MAX_WAIT, read).await.unwrap_or_default()
}

async fn machine(client: &Client) -> anyhow::Result<Vec<(&'static str, String)>> {
    let id = value(client, "instance/id").await?;
    // `projects/123/zones/europe-west1-b`
    let zone = value(client, "instance/zone").await?;
    let zone = zone.rsplit('/').next().unwrap_or_default();
    let region = zone.rsplit_once('-').map_or(zone, |(region, _)| region);
    let name = value(client, "instance/name").await.unwrap_or_default();
    let project = value(client, "project/project-id").await?;
    // Only a node of GKE has one.
    let cluster = value(client, "instance/attributes/cluster-name").await.unwrap_or_default();
    let node = if cluster.is_empty() { "" } else { &name };
    let platform = if cluster.is_empty() { "gcp_compute_engine" } else { "gcp_kubernetes_engine" };
    let attributes = [
        ("cloud.provider", "gcp"),
        ("cloud.platform", platform),
        ("cloud.account.id", &project),
        ("cloud.region", region),
        ("cloud.availability_zone", zone),
        ("host.id", &id),
        ("host.name", &name),
        ("k8s.cluster.name", &cluster),
        ("k8s.node.name", node),
    ];
    let known = attributes.into_iter().filter(|(_, value)| !value.is_empty());
    Ok(known.map(|(key, value)| (key, value.to_owned())).collect())
}
