//! `--token-file` and `--view-token-file`: the tokens of which a client must present one.

use std::path::{Path, PathBuf};

use anyhow::bail;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::{Choice, ConstantTimeEq};

use crate::reload::{Reloaded, read_file};

/// The tokens in a file, one per line. With two tokens, clients can change from one to the other.
#[derive(Debug)]
pub(crate) struct TokenFile(Reloaded<Vec<Vec<u8>>>);

impl TokenFile {
    /// Reads the file of an option.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or contains no token.
    pub(crate) fn open(option: &'static str, path: &Path) -> anyhow::Result<Self> {
        Reloaded::open(option, vec![path.to_owned()], read).map(Self)
    }

    /// Returns true if the request contains one of the tokens. The comparison takes constant time, so its duration does
    /// not reveal how many characters are correct.
    pub(crate) fn authorize(&self, headers: &HeaderMap) -> bool {
        bearer_token(headers).is_some_and(|presented| self.has(presented))
    }

    /// Returns true if the request contains one of the tokens, also as the password that a browser asks its user for.
    pub(crate) fn authorize_browser(&self, headers: &HeaderMap) -> bool {
        self.authorize(headers) || password(headers).is_some_and(|password| self.has(&password))
    }

    fn has(&self, presented: &[u8]) -> bool {
        let tokens = self.0.load();
        tokens.iter().fold(Choice::from(0), |found, token| found | token.as_slice().ct_eq(presented)).into()
    }
}

fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut tokens = Vec::new();
    for path in paths {
        let text = read_file(path)?;
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        tokens.extend(lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
    }
    if tokens.is_empty() {
        bail!("the file contains no token: write one per line");
    }
    if tokens.iter().flatten().any(|byte| !byte.is_ascii_graphic()) {
        bail!(
            "a token contains a space or a character that is not allowed in a header: write one token per line"
        );
    }
    Ok(tokens)
}

/// Returns the password of `authorization: Basic …` (RFC 7617). Any user name is accepted.
fn password(headers: &HeaderMap) -> Option<Vec<u8>> {
    let (scheme, encoded) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(6)?;
    let decoded =
        scheme.eq_ignore_ascii_case(b"basic ").then(|| STANDARD.decode(encoded.trim_ascii()))?.ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    decoded.get(colon + 1..).map(<[u8]>::to_vec)
}

/// Returns the token of `authorization: Bearer TOKEN` (RFC 6750, section 2.1).
fn bearer_token(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[track_caller]
    fn check(file: &TokenFile, authorization: &str, expected: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        assert_eq!(file.authorize(&headers), expected, "{authorization}");
    }

    #[test]
    fn the_token_must_be_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "\n  s3cret\nnext-one\n").unwrap();
        let file = TokenFile::open("--token-file", &path).unwrap();
        for (authorization, expected) in [
            ("Bearer s3cret", true),
            ("bearer  next-one ", true),
            ("Bearer s3cre", false),
            ("Bearer s3cret2", false),
            ("Bearer", false),
            ("Bearer ", false),
            ("Basic s3cret", false),
            ("s3cret", false),
        ] {
            check(&file, authorization, expected);
        }
        assert!(!file.authorize(&HeaderMap::new()));
        for (login, expected) in [
            ("me:s3cret", true),
            (":next-one", true),
            ("me:s3cret:", false),
            ("s3cret", false),
            ("s3cret:", false),
        ] {
            let mut headers = HeaderMap::new();
            let authorization = format!("Basic {}", STANDARD.encode(login));
            headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
            assert_eq!(file.authorize_browser(&headers), expected, "{login}");
            assert!(!file.authorize(&headers));
        }
        assert!(!format!("{file:?}").contains("s3cret"));
    }

    #[test]
    fn a_changed_file_is_reloaded_and_an_invalid_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "old").unwrap();
        let file = TokenFile::open("--token-file", &path).unwrap();
        fs::write(&path, "newer").unwrap();
        check(&file, "Bearer newer", false);
        file.0.make_check_due();
        check(&file, "Bearer newer", true);
        check(&file, "Bearer old", false);
        fs::write(&path, "").unwrap();
        file.0.make_check_due();
        check(&file, "Bearer newer", true);
        fs::remove_file(&path).unwrap();
        file.0.make_check_due();
        check(&file, "Bearer newer", true);
    }

    #[test]
    fn a_file_without_tokens_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let error = |path: &Path| format!("{:#}", TokenFile::open("--token-file", path).unwrap_err());
        assert!(error(&path).contains("No such file"), "{}", error(&path));
        for (text, expected) in
            [(" \n\n", "the file contains no token"), ("two words", "a token contains a space")]
        {
            fs::write(&path, text).unwrap();
            assert!(error(&path).starts_with("cannot use --token-file: "), "{}", error(&path));
            assert!(error(&path).contains(expected), "{}", error(&path));
        }
    }
}
