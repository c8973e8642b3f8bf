//! The containers of this host: who runs and can serve, as its Docker Engine says.
//!
//! ```text
//!              listed: open the event stream        an event, or a look that differs: inspect
//!   Listing ─────────────────────────────────▶ Up ──────────────────────────────────────────┐
//!     ▲  │                                     │ ▲                                          │
//!     │  │ no answer                           │ └──── inspected: the set may be another ◀───┘
//!     │  ▼                                     │
//!    Down ◀────────────────────────────────────┘ the stream ended, or the engine did not answer a look in time
//!     │
//!     └ after the grace: nobody is up
//! ```
//!
//! Nothing that an event or a list says changes the set by itself: both only name containers that have to be inspected, and
//! the newest inspection decides. So it does not matter in which order events come, whether they come twice, or whether
//! some are lost; a list every 10 s finds changes without an event, and shows that the engine is alive. There is one
//! exception, a signal that asks a container to stop: no inspection shows it, and the container has to go before it stops.
//!
//! `answer` reads what the engine says and `time` its dates, `machine` decides, `client` asks over the socket, and [`follow`]
//! runs them.

mod answer;
mod client;
pub mod follow;
mod machine;
mod time;
