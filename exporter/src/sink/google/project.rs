//! The Google Cloud project of a resource, and that of the exporter.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use reqwest::Client;
use serde::Deserialize;
use tokio::time::Instant;

use super::super::http;
use super::credentials::Auth;
use super::metadata_server;
use crate::deliver::{Chunk, DeliveryError};
use crate::log::{self, Value};
use crate::reload::{check_file, read_file};

/// A valid project id, which is safe in a URL path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProjectId(String);

impl ProjectId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ProjectId {
    type Err = String;

    /// Parses lower-case letters, digits and hyphens, optionally after a domain and a colon. A project number is valid, too.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_valid = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b':');
        let ends = text.bytes().next().zip(text.bytes().last());
        let is_name =
            ends.is_some_and(|(first, last)| first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric());
        if is_name && text.len() <= 100 && text.bytes().all(is_valid) {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected a project id, such as my-project-1".to_owned())
        }
    }
}

/// The resource attribute that names a project.
pub(crate) const ATTRIBUTE: &str = "gcp.project_id";

/// Returns the project that a resource names. The resource is a `Resource` as protobuf.
pub(crate) fn of_resource(resource: &[u8]) -> Option<ProjectId> {
    Resource::decode(resource).ok().and_then(|resource| named(&resource))
}

/// Returns the project that a resource names.
pub(crate) fn named(resource: &Resource) -> Option<ProjectId> {
    let attribute = resource.attributes.iter().rfind(|attribute| attribute.key == ATTRIBUTE)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Any::StringValue(name) => name.parse().ok(),
        _ => None,
    }
}

/// Finds the project in the option, the environment, the credentials file, or the metadata server, in this order.
pub(super) async fn find(option: Option<&ProjectId>, auth: Auth) -> anyhow::Result<ProjectId> {
    if let Some(project) = option {
        return Ok(project.clone());
    }
    for name in ["GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"] {
        if let Ok(value) = std::env::var(name)
            && !value.is_empty()
        {
            return value.parse().map_err(anyhow::Error::msg).with_context(|| format!("invalid {name}"));
        }
    }
    const UNKNOWN: &str = "unknown Google Cloud project: set --project ID";
    if auth == Auth::None {
        bail!(UNKNOWN);
    }
    let in_file = credentials_file().and_then(|file| file.project_id.or(file.quota_project_id)?.parse().ok());
    match in_file {
        Some(project) => Ok(project),
        None => wait_for_metadata_server(&http::direct_client()?).await.context(UNKNOWN),
    }
}

/// How long to wait for the metadata server, which can start after the pod.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

async fn wait_for_metadata_server(client: &Client) -> anyhow::Result<ProjectId> {
    let deadline = Instant::now() + METADATA_TIMEOUT;
    loop {
        let project = metadata_server::value(client, "project/project-id").await;
        match project.and_then(|project| project.parse().map_err(anyhow::Error::msg)) {
            Err(error) if Instant::now() + RETRY_INTERVAL < deadline => {
                log::warn(
                    "metadata server unavailable, retrying",
                    &[("error", Value::Fmt(format_args!("{error:#}")))],
                );
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            result => return result,
        }
    }
}

/// The fields that are read from a credentials file.
#[derive(Debug, Deserialize)]
struct CredentialsFile {
    #[serde(rename = "type")]
    kind: Option<String>,
    project_id: Option<String>,
    quota_project_id: Option<String>,
    credential_source: Option<CredentialSource>,
}

/// The source of the token that is exchanged in Workload Identity Federation.
#[derive(Debug, Deserialize)]
struct CredentialSource {
    file: Option<PathBuf>,
}

/// Returns the path of the file of Application Default Credentials (<https://google.aip.dev/auth/4110>).
fn credentials_path() -> Option<PathBuf> {
    match std::env::var_os("GOOGLE_APPLICATION_CREDENTIALS") {
        Some(path) => Some(PathBuf::from(path)),
        None => {
            let home = PathBuf::from(std::env::var_os("HOME")?);
            Some(home.join(".config/gcloud/application_default_credentials.json"))
        }
    }
}

fn credentials_file() -> Option<CredentialsFile> {
    serde_json::from_slice(&read_file(&credentials_path()?).ok()?).ok()
}

/// Checks the files that Google's crate reads: the credentials, and the token that they name.
pub(super) fn check_credentials_file() -> anyhow::Result<()> {
    if let Some(path) = credentials_path() {
        if path.as_os_str().is_empty() {
            bail!("GOOGLE_APPLICATION_CREDENTIALS is empty: set it to the path of a file, or unset it");
        }
        check_file(&path)?;
    }
    let token = credentials_file().and_then(|file| file.credential_source?.file);
    token.map_or(Ok(()), |path| check_file(&path))
}

pub(super) fn has_credentials_file() -> bool {
    credentials_file().is_some()
}

/// Returns true if the file has the credentials of a user and names no quota project.
pub(super) fn is_user_without_quota_project() -> bool {
    credentials_file().is_some_and(|file| {
        file.kind.as_deref() == Some("authorized_user") && file.quota_project_id.is_none()
    })
}

/// Returns the project of all resources that have items. A chunk with several projects has to be split.
pub(in crate::sink) fn project_of(chunk: &Chunk, default: &ProjectId) -> Result<ProjectId, DeliveryError> {
    let mut project = None;
    for envelope in chunk.envelopes() {
        let envelope = envelope.map_err(|reason| DeliveryError::Rejected { reason })?;
        for resource_items in envelope.resources.iter().filter(|items| items.has_items()) {
            let resource = resource_items.resource.as_deref().unwrap_or_default();
            let named = of_resource(resource).unwrap_or_else(|| default.clone());
            if project.get_or_insert_with(|| named.clone()) != &named {
                return Err(DeliveryError::Split { chunks: split_by_project(chunk, default) });
            }
        }
    }
    Ok(project.unwrap_or_else(|| default.clone()))
}

/// Splits a chunk into one for each project.
pub(in crate::sink) fn split_by_project(chunk: &Chunk, default: &ProjectId) -> Vec<Chunk> {
    let key = |resource: &[u8]| of_resource(resource).unwrap_or_else(|| default.clone());
    chunk.by_resource(key).into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

    #[test]
    fn ids_are_checked() {
        for text in ["my-project-1", "example.com:shop", "123456789"] {
            assert_eq!(text.parse::<ProjectId>().unwrap().as_str(), text);
        }
        for text in ["", "-", "My-Project", "a/b", "a b", "..", "a?b", "a-"] {
            assert!(text.parse::<ProjectId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_resource_names_its_project() {
        let resource = |key: &str, value| Resource {
            attributes: vec![KeyValue {
                key: key.to_owned(),
                value: Some(AnyValue { value: Some(value) }),
                key_strindex: 0,
            }],
            ..Default::default()
        };
        let text = |text: &str| Any::StringValue(text.to_owned());
        for (resource, project) in [
            (resource(ATTRIBUTE, text("shop-1")), Some("shop-1")),
            (resource(ATTRIBUTE, text("../shop")), None),
            (resource(ATTRIBUTE, Any::IntValue(5)), None),
            (resource("service.name", text("shop-1")), None),
        ] {
            let found = of_resource(&resource.encode_to_vec());
            assert_eq!(found.as_ref().map(ProjectId::as_str), project);
        }
        assert_eq!(of_resource(b"\xff"), None);
    }
}
