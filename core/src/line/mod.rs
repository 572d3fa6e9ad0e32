//! One log line: one JSON object, in one of two formats.
