//! The integration tests: one crate, so that they link once and share their harness.

mod architecture;
mod cli;
mod contract;
mod etcd;
mod harness;
mod register;
mod routing;
mod shipped;
mod watch;
