//! Levels by the names that other worlds have for them: Python's and Google's, beside those of `tracing`.

use std::borrow::Cow;

/// Directives in the words of `tracing`.
///
/// `EnvFilter` takes a word that it does not know for a target, and `WARNING` would silence all others.
pub(super) fn translated(directives: &str) -> String {
    let mut depth = 0_u32;
    let parts = directives.split(|c| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    let parts: Vec<Cow<'_, str>> = parts.map(translated_part).collect();
    parts.join(",")
}

fn translated_part(directive: &str) -> Cow<'_, str> {
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

/// What is worse than ERROR is written with ERROR; what is no level at all lets everything through.
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
    fn names_of_other_worlds() {
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
            // A target of that name.
            ("warning::db=info", "warning::db=info"),
        ] {
            assert_eq!(translated(given), expected, "{given}");
        }
    }
}
