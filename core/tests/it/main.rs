//! Tests of the public API, with the tables that all crates share (`tests/data`).

mod otlp;
mod propagation;
mod request;
