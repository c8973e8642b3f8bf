//! Template × what a target may see = text. Pure: no files, no environment, no clock, no log.
//!
//! ```text
//! sources ──▶ Template::compile ──▶ Template ─┐
//!                                             ├─▶ render ──▶ text | RenderError
//! catalog, services, keys, environment ─▶ View ┘
//! ```
//!
//! - [`View`]: what a target may see of the catalog, and nothing else.
//! - [`keys`]: the questions confd's functions ask of the raw keys. No engine is named there.
//! - [`routes`]: which host names and paths lead to which service.
//! - [`quote`]: free text made safe for one place in one configuration language, or refused.
//! - [`text`], [`glob`]: confd's string functions.
//! - [`Template`], [`functions`], [`filters`]: all of that under its name in Tera; the two tables are the reference of
//!   the language.
//!
//! # Guarantees
//!
//! The same view and the same template give the same bytes: everything is sorted, nothing tells the time. No value of
//! the catalog can become more than a value: what the types of `model::instance` let through has no character with a
//! meaning in a proxy's configuration, and attributes, which are free text, have the quoting filters and the tests
//! (`is hostname`, `is url_path`) between them and the file.

mod error;
pub mod filters;
pub mod functions;
pub mod glob;
pub mod keys;
pub mod quote;
pub mod routes;
mod tera;
#[cfg(test)]
mod tests;
pub mod text;
mod view;

pub use self::error::{Fault, RenderError};
pub use self::tera::Template;
pub use self::view::View;
