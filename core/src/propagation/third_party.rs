//! Trace headers of tracers that the filter does not read.

use super::Header;

/// The names, in lower case.
const NAMES: [&[u8]; 18] = [
    b"correlation-context",
    b"elastic-apm-traceparent",
    b"grpc-tags-bin",
    b"jaeger-baggage",
    b"jaeger-debug-id",
    b"newrelic",
    b"request-context",
    b"singularityheader",
    b"sw6",
    b"sw8",
    b"uber-trace-id",
    b"x-amzn-trace-id",
    b"x-client-trace-id",
    b"x-dynatrace",
    b"x-honeycomb-trace",
    b"x-trace-options",
    b"x-trace-options-signature",
    b"l5d-sample",
];

/// Families of names, in lower case.
const PREFIXES: [&[u8]; 12] = [
    b"baggage-",
    b"l5d-ctx-",
    b"ot-baggage-",
    b"ot-tracer-",
    b"pinpoint-",
    b"sentry-",
    b"sw8-",
    b"uberctx-",
    b"x-datadog-",
    b"x-instana-",
    b"x-newrelic-",
    b"x-ot-span-",
];

/// The longest name that can be one of them.
const MAX_NAME_BYTES: usize = 64;

/// Returns true for a header in which another tracer propagates its context: Jaeger, Datadog, AWS X-Ray, Sentry,
/// OpenTracing and Lightstep, Elastic APM, New Relic, SkyWalking, Instana, Dynatrace, Honeycomb, SolarWinds, Pinpoint,
/// Application Insights, AppDynamics or Linkerd. The name is in lower case.
///
/// A caller who must not choose the trace or its sampling must not send one of these either. Some servers read `_` in a
/// name as `-`, so a name with `_` is compared as if it had `-`, also with the names that the filter reads.
///
/// ```
/// # use logtracer_core::propagation::is_third_party;
/// assert!(is_third_party(b"uber-trace-id") && is_third_party(b"x-datadog-sampling-priority"));
/// assert!(is_third_party(b"x_b3_flags"));
/// assert!(!is_third_party(b"x-request-id") && !is_third_party(b"traceparent"));
/// ```
pub fn is_third_party(name: &[u8]) -> bool {
    let mut buffer = [0; MAX_NAME_BYTES];
    let name = match buffer.get_mut(..name.len()) {
        Some(copy) => {
            copy.copy_from_slice(name);
            copy
        }
        // A longer one can only be of a family.
        None => {
            buffer.copy_from_slice(name.get(..MAX_NAME_BYTES).unwrap_or_default());
            &mut buffer
        }
    };
    let has_underscore = name.contains(&b'_');
    for byte in name.iter_mut().filter(|byte| **byte == b'_') {
        *byte = b'-';
    }
    match Header::from_lower_case(name) {
        // The formats that the filter reads have rules of their own.
        Some(_) => has_underscore,
        None => NAMES.contains(&&*name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn headers_of_other_tracers() {
        for (names, expected) in [
            ("uber-trace-id uberctx-tenant jaeger-debug-id jaeger-baggage", true),
            ("x-datadog-trace-id x-datadog-parent-id x-datadog-sampling-priority x-datadog-tags", true),
            ("x-amzn-trace-id sentry-trace x-ot-span-context ot-tracer-traceid ot-baggage-user", true),
            ("elastic-apm-traceparent newrelic sw8 sw8-correlation x-dynatrace x-honeycomb-trace", true),
            ("x-instana-t x-instana-s x-instana-l x-instana-synthetic x-client-trace-id sw6", true),
            ("x-newrelic-id x-newrelic-transaction correlation-context request-context", true),
            ("singularityheader x-trace-options l5d-ctx-trace l5d-sample pinpoint-traceid", true),
            ("grpc-tags-bin baggage-x x_datadog_trace_id x_b3_flags x_b3-sampled grpc_trace_bin", true),
            ("b3 x-b3-traceid traceparent tracestate x-cloud-trace-context grpc-trace-bin", false),
            ("x-request-id request-id x-correlation-id x-forwarded-for baggage x-amzn-requestid", false),
            ("uber-trace-ids x-b3-unknown x-datadog sentry x_request_id swagger x-trace", false),
        ] {
            for name in names.split(' ') {
                assert_eq!(is_third_party(name.as_bytes()), expected, "{name}");
            }
        }
        let long = format!("x-datadog-{}", "a".repeat(100));
        assert!(is_third_party(long.as_bytes()));
        assert!(!is_third_party("a".repeat(100).as_bytes()));
    }
}
