//! `--token-file`: the bearer tokens that a client has to show.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use axum::http::{HeaderMap, header};
use subtle::{Choice, ConstantTimeEq};

use crate::reload::Reloaded;

/// The tokens in a file, one a line: two of them let clients change from one to the other.
#[derive(Debug)]
pub(crate) struct TokenFile(Reloaded<Vec<Vec<u8>>>);

impl TokenFile {
    /// # Errors
    ///
    /// The file cannot be read, or has no token.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        Reloaded::open("--token-file", vec![path.to_owned()], read).map(Self)
    }

    /// Whether the request shows one of the tokens; how long the answer takes does not tell how much of it is right.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(shown) = bearer(headers) else { return false };
        let tokens = self.0.current();
        tokens.iter().fold(Choice::from(0), |found, token| found | token.as_slice().ct_eq(shown)).into()
    }
}

fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut tokens = Vec::new();
    for path in paths {
        let text = fs::read(path).with_context(|| path.display().to_string())?;
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        tokens.extend(lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
    }
    if tokens.is_empty() {
        bail!("it has no token: write one a line");
    }
    if tokens.iter().flatten().any(|byte| !byte.is_ascii_graphic()) {
        bail!("a token has a blank or a character that no header can carry: write one a line");
    }
    Ok(tokens)
}

/// The token of `authorization: Bearer TOKEN` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(file: &TokenFile, shown: &str, expected: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, shown.parse().unwrap());
        assert_eq!(file.admits(&headers), expected, "{shown}");
    }

    #[test]
    fn the_token_has_to_be_one_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "\n  s3cret\nnext-one\n").unwrap();
        let file = TokenFile::open(&path).unwrap();
        for (shown, expected) in [
            ("Bearer s3cret", true),
            ("bearer  next-one ", true),
            ("Bearer s3cre", false),
            ("Bearer s3cret2", false),
            ("Bearer", false),
            ("Bearer ", false),
            ("Basic s3cret", false),
            ("s3cret", false),
        ] {
            check(&file, shown, expected);
        }
        assert!(!file.admits(&HeaderMap::new()));
        assert!(!format!("{file:?}").contains("s3cret"));
    }

    #[test]
    fn a_changed_file_is_read_anew_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "old").unwrap();
        let file = TokenFile::open(&path).unwrap();
        fs::write(&path, "newer").unwrap();
        check(&file, "Bearer newer", false);
        file.0.look_again();
        check(&file, "Bearer newer", true);
        check(&file, "Bearer old", false);
        fs::write(&path, "").unwrap();
        file.0.look_again();
        check(&file, "Bearer newer", true);
        fs::remove_file(&path).unwrap();
        file.0.look_again();
        check(&file, "Bearer newer", true);
    }

    #[test]
    fn a_file_without_tokens_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let error = |path: &Path| format!("{:#}", TokenFile::open(path).unwrap_err());
        assert!(error(&path).contains("No such file"), "{}", error(&path));
        for (text, expected) in [(" \n\n", "it has no token"), ("two words", "a token has a blank")] {
            fs::write(&path, text).unwrap();
            assert!(error(&path).starts_with("cannot use --token-file: "), "{}", error(&path));
            assert!(error(&path).contains(expected), "{}", error(&path));
        }
    }
}
