//! The operating system: processes, signals, files, addresses. Adapter.

pub mod address;
pub mod child;
pub mod command;
pub mod file;
pub mod notify;
pub mod probe;
pub mod process;
pub mod signals;
