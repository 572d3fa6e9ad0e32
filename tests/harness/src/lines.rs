//! JSON log lines in a file that a program may still write.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::{Error, Result};

/// Reads every complete line of `file`. Each must be one JSON object.
pub fn read(file: &Path) -> Result<Vec<Value>> {
    raw(file)?.iter().map(|line| parse(line).map_err(Error::when(file.display()))).collect()
}

/// Reads every complete line of `file` as text.
pub fn raw(file: &Path) -> Result<Vec<String>> {
    let bytes = fs::read(file).map_err(Error::when(file.display()))?;
    let text = String::from_utf8(bytes).map_err(Error::when(format!("{} is not UTF-8", file.display())))?;
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    Ok(complete.lines().map(str::to_owned).collect())
}

/// Parses a line as one JSON object.
pub fn parse(line: &str) -> Result<Value> {
    match serde_json::from_str(line) {
        Ok(object @ Value::Object(_)) => Ok(object),
        Ok(_) => Err(Error::new(format!("not a JSON object: {line}"))),
        Err(cause) => Err(Error::new(format!("not JSON ({cause}): {line}"))),
    }
}

/// Returns the trace id of a line of either format, without `projects/…/traces/`.
pub fn trace_id(line: &Value) -> Option<&str> {
    let field = line.get("logging.googleapis.com/trace").or_else(|| line.get("trace"))?;
    field.as_str()?.rsplit('/').next()
}
