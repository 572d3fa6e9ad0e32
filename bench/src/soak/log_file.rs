//! The log file that the exporter follows: what Envoy prints, with rotations.
//!
//! Envoy's stdout is a file that grows. A thread copies its complete lines to `proxy.log`, as a container runtime does,
//! and rotates that file between two lines.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use logtracer_harness::{Error, Result};

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The two ways to rotate a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rotation {
    /// The file is renamed, and a new one is created.
    Rename,
    /// The file is copied, and then truncated.
    CopyTruncate,
}

enum Command {
    Rotate(Rotation),
    /// Reads the rest of the current source, then continues with this one.
    Follow(PathBuf),
    Finish,
}

/// The log file and the thread that writes it.
pub(super) struct LogFile {
    commands: Sender<Command>,
    writer: JoinHandle<Result<u64>>,
}

impl LogFile {
    /// Starts to copy the lines of `source` to `proxy.log` in `dir`.
    pub(super) fn start(dir: &Path, source: &Path) -> Result<LogFile> {
        let path = dir.join("proxy.log");
        let writer = Writer {
            source: open(source)?,
            file: append(&path)?,
            path,
            rest: Vec::new(),
            lines: 0,
            rotations: 0,
        };
        let (commands, received) = channel();
        let writer = std::thread::spawn(move || writer.run(&received));
        Ok(LogFile { commands, writer })
    }

    pub(super) fn rotate(&self, rotation: Rotation) {
        let _ = self.commands.send(Command::Rotate(rotation));
    }

    pub(super) fn follow(&self, source: &Path) {
        let _ = self.commands.send(Command::Follow(source.to_owned()));
    }

    /// Copies the rest, and returns the number of lines written.
    pub(super) fn finish(self) -> Result<u64> {
        let _ = self.commands.send(Command::Finish);
        self.writer.join().map_err(|_| Error::new("the writer of the log file panicked"))?
    }
}

struct Writer {
    source: File,
    file: File,
    path: PathBuf,
    /// An incomplete line.
    rest: Vec<u8>,
    lines: u64,
    rotations: u32,
}

impl Writer {
    fn run(mut self, commands: &Receiver<Command>) -> Result<u64> {
        loop {
            self.copy().map_err(Error::when(self.path.display()))?;
            match commands.recv_timeout(POLL_INTERVAL) {
                Ok(Command::Rotate(rotation)) => self.rotate(rotation).map_err(Error::when("a rotation"))?,
                Ok(Command::Follow(source)) => {
                    self.copy().map_err(Error::when(self.path.display()))?;
                    self.source = open(&source)?;
                }
                Ok(Command::Finish) => {
                    self.copy().map_err(Error::when(self.path.display()))?;
                    return Ok(self.lines);
                }
                Err(_) => {}
            }
        }
    }

    fn copy(&mut self) -> std::io::Result<()> {
        self.source.read_to_end(&mut self.rest)?;
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let complete: Vec<u8> = self.rest.drain(..=end).collect();
        self.lines += complete.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.file.write_all(&complete)
    }

    fn rotate(&mut self, rotation: Rotation) -> std::io::Result<()> {
        self.rotations += 1;
        let rotated = self.path.with_extension(format!("log.{}", self.rotations));
        match rotation {
            Rotation::Rename => {
                fs::rename(&self.path, rotated)?;
                self.file = File::options().create(true).append(true).open(&self.path)?;
            }
            Rotation::CopyTruncate => {
                fs::copy(&self.path, rotated)?;
                self.file.set_len(0)?;
                self.file.seek(SeekFrom::Start(0))?;
            }
        }
        Ok(())
    }
}

fn open(source: &Path) -> Result<File> {
    File::open(source).map_err(Error::when(source.display()))
}

fn append(path: &Path) -> Result<File> {
    File::options().create(true).append(true).open(path).map_err(Error::when(path.display()))
}
