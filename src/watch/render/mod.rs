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
//! - `disputes`: where announcements contradict each other, for the operator to know.
//! - [`quote`]: free text made safe for one place in one configuration language, or refused.
//! - [`strings`], [`glob`]: confd's string functions.
//! - [`Generation`]: a mark in the files by which a program says which of them it has read.
//! - [`World`]: the few questions that neither the store nor the environment can answer.
//! - [`Template`]: one type, two languages. `*.tera`: [`functions`] and [`filters`] have all of the above under its name;
//!   the two tables are the reference of the language. `*.tmpl`: `gotmpl`, Go's text/template with confd's functions, as
//!   they are in confd; `docs/confd.md` is its reference. The caller says which language it is.
//!
//! # Guarantees
//!
//! The same view and the same template give the same bytes: everything is sorted, and only confd's
//! `datetime` and the answers of the host differ from one time to the next. In Tera, no value of
//! the catalog can become more than a value: what the types of `model::instance` let through has no character with a
//! meaning in a proxy's configuration, and attributes, which are free text, have the quoting filters and the tests
//! (`is hostname`, `is url_path`) between them and the file. confd's language has no such thing, and gets none here.

mod disputes;
mod error;
pub mod filters;
pub mod functions;
mod generation;
pub mod glob;
mod gotmpl;
mod host;
pub mod keys;
mod last_rows;
pub mod quote;
pub mod routes;
mod rows;
mod slots;
pub mod strings;
mod template;
mod tera;
#[cfg(test)]
mod tests;
mod view;

pub use self::error::{Cause, Fault, Mistakes, RenderError};
pub use self::generation::{Generation, stamp};
pub use self::gotmpl::render_with;
pub use self::host::World;
pub use self::template::Template;
pub use self::view::View;
