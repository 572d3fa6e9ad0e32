//! Clocks, random numbers and Envoy's log, which are the same in every callback.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

use logtracer_filter::host::LogLevel;

use crate::abi::{self, ModuleBuffer};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

pub(crate) fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Starts at one second, because a root takes zero for a time that never was.
pub(crate) fn monotonic_nanos() -> u64 {
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1_000_000_000)
}

pub(crate) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).is_ok().then_some(bytes)
}

pub(crate) fn log(level: LogLevel, message: &str) {
    let level = match level {
        LogLevel::Info => abi::LOG_INFO,
        LogLevel::Warn => abi::LOG_WARN,
        LogLevel::Error => abi::LOG_ERROR,
    };
    // SAFETY: the message outlives the call, which only reads it. Every thread may call it.
    unsafe { abi::log(level, ModuleBuffer::new(message.as_bytes())) };
}

/// Implements [`logtracer_filter::host::Host`] for a type.
macro_rules! host {
    ($type:ty) => {
        impl logtracer_filter::host::Host for $type {
            fn unix_nanos(&self) -> u64 {
                $crate::clock::unix_nanos()
            }

            fn monotonic_nanos(&self) -> u64 {
                $crate::clock::monotonic_nanos()
            }

            fn random<const N: usize>(&self) -> Option<[u8; N]> {
                $crate::clock::random()
            }

            fn log(&self, level: logtracer_filter::host::LogLevel, message: &str) {
                $crate::clock::log(level, message);
            }
        }
    };
}
pub(crate) use host;
