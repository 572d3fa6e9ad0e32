//! The resource of the spans: the process that recorded them.

use super::AttributeValue;
use super::details::Key;

/// Adds the library that records the spans, unless the application names another.
///
/// <https://opentelemetry.io/docs/specs/semconv/resource/#telemetry-sdk>
pub(super) fn with_telemetry_sdk(mut resource: Vec<(Key, AttributeValue)>) -> Vec<(Key, AttributeValue)> {
    for (key, value) in [
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.name", env!("CARGO_PKG_NAME")),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
    ] {
        if !resource.iter().any(|(known, _)| known == key) {
            resource.push((key.into(), value.into()));
        }
    }
    resource
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spans::SpanExport;

    #[test]
    fn the_resource_names_the_library() {
        let resource = |export: SpanExport| with_telemetry_sdk(export.resource);
        let export = SpanExport::new("shop", "http://127.0.0.1:4318");
        let expected: [(Key, AttributeValue); 4] = [
            ("service.name".into(), "shop".into()),
            ("telemetry.sdk.language".into(), "rust".into()),
            ("telemetry.sdk.name".into(), "logtracer-sdk".into()),
            ("telemetry.sdk.version".into(), env!("CARGO_PKG_VERSION").into()),
        ];
        assert_eq!(resource(export.clone()), expected);
        let other = resource(export.resource_attribute("telemetry.sdk.name", "mine"));
        assert_eq!(other.iter().filter(|(key, _)| key == "telemetry.sdk.name").count(), 1);
    }
}
