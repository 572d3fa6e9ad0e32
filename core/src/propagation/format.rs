//! The propagation formats: their names, and lists and sets of them.

use core::fmt;
use core::str::FromStr;

/// The short name of [`PropagationFormat`], for code that uses no log format.
///
/// ```
/// # use logtracer_core::propagation::{Format, PropagationFormat};
/// assert_eq!(Format::B3, PropagationFormat::B3);
/// ```
pub type Format = PropagationFormat;

/// A propagation format. The names follow OpenTelemetry's propagators.
///
/// ```
/// # use logtracer_core::propagation::PropagationFormat;
/// assert_eq!("b3multi".parse(), Ok(PropagationFormat::B3Multi));
/// assert_eq!(PropagationFormat::TraceContext.as_str(), "tracecontext");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PropagationFormat {
    /// `b3`: Zipkin's single header.
    B3,
    /// `b3multi`: Zipkin's `x-b3-*` headers.
    B3Multi,
    /// `tracecontext`: W3C `traceparent` and `tracestate`.
    TraceContext,
    /// `cloud-trace`: Google's `x-cloud-trace-context`.
    CloudTrace,
    /// `grpc-trace-bin`: the binary header of OpenCensus and gRPC.
    GrpcTraceBin,
}

impl PropagationFormat {
    /// All formats, in the default order of extraction.
    pub const ALL: [Self; 5] =
        [Self::B3, Self::B3Multi, Self::TraceContext, Self::CloudTrace, Self::GrpcTraceBin];

    /// Returns the name in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::B3 => "b3",
            Self::B3Multi => "b3multi",
            Self::TraceContext => "tracecontext",
            Self::CloudTrace => "cloud-trace",
            Self::GrpcTraceBin => "grpc-trace-bin",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for PropagationFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PropagationFormat {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.as_str() == name).ok_or(UnknownFormat)
    }
}

/// The error of parsing a [`PropagationFormat`]. It lists the names.
///
/// ```
/// # use logtracer_core::propagation::Format;
/// assert_eq!(
///     "jaeger".parse::<Format>().unwrap_err().to_string(),
///     "expected one of b3, b3multi, tracecontext, cloud-trace, grpc-trace-bin",
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownFormat;

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected one of ")?;
        for (index, format) in Format::ALL.into_iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            f.write_str(format.as_str())?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownFormat {}

/// An ordered list of formats without duplicates.
///
/// ```
/// # use logtracer_core::propagation::{Format, Formats};
/// let formats = Formats::of(&[Format::TraceContext, Format::B3, Format::TraceContext]);
/// assert_eq!(formats.iter().collect::<Vec<_>>(), [Format::TraceContext, Format::B3]);
/// assert_eq!(Formats::default().iter().count(), 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Formats {
    in_order: [Option<Format>; Format::ALL.len()],
}

impl Formats {
    /// Creates a list in this order. Later duplicates are ignored.
    pub fn of(formats: &[Format]) -> Self {
        let mut list = Self::default();
        for &format in formats {
            list.push(format);
        }
        list
    }

    /// Returns the formats in order.
    pub fn iter(self) -> impl Iterator<Item = Format> {
        self.in_order.into_iter().flatten()
    }

    fn push(&mut self, format: Format) {
        for slot in &mut self.in_order {
            match slot {
                Some(known) if *known == format => return,
                Some(_) => {}
                None => {
                    *slot = Some(format);
                    return;
                }
            }
        }
    }
}

/// A set of formats.
///
/// ```
/// # use logtracer_core::propagation::{Format, FormatSet};
/// let mut set = FormatSet::default();
/// set.insert(Format::CloudTrace);
/// set.insert(Format::B3);
/// assert!(set.contains(Format::B3) && !set.is_empty());
/// assert_eq!(set.iter().collect::<Vec<_>>(), [Format::B3, Format::CloudTrace]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FormatSet(u8);

impl FormatSet {
    /// Adds a format.
    pub fn insert(&mut self, format: Format) {
        self.0 |= format.bit();
    }

    /// Returns true if the set contains the format.
    pub const fn contains(self, format: Format) -> bool {
        self.0 & format.bit() != 0
    }

    /// Returns true if the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the formats in the order of [`Format::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Format> {
        Format::ALL.into_iter().filter(move |format| self.contains(*format))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn names_of_formats() {
        for (format, name) in
            Format::ALL.into_iter().zip(["b3", "b3multi", "tracecontext", "cloud-trace", "grpc-trace-bin"])
        {
            assert_eq!((format.to_string().as_str(), name.parse()), (name, Ok(format)));
        }
        assert_eq!(
            "jaeger".parse::<Format>().unwrap_err().to_string(),
            "expected one of b3, b3multi, tracecontext, cloud-trace, grpc-trace-bin"
        );
    }

    /// Rules 36 and 37: a list has an order and no duplicates.
    #[test]
    fn lists_of_formats() {
        let [b3, b3_multi, trace_context, cloud_trace, grpc_trace_bin] = Format::ALL;
        let reversed = [grpc_trace_bin, cloud_trace, trace_context, b3_multi, b3];
        for (listed, expected) in [
            (vec![], vec![]),
            (vec![trace_context, b3, trace_context], vec![trace_context, b3]),
            (vec![b3, b3, b3, b3, b3, b3, cloud_trace], vec![b3, cloud_trace]),
            ([reversed, Format::ALL].concat(), reversed.to_vec()),
        ] {
            assert_eq!(Formats::of(&listed).iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn sets_of_formats() {
        for listed in
            [vec![], vec![Format::B3], vec![Format::GrpcTraceBin, Format::B3Multi], Format::ALL.to_vec()]
        {
            let mut set = FormatSet::default();
            for format in listed.iter().chain(&listed) {
                set.insert(*format);
            }
            assert_eq!(set.is_empty(), listed.is_empty());
            for format in Format::ALL {
                assert_eq!(set.contains(format), listed.contains(&format), "{format}");
            }
            let in_order = Format::ALL.into_iter().filter(|format| listed.contains(format));
            assert!(set.iter().eq(in_order));
        }
    }
}
