//! The faults of a soak, in the order in which they begin.

use std::time::Duration;

use super::backend::Mode;
use super::log_file::Rotation;

/// A fault, or the end of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Backend(Mode),
    KillExporter,
    StartExporter,
    /// SIGSTOP and SIGCONT.
    FreezeExporter,
    ThawExporter,
    FillDisk,
    FreeDisk,
    Rotate(Rotation),
    UpdateConfiguration,
    RestartEnvoy,
}

/// The length of the schedule. A longer soak repeats it.
pub const LENGTH: Duration = Duration::from_secs(240);

/// Seconds after the start, and the event.
pub(super) const SCHEDULE: [(u64, Event); 38] = {
    use Event::*;
    [
        (5, Rotate(Rotation::Rename)),
        (10, KillExporter),
        (11, StartExporter),
        (15, UpdateConfiguration),
        (20, Backend(Mode::Down)),
        (28, KillExporter),
        (29, StartExporter),
        (35, Backend(Mode::Garbage)),
        (45, Backend(Mode::Slow)),
        (50, Rotate(Rotation::CopyTruncate)),
        (58, Backend(Mode::Unavailable)),
        (63, KillExporter),
        (64, StartExporter),
        (68, Backend(Mode::Accept)),
        (72, FreezeExporter),
        (80, ThawExporter),
        (85, RestartEnvoy),
        (92, UpdateConfiguration),
        (95, FillDisk),
        (105, Rotate(Rotation::Rename)),
        (115, Rotate(Rotation::CopyTruncate)),
        (120, FreeDisk),
        (130, KillExporter),
        (131, Rotate(Rotation::CopyTruncate)),
        (132, StartExporter),
        (140, KillExporter),
        (145, Rotate(Rotation::Rename)),
        (150, UpdateConfiguration),
        (170, StartExporter),
        (180, RestartEnvoy),
        (188, Rotate(Rotation::Rename)),
        (190, Rotate(Rotation::Rename)),
        (195, KillExporter),
        (196, StartExporter),
        (200, KillExporter),
        (201, StartExporter),
        (205, Rotate(Rotation::CopyTruncate)),
        (210, UpdateConfiguration),
    ]
};
