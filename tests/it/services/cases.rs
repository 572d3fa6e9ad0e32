//! Headers of a request, the ids in the lines of a service, and the headers that it passes on.

use crate::{CALLER, Headers, TRACE};

/// A request.
pub(super) struct Case {
    /// Values are Latin-1.
    pub(super) incoming: Headers<'static>,
    pub(super) ids: Option<Ids<'static>>,
    pub(super) forwarded: Headers<'static>,
}

/// The ids in a line.
pub(super) struct Ids<'i> {
    pub(super) trace: &'i str,
    pub(super) span: Option<&'i str>,
    pub(super) is_sampled: bool,
}

const fn case(incoming: Headers<'static>, ids: Option<Ids<'static>>) -> Case {
    Case { incoming, ids, forwarded: incoming }
}

const fn ids(is_sampled: bool) -> Option<Ids<'static>> {
    Some(Ids { trace: TRACE, span: Some(CALLER), is_sampled })
}

const fn with_span(span: Option<&'static str>) -> Option<Ids<'static>> {
    Some(Ids { trace: TRACE, span, is_sampled: true })
}

/// What the filter writes by default, and what it passes on beside it.
const BY_THE_FILTER: Headers<'static> = &[
    ("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01"),
    ("tracestate", "a=1,b=2"),
    ("baggage", "tenant=7,plan=caf%C3%A9"),
    ("x-request-id", "3b4f8a6e-0f0c-9f7e-8a54-0a1b2c3d4e5f"),
    ("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124"),
    ("x-b3-spanid", "00f067aa0ba902b7"),
    ("x-b3-parentspanid", "000000000000004a"),
    ("x-b3-sampled", "1"),
    ("x-cloud-trace-context", "463ac35c9f6413ad48485a3953bb6124/67667974448284343;o=1"),
];

pub(super) const CASES: &[Case] = &[
    case(BY_THE_FILTER, ids(true)),
    case(&[], None),
    case(&[("x-request-id", "no-trace"), ("baggage", "a=1")], None),
    // traceparent
    case(&[("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-00")], ids(false)),
    case(&[("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-03")], ids(true)),
    case(&[("traceparent", "01-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01-more")], ids(true)),
    case(&[("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01-more")], None),
    case(&[("traceparent", "ff-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01")], None),
    case(&[("traceparent", "00-463AC35C9F6413AD48485A3953BB6124-00f067aa0ba902b7-01")], None),
    case(&[("traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01")], None),
    case(&[("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-0000000000000000-01")], None),
    case(&[("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7")], None),
    case(&[("traceparent", "nonsense")], None),
    Case {
        incoming: &[
            ("traceparent", "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01"),
            ("traceparent", "00-463ac35c9f6413ad48485a3953bb6125-00f067aa0ba902b7-01"),
        ],
        ids: None,
        forwarded: &[(
            "traceparent",
            "00-463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-01,\
             00-463ac35c9f6413ad48485a3953bb6125-00f067aa0ba902b7-01",
        )],
    },
    // B3
    case(&[("b3", "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-1")], ids(true)),
    case(&[("b3", "463AC35C9F6413AD48485A3953BB6124-00F067AA0BA902B7-d-000000000000004a")], ids(true)),
    case(&[("b3", "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7")], ids(false)),
    case(&[("b3", "463ac35c9f6413ad48485a3953bb6124-00f067aa0ba902b7-2")], None),
    case(&[("b3", "0")], None),
    case(
        &[("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124"), ("x-b3-spanid", "00f067aa0ba902b7")],
        ids(false),
    ),
    case(
        &[
            ("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124"),
            ("x-b3-spanid", "00f067aa0ba902b7"),
            ("x-b3-sampled", "True"),
        ],
        ids(true),
    ),
    case(
        &[("x-b3-traceid", "48485a3953bb6124"), ("x-b3-spanid", "00f067aa0ba902b7"), ("x-b3-flags", "1")],
        Some(Ids { trace: "000000000000000048485a3953bb6124", span: Some(CALLER), is_sampled: true }),
    ),
    case(&[("x-b3-traceid", "463ac35c9f6413ad48485a3953bb6124"), ("x-b3-sampled", "1")], None),
    case(&[("x-b3-traceid", "0000000000000000"), ("x-b3-spanid", "00f067aa0ba902b7")], None),
    // A malformed header does not hide a valid one.
    case(
        &[
            ("b3", "nonsense"),
            ("traceparent", "nonsense"),
            ("x-cloud-trace-context", "463ac35c9f6413ad48485a3953bb6124/67667974448284343;o=1"),
        ],
        ids(true),
    ),
    // Google's, with decimal span ids that are too large for a double.
    case(
        &[("x-cloud-trace-context", "463ac35c9f6413ad48485a3953bb6124/18446744073709551615;o=1")],
        with_span(Some("ffffffffffffffff")),
    ),
    case(
        &[("x-cloud-trace-context", "463AC35C9F6413AD48485A3953BB6124/9007199254740993;o=3")],
        with_span(Some("0020000000000001")),
    ),
    case(&[("x-cloud-trace-context", "463ac35c9f6413ad48485a3953bb6124/67667974448284343")], ids(false)),
    case(&[("x-cloud-trace-context", "463ac35c9f6413ad48485a3953bb6124/67667974448284343;o=0")], ids(false)),
    case(&[("x-cloud-trace-context", "463ac35c9f6413ad48485a3953bb6124/0;o=1")], with_span(None)),
    case(&[("x-cloud-trace-context", "463ac35c9f6413ad48485a3953bb6124;o=1")], with_span(None)),
    case(
        &[("x-cloud-trace-context", "463ac35c9f6413ad48485a3953bb6124/18446744073709551616;o=1")],
        with_span(None),
    ),
    case(&[("x-cloud-trace-context", "00000000000000000000000000000000/74;o=1")], None),
    case(&[("x-cloud-trace-context", "463ac35c9f6413ad48485a3953bb6124/00f067aa0ba902b7;o=1")], None),
    // Passed on, not read.
    case(&[("grpc-trace-bin", "AABGOsNcn2QTrUhIWjlTu2EkAQDwZ6oLqQK3AgE")], None),
    // No client can send these.
    Case { incoming: &[("tracestate", "a=caf\u{e9}"), ("baggage", TOO_LONG)], ids: None, forwarded: &[] },
];

const TOO_LONG: &str = {
    const BYTES: [u8; 8193] = [b'a'; 8193];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => panic!("ASCII is UTF-8"),
    }
};
