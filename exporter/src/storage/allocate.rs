//! The allocation of disk space.

use std::fs::File;
use std::io::{self, Write};

use rustix::fs::{FallocateFlags, fallocate};

/// Appends allocated zeros to a file of this length: a sparse file would take no disk space. If the file system cannot
/// allocate, they are written.
pub(super) fn allocate(mut file: &File, length: u64, bytes: u64) -> io::Result<()> {
    match try_allocate(file, length, bytes) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            let zeros = vec![0; 1 << 20];
            let mut left = bytes;
            while left > 0 {
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
                file.write_all(zeros.get(..length).unwrap_or_default())?;
                left -= length as u64;
            }
            Ok(())
        }
        result => result,
    }
}

/// Does the same, if the file system can allocate without writing.
pub(super) fn try_allocate(file: &File, length: u64, bytes: u64) -> io::Result<()> {
    Ok(fallocate(file, FallocateFlags::empty(), length, bytes)?)
}
