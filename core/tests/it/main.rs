//! Tests of the crate from outside, on the tables that all crates share (`tests/data`).

mod otlp;
mod propagation;
