//! Trace headers of tracers that the filter does not read.

/// Returns true for a header in which another tracer propagates its context: Jaeger, Datadog, AWS X-Ray, Sentry,
/// OpenTracing and Lightstep, Elastic APM, New Relic, SkyWalking, Instana, Dynatrace or Honeycomb. The name is in lower
/// case.
///
/// A caller who must not choose the trace or its sampling must not send one of these either.
///
/// ```
/// use logtracer_core::propagation::is_third_party;
///
/// assert!(is_third_party(b"uber-trace-id") && is_third_party(b"x-datadog-sampling-priority"));
/// assert!(!is_third_party(b"x-request-id") && !is_third_party(b"traceparent"));
/// ```
pub fn is_third_party(name: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 7] =
        [b"uberctx-", b"x-datadog-", b"x-ot-span-", b"ot-tracer-", b"ot-baggage-", b"sentry-", b"sw8-"];
    match name {
        // The formats that the filter reads have rules of their own.
        _ if super::Header::from_lower_case(name).is_some() => false,
        b"uber-trace-id" | b"jaeger-debug-id" | b"jaeger-baggage" => true,
        b"x-amzn-trace-id" | b"x-client-trace-id" => true,
        b"elastic-apm-traceparent" | b"newrelic" | b"sw8" | b"x-dynatrace" | b"x-honeycomb-trace" => true,
        b"x-instana-t" | b"x-instana-s" | b"x-instana-l" => true,
        _ => PREFIXES.iter().any(|prefix| name.starts_with(prefix)),
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
            ("x-instana-t x-instana-s x-instana-l x-client-trace-id", true),
            ("b3 x-b3-traceid traceparent tracestate x-cloud-trace-context grpc-trace-bin", false),
            ("x-request-id request-id x-correlation-id x-forwarded-for baggage x-amzn-requestid", false),
            ("uber-trace-ids x-b3-unknown x-datadog sentry x-instana-x swagger", false),
        ] {
            for name in names.split(' ') {
                assert_eq!(is_third_party(name.as_bytes()), expected, "{name}");
            }
        }
    }
}
