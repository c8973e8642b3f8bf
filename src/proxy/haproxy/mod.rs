//! A running HAProxy: sidekick changes and asks it over its sockets. Adapter.

pub mod change;
pub mod commands;
mod context;
pub mod diff;
pub mod error;
pub mod master;
pub mod parse;
pub mod reconcile;
pub mod reply;
pub mod runtime;
pub mod server;
pub mod show_proc;
pub mod show_servers;
pub mod socket;
