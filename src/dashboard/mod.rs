//! `sidekick dashboard`: one page that shows what is announced, who watches, and what is wrong, from the store alone.
//!
//! ```text
//! store ──▶ memory (what, and since when) ──▶ view (items) ──▶ one feed for each page that is open
//! ```
//!
//! Rule: the dashboard only reads, and nothing that the store says is ever markup. The server sends data as JSON, the page
//! puts it into text nodes, and the content security policy lets nothing else in.

mod feed;
mod instance_key;
mod journal;
mod memory;
mod pages;
mod problems;
mod run;
mod target;
mod view;

#[cfg(test)]
mod tests;
