//! A small disk, to be filled.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use crate::harness::{Exporter, command};

/// A small disk. Only its holder and the exporter see it, and it is removed on drop.
pub(crate) struct SmallDisk {
    dir: tempfile::TempDir,
    holder: Child,
}

impl SmallDisk {
    pub(crate) fn new(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // In a user namespace, an unprivileged user may mount. The holder exits when its stdin is closed.
        let mount = format!(
            "mount -t tmpfs -o size={size} tmpfs '{}' && echo mounted && exec cat",
            dir.path().display()
        );
        let mut holder = Command::new("unshare")
            .args(["--mount", "--map-root-user", "sh", "-c", &mount])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare of util-linux");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(
            line, "mounted\n",
            "a small disk is needed: run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)"
        );
        Self { dir, holder }
    }

    /// Starts the exporter with its data on this disk.
    pub(crate) fn exporter(&self, options: &[&str]) -> Exporter {
        let inner = command(self.dir.path());
        let mut command = self.enter();
        command.arg(inner.get_program()).args(inner.get_args()).args(options);
        Exporter::spawn({
            command.stdin(Stdio::null()).stdout(Stdio::piped());
            command
        })
    }

    /// Unmounts the disk while programs use it. The directory below is empty.
    pub(crate) fn unmount(&self) {
        let mut command = self.enter();
        assert!(command.args(["umount", "--lazy"]).arg(self.dir.path()).status().unwrap().success());
    }

    /// Removes a file of the disk.
    pub(crate) fn remove(&self, name: &str) {
        let mut command = self.enter();
        assert!(command.arg("rm").arg(self.dir.path().join(name)).status().unwrap().success());
    }

    /// Starts a program that takes every free byte of the disk, as soon as there is one. Returns when nothing is free.
    pub(crate) fn competitor(&self) -> Competitor {
        // Faster than the exporter: nothing is free for longer than some microseconds.
        let script = "
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
data = bytes(1 << 20)
def fill():
    try:
        while True:
            os.write(file, data)
    except OSError:
        pass
fill()
print('full', flush=True)
os.fork()
while True:
    fill()
";
        let mut command = self.enter();
        command.args(["python3", "-c", script]).arg(self.dir.path().join("competitor"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("nsenter of util-linux");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "full\n", "python3 is needed");
        Competitor(child)
    }

    /// Returns a command that sees the disk. Its arguments are a program and the program's arguments.
    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--user",
            "--mount",
            "--preserve-credentials",
            "--target",
            &self.holder.id().to_string(),
        ]);
        command
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// See [`SmallDisk::competitor`]. It ends when dropped, and its file stays.
pub(crate) struct Competitor(Child);

impl Drop for Competitor {
    fn drop(&mut self) {
        // The program and its fork.
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-s", "KILL", "--", &group]).status();
        let _ = self.0.wait();
    }
}
