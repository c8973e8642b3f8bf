//! The integration tests: one crate, so that they link once and share their harness.

mod harness;

mod routing;
mod shipped;
