//! Records of the `log` crate: handed to `tracing`, so that both go one way.

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;

use log::kv::{self, VisitSource, VisitValue};
use logtracer_core::line::Value;
use tracing_core::{Event, LevelFilter, Metadata};
use tracing_log::{LogTracer, NormalizeEvent};

use super::LoggingError;
use super::key_values::KeyValue;
use super::levels::{self, Levels};
use crate::errors::Chain;

/// The pairs of a record that are kept.
const MAX_PAIRS: usize = 64;

thread_local! {
    /// Those of the record that is on its way through `tracing`.
    static KEY_VALUES: Cell<Option<Rc<[KeyValue]>>> = const { Cell::new(None) };
}

/// Makes `tracing` the logger of the `log` crate, which hands nothing on before [`follow`].
pub(super) fn install() -> Result<(), LoggingError> {
    log::set_boxed_logger(Box::new(Bridge(LogTracer::new()))).map_err(|_| LoggingError::AlreadyInstalled)
}

/// Lets the `log` crate drop early what no directive wants.
pub(super) fn follow(levels: &Levels) {
    log::set_max_level(as_log(levels.most_verbose()));
}

fn as_log(level: LevelFilter) -> log::LevelFilter {
    match level {
        LevelFilter::OFF => log::LevelFilter::Off,
        LevelFilter::ERROR => log::LevelFilter::Error,
        LevelFilter::WARN => log::LevelFilter::Warn,
        LevelFilter::INFO => log::LevelFilter::Info,
        LevelFilter::DEBUG => log::LevelFilter::Debug,
        LevelFilter::TRACE => log::LevelFilter::Trace,
    }
}

/// Hands records to `tracing`, whose events have no place for their key-values: these stay behind for the layer.
struct Bridge(LogTracer);

impl log::Log for Bridge {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        levels::ask(|| self.0.enabled(metadata))
    }

    fn log(&self, record: &log::Record<'_>) {
        // Most have no pairs, and the others are asked for first, so that few pairs are copied in vain.
        if record.key_values().count() == 0 || self.enabled(record.metadata()) {
            let _on_its_way = OnItsWay::of(record);
            self.0.log(record);
        }
    }

    fn flush(&self) {}
}

/// The metadata of a record of `log`; they all come with the same target, and tell their own in fields.
pub(super) fn normalized<'e>(event: &'e Event<'_>) -> Option<Metadata<'e>> {
    (event.metadata().target() == "log").then(|| event.normalized_metadata()).flatten()
}

/// The key-values of the record of `log` that is being written, if it has any.
pub(super) fn key_values() -> Option<Rc<[KeyValue]>> {
    let read = |cell: &Cell<Option<Rc<[KeyValue]>>>| {
        let pairs = cell.take();
        cell.set(pairs.clone());
        pairs
    };
    KEY_VALUES.try_with(read).unwrap_or_default()
}

/// Puts back what was there before: a record can be written while another one is.
struct OnItsWay(Option<Rc<[KeyValue]>>);

impl OnItsWay {
    fn of(record: &log::Record<'_>) -> Self {
        let mut pairs = Pairs(Vec::new());
        // The one who visits does not fail; a source that does has given what it had.
        let _ = record.key_values().visit(&mut pairs);
        let pairs = (!pairs.0.is_empty()).then(|| pairs.0.into());
        Self(KEY_VALUES.try_with(|cell| cell.replace(pairs)).unwrap_or_default())
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let _ = KEY_VALUES.try_with(|cell| cell.set(self.0.take()));
    }
}

/// Gathers pairs; of two with the same name the first one counts.
struct Pairs(Vec<KeyValue>);

impl<'kvs> VisitSource<'kvs> for Pairs {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        if self.0.len() < MAX_PAIRS && !self.0.iter().any(|pair| pair.name == key.as_str()) {
            value.visit(One { pairs: self, name: key.as_str() })?;
        }
        Ok(())
    }
}

struct One<'a> {
    pairs: &'a mut Pairs,
    name: &'a str,
}

impl One<'_> {
    fn keep(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        self.pairs.0.push(KeyValue::new(self.name, value));
        Ok(())
    }
}

impl<'v> VisitValue<'v> for One<'_> {
    fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
        self.keep(Value::Fmt(format_args!("{value}")))
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.keep(Value::Json("null"))
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.keep(Value::U64(value))
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.keep(Value::I64(value))
    }

    fn visit_u128(&mut self, value: u128) -> Result<(), kv::Error> {
        self.keep(Value::U128(value))
    }

    fn visit_i128(&mut self, value: i128) -> Result<(), kv::Error> {
        self.keep(Value::I128(value))
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        self.keep(Value::F64(value))
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.keep(Value::Bool(value))
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.keep(Value::Str(value))
    }

    fn visit_error(&mut self, error: &(dyn Error + 'static)) -> Result<(), kv::Error> {
        self.keep(Value::Fmt(format_args!("{}", Chain(error))))
    }
}
