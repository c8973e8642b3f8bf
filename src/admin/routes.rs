//! The paths of the admin endpoint, which are the same for `watch` and `register`. Adapter.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use super::exposition::{self, Gauges, flag, timestamp, wall_seconds};
use super::liveness::{Beat, STUCK};
use crate::system::http_server::{Answer, Asked, Server, Serving};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The state that a loop has reported.
pub(super) trait Board: std::fmt::Debug + Send + Sync + 'static {
    /// `watch` or `register`.
    fn mode(&self) -> &'static str;
    /// The reasons why the process is not ready, one sentence each; it is ready if there are none.
    fn not_ready(&self) -> Vec<String>;
    /// Trouble that does not keep the process from being ready, one sentence each.
    fn notes(&self) -> Vec<String>;
    /// The part of `/status` that only this mode has.
    fn status(&self) -> serde_json::Map<String, Value>;
    /// The gauges that only this mode has.
    fn gauges(&self, gauges: &mut Gauges<'_>) -> std::fmt::Result;
}

/// A running admin endpoint. Dropping it ends the server.
#[derive(Debug)]
pub(super) struct Endpoint<B> {
    pub(super) board: Arc<B>,
    beat: Arc<Beat>,
    _serving: Serving,
}

impl<B: Board> Endpoint<B> {
    /// Starts to answer from this board and these metrics.
    pub(super) fn start(server: Server, board: B, registry: Registry) -> std::io::Result<Self> {
        let (board, beat) = (Arc::new(board), Arc::new(Beat::new()));
        let shown = Arc::clone(&board) as Arc<dyn Board>;
        let serving = serve(server, shown, Arc::clone(&beat), registry)?;
        Ok(Self {
            board,
            beat,
            _serving: serving,
        })
    }

    /// The beat that the loop has to keep up.
    pub(super) fn beat(&self) -> Arc<Beat> {
        Arc::clone(&self.beat)
    }
}

fn serve(
    server: Server,
    board: Arc<dyn Board>,
    beat: Arc<Beat>,
    mut registry: Registry,
) -> std::io::Result<Serving> {
    let site = Arc::new(Site {
        board,
        beat,
        started: wall_seconds(),
    });
    registry.register_collector(Box::new(Arc::clone(&site)));
    let handler = move |asked: &Asked| site.answer(asked.path(), &registry);
    server.serve_in_thread("admin", Arc::new(handler))
}

#[derive(Debug)]
struct Site {
    board: Arc<dyn Board>,
    beat: Arc<Beat>,
    /// The start of the process in seconds since 1970.
    started: f64,
}

impl Site {
    fn answer(&self, path: &str, registry: &Registry) -> Answer {
        match path {
            "/health" => self.health(),
            "/ready" => self.ready(),
            "/status" => {
                let text = format!("{:#}\n", self.status());
                Answer::new(200, "application/json", text)
            }
            "/metrics" => Answer::new(200, exposition::CONTENT_TYPE, exposition::encode(registry)),
            "/" => Answer::text(200, "/health\n/ready\n/status\n/metrics\n"),
            _ => Answer::text(404, "there are /health, /ready, /status and /metrics\n"),
        }
    }

    fn stuck(&self) -> Option<String> {
        let age = self.beat.age();
        let stuck = || format!("the loop has been stuck for {} s", age.as_secs());
        (age > STUCK).then(stuck)
    }

    fn health(&self) -> Answer {
        match self.stuck() {
            Some(why) => Answer::text(503, format!("not healthy: {why}\n")),
            None => Answer::text(200, "healthy\n"),
        }
    }

    /// A loop that is stuck is not ready either, since its last report may be old.
    fn not_ready(&self) -> Vec<String> {
        self.stuck()
            .into_iter()
            .chain(self.board.not_ready())
            .collect()
    }

    fn ready(&self) -> Answer {
        let whys = self.not_ready();
        let (status, first) = if whys.is_empty() {
            (200, "ready")
        } else {
            (503, "not ready")
        };
        let whys = whys.iter().map(|why| format!("- {why}\n"));
        let notes = self.board.notes();
        let notes = notes.iter().map(|note| format!("note: {note}\n"));
        let lines: String = whys.chain(notes).collect();
        Answer::text(status, format!("{first}\n{lines}"))
    }

    fn status(&self) -> Value {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "seconds since 1970 are neither negative nor too many"
        )]
        let started = self.started as u64;
        let mut status = json!({
            "version": VERSION,
            "mode": self.board.mode(),
            "started": started,
            "healthy": self.stuck().is_none(),
            "ready": self.not_ready().is_empty(),
            "not_ready": self.not_ready(),
            "notes": self.board.notes(),
        });
        if let Value::Object(status) = &mut status {
            status.extend(self.board.status());
        }
        status
    }
}

impl Collector for Site {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut gauges = Gauges(encoder);
        gauges.write_build(VERSION, self.board.mode())?;
        gauges.write_one(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970.",
            Some(self.started),
        )?;
        let beat = std::time::Instant::now().checked_sub(self.beat.age());
        gauges.write_one(
            "sidekick_loop_beat_timestamp_seconds",
            "The last beat of the loop, in seconds since 1970; it beats every second.",
            beat.map(timestamp),
        )?;
        gauges.write_one(
            "sidekick_ready",
            "Whether /ready answers with 200.",
            Some(flag(self.not_ready().is_empty())),
        )?;
        self.board.gauges(&mut gauges)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(Debug)]
    struct Fixed(Vec<&'static str>);

    impl Board for Fixed {
        fn mode(&self) -> &'static str {
            "fixed"
        }

        fn not_ready(&self) -> Vec<String> {
            self.0.iter().map(|&why| why.to_owned()).collect()
        }

        fn notes(&self) -> Vec<String> {
            vec!["by the way".to_owned()]
        }

        fn status(&self) -> serde_json::Map<String, Value> {
            serde_json::Map::new()
        }

        fn gauges(&self, _: &mut Gauges<'_>) -> std::fmt::Result {
            Ok(())
        }
    }

    fn site(whys: Vec<&'static str>, age: Duration) -> Arc<Site> {
        Arc::new(Site {
            board: Arc::new(Fixed(whys)),
            beat: Arc::new(Beat::of_age(age)),
            started: 1000.5,
        })
    }

    fn ask(site: &Arc<Site>, path: &str) -> (u16, String) {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::clone(site)));
        let answer = site.answer(path, &registry);
        (answer.status(), answer.whole_text())
    }

    /// The text of /metrics for a board.
    pub(in crate::admin) fn metrics(board: Arc<dyn Board>, mut registry: Registry) -> String {
        let beat = Arc::new(Beat::of_age(Duration::ZERO));
        let started = 0.0;
        registry.register_collector(Box::new(Site {
            board,
            beat,
            started,
        }));
        exposition::encode(&registry)
    }

    #[test]
    fn a_loop_that_is_stuck_is_neither_healthy_nor_ready() {
        let well = site(Vec::new(), Duration::from_secs(2));
        assert_eq!(ask(&well, "/health"), (200, "healthy\n".to_owned()));
        assert_eq!(ask(&well, "/ready").0, 200);
        let stuck = site(Vec::new(), Duration::from_secs(34));
        let why = "the loop has been stuck for 34 s";
        assert_eq!(
            ask(&stuck, "/health"),
            (503, format!("not healthy: {why}\n"))
        );
        let (status, text) = ask(&stuck, "/ready");
        assert_eq!((status, text.contains(why)), (503, true), "{text}");
        assert!(ask(&stuck, "/metrics").1.contains("\nsidekick_ready 0.0\n"));
    }

    #[test]
    fn a_process_that_is_not_ready_says_why_and_is_healthy() {
        let site = site(vec!["a has not been published yet"], Duration::ZERO);
        let text = "not ready\n- a has not been published yet\nnote: by the way\n";
        assert_eq!(ask(&site, "/ready"), (503, text.to_owned()));
        assert_eq!(ask(&site, "/health").0, 200);
        let (status, text) = ask(&site, "/status");
        assert_eq!(status, 200);
        let shown: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&shown["ready"], &shown["started"]),
            (&json!(false), &json!(1000))
        );
        assert_eq!(ask(&site, "/other").0, 404);
    }
}
