//! The commands `docker` and `docker compose`.

use std::process::{Command, Output, Stdio};

use logtracer_harness::{Error, Result};

/// Runs `docker` and returns its stdout.
pub(super) fn docker(arguments: &[&str]) -> Result<String> {
    let output = run(Command::new("docker").args(arguments))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns the stdout and the stderr of a container.
pub(super) fn logs(container: &str) -> Result<(String, String)> {
    let output = run(Command::new("docker").args(["logs", container]))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(&output.stdout), text(&output.stderr)))
}

/// Returns the command `docker compose`, or `docker-compose` if the plugin is absent.
pub(super) fn compose() -> Result<Command> {
    let works = |command: &mut Command| {
        command.arg("version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if works(Command::new("docker").arg("compose")) {
        let mut command = Command::new("docker");
        command.arg("compose");
        return Ok(command);
    }
    if works(&mut Command::new("docker-compose")) {
        return Ok(Command::new("docker-compose"));
    }
    Err(Error::new("no docker compose; run: sudo apt-get install docker-compose"))
}

/// Runs a command to its end. The error of a failure contains its stderr.
pub(super) fn run(command: &mut Command) -> Result<Output> {
    let line = format!("{} {}", command.get_program().display(), words(command));
    let output = command.stdin(Stdio::null()).output().map_err(Error::when(&line))?;
    if output.status.success() {
        return Ok(output);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!("{line} ended with {}:\n{}", output.status, errors.trim())))
}

fn words(command: &Command) -> String {
    command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
