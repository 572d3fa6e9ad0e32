//! The two system calls without a safe API in the standard library.
#![allow(unsafe_code, reason = "prctl kills a child with its parent, and kill sends signals")]

use std::process::{Child, Command};

/// Makes the kernel kill the child when the thread that starts it ends.
#[cfg(target_os = "linux")]
pub(crate) fn die_with_parent(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    let parent = std::process::id();
    let set_signal = move || {
        // SAFETY: prctl and getppid are async-signal-safe and access no memory of this process.
        let (result, current) =
            unsafe { (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL), libc::getppid()) };
        match result {
            0 if current.unsigned_abs() == parent => Ok(()),
            0 => Err(std::io::Error::from_raw_os_error(libc::ESRCH)),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec `set_signal` allocates nothing and takes no lock.
    unsafe { command.pre_exec(set_signal) };
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn die_with_parent(_: &mut Command) {}

/// Sends SIGTERM to the child's process group. The child must not have been waited for yet.
pub(crate) fn terminate(child: &Child) {
    signal_group(child, libc::SIGTERM);
}

/// Sends SIGKILL to the child's process group. The child must not have been waited for yet.
pub(crate) fn kill(child: &Child) {
    signal_group(child, libc::SIGKILL);
}

fn signal_group(child: &Child, signal: i32) {
    let Ok(group) = i32::try_from(child.id()) else {
        return;
    };
    // SAFETY: kill accesses no memory; the id is valid because the child has not been waited for.
    unsafe { libc::kill(-group, signal) };
}
