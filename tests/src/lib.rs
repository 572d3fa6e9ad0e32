//! Checks that `make` runs beside `make test`: [`compose`] for `make envoy-test`, [`w3c`] for `make w3c`.
//!
//! `it/` holds the end-to-end tests.

pub mod compose;
pub mod w3c;
