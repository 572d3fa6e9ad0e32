//! What the native module demands, because it can read less of its Envoy than the WebAssembly module.

use super::{Config, ConfigError};
use crate::node::Node;

/// Whether a native module can read the direction of its listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Envoy 1.40 or newer.
    Known,
    /// An older Envoy.
    Unknown,
}

impl Config {
    /// Checks that the configuration has what a native module cannot derive.
    ///
    /// ```
    /// use logtracer_filter::Node;
    /// use logtracer_filter::config::{Config, Direction};
    ///
    /// let config = Config::parse(br#"{"service_name": "shop"}"#)?;
    /// assert!(config.check_native(Direction::Known, &Node::default()).is_ok());
    ///
    /// let error = config.check_native(Direction::Unknown, &Node::default()).unwrap_err();
    /// assert!(error.to_string().starts_with("span_kind: expected server or client"));
    /// # Ok::<(), logtracer_filter::config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// There is no `service_name`, neither `span_kind` nor a known direction, or an override for a label.
    pub fn check_native(&self, direction: Direction, node: &Node) -> Result<(), ConfigError> {
        self.check_keys("", direction, node)?;
        for (index, other) in self.overrides.iter().enumerate() {
            let prefix = format!("overrides[{index}].");
            if other.label.is_some() {
                let problem = "expected namespace or service, because a native module cannot read the labels of its pod";
                return Err(ConfigError::new(format!("{prefix}label"), problem.to_owned()));
            }
            other.config.check_keys(&prefix, direction, node)?;
        }
        Ok(())
    }

    fn check_keys(&self, prefix: &str, direction: Direction, node: &Node) -> Result<(), ConfigError> {
        let missing =
            |key: &str, expected: &str| Err(ConfigError::new(format!("{prefix}{key}"), expected.to_owned()));
        if self.service_name.is_none() && node.service_name.is_none() {
            return missing(
                "service_name",
                "missing, expected the name of the service, because a native module cannot read the node of its \
                 Envoy, and Envoy's environment has no OTEL_SERVICE_NAME",
            );
        }
        if self.span_kind.is_none() && direction == Direction::Unknown {
            return missing(
                "span_kind",
                "expected server or client, because a native module cannot read the direction of its listener before \
                 Envoy 1.40",
            );
        }
        Ok(())
    }
}
