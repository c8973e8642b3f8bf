//! Asks a program after its reload which generation of the files it runs. Shell.
//!
//! A reload can succeed although the program does not run the new files: it may not read them at all, or a reload command
//! may end before the program has loaded anything.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::send::{ReloadError, ReloadResult};
use crate::config::Reload;
use crate::model::check::{Check, Checks, HttpCheck, Thresholds};
use crate::model::os::ProbeResult;
use crate::proxy::haproxy::master;
use crate::proxy::haproxy::parse::Text;
use crate::proxy::haproxy::socket::Word;
use crate::system::probe;
use crate::watch::conf::load::Loaded;
use crate::watch::render::Generation;

/// The time between two questions.
const POLL: Duration = Duration::from_millis(50);
/// How long a program whose reload was verified may take until it answers with the new generation.
const SETTLES: Duration = Duration::from_secs(2);
/// How long a program may be silent before it is believed without an answer. An HAProxy that cannot get a port is silent for
/// two seconds and then answers with its old file, so this is longer.
const SILENCE: Duration = Duration::from_secs(5);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(1);

/// The answer of a program.
enum Answer {
    /// It runs the new files, or there is no way to ask it.
    NewFiles,
    /// It does not answer.
    Silence,
    /// It runs something else.
    Other(ReloadError),
}

/// The question to the program of a target, after its reload, whether it runs the live files.
pub(crate) struct GenerationCheck<'a> {
    pub(crate) loaded: &'a Loaded,
    /// The generation of the live files, if a template shows it.
    pub(crate) generation: Option<&'a Generation>,
    pub(crate) result: ReloadResult,
}

impl GenerationCheck<'_> {
    /// Asks until the program answers that it runs these live files, each given with the place of its output. A program that
    /// cannot be asked, or does not answer, is believed to run them.
    ///
    /// # Errors
    /// The program still runs something else when the time is over.
    pub(crate) async fn verify<'f>(
        &self,
        files: impl Iterator<Item = (usize, &'f str)>,
    ) -> Result<(), ReloadError> {
        let limit = match self.result {
            ReloadResult::NotRunning => return Ok(()),
            ReloadResult::Verified | ReloadResult::Unread => SETTLES,
            ReloadResult::Sent => self.loaded.target.reload_timeout,
        };
        let deadline = Instant::now() + limit;
        for (output, text) in files {
            for (name, value) in read_marks(text) {
                let asked =
                    ask_until(deadline, || self.ask_for_variable(output, &name, &value)).await;
                asked.map_err(|error| error.about(self.dest(output)))?;
            }
        }
        if let (Some(check), Some(generation)) = (&self.loaded.target.generation, self.generation) {
            let asked = ask_until(deadline, || ask_page(check, generation)).await;
            asked.map_err(|error| error.about(self.dest(0)))?;
        }
        Ok(())
    }

    fn dest(&self, output: usize) -> &Path {
        &self.loaded.target.outputs[output].dest
    }

    /// Asks the `HAProxies` of an output for the value of a variable.
    async fn ask_for_variable(&self, output: usize, name: &Word, value: &Word) -> Answer {
        let answers = match (
            self.loaded.haproxies.get(output),
            &self.loaded.target.reload,
        ) {
            (Some(haproxy), _) => haproxy.runtime.variable(name).await,
            (None, Some(Reload::HaproxyMaster(socket))) => {
                let socket = socket.as_path().into();
                let found = master::variable(&socket, name).await;
                found.map(|value| (socket, value)).into_iter().collect()
            }
            (None, _) => return Answer::NewFiles,
        };
        if answers.is_empty() {
            return Answer::Silence;
        }
        let is_other = |(_, found): &(_, Option<String>)| found.as_deref() != Some(value.as_str());
        // An HAProxy that runs an earlier file makes a better error than one that has no value at all.
        let others = answers.into_iter().filter(is_other);
        match others.max_by_key(|(_, found)| found.is_some()) {
            None => Answer::NewFiles,
            Some((address, found)) => Answer::Other(ReloadError::OtherFile {
                address,
                name: name.as_str().to_owned(),
                value: value.as_str().to_owned(),
                found,
                mounted: Box::default(),
            }),
        }
    }
}

/// The HAProxy variables in a text that identify it, with their values. There are none where conditions (`.if`) decide which
/// lines count.
fn read_marks(text: &str) -> Vec<(Word, Word)> {
    let text = Text::read(text);
    if text.ambiguous.is_some() {
        return Vec::new();
    }
    let marks = text.marks.into_iter();
    marks
        .filter_map(|(name, value)| Some((Word::new(name)?, Word::new(value)?)))
        .collect()
}

/// Asks whether the page that a target names shows the generation.
async fn ask_page(page: &HttpCheck, generation: &Generation) -> Answer {
    let check = HttpCheck {
        // Any status will do: Apache may show the generation on a page for an error.
        status: 100..=599,
        body: Some(generation.as_str().to_owned()),
        ..page.clone()
    };
    let checks = Checks {
        list: vec![Check::Http(check)],
        timeout: ANSWER,
        thresholds: Thresholds {
            interval: POLL,
            rise: 1,
            fall: 1,
        },
    };
    // The check has a full address of its own, so this one is not used.
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    match probe::round(&checks, nowhere).await {
        ProbeResult::Passed => Answer::NewFiles,
        ProbeResult::Failed(reason) => Answer::Other(ReloadError::OtherGeneration {
            generation: generation.to_string(),
            reason,
            mounted: Box::default(),
        }),
    }
}

/// Asks until the program answers that it runs the new files, or the time is over.
async fn ask_until<F>(deadline: Instant, ask: impl Fn() -> F) -> Result<(), ReloadError>
where
    F: Future<Output = Answer>,
{
    let silent_until = deadline.min(Instant::now() + SILENCE);
    loop {
        match ask().await {
            Answer::NewFiles => return Ok(()),
            Answer::Silence if Instant::now() >= silent_until => return Ok(()),
            Answer::Other(error) if Instant::now() >= deadline => return Err(error),
            Answer::Silence | Answer::Other(_) => sleep(POLL).await,
        }
    }
}
