//! Truncating text.

pub(crate) use logtracer_core::truncate;
