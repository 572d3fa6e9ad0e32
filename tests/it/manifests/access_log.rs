//! The access loggers that Istio creates from the providers of the mesh and a `Telemetry`.
//!
//! Read in Istio 1.31, `pilot/pkg/model/telemetry_logging.go`: `fileAccessLogFromTelemetry` and
//! `accessLogJSONFormatters`, which looks for the operators in the fields of the first level only.

use serde_json::{Value, json};

use super::documents::{folder, one, read};

/// Returns `access_log` of the HTTP connection manager and of the TCP proxy.
pub(crate) fn of_istio() -> Value {
    let mesh = &read(&folder().join("install/mesh.yaml"))[0]["spec"]["meshConfig"];
    let telemetry = read(&folder().join("telemetry.yaml"));
    let entries = one(&telemetry, "Telemetry", "logtracer")["spec"]["accessLogging"].as_array().unwrap();
    entries.iter().map(|entry| logger(mesh, entry)).collect()
}

fn logger(mesh: &Value, entry: &Value) -> Value {
    let name = &entry["providers"][0]["name"];
    let providers = mesh["extensionProviders"].as_array().unwrap();
    let provider = providers.iter().find(|provider| provider["name"] == *name);
    let file = &provider.unwrap_or_else(|| panic!("no provider {name}"))["envoyFileAccessLog"];
    let format = &file["logFormat"];
    let log_format = match format["text"].as_str() {
        Some(text) => json!({ "text_format_source": { "inline_string": text } }),
        None => {
            let labels = format["labels"].as_object().unwrap();
            let is_used = labels
                .values()
                .any(|label| label.as_str().is_some_and(|it| it.contains("%REQ_WITHOUT_QUERY")));
            let formatter = json!({ "name": "envoy.formatter.req_without_query", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery",
            } });
            let formatters: Vec<_> = Some(formatter).filter(|_| is_used).into_iter().collect();
            json!({ "json_format": format["labels"], "formatters": formatters })
        }
    };
    json!({
        "name": "envoy.access_loggers.file",
        "filter": { "extension_filter": { "name": "envoy.access_loggers.extension_filters.cel", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
            "expression": entry["filter"]["expression"],
        } } },
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": file["path"],
            "log_format": log_format,
        },
    })
}
