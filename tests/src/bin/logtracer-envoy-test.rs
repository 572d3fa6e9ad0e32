//! `make envoy-test`: checks the stack of `envoy/docker-compose.yaml`. `scripts/envoy-test` builds its images.

use std::process::ExitCode;

fn main() -> ExitCode {
    match logtracer_tests::compose::run(&mut std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("logtracer-envoy-test: {cause}");
            ExitCode::FAILURE
        }
    }
}
