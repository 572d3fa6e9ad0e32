//! The SDK as a service uses it.

mod carry;
mod isolation;
mod lines;
mod logs;
mod mesh;
