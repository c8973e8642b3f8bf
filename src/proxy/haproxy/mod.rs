//! HAProxy, changed and asked over its sockets while it runs. Adapter.

pub mod cli;
mod context;
pub mod converge;
pub mod diff;
pub mod doubt;
pub mod master;
pub mod plan;
pub mod processes;
pub mod reply;
pub mod runtime;
pub mod server;
pub mod state;
pub mod text;
