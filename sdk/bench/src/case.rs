//! [`Case`]: the pieces of work that are measured.

use clap::ValueEnum;

/// A piece of work that each crate does in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    /// A line outside of every span.
    Line,
    /// A line in a span with four fields.
    LineInSpan,
    /// An event that the levels exclude.
    DisabledLine,
    /// A tower service alone, with its request and its response. What follows adds to it.
    BareService,
    /// The server layer: the trace from the headers, and the request line.
    Request,
    /// The client layer: the trace into the headers, and the line of the call.
    Call,
    /// The ids of the current trace.
    CurrentIds,
    /// From the headers of a request to those of the next: `traceparent`.
    HopW3c,
    /// From the headers of a request to those of the next: `x-b3-*`.
    HopB3,
}

impl Case {
    /// The heading of the table; `None` if the case only serves as a base.
    pub(crate) const fn title(self) -> Option<&'static str> {
        Some(match self {
            Self::Line => "A line outside of every span",
            Self::LineInSpan => "A line in a span with four fields",
            Self::DisabledLine => "A disabled line",
            Self::BareService => return None,
            Self::Request => "What the server layer adds to a request, with its request line",
            Self::Call => "What the client layer adds to a call, with its line",
            Self::CurrentIds => "The ids of the current trace",
            Self::HopW3c => "The trace of a request in the headers of the next: `traceparent`",
            Self::HopB3 => "The trace of a request in the headers of the next: `x-b3-*`",
        })
    }

    /// The case whose cost is subtracted.
    pub(crate) const fn base(self) -> Option<Self> {
        match self {
            Self::Request | Self::Call => Some(Self::BareService),
            _ => None,
        }
    }

    /// The lines that one run writes.
    pub(crate) const fn lines(self) -> u64 {
        match self {
            Self::Line | Self::LineInSpan | Self::Request | Self::Call => 1,
            _ => 0,
        }
    }

    /// The name in the arguments and the output of a process.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::from_str(name, false).ok()
    }
}
