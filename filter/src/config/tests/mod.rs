//! Configurations that are taken, refused and documented.

mod documented;
mod refused;
mod taken;

use super::*;
