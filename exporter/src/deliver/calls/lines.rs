//! The lines of the file, in memory and on disk.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::blame::{MAX_RECORDS, blame};
use super::record::{LENGTH, Record};
use crate::log::{self, Value};

#[derive(Debug)]
pub(super) struct Lines {
    /// `None` if it cannot be written.
    pub(super) file: Option<File>,
    pub(super) lines: Vec<Option<Record>>,
    /// Set at the shutdown, after which calls are not recorded.
    pub(super) is_stopped: bool,
}

impl Lines {
    /// Adds a line, and returns its number.
    pub(super) fn add(&mut self, record: Record) -> usize {
        let free = self.lines.iter().position(Option::is_none).unwrap_or(self.lines.len());
        self.set(free, Some(record));
        free
    }

    pub(super) fn set(&mut self, line: usize, record: Option<Record>) {
        if self.lines.len() <= line {
            self.lines.resize(line + 1, None);
        }
        if let Some(file) = &self.file {
            let text = text(record.as_ref());
            // A failed write can only hide a suspect.
            let _ = file.write_all_at(text.as_bytes(), (line * text.len()) as u64);
        }
        if let Some(at) = self.lines.get_mut(line) {
            *at = record;
        }
    }

    /// Replaces each record for which this function returns others.
    pub(super) fn change(&mut self, change: impl Fn(&Record) -> Option<Vec<Record>>) {
        for line in 0..self.lines.len() {
            let record = self.lines.get(line).and_then(Option::as_ref);
            let Some(mut changed) = record.and_then(&change) else { continue };
            let more = changed.split_off(changed.len().min(1));
            self.set(line, changed.pop());
            for record in more {
                self.add(record);
            }
        }
    }
}

fn text(record: Option<&Record>) -> String {
    format!("{:LENGTH$}\n", record.map(Record::text).unwrap_or_default())
}

/// Reads the file. Returns the suspects, and how many calls were under way.
pub(super) fn read(path: &Path) -> (Vec<Record>, usize) {
    let mut text = Vec::new();
    let is_file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    if is_file && let Ok(file) = File::open(path) {
        let max = (LENGTH + 1) * MAX_RECORDS * 2;
        // What cannot be read is not suspected.
        let _ = file.take(max as u64).read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text);
    let records: Vec<_> = text.lines().filter_map(|line| Record::parse(line.trim_end())).collect();
    let under_way = records.iter().filter(|record| record.state.is_under_way()).count();
    (blame(records), under_way)
}

/// Creates the file with these lines, in one step.
pub(super) fn create(path: &Path, lines: &[Option<Record>]) -> Option<File> {
    let new = path.with_extension("new");
    let try_create = || -> io::Result<File> {
        let _ = fs::remove_file(&new);
        let file = File::options().create_new(true).write(true).open(&new)?;
        let text: String = lines.iter().map(|record| text(record.as_ref())).collect();
        file.write_all_at(text.as_bytes(), 0)?;
        fs::rename(&new, path)?;
        Ok(file)
    };
    let failed = |error: &io::Error| {
        let error = format!("{}: {error}", path.display());
        log::warn("failed to record the deliveries under way", &[("error", Value::Str(&error))]);
    };
    try_create().inspect_err(failed).ok()
}
