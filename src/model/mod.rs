//! The nouns everyone shares. Pure: no clock, no I/O, no randomness below this module.

pub mod address;
pub mod backoff;
pub mod catalog;
pub mod check;
pub mod facts;
pub mod fingerprint;
pub mod guard;
pub mod instance;
pub mod keyspace;
pub mod lease;
pub mod location;
pub mod pace;
pub mod report;
pub mod socket;
pub mod stop;
pub mod suggestion;
pub mod tree;
pub mod update;
pub mod watchers;
