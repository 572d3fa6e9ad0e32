//! Tests of the whole program, on free ports of the loopback interface.

mod admission;
mod bad_disks;
mod browser;
mod clients;
mod cloud_trace;
mod credentials;
mod damaged_wal;
mod durability;
mod google;
mod growth;
mod harness;
mod ingest;
mod layers;
mod listening;
mod load;
mod options;
mod pages;
mod protocols;
mod receiver;
mod removed_files;
mod sinks;
mod startup;
mod tailing;
mod tailing_limits;
mod viewer;
mod zipkin;
