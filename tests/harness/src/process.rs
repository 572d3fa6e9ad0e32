//! A program that runs until its value is dropped.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{Error, Result, lines, os, wait};

/// The time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);

/// A running program with its stdout and stderr in files.
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    /// The number of lines that an earlier program with this name has left on stdout.
    earlier_lines: usize,
}

impl Process {
    /// Starts `command`. Its stdout and stderr are appended to `NAME.out` and `NAME.err` in `dir`.
    pub fn start(name: &str, mut command: Command, dir: &Path) -> Result<Process> {
        let stdout = dir.join(format!("{name}.out"));
        let stderr = dir.join(format!("{name}.err"));
        let earlier_lines = if stdout.exists() { lines::raw(&stdout)?.len() } else { 0 };
        command.stdin(Stdio::null()).stdout(append(&stdout)?).stderr(append(&stderr)?);
        // In its own process group, so that Ctrl-C on the terminal reaches only this process, which then stops the child.
        command.process_group(0);
        os::die_with_parent(&mut command);

        let program = Path::new(command.get_program()).display().to_string();
        let child = command.spawn().map_err(Error::when(format!("{name}: cannot run {program}")))?;
        Ok(Process { name: name.to_owned(), child, stdout, stderr, earlier_lines })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file of its stdout.
    pub fn stdout(&self) -> &Path {
        &self.stdout
    }

    /// Its stderr so far.
    pub fn errors(&self) -> String {
        fs::read(&self.stderr).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Returns an error with its stderr if it has ended.
    pub fn check_running(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                Err(Error::new(format!("{} ended with {status}:\n{}", self.name, self.errors())))
            }
            Err(cause) => Err(Error::new(format!("{}: {cause}", self.name))),
        }
    }

    /// Waits for the first log line whose message ends with `ready`.
    pub fn wait_until_ready(&mut self) -> Result<ReadyLine> {
        wait::try_until(&format!("the ready line of {}", self.name), || {
            self.check_running()?;
            let is_ready =
                |line: &Value| line["message"].as_str().is_some_and(|message| message.ends_with("ready"));
            let mut own = lines::read(&self.stdout)?.into_iter().skip(self.earlier_lines);
            Ok(own.find(is_ready).map(ReadyLine))
        })
    }

    /// Stops the program (SIGTERM), and kills it if it does not end in time.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        self.stop_within(GRACE)
    }

    /// Sends SIGTERM, and does not wait.
    pub fn terminate(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            os::terminate(&self.child);
        }
    }

    /// Stops the program (SIGTERM), and kills it if it does not end within `grace`.
    pub fn stop_within(&mut self, grace: Duration) -> Option<ExitStatus> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        os::terminate(&self.child);
        let deadline = Instant::now() + grace;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.kill()
    }

    /// Kills the program (SIGKILL).
    pub fn kill(&mut self) -> Option<ExitStatus> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        os::kill(&self.child);
        self.child.wait().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("--- {} on stderr:\n{}", self.name, last_lines(&self.errors(), 30));
        }
    }
}

/// The log line of a program that is ready for requests.
pub struct ReadyLine(Value);

impl ReadyLine {
    /// Returns the address in `field`.
    pub fn address(&self, field: &str) -> Result<SocketAddr> {
        let text = self.0[field].as_str().unwrap_or_default();
        text.parse().map_err(Error::when(format!("{field} of the line {}", self.0)))
    }
}

/// Returns the path of a program of this workspace, beside the current program or one folder above a test.
///
/// `cargo build --release --workspace --all-targets` must have run: Cargo does not build the programs of other packages
/// for a test.
pub fn sibling(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().map_err(Error::when("this program's own path"))?;
    this.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .ok_or_else(|| {
            Error::new(format!(
                "no {name} beside {}; run `cargo build --release --workspace --all-targets`",
                this.display()
            ))
        })
}

fn append(path: &Path) -> Result<File> {
    File::options().create(true).append(true).open(path).map_err(Error::when(path.display()))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleep(dir: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; echo trouble >&2; sleep 600 & wait"]);
        Process::start("sleep", command, dir).unwrap()
    }

    fn alive(id: u32) -> bool {
        Command::new("kill").args(["-0", &id.to_string()]).stderr(Stdio::null()).status().unwrap().success()
    }

    #[test]
    fn a_dropped_process_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = sleep(dir.path());
        let id = process.id();
        wait::until("output", || fs::read_to_string(process.stdout()).ok().filter(|out| out == "ready\n"))
            .unwrap();
        process.check_running().unwrap();
        assert!(alive(id));

        drop(process);
        assert!(!alive(id));
    }

    #[test]
    fn the_error_of_an_ended_process_has_its_stderr() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo out of paper >&2; exit 3"]);
        let mut process = Process::start("printer", command, dir.path()).unwrap();

        let error = wait::until("the end", || process.check_running().err()).unwrap().to_string();
        assert_eq!(error, "printer ended with exit status: 3:\nout of paper\n");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_dies_with_the_thread_that_started_it() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().to_owned();
        let id = std::thread::spawn(move || {
            let process = sleep(&folder);
            let id = process.id();
            std::mem::forget(process); // as a killed parent would leave it
            id
        })
        .join()
        .unwrap();

        // Nobody waits for the killed child, so it stays a zombie.
        let state = || fs::read_to_string(format!("/proc/{id}/stat")).ok();
        wait::until("the kernel's SIGKILL", || state().filter(|stat| stat.contains(") Z ")).map(drop))
            .unwrap();
    }
}
