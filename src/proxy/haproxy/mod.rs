//! HAProxy, changed and asked over its sockets while it runs. Adapter.

pub mod cli;
mod context;
pub mod diff;
pub mod server;
pub mod text;
