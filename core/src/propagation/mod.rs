//! Headers to context and back.
