//! Checks that `make` runs beside `make test`: [`compose`] for `make envoy-test`, [`w3c`] for `make w3c`.
//!
//! The end-to-end tests are in `it/`.

pub mod compose;
pub mod w3c;
