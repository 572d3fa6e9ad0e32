//! What the benches of all packages share: [`spread`] over rounds, [`figures`] as text, and tables in a [`document`].

pub mod document;
pub mod figures;
pub mod spread;
