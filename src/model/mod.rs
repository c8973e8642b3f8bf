//! The nouns everyone shares. Pure: no clock, no I/O, no randomness below this module.

pub mod address;
pub mod backoff;
pub mod catalog;
pub mod check;
pub mod container;
pub mod date;
pub mod ending;
pub mod fingerprint;
pub mod guard;
pub mod instance;
pub mod key;
pub mod key_tree;
pub mod keyspace;
pub mod lease;
pub mod lease_id;
pub mod listen_address;
pub mod old_worker_wait;
pub mod os;
pub mod pace;
pub mod pem;
pub mod prefix;
pub mod problems;
pub mod publication;
pub mod report;
pub mod screen;
pub mod socket;
pub mod state_change;
pub mod stop;
pub mod store_url;
pub mod suggestion;

pub mod target_status;
pub mod text_table;
pub mod times;
pub mod update;
pub mod watcher_entry;
