//! Turns conf.d into targets that can be published, with compiled templates and checked commands.
//!
//! `load` reads and compiles, and finds every problem at once; `placeholders` fills `{{src}}`, `{{dest}}` and `{{tree}}`
//! into the operator's commands; `action` parses the small part of Go's template language that confd allows there;
//! `haproxy` holds the running HAProxies of a target.
//!
//! Rule: this room reads the configuration and publishes nothing.

mod action;
pub(super) mod haproxy;
pub(super) mod load;
pub(super) mod placeholders;
