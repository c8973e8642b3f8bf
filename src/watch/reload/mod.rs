//! Reloads of the proxy: how a program is told of its new files, and how it is proved that it runs them.
//!
//! `coalesce` makes equal reloads of one pass only once, and never two of them at a time; `send` makes one of them in the
//! way that conf.d names; `workers` sees by a daemon's children whether it took the files (pure); `generation` asks the
//! program which generation of the files it has read.
//!
//! Rule: this room tells programs and asks them; it changes no file. Reading conf.d again is the business of `run`.

pub(super) mod coalesce;
pub(super) mod generation;
pub(super) mod send;
pub(super) mod workers;
