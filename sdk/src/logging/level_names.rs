//! Names of levels in Python and in Google Cloud, translated to those of `tracing`.

use std::borrow::Cow;

/// Translates the levels in directives.
///
/// `EnvFilter` reads an unknown word as a target: `WARNING` would disable all other targets.
pub(super) fn translate(directives: &str) -> String {
    let mut depth = 0_u32;
    let parts = directives.split(|c| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    let parts: Vec<Cow<'_, str>> = parts.map(translate_part).collect();
    parts.join(",")
}

fn translate_part(directive: &str) -> Cow<'_, str> {
    let (target, name) = match directive.rsplit_once('=') {
        Some((target, name)) => (Some(target), name),
        None => (None, directive),
    };
    match (level_of(name.trim()), target) {
        (Some(level), Some(target)) => format!("{target}={level}").into(),
        (Some(level), None) => level.into(),
        (None, _) => directive.into(),
    }
}

/// Returns the level of `tracing` with this meaning: `error` for severities above ERROR, `trace` for all lines.
fn level_of(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_uppercase().as_str() {
        "CRITICAL" | "FATAL" | "ALERT" | "EMERGENCY" | "50" | "40" => "error",
        "WARNING" | "30" => "warn",
        "NOTICE" | "20" => "info",
        "10" => "debug",
        "NOTSET" | "DEFAULT" | "ALL" => "trace",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_translated() {
        for (given, expected) in [
            ("", ""),
            ("info,shop::db=debug", "info,shop::db=debug"),
            ("WARNING", "warn"),
            ("Warning", "warn"),
            ("CRITICAL", "error"),
            ("notset", "trace"),
            ("ALL", "trace"),
            ("30", "warn"),
            ("NOTICE, shop::db = WARNING", "info, shop::db =warn"),
            ("shop=critical,logtracer=off", "shop=error,logtracer=off"),
            ("shop[job{id=warning,all}]=NOTICE,ALL", "shop[job{id=warning,all}]=info,trace"),
            // A target with the name of a level.
            ("warning::db=info", "warning::db=info"),
        ] {
            assert_eq!(translate(given), expected, "{given}");
        }
    }
}
