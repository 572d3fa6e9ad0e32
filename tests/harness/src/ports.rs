//! Ports for listeners whose number must be known before they are opened.
//!
//! To ask the system for a free port and close it again is a race with every other test. Instead, ports are reserved
//! below the range of ephemeral ports. A locked file keeps a port reserved until this process ends.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Mutex;

use crate::{Error, Result};

/// Below Linux's and macOS's ephemeral ports.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

// Closing a file releases its lock.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Reserves a free port of 127.0.0.1.
pub fn reserve() -> Result<u16> {
    let locks = std::env::temp_dir().join("logtracer-ports");
    fs::create_dir_all(&locks).map_err(Error::when(locks.display()))?;

    let ports = RANGE.len();
    let start = std::process::id() as usize * 61 % ports; // processes with consecutive ids start apart
    for port in RANGE.cycle().skip(start).take(ports) {
        if let Some(lock) = lock(&locks.join(port.to_string()))
            && TcpListener::bind(("127.0.0.1", port)).is_ok()
        {
            HELD.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(lock);
            return Ok(port);
        }
    }
    Err(Error::new("no free port on 127.0.0.1"))
}

fn lock(path: &Path) -> Option<File> {
    let file = File::options().create(true).append(true).open(path).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_reserved_twice() {
        let mut ports: Vec<u16> = (0..20).map(|_| reserve().unwrap()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
    }
}
