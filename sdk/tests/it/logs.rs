//! Whole log lines, compared in full.

use expect_test::{Expect, expect};
use logtracer_sdk::prelude::*;
use logtracer_sdk::{Format, Sampling, SpanId, TraceContext, TraceId};
use tracing::{debug, debug_span, error, field, info, info_span, trace, warn};

use crate::lines::Lines;

fn context() -> TraceContext {
    TraceContext::root(
        TraceId::new(0x463a_c35c_9f64_13ad_4848_5a39_53bb_6124).unwrap(),
        SpanId::new(74).unwrap(),
        Sampling::Deny,
    )
}

#[track_caller]
fn check(format: Format, level: &str, log: impl FnOnce(), expected: Expect) {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.subscriber(format, level), log);
    // Line numbers change with this file.
    let text = lines.text();
    let mut masked = String::new();
    for line in text.lines() {
        let (before, rest) = line.split_once(r#","line":""#).unwrap();
        let (_, after) = rest.split_once('"').unwrap();
        masked += &format!("{before},\"line\":\"LINE\"{after}\n");
    }
    expected.assert_eq(&masked);
}

#[test]
fn stackdriver() {
    check(
        Format::Stackdriver,
        "trace",
        || {
            info!("started");
            context().run(|| {
                warn!(user = "ada", items = 3, ratio = 0.5, cached = true, list = ?[1, 2], "nearly \"full\"");
                error!(error = &io_error() as &dyn std::error::Error, "failed");
                debug!("debug");
                trace!("trace");
            });
        },
        expect![[r#"
            {"severity":"INFO","message":"shop - started","time":"TIME","logging.googleapis.com/sourceLocation":{"file":"sdk/tests/it/logs.rs","line":"LINE"}}
            {"severity":"WARNING","message":"shop - nearly \"full\"","time":"TIME","logging.googleapis.com/sourceLocation":{"file":"sdk/tests/it/logs.rs","line":"LINE"},"logging.googleapis.com/trace":"projects/my-project/traces/463ac35c9f6413ad48485a3953bb6124","logging.googleapis.com/spanId":"000000000000004a","logging.googleapis.com/trace_sampled":false,"user":"ada","items":3,"ratio":0.5,"cached":true,"list":"[1, 2]"}
            {"severity":"ERROR","message":"shop - failed","time":"TIME","logging.googleapis.com/sourceLocation":{"file":"sdk/tests/it/logs.rs","line":"LINE"},"logging.googleapis.com/trace":"projects/my-project/traces/463ac35c9f6413ad48485a3953bb6124","logging.googleapis.com/spanId":"000000000000004a","logging.googleapis.com/trace_sampled":false,"error":"outer: inner"}
            {"severity":"DEBUG","message":"shop - debug","time":"TIME","logging.googleapis.com/sourceLocation":{"file":"sdk/tests/it/logs.rs","line":"LINE"},"logging.googleapis.com/trace":"projects/my-project/traces/463ac35c9f6413ad48485a3953bb6124","logging.googleapis.com/spanId":"000000000000004a","logging.googleapis.com/trace_sampled":false}
            {"severity":"DEBUG","message":"shop - trace","time":"TIME","logging.googleapis.com/sourceLocation":{"file":"sdk/tests/it/logs.rs","line":"LINE"},"logging.googleapis.com/trace":"projects/my-project/traces/463ac35c9f6413ad48485a3953bb6124","logging.googleapis.com/spanId":"000000000000004a","logging.googleapis.com/trace_sampled":false}
        "#]],
    );
}

#[test]
fn local() {
    check(
        Format::Local,
        "info",
        || {
            context().run(|| info!(target: "shop::db", rows = u64::MAX, "read"));
            info!(without = "a message");
            info!(message = "as a field");
        },
        expect![[r#"
            {"severity":"INFO","message":"shop - read","time":"TIME","sourceLocation":{"file":"sdk/tests/it/logs.rs","line":"LINE"},"trace":"463ac35c9f6413ad48485a3953bb6124","spanId":"000000000000004a","traceSampled":false,"rows":18446744073709551615}
            {"severity":"INFO","message":"shop - it::logs","time":"TIME","sourceLocation":{"file":"sdk/tests/it/logs.rs","line":"LINE"},"without":"a message"}
            {"severity":"INFO","message":"shop - as a field","time":"TIME","sourceLocation":{"file":"sdk/tests/it/logs.rs","line":"LINE"}}
        "#]],
    );
}

#[test]
fn fields_of_spans_are_flat_and_the_inner_one_wins() {
    check(
        Format::Local,
        "info",
        || {
            let outer = info_span!("outer", a = "outer", b = "outer", late = field::Empty, r#type = "raw");
            let _outer = outer.enter();
            let inner = info_span!("inner", b = "inner", c = "inner");
            let _inner = inner.enter();
            info!(c = "event", "before");
            outer.record("late", 1);
            outer.record("a", "changed");
            info!("after");
        },
        expect![[r#"
            {"severity":"INFO","message":"shop - before","time":"TIME","sourceLocation":{"file":"sdk/tests/it/logs.rs","line":"LINE"},"c":"event","b":"inner","a":"outer","type":"raw"}
            {"severity":"INFO","message":"shop - after","time":"TIME","sourceLocation":{"file":"sdk/tests/it/logs.rs","line":"LINE"},"b":"inner","c":"inner","a":"changed","type":"raw","late":1}
        "#]],
    );
}

#[test]
fn fields_cannot_overwrite_reserved_keys() {
    check(
        Format::Stackdriver,
        "info",
        || {
            let span = info_span!("span", time = "mine", message = "mine");
            span.in_scope(|| warn!(severity = "mine", httpRequest = 1, "hi"));
        },
        expect![[r#"
            {"severity":"WARNING","message":"shop - hi","time":"TIME","logging.googleapis.com/sourceLocation":{"file":"sdk/tests/it/logs.rs","line":"LINE"},"fields.severity":"mine","fields.httpRequest":1,"fields.time":"mine","fields.message":"mine"}
        "#]],
    );
}

/// Levels select lines. Fields of disabled spans up to `INFO` stay in the lines.
#[test]
fn levels() {
    check(
        Format::Local,
        "warn,it::logs=error,shop=debug",
        || {
            let info = info_span!("request", user = "ada");
            let debug = debug_span!("detail", step = 1);
            info.in_scope(|| {
                debug.in_scope(|| {
                    info!("not written");
                    warn!("not written");
                    error!("written");
                    debug!(target: "shop", "written");
                    trace!(target: "shop", "not written");
                    info!(target: "other", "not written");
                });
            });
        },
        expect![[r#"
            {"severity":"ERROR","message":"shop - written","time":"TIME","sourceLocation":{"file":"sdk/tests/it/logs.rs","line":"LINE"},"user":"ada"}
            {"severity":"DEBUG","message":"shop - written","time":"TIME","sourceLocation":{"file":"sdk/tests/it/logs.rs","line":"LINE"},"user":"ada"}
        "#]],
    );
}

#[test]
fn line_breaks_are_escaped() {
    check(
        Format::Local,
        "info",
        || info!(field = ?"a\nb", "outer\r\n{}", "second line"),
        expect![[r#"
            {"severity":"INFO","message":"shop - outer\r\nsecond line","time":"TIME","sourceLocation":{"file":"sdk/tests/it/logs.rs","line":"LINE"},"field":"\"a\\nb\""}
        "#]],
    );
}

fn io_error() -> impl std::error::Error + 'static {
    #[derive(Debug)]
    struct Outer(std::io::Error);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("outer")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    Outer(std::io::Error::other("inner"))
}
