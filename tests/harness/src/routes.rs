//! The routes of a [`crate::proxy`] to its [`crate::origin`].

use serde_json::{Value, json};

/// Returns a route for each behaviour of Envoy. It responds 404 to any other path.
pub(crate) fn routes() -> Value {
    json!([
        { "name": "down", "match": { "path": "/down" }, "route": { "cluster": "down" } },
        { "name": "limited", "match": { "path": "/limited" }, "direct_response": { "status": 429 } },
        { "name": "moved", "match": { "path": "/moved" }, "redirect": { "path_redirect": "/elsewhere" } },
        {
            "name": "impatient",
            "match": { "path": "/origin/never/impatient" },
            "route": { "cluster": "service", "timeout": "0.3s" },
        },
        {
            "name": "impatient-for-the-body",
            "match": { "path": "/origin/half/impatient" },
            "route": { "cluster": "service", "timeout": "0.3s" },
        },
        {
            "name": "idle-attempt",
            "match": { "path": "/origin/half/attempt" },
            "route": { "cluster": "service", "timeout": "0s", "retry_policy":
                { "retry_on": "5xx", "num_retries": 1, "per_try_idle_timeout": "0.3s" } },
        },
        {
            "name": "impatient-twice",
            "match": { "path": "/origin/never/twice" },
            "route": { "cluster": "service", "timeout": "0s", "retry_policy":
                { "retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.2s" } },
        },
        {
            "name": "idle",
            "match": { "safe_regex": { "regex": "/origin/(never|half)/idle" } },
            "route": { "cluster": "service", "timeout": "0s", "idle_timeout": "0.3s" },
        },
        {
            "name": "short",
            "match": { "path": "/origin/never/short" },
            "route": { "cluster": "service", "timeout": "0s", "max_stream_duration":
                { "max_stream_duration": "0.3s" } },
        },
        {
            "name": "cut-short",
            "match": { "path": "/origin/half/short" },
            "route": { "cluster": "service", "timeout": "0s", "max_stream_duration":
                { "max_stream_duration": "1.2s" } },
        },
        {
            "name": "mirrored",
            "match": { "path": "/origin/mirrored" },
            "route": { "cluster": "service", "timeout": "0s", "request_mirror_policies":
                [{ "cluster": "service" }] },
        },
        {
            "name": "retried",
            "match": { "path": "/origin/retry" },
            "route": { "cluster": "service", "retry_policy": {
                "retry_on": "5xx",
                "num_retries": 3,
                "retry_back_off": { "base_interval": "0.01s", "max_interval": "0.02s" },
            } },
        },
        {
            "name": "redirected",
            "match": { "path": "/origin/internal" },
            "route": { "cluster": "service", "internal_redirect_policy":
                { "max_internal_redirects": 1, "redirect_response_codes": [302] } },
        },
        {
            "name": "tunnel",
            "match": { "connect_matcher": {} },
            "route": { "cluster": "service", "timeout": "0s", "upgrade_configs":
                [{ "upgrade_type": "CONNECT", "connect_config": {} }] },
        },
        // Exports of other proxies through this one.
        { "match": { "path": "/v1/traces" }, "route": { "cluster": "logtracer-exporter" } },
        { "match": { "prefix": "/demo.Down/" }, "route": { "cluster": "down", "timeout": "0s" } },
        {
            "match": { "prefix": "/demo.Shop/" },
            "route": { "cluster": "grpc", "timeout": "0s", "max_stream_duration":
                { "grpc_timeout_header_max": "0s" } }, // the caller's own
        },
        { "match": { "prefix": "/origin/" }, "route": { "cluster": "service", "timeout": "0s" } },
    ])
}
