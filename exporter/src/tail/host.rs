//! [`Host`]: the machine whose log files are read, which sinks need to know.

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use crate::sink::google::{ProjectId, metadata_server};
use crate::sink::http_client;

/// How long the metadata server is waited for. The lines wait as long.
const METADATA_WAIT: Duration = Duration::from_secs(2);

/// The machine whose log files are read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    /// The attributes of the resource of each line, as OpenTelemetry names them.
    pub(super) attributes: Vec<KeyValue>,
    /// The project of the Google Cloud sinks, if an option names it.
    pub(super) project: Option<ProjectId>,
}

impl Host {
    /// Asks the system and, on a machine that may be in Google Cloud, the metadata server.
    pub(crate) async fn detect(project: Option<ProjectId>, may_be_in_google_cloud: bool) -> Self {
        let mut attributes = Vec::new();
        if may_be_in_google_cloud && let Ok(client) = http_client() {
            attributes = metadata_server::attributes(&client, METADATA_WAIT).await;
        }
        if !attributes.iter().any(|(key, _)| *key == "host.name") {
            let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
            attributes.extend((!name.is_empty()).then_some(("host.name", name)));
        }
        let attributes = attributes.into_iter().map(|(key, value)| attribute(key, value)).collect();
        Self { attributes, project }
    }
}

pub(super) fn attribute(key: &str, value: String) -> KeyValue {
    let value = Some(AnyValue { value: Some(Any::StringValue(value)) });
    KeyValue { key: key.to_owned(), value, key_strindex: 0 }
}
