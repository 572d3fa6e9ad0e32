//! The rows of the table `block`.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{OptionalExtension, Transaction, params};

use super::bits::{Bits, TERM_BYTES, TEXT_BYTES, has_term, has_text};
use super::terms::Term;

/// The block of a trace, by the number of its first trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::store) struct BlockId(i64);

/// The blocks that a transaction changes.
#[derive(Debug, Default)]
pub(in crate::store) struct BlockWriter {
    changed: HashMap<BlockId, Block>,
}

#[derive(Debug)]
struct Block {
    terms: Bits,
    text: Bits,
}

/// More changed blocks are written before the transaction ends: 2 MiB of them.
const MAX_CHANGED: usize = 256;

impl BlockWriter {
    /// Returns the block of a trace. `is_new` is a trace without spans and lines, which has the greatest number.
    ///
    /// Returns `None` for a trace of an older version of the file.
    pub(in crate::store) fn block_of(
        &mut self,
        tx: &Transaction<'_>,
        trace: i64,
        is_new: bool,
    ) -> rusqlite::Result<Option<BlockId>> {
        let found = tx
            .prepare_cached(
                "SELECT first_seq FROM block WHERE first_seq <= ? ORDER BY first_seq DESC LIMIT 1",
            )?
            .query_row([trace], |row| row.get(0).map(BlockId))
            .optional()?;
        if !is_new {
            return Ok(found);
        }
        if let Some(last) = found {
            let block = self.load(tx, last)?;
            if !block.terms.is_full() && !block.text.is_full() {
                return Ok(found);
            }
            tx.prepare_cached("UPDATE block SET last_seq = ? WHERE first_seq = ?")?
                .execute([trace - 1, last.0])?;
        }
        tx.prepare_cached("INSERT INTO block VALUES (?, ?, zeroblob(?), zeroblob(?))")?.execute(params![
            trace,
            i64::MAX,
            TERM_BYTES as i64,
            TEXT_BYTES as i64
        ])?;
        Ok(Some(BlockId(trace)))
    }

    /// Adds terms and text to a block.
    pub(in crate::store) fn add(
        &mut self,
        tx: &Transaction<'_>,
        block: BlockId,
        add: impl FnOnce(&mut BlockContent<'_>),
    ) -> rusqlite::Result<()> {
        let block = self.load(tx, block)?;
        add(&mut BlockContent(block));
        Ok(())
    }

    fn load(&mut self, tx: &Transaction<'_>, id: BlockId) -> rusqlite::Result<&mut Block> {
        if self.changed.len() >= MAX_CHANGED && !self.changed.contains_key(&id) {
            self.save(tx)?;
        }
        match self.changed.entry(id) {
            std::collections::hash_map::Entry::Occupied(block) => Ok(block.into_mut()),
            std::collections::hash_map::Entry::Vacant(place) => {
                let block = tx
                    .prepare_cached("SELECT terms, text FROM block WHERE first_seq = ?")?
                    .query_row([id.0], |row| {
                        Ok(Block { terms: Bits::new(row.get(0)?), text: Bits::new(row.get(1)?) })
                    })?;
                Ok(place.insert(block))
            }
        }
    }

    /// Writes the changed blocks.
    pub(in crate::store) fn save(&mut self, tx: &Transaction<'_>) -> rusqlite::Result<()> {
        let mut update = tx.prepare_cached("UPDATE block SET terms = ?, text = ? WHERE first_seq = ?")?;
        for (id, block) in self.changed.drain() {
            update.execute(params![block.terms.bytes, block.text.bytes, id.0])?;
        }
        Ok(())
    }
}

/// What a block contains.
#[derive(Debug)]
pub(in crate::store) struct BlockContent<'a>(&'a mut Block);

impl BlockContent<'_> {
    pub(in crate::store) fn add_term(&mut self, term: Term) {
        self.0.terms.add_term(term.0);
    }

    pub(in crate::store) fn add_text(&mut self, text: &[u8]) {
        self.0.text.add_text(text);
    }
}

/// Deletes the blocks all of whose traces are before this one.
pub(in crate::store) fn delete_before(tx: &Transaction<'_>, trace: i64) -> rusqlite::Result<()> {
    // The blocks are in the order of their traces, so those before the block of this trace are the ones.
    tx.prepare_cached(
        "DELETE FROM block WHERE first_seq < (SELECT max(first_seq) FROM block WHERE first_seq <= ?)",
    )?
    .execute([trace])?;
    Ok(())
}

/// The blocks of a search, each read at most once.
#[derive(Debug, Default)]
pub(in crate::store) struct BlockReader {
    terms: Vec<Term>,
    texts: Vec<Vec<u8>>,
    /// By the first trace: the last trace, and whether the search has to read the block's traces.
    known: BTreeMap<i64, (i64, bool)>,
    last: Option<(i64, i64, bool)>,
}

impl BlockReader {
    /// Searches for traces with all of these terms and texts.
    pub(in crate::store) fn new(terms: Vec<Term>, texts: Vec<Vec<u8>>) -> Self {
        Self { terms, texts, ..Self::default() }
    }

    /// Returns whether a trace may have the terms and texts.
    pub(in crate::store) fn may_contain(
        &mut self,
        tx: &Transaction<'_>,
        trace: i64,
    ) -> rusqlite::Result<bool> {
        if self.terms.is_empty() && self.texts.is_empty() {
            return Ok(true);
        }
        if let Some((first, last, may)) = self.last
            && (first..=last).contains(&trace)
        {
            return Ok(may);
        }
        let known = self.known.range(..=trace).next_back();
        let found = match known {
            Some((first, (last, may))) if trace <= *last => (*first, *last, *may),
            _ => {
                let found = self.read(tx, trace)?;
                self.known.insert(found.0, (found.1, found.2));
                found
            }
        };
        self.last = Some(found);
        Ok(found.2)
    }

    /// Reads the block of a trace. A range without a block may contain anything.
    fn read(&self, tx: &Transaction<'_>, trace: i64) -> rusqlite::Result<(i64, i64, bool)> {
        let mut block = tx.prepare_cached(
            "SELECT first_seq, last_seq, terms, text FROM block WHERE first_seq <= ?
             ORDER BY first_seq DESC LIMIT 1",
        )?;
        let mut rows = block.query([trace])?;
        if let Some(row) = rows.next()? {
            let (terms, text) = (row.get_ref(2)?.as_blob()?, row.get_ref(3)?.as_blob()?);
            let may = self.terms.iter().all(|term| has_term(terms, term.0))
                && self.texts.iter().all(|searched| has_text(text, searched));
            return Ok((row.get(0)?, row.get(1)?, may));
        }
        let next: Option<i64> = tx
            .prepare_cached("SELECT min(first_seq) FROM block WHERE first_seq > ?")?
            .query_row([trace], |row| row.get(0))?;
        Ok((i64::MIN, next.map_or(i64::MAX, |next| next - 1), true))
    }
}
