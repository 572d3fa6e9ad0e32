//! Finds the files of a log, and assigns the read positions to them: after a start, a rotation or a truncation.
//!
//! ```text
//!  position ──► the file with its inode and its content ──────────► in place
//!          └──► another file with its content ────────────────────► moved, or copied before a truncation
//!          └──► none ─────────────────────────────────────────────► lost: counted and logged
//!  file without a position ──► the log itself, or rotated since ──► read from its beginning
//!                         └──► a copy, or older than the start ───► read already
//! ```

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::context::Context;
use super::file::{self, FileId, FoundFile, metadata_of};
use super::fingerprint::Fingerprint;
use super::generation::Generation;
use crate::log::{self, Value};
use crate::metrics::ReasonLabel;

/// A file that may have a read position.
struct Candidate {
    file: FoundFile,
    /// The log that the file is, or was.
    target: PathBuf,
    is_current: bool,
    is_taken: bool,
}

impl Candidate {
    fn open(&self) -> io::Result<Option<File>> {
        file::open(&self.file.path)
    }
}

/// Updates the generations of the log at this path, whose metadata is `now`. The current file is the last.
pub(super) fn find_files(
    path: &Path,
    generations: &mut Vec<Generation>,
    is_known: bool,
    now: Option<&Metadata>,
    context: &mut Context<'_>,
) -> io::Result<()> {
    let is_first = !is_known && generations.is_empty();
    let mut found = candidates(path, generations, now, context)?;
    let mut placed = place(generations, &mut found)?;
    if placed.contains(&false) && context.names.is_listed() {
        // A file may have been rotated since its folder was listed for another log.
        context.names.forget();
        found = candidates(path, generations, now, context)?;
        placed = place(generations, &mut found)?;
    }
    let mut read_already = Vec::new();
    let mut index = 0;
    for is_placed in placed {
        let Some(generation) = generations.get_mut(index) else { break };
        if is_placed || move_to_copy(generation, &mut found) {
            index += 1;
            continue;
        }
        let mut lost = generations.remove(index);
        lost.close(context);
        let is_truncated = found.iter().any(|candidate| candidate.file.id == lost.id);
        match is_truncated.then(|| take_read_copy(&lost, &mut found)).flatten() {
            Some(copy) => read_already.push(copy),
            None => report_lost(path, &lost, is_truncated, context),
        }
    }
    generations.extend(read_already);
    add_new(generations, &found, is_first)?;
    let id = now.map(FileId::of);
    for generation in &mut *generations {
        generation.set_current(Some(generation.id) == id);
    }
    generations.sort_by_key(|generation| generation.is_current);
    Ok(())
}

/// Returns the file at the path, and the rotated files beside it and beside the earlier targets of a symbolic link.
fn candidates(
    path: &Path,
    generations: &[Generation],
    now: Option<&Metadata>,
    context: &mut Context<'_>,
) -> io::Result<Vec<Candidate>> {
    let mut targets: Vec<PathBuf> = fs::canonicalize(path).into_iter().collect();
    for target in generations.iter().map(|generation| &generation.target) {
        if !targets.contains(target) {
            targets.push(target.clone());
        }
    }
    if targets.is_empty() {
        targets.push(path.to_owned());
    }
    let id = now.map(FileId::of);
    let mut found: Vec<Candidate> = Vec::new();
    for target in targets {
        let mut files = match context.names.siblings(&target) {
            Ok(siblings) => siblings,
            // The folder of an earlier target can be gone.
            Err(_) if !target.parent().is_some_and(Path::exists) => continue,
            Err(error) => return Err(error),
        };
        if let Ok(Some(metadata)) = metadata_of(&target) {
            let (path, length) = (target.clone(), metadata.len());
            files.push(FoundFile { path, id: FileId::of(&metadata), length });
        }
        for file in files {
            if found.iter().all(|known| known.file.id != file.id) {
                let is_current = Some(file.id) == id;
                found.push(Candidate { file, target: target.clone(), is_current, is_taken: false });
            }
        }
    }
    Ok(found)
}

/// Finds the file of each generation by its inode and its content. Returns for each whether it was found.
fn place(generations: &mut [Generation], found: &mut [Candidate]) -> io::Result<Vec<bool>> {
    let mut placed = Vec::new();
    for generation in generations {
        let candidate = found.iter_mut().find(|candidate| candidate.file.id == generation.id);
        let is_placed = match candidate {
            None => generation.is_open(),
            Some(candidate) => {
                let has_content = generation.is_open()
                    || match candidate.open() {
                        Ok(file) => file.map_or(Ok(false), |file| generation.continues_in(&file))?,
                        Err(error) if candidate.is_current => return Err(error),
                        // Reading it reports the error.
                        Err(_) => true,
                    };
                if has_content {
                    candidate.is_taken = true;
                    generation.locate(&candidate.file.path);
                }
                has_content
            }
        };
        placed.push(is_placed);
    }
    Ok(placed)
}

/// Continues with a file of the same content: a copy made before the file was truncated, or the file itself on a
/// restored disk. If there are several, the newest is the most likely.
fn move_to_copy(generation: &mut Generation, found: &mut [Candidate]) -> bool {
    for candidate in found.iter_mut().rev().filter(|candidate| !candidate.is_taken) {
        let continues = |file: Option<File>| file.map_or(Ok(false), |file| generation.continues_in(&file));
        if generation.has_begun() && candidate.open().and_then(continues).unwrap_or(false) {
            candidate.is_taken = true;
            generation.move_to(&candidate.file, &candidate.target);
            return true;
        }
    }
    false
}

/// Takes the copy of a truncated file that was made before the last lines were read.
fn take_read_copy(lost: &Generation, found: &mut [Candidate]) -> Option<Generation> {
    for candidate in found.iter_mut().rev().filter(|candidate| !candidate.is_taken && !candidate.is_current) {
        if let Ok(Some(file)) = candidate.open()
            && lost.has_read_copy(&file, candidate.file.length).unwrap_or(false)
        {
            candidate.is_taken = true;
            return Generation::at_end(&candidate.file, candidate.target.clone(), &file).ok();
        }
    }
    None
}

/// Adds a generation for each file without one.
fn add_new(generations: &mut Vec<Generation>, found: &[Candidate], is_first: bool) -> io::Result<()> {
    let known = generations.len();
    for candidate in found.iter().filter(|candidate| !candidate.is_taken) {
        let target = candidate.target.clone();
        if candidate.is_current {
            generations.push(Generation::new(&candidate.file, target));
            continue;
        }
        // Reading a file that cannot be opened reports the error.
        let file = candidate.open().ok().flatten();
        let is_copy = |file: &File| {
            let mut others =
                generations.iter().take(known).filter_map(|other| file::open(&other.location).ok()?);
            others.any(|other| is_copy(file, candidate.file.length, &other).unwrap_or(false))
        };
        let generation = match file {
            Some(file) if is_first || is_copy(&file) => Generation::at_end(&candidate.file, target, &file)?,
            _ => Generation::new(&candidate.file, target),
        };
        generations.push(generation);
    }
    Ok(())
}

/// Returns whether all of this file is the beginning of the other.
fn is_copy(file: &File, length: u64, other: &File) -> io::Result<bool> {
    let content = Fingerprint::read(file, length)?;
    Ok(length > 0 && content.is_some() && content == Fingerprint::read(other, length)?)
}

/// Counts and logs that lines may be missing. Nothing is missing if an old file is deleted after it was read.
fn report_lost(path: &Path, lost: &Generation, is_truncated: bool, context: &mut Context<'_>) {
    if !(lost.is_current || lost.unread_bytes() > 0) {
        return;
    }
    let reason = match is_truncated {
        true => "truncated",
        false if context.names.has_compressed(&lost.target) => "compressed",
        false => "deleted",
    };
    context.metrics.log_file_gaps.get_or_create(&ReasonLabel { reason }).inc();
    log::warn(
        "log lines may be missing: the rest of a file was not found",
        &[
            ("file", Value::Fmt(format_args!("{}", path.display()))),
            ("reason", Value::Str(reason)),
            ("unread_bytes", Value::U64(lost.unread_bytes())),
        ],
    );
}
