//! Configurations that are accepted, rejected and documented.

mod accepted;
mod documented;
mod overrides;
mod rejected;

use super::*;
