//! HAProxy, changed and asked over its sockets while it runs. Adapter.

pub mod cli;
pub mod master;
pub mod processes;
