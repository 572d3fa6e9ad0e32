//! The CPU time of a process in nanoseconds.

use std::fs;

use logtracer_harness::{Error, Result};

/// Returns the CPU time of all threads of a process so far.
pub(super) fn nanos(process: u32) -> Result<u64> {
    let tasks = format!("/proc/{process}/task");
    let mut sum = 0;
    for task in fs::read_dir(&tasks).map_err(Error::when(&tasks))?.flatten() {
        let path = task.path().join("schedstat");
        let text = fs::read_to_string(&path).map_err(Error::when(path.display()))?;
        let on_cpu = text.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
        sum += on_cpu.ok_or_else(|| Error::new(format!("{}: {text:?}", path.display())))?;
    }
    Ok(sum)
}
