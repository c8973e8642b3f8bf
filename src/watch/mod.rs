//! Keeps rendered files equal to the catalog.
//!
//! [`render`] turns a template and a catalog into text; what becomes of the text is not its business.

pub mod render;
