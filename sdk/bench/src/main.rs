//! The cost of the SDK beside its peers: nanoseconds and allocations, in one run on one machine.
//!
//! `cargo run --release -p logtracer-sdk-bench --features peers`; without the feature it prints only the figures of the SDK.

mod headers;
mod lines;
mod requests;

use std::hint::black_box;

use logtracer_allocations::{Cost, measure};
use logtracer_sdk::prelude::*;
use logtracer_sdk::{TraceContext, current_trace};

#[allow(clippy::print_stdout)] // this is the output of the program
fn report(what: &str, Cost { allocations, nanos }: Cost) {
    println!("{what:<58} {nanos:>8.1} ns {allocations:>6.1} allocations");
}

fn main() {
    lines::run();
    TraceContext::new_root().run(|| {
        report(
            "current_trace()",
            measure(|| {
                black_box(current_trace());
            }),
        );
    });
    headers::run();
    requests::run();
}
