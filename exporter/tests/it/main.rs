//! The real program, started as a user starts it, on free ports of the loopback interface.

mod durability;
mod harness;
mod ingest;
mod listening;
mod protocols;
mod startup;
mod tailing;
mod viewer;
