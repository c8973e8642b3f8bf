//! Go's fmt: how values print, with every verb, flag, width and precision that templates use. Pure.

mod float;
mod format;
mod print;
mod text;
mod verb;

pub(super) use self::float::exponent as float_exponent;
pub(super) use self::format::printf;
pub(super) use self::print::{print, println, write_plain};
pub(super) use self::text::{is_printable, quoted};
