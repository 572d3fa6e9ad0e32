//! Files on disk: SQLite databases, corrupt ones that are moved away, and the reserve for a full disk.

mod allocate;
mod data_dir;
mod directory_id;
mod disk_error;
mod disk_reserve;
mod open_files;
pub(crate) mod quarantine;
pub(crate) mod reattach;
pub(crate) mod sqlite;

pub(crate) use data_dir::DataDir;
pub(crate) use directory_id::DirectoryId;
pub(crate) use disk_reserve::{DISK_FULL, DiskReserve};
pub(crate) use open_files::{Change, OpenFiles, is_at};
