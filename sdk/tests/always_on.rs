//! A sampler that ignores the caller does not undo what excludes a span, in a separate process.

use logtracer_sdk::spans::{Sampler, SpanExport, SpanKind, span};
use logtracer_sdk::{Sampling, TraceContext, TraceContextExt, current_trace};

#[test]
fn a_span_that_is_not_exported() {
    let export = SpanExport::new("shop", "http://127.0.0.1:1").sampler(Sampler::AlwaysOn);
    let exporter = export.install().unwrap();
    let is_sampled = || current_trace().is_some_and(|trace| trace.sampling.is_sampled());
    {
        let _poll = span("poll").not_exported().enter();
        let _inside = span("inside").enter();
        assert!(!is_sampled(), "the spans within it are excluded, too");
    }
    {
        let _nightly = span("nightly").enter();
        assert!(is_sampled());
    }
    let excluded = TraceContext::new_root().with_sampling(Sampling::Deny);
    excluded.run(|| {
        let _inside = span("inside").enter();
        assert!(!is_sampled());
    });
    // Around a consumer, it is the decision of the sender.
    excluded.run(|| {
        let _message = span("process").kind(SpanKind::Consumer).enter();
        assert!(is_sampled());
    });
    std::mem::forget(exporter); // nothing listens there
}
