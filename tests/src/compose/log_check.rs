//! What no container may log, whatever the other checks have done to the stack.

use serde_json::Value;

/// The service whose errors are faults. The other services log an error for each request that a check makes fail.
const EXPORTER: &str = "exporter";

/// Returns the lines of a service that are faults: each ERROR line of the exporter, and each line of any service that
/// says that something failed to be done.
pub(super) fn faults<'a>(service: &str, lines: &'a [Value]) -> Vec<&'a Value> {
    let is_error = |line: &Value| {
        let severity = line["severity"].as_str().unwrap_or_default();
        service == EXPORTER && matches!(severity, "ERROR" | "CRITICAL" | "ALERT" | "EMERGENCY")
    };
    let is_failure = |line: &Value| {
        // The line of a request has its URL in the message.
        let is_request = line.get("httpRequest").is_some();
        !is_request && line["message"].as_str().is_some_and(|message| message.contains("failed to "))
    };
    lines.iter().filter(|line| is_error(line) || is_failure(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_of_the_exporter_and_failures_of_all_are_faults() {
        for (service, line, is_fault) in [
            ("exporter", json!({ "severity": "INFO", "message": "logtracer-exporter - ready" }), false),
            (
                "exporter",
                json!({ "severity": "WARNING", "message": "logtracer-exporter - failed to store log lines", "error": "unable to open database file" }),
                true,
            ),
            ("exporter", json!({ "severity": "ERROR", "message": "logtracer-exporter - disk full" }), true),
            (
                "exporter",
                json!({ "severity": "WARNING", "message": "logtracer-exporter - delivery failed, retrying" }),
                false,
            ),
            ("frontend", json!({ "severity": "ERROR", "message": "frontend - no answer" }), false),
            ("frontend", json!({ "severity": "INFO", "message": "frontend - failed to bind" }), true),
            (
                "envoy",
                json!({ "severity": "ERROR", "message": "shop - GET - /failed to - 503", "httpRequest": {} }),
                false,
            ),
        ] {
            assert_eq!(faults(service, std::slice::from_ref(&line)).len(), usize::from(is_fault), "{line}");
        }
    }
}
