//! [`Host`]: the machine whose log files are read, which sinks need to know.

use opentelemetry_proto::tonic::common::v1::KeyValue;

use super::log_record::string;

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
        let attributes = attributes.into_iter().map(|(key, value)| string(key, value)).collect();
        Self { attributes, project }
    }
}
