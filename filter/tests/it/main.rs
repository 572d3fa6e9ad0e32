//! Tests of the crate from outside.

mod check_config;
