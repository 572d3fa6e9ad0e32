//! The record of `log` that is being forwarded to `tracing`: its metadata and key-values.

#[cfg(feature = "log-errors")]
use std::error::Error;

use log::kv::{self, VisitSource, VisitValue};
use logtracer_core::line::Value;
use tracing_core::{Event, Metadata};
use tracing_log::NormalizeEvent;

use super::key_values::{Attached, KeyValue, Owner};
#[cfg(feature = "log-errors")]
use crate::errors::Chain;

/// The maximum number of pairs of a record. Further ones are dropped.
const MAX_PAIRS: usize = 64;

/// Returns the metadata of a record of `log`. All of them have the same target, and each names its own in a field.
pub(super) fn normalized<'e>(event: &'e Event<'_>) -> Option<Metadata<'e>> {
    (event.metadata().target() == "log").then(|| event.normalized_metadata()).flatten()
}

/// Attaches the key-values of a record to the event that it becomes.
pub(super) fn attach_key_values(record: &log::Record<'_>) -> Attached {
    let mut pairs = Pairs(Vec::new());
    // If the source fails, the pairs before the failure stay.
    let _ = record.key_values().visit(&mut pairs);
    Attached::new(Owner::LogRecord, pairs.0)
}

/// A visitor that collects pairs; of two with the same name it keeps the first.
struct Pairs(Vec<KeyValue>);

impl<'kvs> VisitSource<'kvs> for Pairs {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        if self.0.len() < MAX_PAIRS && !self.0.iter().any(|pair| pair.name == key.as_str()) {
            value.visit(Pair { pairs: self, name: key.as_str() })?;
        }
        Ok(())
    }
}

/// A visitor of the value of one pair.
struct Pair<'a> {
    pairs: &'a mut Pairs,
    name: &'a str,
}

impl Pair<'_> {
    fn add(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        self.pairs.0.push(KeyValue::new(self.name, value));
        Ok(())
    }
}

impl<'v> VisitValue<'v> for Pair<'_> {
    fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
        #[cfg(feature = "log-serde")]
        return self.add(super::serde_value::render(&value).as_value());
        #[cfg(not(feature = "log-serde"))]
        self.add(Value::Fmt(format_args!("{value}")))
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.add(Value::Json("null"))
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.add(Value::U64(value))
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.add(Value::I64(value))
    }

    fn visit_u128(&mut self, value: u128) -> Result<(), kv::Error> {
        self.add(Value::U128(value))
    }

    fn visit_i128(&mut self, value: i128) -> Result<(), kv::Error> {
        self.add(Value::I128(value))
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        self.add(Value::F64(value))
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.add(Value::Bool(value))
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.add(Value::Str(value))
    }

    #[cfg(feature = "log-errors")]
    fn visit_error(&mut self, error: &(dyn Error + 'static)) -> Result<(), kv::Error> {
        self.add(Value::Fmt(format_args!("{}", Chain(error))))
    }

    // The default is `visit_any`, which loses the causes. `:err` values come here.
    #[cfg(feature = "log-errors")]
    fn visit_borrowed_error(&mut self, error: &'v (dyn Error + 'static)) -> Result<(), kv::Error> {
        self.visit_error(error)
    }
}
