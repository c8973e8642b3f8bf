//! From conf.d to targets that can be published: compiled templates and commands whose placeholders are known.
//!
//! `load` reads and compiles, and finds every problem at once; `placeholders` fills `{{src}}`, `{{dest}}` and `{{tree}}`
//! into the operator's commands; `haproxy` holds the running HAProxies of a target; `action` reads the small part of Go's template language that confd allows there.
//!
//! Rule: this room reads the configuration and publishes nothing.

mod action;
pub(super) mod haproxy;
pub(super) mod load;
pub(super) mod placeholders;
