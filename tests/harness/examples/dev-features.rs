//! An empty program, which `scripts/build` builds to enable the features of dev-dependencies.

fn main() {}
