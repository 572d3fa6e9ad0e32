//! Files on disk: SQLite databases, corrupt ones that are moved away, and the reserve for a full disk.

mod disk_reserve;
pub(crate) mod quarantine;
pub(crate) mod sqlite;

pub(crate) use disk_reserve::{DISK_FULL, DiskReserve};
