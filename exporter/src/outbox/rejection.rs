//! Commands that the writer answers without a commit.

use std::collections::VecDeque;
use std::mem;

use super::AppendError;
use super::command::Command;

/// Rejects all commands of the group.
pub(super) fn reject(group: &mut VecDeque<Command>, reason: &str) {
    for command in group.drain(..) {
        // The receivers of the replies may be gone.
        match command {
            Command::Append { reply, .. } => drop(reply.send(Err(unwritable(reason)))),
            Command::Advance { reply, .. }
            | Command::Decide { reply, .. }
            | Command::Probe { reply }
            | Command::CheckPath { reply } => {
                drop(reply.send(Err(reason.to_owned())));
            }
            Command::DropExpired { .. } | Command::CheckFile => {}
        }
    }
}

/// Rejects new batches. The sinks go on, so that acknowledged batches are deleted.
pub(super) fn reject_new(group: &mut VecDeque<Command>, reason: &str) {
    for command in mem::take(group) {
        match command {
            Command::Append { reply, .. } => drop(reply.send(Err(unwritable(reason)))),
            Command::Probe { reply } => drop(reply.send(Err(reason.to_owned()))),
            other => group.push_back(other),
        }
    }
}

/// Answers the checks of the path. A commit for them could hide the reason why the last commit failed.
pub(super) fn answer_path_checks(group: &mut VecDeque<Command>, problem: Option<&str>) {
    for command in mem::take(group) {
        match command {
            Command::CheckPath { reply } => {
                drop(reply.send(problem.map_or(Ok(()), |problem| Err(problem.to_owned()))));
            }
            other => group.push_back(other),
        }
    }
}

fn unwritable(reason: &str) -> AppendError {
    AppendError::Unwritable(reason.to_owned())
}
