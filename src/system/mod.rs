//! The operating system: processes, signals, files, addresses, names. Adapter.

pub mod address;
pub mod child;
pub mod command;
pub mod dns;
pub mod family;
pub mod file;
mod group;
pub mod init;
pub mod mirror;
pub mod mount;
pub mod notify;
pub mod output;
pub mod probe;
pub mod process;
mod raw;
pub mod sandbox;
pub mod signals;
mod terminal;
pub mod unit;
pub mod watched;
mod xattr;
