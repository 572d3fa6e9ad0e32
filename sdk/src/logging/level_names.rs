//! Directives: the levels of targets, with the names that levels have in `tracing`, Python and Google Cloud.

use std::borrow::Cow;

use super::level_error::LevelError;

/// Checks directives and translates their levels for `EnvFilter`.
///
/// `EnvFilter` reads an unknown word as a target and disables all others: `inof` or `WARNING` would disable every line.
///
/// # Errors
///
/// If a directive has no level that is known, or if there is none.
pub(super) fn translate(directives: &str) -> Result<String, LevelError> {
    let mut depth = 0_u32;
    let parts = directives.split(|c| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    let parts = parts.map(str::trim).filter(|part| !part.is_empty());
    let parts = parts.map(translate_part).collect::<Result<Vec<_>, _>>()?;
    if parts.is_empty() { Err(LevelError::empty()) } else { Ok(parts.join(",")) }
}

fn translate_part(directive: &str) -> Result<Cow<'_, str>, LevelError> {
    // A span may follow the target, `target[span{field=value}]`, and may have no level.
    let (span, rest) = match directive.rfind(']').and_then(|end| directive.split_at_checked(end + 1)) {
        Some((span, "")) => return Ok(span.into()),
        Some((span, rest)) => (span, rest),
        None if directive.contains('[') => return Ok(directive.into()),
        None => ("", directive),
    };
    match rest.rsplit_once('=') {
        Some((target, name)) => {
            let target = target.trim();
            if span.is_empty() && target.is_empty() {
                return Err(LevelError::no_target(directive));
            }
            let level =
                level_of(name.trim()).ok_or_else(|| LevelError::not_a_level(name.trim(), directive))?;
            Ok(format!("{span}{target}={level}").into())
        }
        None => level_of(rest).map(Cow::from).ok_or_else(|| LevelError::not_a_level(rest, directive)),
    }
}

/// Returns the level of `tracing` with this name or number: `error` for severities above ERROR, `trace` for all lines.
fn level_of(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_uppercase().as_str() {
        "OFF" | "0" => "off",
        "ERROR" | "CRITICAL" | "FATAL" | "ALERT" | "EMERGENCY" | "50" | "40" | "1" => "error",
        "WARN" | "WARNING" | "30" | "2" => "warn",
        "INFO" | "NOTICE" | "20" | "3" => "info",
        "DEBUG" | "10" | "4" => "debug",
        "TRACE" | "NOTSET" | "DEFAULT" | "ALL" | "5" => "trace",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_translated() {
        for (given, expected) in [
            ("info,shop::db=debug", "info,shop::db=debug"),
            ("WARNING", "warn"),
            ("Warning", "warn"),
            (" info \n", "info"),
            ("info,, shop = debug ,", "info,shop=debug"),
            ("CRITICAL", "error"),
            ("notset", "trace"),
            ("ALL", "trace"),
            ("30", "warn"),
            ("0", "off"),
            ("5", "trace"),
            ("shop=3", "shop=info"),
            ("NOTICE, shop::db = WARNING", "info,shop::db=warn"),
            ("shop=critical,logtracer=off", "shop=error,logtracer=off"),
            ("shop[job{id=warning,all}]=NOTICE,ALL", "shop[job{id=warning,all}]=info,trace"),
            ("shop[job],info", "shop[job],info"),
            ("[job]= Warning", "[job]=warn"),
            // A target with the name of a level.
            ("warning::db=info", "warning::db=info"),
        ] {
            assert_eq!(translate(given).unwrap(), expected, "{given}");
        }
    }

    #[test]
    fn what_is_no_level_is_an_error() {
        let not_a_level =
            |name: &str| format!("{name:?} is not a level (off, error, warn, info, debug or trace)");
        for (given, expected) in [
            ("", "there is no level".to_owned()),
            (" , ", "there is no level".to_owned()),
            ("inof", not_a_level("inof") + "; a target has one, as in \"inof=trace\""),
            ("info,shop::db", not_a_level("shop::db") + "; a target has one, as in \"shop::db=trace\""),
            ("6", not_a_level("6")),
            ("-1", not_a_level("-1")),
            ("info,shop=", not_a_level("") + " in \"shop=\""),
            ("shop=loud", not_a_level("loud") + " in \"shop=loud\""),
            ("shop[job]=loud", not_a_level("loud") + " in \"shop[job]=loud\""),
            ("=info", "\"=info\" has no target".to_owned()),
        ] {
            assert_eq!(translate(given).unwrap_err().to_string(), expected, "{given}");
        }
    }
}
