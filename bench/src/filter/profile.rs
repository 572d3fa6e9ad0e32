//! Reads the profiles that callgrind writes.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use logtracer_harness::{Error, Result};

/// The file name of the native module.
const LIBRARY: &str = "liblogtracer.so";

/// The instructions of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) all: u64,
    /// Those of the filter's own code, without the functions that it calls.
    pub(super) filter: u64,
}

/// Numbers that stand for names after their first occurrence, of those names that are the filter's.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    /// Returns whether a name is the filter's: `(number) name`, or `(number)`.
    fn is_ours(&mut self, text: &str, is_ours: impl FnOnce(&str) -> bool) -> bool {
        let (number, name) = text.split_once(' ').unwrap_or((text, ""));
        if is_ours(name) {
            self.0.insert(number.to_owned());
        }
        self.0.contains(number)
    }
}

/// Reads a profile. Returns `None` if it is not complete.
///
/// <https://valgrind.org/docs/manual/cl-format.html>
pub(super) fn read(profile: &Path) -> Result<Option<Counts>> {
    let Ok(file) = File::open(profile) else { return Ok(None) };
    let mut counts = Counts { all: 0, filter: 0 };
    let (mut objects, mut functions) = (Names::default(), Names::default());
    let (mut is_library, mut is_generated, mut is_call) = (false, false, false);
    for line in BufReader::new(file).lines() {
        let line = line.map_err(Error::when(profile.display()))?;
        if let Some(object) = line.strip_prefix("ob=") {
            is_library = objects.is_ours(object, |name| name.ends_with(LIBRARY));
        } else if let Some(object) = line.strip_prefix("cob=") {
            objects.is_ours(object, |name| name.ends_with(LIBRARY));
        } else if let Some(function) = line.strip_prefix("fn=") {
            is_generated = functions.is_ours(function, is_generated_code);
        } else if let Some(function) = line.strip_prefix("cfn=") {
            functions.is_ours(function, is_generated_code);
        } else if line.starts_with("calls=") {
            // The next line is the cost of the callee, which has its own lines too.
            is_call = true;
        } else if line.starts_with("totals:") {
            return Ok(Some(counts));
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let cost = line.rsplit(' ').next().and_then(|cost| cost.parse::<u64>().ok()).unwrap_or(0);
            if !std::mem::take(&mut is_call) {
                counts.all += cost;
                counts.filter += if is_library || is_generated { cost } else { 0 };
            }
        }
    }
    Ok(None)
}

/// Reports whether V8 generated a function: it has an address instead of a name, far from the addresses at which
/// valgrind loads a program.
fn is_generated_code(function: &str) -> bool {
    const FAR: u64 = 1 << 32;
    let address = function.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    address.is_some_and(|address| address >= FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let profile = dir.path().join("callgrind.1");
        let text = "version: 1\npositions: line\nevents: Ir\n\nob=(1) /usr/bin/envoy\nfn=(1) main\n12 100\n+3 20\n\
            cob=(2) ???\ncfn=(2) 0x0000123456789abc\ncalls=2 0 \n* 4000\n\nfn=(3) 0x0000000005b50830\n0 7\n\
            cob=(3) /build/liblogtracer.so\ncfn=(4) 0x0000000006b50830\ncalls=2 0 \n* 500\n\n\
            ob=(2)\nfn=(2)\n0 3000\ncfn=(3)\ncalls=1 0 \n0 7\n0 1000\nob=(3)\nfn=(4)\n0 500\nob=(1)\nfn=(1)\n* 3\n";
        std::fs::write(&profile, text).unwrap();
        assert_eq!(read(&profile).unwrap(), None, "the end is missing");
        std::fs::write(&profile, format!("{text}\ntotals: 4630\n")).unwrap();
        assert_eq!(read(&profile).unwrap(), Some(Counts { all: 4630, filter: 4500 }));
    }
}
