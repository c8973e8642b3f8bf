//! `--watch`: shows something on the terminal, and again whenever it changes, until a signal ends that. Shell.

use std::time::Duration;

use tokio::sync::mpsc;

use super::{Surroundings, no_system};
use crate::config::Problem;
use crate::error::Failure;
use crate::model::date::Date;
use crate::model::os::Signal;
use crate::model::screen::Screen;
use crate::model::stop::Stop;
use crate::system::clock::unix_seconds;
use crate::system::live_screen::LiveScreen;
use crate::system::signals::{BlockedSignals, Signals};
use crate::system::terminal;

/// Changes that are reported within this time make one picture.
const GATHER: Duration = Duration::from_millis(200);
/// The longest time between two pictures: ages grow, and nobody reports changes of files.
const PACE: Duration = Duration::from_secs(2);

/// A terminal that follows something.
pub(super) struct Live {
    held: BlockedSignals,
    screen: Screen,
}

/// Where followers of the store report that something has changed.
pub(super) type Changed = mpsc::Sender<()>;

impl Live {
    /// For a command with `--watch`, whose signals are held; `None` for one without.
    pub(super) fn new(
        held: Option<BlockedSignals>,
        is_json: bool,
        here: &Surroundings,
    ) -> Result<Option<Self>, Failure> {
        let Some(held) = held else { return Ok(None) };
        let screen = here.screen;
        let problem = if is_json {
            Problem::with("--watch draws tables on a terminal, and no JSON")
                .hint("leave out --watch, and ask as often as you like")
        } else if screen.width.is_none() {
            Problem::with("--watch needs a terminal, and standard output is none")
                .hint("leave out --watch, and ask as often as you like")
        } else {
            return Ok(Some(Self { held, screen }));
        };
        Err(Failure::usage(&[problem]))
    }

    /// Draws until INT, TERM or HUP comes; the exit status is 0 then. A first `draw` that fails is the error of the command. The
    /// error of a later one stands above the last good picture until one succeeds. `follow` runs meanwhile and reports changes.
    pub(super) async fn run(
        self,
        follow: impl AsyncFnOnce(Changed),
        mut draw: impl AsyncFnMut(Screen) -> Result<String, Failure>,
    ) -> Result<u8, Failure> {
        let mut signals = self.held.listen(Stop::within(Duration::ZERO));
        let signals = signals.as_mut().map_err(|error| no_system(error))?;
        let (to, mut changes) = mpsc::channel(1);
        let ended = tokio::select! {
            ended = draw_again(self.screen, &mut changes, &mut draw) => ended.map(|never| match never {}),
            () = end(signals) => Ok(()),
            () = stay(follow(to)) => Ok(()),
        };
        ended.map(|()| 0)
    }
}

/// Waits for a signal that ends the command.
async fn end(signals: &mut Signals) {
    while ![Signal::INT, Signal::TERM, Signal::HUP].contains(&signals.next().await) {}
}

/// Finishes this work, and never returns.
async fn stay(work: impl Future<Output = ()>) {
    work.await;
    std::future::pending::<()>().await;
}

async fn draw_again(
    screen: Screen,
    changes: &mut mpsc::Receiver<()>,
    draw: &mut impl AsyncFnMut(Screen) -> Result<String, Failure>,
) -> Result<std::convert::Infallible, Failure> {
    let mut last = draw(screen).await?;
    let output = |error: std::io::Error| Failure::output(&error);
    let live = LiveScreen::enter().map_err(output)?;
    let mut trouble = None;
    loop {
        let size = terminal::size().unwrap_or((80, 24));
        let now = Date::from_unix(unix_seconds());
        let text = match &trouble {
            Some(trouble) => format!("{trouble}\n{last}"),
            None => last.clone(),
        };
        let below = format!("{now}  Ctrl-C ends");
        live.show(&text, &below, size).map_err(output)?;
        // When nobody can report changes any more, the pace is left.
        tokio::select! {
            Some(()) = changes.recv() => tokio::time::sleep(GATHER).await,
            () = tokio::time::sleep(PACE) => {}
        }
        while changes.try_recv().is_ok() {}
        let screen = Screen {
            width: Some(size.0),
            ..screen
        };
        match draw(screen).await {
            Ok(text) => (last, trouble) = (text, None),
            Err(failure) => trouble = Some(failure.to_string()),
        }
    }
}
