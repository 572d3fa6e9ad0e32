//! [`BatchLimits`]: how many buffered spans are sent in one request.

use logtracer_core::span_buffer::{Batch, SpanBuffer};

use crate::config::Exporter;
use crate::reporter::MAX_BATCHES;

/// The limits of one batch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BatchLimits {
    pub(crate) max_spans: usize,
    pub(crate) max_bytes: usize,
}

impl BatchLimits {
    /// Limits a batch to half of the buffer of its cluster, so that spans can be buffered while it is in flight, and to less than
    /// what exporters accept in one request. Each cluster has at least one batch in flight: of more clusters than
    /// [`MAX_BATCHES`], the batches are smaller, so that they take no more together.
    pub(crate) fn new(exporter: &Exporter) -> Self {
        const MAX_REQUEST_BYTES: usize = 2 << 20;
        let max_request_bytes = MAX_REQUEST_BYTES * MAX_BATCHES / exporter.clusters.len().max(MAX_BATCHES);
        let max_bytes = (exporter.buffer_bytes() / 2).min(max_request_bytes);
        Self { max_spans: exporter.max_batch_spans, max_bytes }
    }

    /// Returns whether the buffer holds enough spans to send them before the flush interval has passed.
    pub(crate) fn has_full_batch(self, buffer: &SpanBuffer) -> bool {
        buffer.spans() >= self.max_spans || buffer.bytes() >= self.max_bytes
    }

    /// Takes the oldest spans from the buffer.
    pub(crate) fn take_batch(self, buffer: &mut SpanBuffer) -> Option<Batch> {
        buffer.take_batch(self.max_spans, self.max_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn limits(json: &str) -> BatchLimits {
        let config = Config::parse(format!(r#"{{"exporter": {json}}}"#).as_bytes()).unwrap();
        BatchLimits::new(&config.exporter.unwrap())
    }

    #[test]
    fn a_batch_is_full_by_spans_or_by_bytes() {
        let few = BatchLimits { max_spans: 3, max_bytes: 50 };
        let mut buffer = SpanBuffer::new(100);
        buffer.push(|out| out.push(b'a'));
        buffer.push(|out| out.push(b'a'));
        assert!(!few.has_full_batch(&buffer));
        buffer.push(|out| out.push(b'a'));
        assert!(few.has_full_batch(&buffer));

        let many = BatchLimits { max_spans: 1000, max_bytes: 50 };
        let mut buffer = SpanBuffer::new(100);
        buffer.push(|out| out.extend([b'a'; 49]));
        assert!(!many.has_full_batch(&buffer));
        buffer.push(|out| out.push(b'b'));
        assert!(many.has_full_batch(&buffer));
        buffer.push(|out| out.push(b'c'));
        assert_eq!(many.take_batch(&mut buffer).map(|batch| batch.spans()), Some(2));
        assert!(!many.has_full_batch(&buffer));
    }

    #[test]
    fn a_batch_is_at_most_half_of_the_buffer_and_two_mebibytes() {
        let small = limits(r#"{"cluster": "c", "max_batch_spans": 7, "max_buffer_bytes": 8192}"#);
        assert_eq!((small.max_spans, small.max_bytes), (7, 4096));
        let of_two = limits(r#"{"cluster": ["c", "d"], "max_buffer_bytes": 8192}"#);
        assert_eq!((of_two.max_spans, of_two.max_bytes), (512, 2048));
        let large = limits(r#"{"cluster": "c", "max_buffer_bytes": 67108864}"#);
        assert_eq!((large.max_spans, large.max_bytes), (512, 2 << 20));
    }

    #[test]
    fn the_batches_in_flight_are_bounded_over_all_clusters() {
        for clusters in 1..=Exporter::MAX_CLUSTERS {
            let names: Vec<String> = (0..clusters).map(|number| format!("c{number}")).collect();
            let names = serde_json::json!(names);
            let limits = limits(&format!(r#"{{"cluster": {names}, "max_buffer_bytes": "64MiB"}}"#));
            // Each cluster has as many as `Destination::all` lets it have.
            let in_flight = clusters * (MAX_BATCHES / clusters).max(1);
            assert!(in_flight * limits.max_bytes <= MAX_BATCHES * (2 << 20), "{clusters}: {limits:?}");
            assert!(limits.max_bytes >= 512 << 10, "{clusters}: {limits:?}");
        }
    }
}
