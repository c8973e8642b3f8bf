//! Makes text from a template and what a target may see. Pure: no files, no environment, no clock, no log.
//!
//! ```text
//! sources ──▶ Template::compile ──▶ Template ─┐
//!                                             ├─▶ render ──▶ text | RenderError
//! catalog, services, keys, environment ─▶ View ┘
//! ```
//!
//! - `view`: what a target may see of the catalog, and nothing else.
//! - `keys`: the questions confd's functions ask of the raw keys. No engine is named there.
//! - `routes`: which host names and paths lead to which service.
//! - `disputes`: where announcements contradict each other, for the operator to know.
//! - `quote`: free text made safe for one place in one configuration language, or refused.
//! - `strings`, `glob`: confd's string functions.
//! - `slots`: which instance gets which of a fixed number of places.
//! - `generation`: a mark in the files by which a program says which of them it has read.
//! - `host`: the few questions that neither the store nor the environment can answer.
//! - `template`: one type, two languages; the caller says which. `tera` is the engine for `*.tera`: `functions` and `filters`
//!   offer all of the above to it, and their tables are the reference of the language. `rows` turns instances into its
//!   values, and `last_rows` keeps them for the next render, unless `tera/independent` finds that what each loop prints for an
//!   instance depends on that instance alone: then `tera/rounds` keeps the text instead. `gotmpl` is the engine for `*.tmpl`:
//!   Go's text/template with confd's functions, which keeps the rounds of its loops for the next render; `docs/confd.md` is
//!   its reference.
//! - `error`: why a template gave no text.
//!
//! # Guarantees
//!
//! The same view and the same template give the same bytes: everything is sorted, and only confd's
//! `datetime` and the answers of the host differ from one time to the next. In Tera, no value of
//! the catalog can become more than a value: what the types of `model::instance` let through has no character with a
//! meaning in a proxy's configuration, and attributes, which are free text, have the quoting filters and the tests
//! (`is hostname`, `is url_path`) between them and the file. confd's language has no such functions, and gets none here.
//!
//! Rule: this room asks nobody and changes nothing; the names of the model are all that it imports.

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
pub use self::host::Host;
pub use self::template::Template;
pub use self::view::View;
