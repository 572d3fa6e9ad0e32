use std::fmt;

/// What went wrong, in a sentence for the one who reads the terminal.
pub struct Error(String);

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error that says `what`.
    pub fn new(what: impl Into<String>) -> Error {
        Error(what.into())
    }

    /// For `map_err`: puts what was tried before the cause.
    pub fn when<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> Error {
        move |cause| Error(format!("{what}: {cause}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// Shown by `unwrap` in tests.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
