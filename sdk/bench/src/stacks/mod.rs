//! [`Stack`]: the crates that are compared, each set up as its users do.
//!
//! Each module installs its crate as the global subscriber, and runs the cases that the crate has an answer to.

mod logtracer;

#[cfg(feature = "peers")]
mod by_hand;
#[cfg(feature = "peers")]
mod opentelemetry;
#[cfg(feature = "peers")]
mod subscribers;

use clap::ValueEnum;

use crate::measure::Meter;

/// A way to log JSON lines and to pass on the trace of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stack {
    Logtracer,
    #[cfg(feature = "peers")]
    FmtJson,
    #[cfg(feature = "peers")]
    JsonSubscriber,
    #[cfg(feature = "peers")]
    Stackdriver,
    #[cfg(feature = "peers")]
    OpenTelemetry,
}

impl Stack {
    /// The name in the tables.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Logtracer => "logtracer-sdk",
            #[cfg(feature = "peers")]
            Self::FmtJson => "tracing-subscriber's json",
            #[cfg(feature = "peers")]
            Self::JsonSubscriber => "json-subscriber",
            #[cfg(feature = "peers")]
            Self::Stackdriver => "tracing-stackdriver",
            #[cfg(feature = "peers")]
            Self::OpenTelemetry => "OpenTelemetry",
        }
    }

    /// The name in the arguments of a process.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Installs the crates in this process, and runs their cases.
    pub(crate) fn run(self, meter: &mut Meter) -> Result<(), String> {
        match self {
            Self::Logtracer => logtracer::run(meter),
            #[cfg(feature = "peers")]
            Self::FmtJson => subscribers::fmt_json(meter),
            #[cfg(feature = "peers")]
            Self::JsonSubscriber => subscribers::json_subscriber(meter),
            #[cfg(feature = "peers")]
            Self::Stackdriver => subscribers::stackdriver(meter),
            #[cfg(feature = "peers")]
            Self::OpenTelemetry => opentelemetry::run(meter),
        }
    }
}
