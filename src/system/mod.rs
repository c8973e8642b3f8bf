//! The operating system: processes, signals, files, addresses, names. Adapter.

pub mod address;
pub mod bounded;
pub mod check_tree;
pub mod child;
pub mod clock;
pub mod command;
pub mod dns;
pub mod error_stream;
pub mod family;
pub mod file;
pub mod file_watch;
mod group;
pub mod http_get;
pub mod http_server;
pub mod init;
pub mod mount;
pub mod output;
pub mod probe;
pub mod process;
mod procfs;
pub mod sandbox;
pub mod sd_notify;
pub mod signals;
mod syscalls;
pub mod systemd;
pub mod terminal;
pub mod xattr;
