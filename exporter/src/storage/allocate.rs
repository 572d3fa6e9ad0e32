//! The allocation of disk space.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{FallocateFlags, fallocate};

/// Appends allocated zeros to a file of this length: a sparse file would take no disk space.
pub(super) fn allocate(mut file: &File, length: u64, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), length, bytes) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let zeros = vec![0; 1 << 20];
            let mut left = bytes;
            while left > 0 {
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
                file.write_all(zeros.get(..length).unwrap_or_default())?;
                left -= length as u64;
            }
            Ok(())
        }
        result => Ok(result?),
    }
}
