//! The search index: what the traces of a block may contain.
//!
//! ```text
//!  write ──► terms and text of a span or line ──► block: two bit sets for some hundred traces ──► query skips the block, or
//!                                                                                       reads its traces
//! ```
//!
//! A block covers a range of trace numbers. It has one Bloom filter of terms (services, routes, statuses, attributes)
//! and one of text (three bytes each, of span names and lines). A search reads some bytes of a block instead
//! of its spans, and skips it if a term is absent. A block ends when its filters are full, so that a filter stays
//! selective however much one trace has.
//!
//! Invariant: a block may contain what it does not have, but never lacks what it has. A trace without a block, from an
//! older version of the file, may contain anything.

mod bits;
mod blocks;
mod terms;

pub(in crate::store) use blocks::{BlockContent, BlockId, BlockReader, BlockWriter, delete_before};
pub(crate) use terms::contains_text;
pub(in crate::store) use terms::{SpanFacts, Term, resource_terms, span_terms, span_text};
