//! The integration tests: one crate, so that they link once and share their harness.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod access_log;
mod admin;
mod application;
mod architecture;
mod bases;
mod cli;
mod completions;
mod confd;
mod consumers;
mod containers;
mod contract;
mod dashboard;
mod dependencies;
mod docker;
mod documents;
mod drain;
mod entrypoint;
mod etcd;
mod forwarded;
mod harness;
mod healing;
mod hitless;
mod idle;
mod json;
mod live;
mod logs;
mod manual;
mod operator;
mod package;
mod pid1;
mod proxies;
mod quickstart;
mod read_only;
mod register;
mod reloads;
mod routing;
mod runtime;
mod services;
mod shipped;
mod stopping;
mod systemd;
mod units;
mod watch;
