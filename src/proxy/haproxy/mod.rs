//! A running HAProxy: sidekick changes and asks it over its sockets. Adapter.
//!
//! Two files are compared by `parse` (sections and lines), `server` (a `server` line), `context` (the defaults that apply) and
//! `diff`, which ends in a `change` or in a reload. `commands` puts changes into HAProxy's words, and `reconcile` finds those
//! that a process still needs. `socket` carries the commands, `reply`, `show_servers` and `show_proc` read the answers.
//! `runtime` puts all that together for the servers of an HAProxy; `master` orders reloads; `error` is a doubt about what
//! HAProxy has.

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
