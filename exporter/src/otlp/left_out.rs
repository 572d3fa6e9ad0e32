//! What is left out of a request, so that the rest of it can be accepted.

use std::collections::BTreeMap;

/// The reason why a part of a request is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    TraceIdLength,
    TraceIdZero,
    SpanIdLength,
    SpanIdZero,
    ParentSpanIdLength,
    IdNotHex,
    Malformed,
    WrongType,
    OutOfRange,
    SeveralValues,
    TooDeep,
    UnknownFields,
}

impl Reason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::TraceIdLength => "trace id without 16 bytes",
            Self::TraceIdZero => "trace id is zero",
            Self::SpanIdLength => "span id without 8 bytes",
            Self::SpanIdZero => "span id is zero",
            Self::ParentSpanIdLength => "parent span id without 8 bytes",
            Self::IdNotHex => "id is not hexadecimal",
            Self::Malformed => "malformed",
            Self::WrongType => "value of the wrong type",
            Self::OutOfRange => "number out of range",
            Self::SeveralValues => "several values for one attribute",
            Self::TooDeep => "values are nested too deeply",
            Self::UnknownFields => "unknown fields instead of spans or log records",
        }
    }
}

/// The number of parts that were left out of a request, by reason.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Spans or log records.
    pub(crate) items: BTreeMap<Reason, u32>,
    /// Attributes, events, links, and fields of a resource or a scope.
    pub(crate) parts: BTreeMap<Reason, u32>,
}

impl LeftOut {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.parts.is_empty()
    }

    /// Returns the number of spans or log records.
    pub(crate) fn items(&self) -> u32 {
        self.items.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    pub(crate) fn count_item(&mut self, reason: Reason) {
        count(&mut self.items, reason);
    }

    pub(crate) fn count_part(&mut self, reason: Reason) {
        count(&mut self.parts, reason);
    }
}

fn count(counts: &mut BTreeMap<Reason, u32>, reason: Reason) {
    let count = counts.entry(reason).or_default();
    *count = count.saturating_add(1);
}
