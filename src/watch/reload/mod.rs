//! Reloads a program that has new files, and verifies that it runs them.
//!
//! `shared` makes equal reloads of several targets once, and never two of them at a time; `send` makes one reload in the
//! way that conf.d names; `workers` decides by a daemon's child processes whether it has taken the files (pure);
//! `generation` asks the program which generation of the files it runs.
//!
//! Rule: this room talks to programs and changes no file. `run` reads conf.d again, which is a config reload.

pub(super) mod generation;
pub(super) mod send;
pub(super) mod shared;
pub(super) mod workers;
