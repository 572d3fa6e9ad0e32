//! [`Host`]: the machine whose log files are read, which sinks need to know.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

/// The machine whose log files are read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    /// The attributes of the resource of each line, as OpenTelemetry names them.
    pub(super) attributes: Vec<KeyValue>,
    /// The project of the Google Cloud sinks, if an option names it.
    pub(super) project: Option<String>,
}

impl Host {
    /// Adds the name of the host, if it is not among the attributes.
    pub(crate) fn new(mut attributes: Vec<(&'static str, String)>, project: Option<String>) -> Self {
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
