//! Configurations that are accepted, rejected and documented.

mod accepted;
mod documented;
mod rejected;

use super::*;
