//! [`Handover`]: the spans that a replaced root could not send, for another root of the process.
//!
//! Envoy makes a new root for a new configuration and then ends the old one. If the exporter is unavailable at that
//! moment, the new root sends the spans of the old one when the exporter is back.

use std::sync::{Arc, Mutex, Weak};

use logtracer_core::span_buffer::{Batch, SpanBuffer};

use crate::config::{Cluster, Exporter};
use crate::plugin::Plugin;
use crate::shared::{Shared, lock};

/// What the roots must have in common: another destination must not receive the spans, and the resource of a span is
/// written when it is sent.
#[derive(Debug, PartialEq)]
struct Key {
    destination: [String; 3],
    headers: Vec<(String, String)>,
    service_name: String,
    project_id: Option<String>,
}

impl Key {
    fn new(plugin: &Plugin, exporter: &Exporter, cluster: &Cluster) -> Self {
        let is_token = |name: &str| name.eq_ignore_ascii_case("authorization");
        Self {
            destination: exporter.destination(cluster),
            // A new token is for the same destination; another header can name another tenant.
            headers: exporter.headers.iter().filter(|(name, _)| !is_token(name)).cloned().collect(),
            service_name: plugin.service_name.clone(),
            project_id: plugin.project_id.clone(),
        }
    }
}

static HANDOVERS: Shared<Key, Mutex<SpanBuffer>> = Shared::new();

/// The spans that replaced roots left. Each active root with the same destination and resource has a clone of it.
#[derive(Debug)]
pub(crate) struct Handover(Arc<Mutex<SpanBuffer>>);

impl Handover {
    /// Returns the one that all roots with this destination and resource share.
    pub(crate) fn of(plugin: &Plugin, exporter: &Exporter, cluster: &Cluster) -> Self {
        let new = || Mutex::new(SpanBuffer::new(exporter.buffer_bytes()));
        Self(HANDOVERS.get(Key::new(plugin, exporter, cluster), new))
    }

    /// Takes the spans that were left.
    pub(crate) fn take(&self) -> Option<Batch> {
        lock(&self.0).take_batch(usize::MAX, usize::MAX)
    }

    /// Ends the part of this root in it: from now on it only leaves spans to the others.
    pub(crate) fn end(self) -> Heirs {
        Heirs(Arc::downgrade(&self.0))
    }
}

/// The active roots that send the spans of one that ends. Without any, [`Heirs::leave`] drops them.
#[derive(Debug, Default)]
pub(crate) struct Heirs(Weak<Mutex<SpanBuffer>>);

impl Heirs {
    /// Leaves spans to the others. Returns the number of spans that are dropped: the oldest, if they are more than one
    /// buffer, or all, if there is no other root.
    pub(crate) fn leave(&self, batches: impl Iterator<Item = Batch>) -> usize {
        let Some(handover) = self.0.upgrade() else {
            return batches.map(|batch| batch.spans()).sum();
        };
        let mut left = lock(&handover);
        let mut dropped = 0;
        for batch in batches {
            for span in batch.iter() {
                dropped += left.push(|out| out.extend_from_slice(span)).total();
            }
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::live::ConfigId;
    use crate::node::Node;

    fn handover(json: &str) -> Handover {
        let config = Config::parse(json.as_bytes()).unwrap();
        let plugin = Plugin::new(config, ConfigId::of(json.as_bytes()), Node::default());
        let exporter = plugin.config.exporter.as_ref().unwrap();
        Handover::of(&plugin, exporter, &exporter.clusters[0])
    }

    fn batches(spans: &[&[u8]]) -> impl Iterator<Item = Batch> {
        let mut buffer = SpanBuffer::new(1 << 20);
        for span in spans {
            buffer.push(|out| out.extend_from_slice(span));
        }
        buffer.take_batch(usize::MAX, usize::MAX).into_iter()
    }

    const OLD: &str =
        r#"{"service_name": "shop", "exporter": {"cluster": "a", "headers": {"authorization": "1"}}}"#;

    #[test]
    fn spans_are_left_to_a_root_with_the_same_destination() {
        let (old, new) = (handover(OLD), handover(&OLD.replace(r#""1"}"#, r#""2"}, "timeout": "5s""#)));
        assert_eq!(old.end().leave(batches(&[b"one", b"two"])), 0);
        assert_eq!(new.take().unwrap().bytes, b"onetwo");
        assert_eq!(new.take(), None);
        // A root that has ended is nobody's heir.
        let (old, ended) =
            (handover(&OLD.replace("shop", "cart")).end(), handover(&OLD.replace("shop", "cart")).end());
        assert_eq!((old.leave(batches(&[b"one"])), ended.leave(batches(&[b"two"]))), (1, 1));

        for other in [
            OLD.replace(r#""shop""#, r#""cart""#),
            OLD.replace(r#""a""#, r#""b""#),
            OLD.replace("authorization", "x-tenant"),
            OLD.replace(r#""service_name""#, r#""project_id": "my-project", "service_name""#),
        ] {
            let (old, other) = (handover(OLD), handover(&other));
            new.take();
            assert_eq!(old.end().leave(batches(&[b"one"])), 0, "the third root has it");
            assert_eq!(other.take(), None);
        }
    }

    #[test]
    fn what_nobody_takes_is_dropped() {
        assert_eq!(handover(OLD).end().leave(batches(&[b"one", b"two"])), 2);
        let small = OLD.replace(r#""cluster""#, r#""max_buffer_bytes": 8192, "cluster""#);
        let (first, second, new) = (handover(&small), handover(&small), handover(&small));
        assert_eq!(first.end().leave(batches(&[&[1; 5000], &[2; 3000]])), 0);
        assert_eq!(second.end().leave(batches(&[&[3; 3000]])), 1);
        assert_eq!(new.take().map(|batch| batch.spans()), Some(2));
    }
}
