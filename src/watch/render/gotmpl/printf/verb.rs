//! A verb of a format, with its flags. Pure.

/// A verb with its flags.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the flags of a format are independent of each other"
)]
#[derive(Default)]
pub(super) struct Verb {
    pub(super) letter: char,
    /// `%#v`
    pub(super) go_syntax: bool,
    /// `%+v`
    pub(super) plus_values: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
}
