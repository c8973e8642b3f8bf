//! The integration tests: one crate, so that they link once and share their harness.

mod contract;
mod etcd;
mod harness;

mod shipped;
