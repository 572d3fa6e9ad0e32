//! The name of the log of an entry.

use super::super::google::project::ProjectId;
use super::truncator::Truncator;

/// The log of records without a service.
const DEFAULT: &str = "logtracer";

/// A log id has fewer than 512 characters
/// (<https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry>).
const MAX_BYTES: usize = 511;

/// Returns `projects/P/logs/NAME`. What a log id cannot have becomes `_`, and a slash is encoded.
pub(super) fn log_name(project: &ProjectId, name: Option<&str>, truncator: &mut Truncator) -> String {
    let mut encoded = String::new();
    for character in name.filter(|name| !name.is_empty()).unwrap_or(DEFAULT).chars() {
        let next = match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' | '.' => {
                character.encode_utf8(&mut [0; 4]).to_owned()
            }
            '/' => "%2F".to_owned(),
            _ => "_".to_owned(),
        };
        if encoded.len() + next.len() > MAX_BYTES {
            truncator.has_truncated = true;
            break;
        }
        encoded.push_str(&next);
    }
    format!("projects/{project}/logs/{encoded}")
}
