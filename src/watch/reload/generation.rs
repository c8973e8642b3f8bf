//! Whether a program that has been told runs the new files: it says itself which generation it has read. Shell.
//!
//! A reload can have gone well and still not be the one of our files: the program may not read them, or may have been told
//! by a command that ends before anything is loaded.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::send::{ReloadError, Told};
use crate::config::Reload;
use crate::model::check::{Check, Checks, HttpCheck, Thresholds};
use crate::model::os::ProbeResult;
use crate::proxy::haproxy::master;
use crate::proxy::haproxy::parse::Text;
use crate::proxy::haproxy::socket::Word;
use crate::system::probe;
use crate::watch::conf::load::Loaded;
use crate::watch::render::Generation;

/// How often it is asked.
const POLL: Duration = Duration::from_millis(50);
/// How long one that is known to have loaded something may take until it says what.
const SETTLES: Duration = Duration::from_secs(2);
/// How long it may be silent before that is no news: an HAProxy that tries to get a port which is taken pauses for two
/// seconds, and has stayed with its old file then.
const PAUSE: Duration = Duration::from_secs(5);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(1);

/// What a program says.
enum Said {
    /// That it runs the new files, or nothing that one could ask for.
    Right,
    /// Nothing: it does not answer.
    Nothing,
    /// Something else.
    Other(ReloadError),
}

/// A target whose program has been told.
pub(crate) struct Confirm<'a> {
    pub(crate) loaded: &'a Loaded,
    /// The generation of its files, if one of them has it.
    pub(crate) generation: Option<&'a Generation>,
    pub(crate) told: Told,
}

impl Confirm<'_> {
    /// Asks until the program says that it runs these files, the live ones in the order of their outputs. Who cannot say
    /// anything is believed to do so.
    pub(crate) async fn confirm<'f>(
        &self,
        files: impl Iterator<Item = (usize, &'f str)>,
    ) -> Result<(), ReloadError> {
        let limit = match self.told {
            Told::Nobody => return Ok(()),
            Told::Seen | Told::Unread => SETTLES,
            Told::Sent => self.loaded.target.reload_timeout,
        };
        let deadline = Instant::now() + limit;
        for (output, text) in files {
            for (name, value) in marks(text) {
                let asked = until(deadline, || self.variable(output, &name, &value)).await;
                asked.map_err(|error| error.about(self.dest(output)))?;
            }
        }
        if let (Some(check), Some(generation)) = (&self.loaded.target.generation, self.generation) {
            let asked = until(deadline, || page(check, generation)).await;
            asked.map_err(|error| error.about(self.dest(0)))?;
        }
        Ok(())
    }

    fn dest(&self, output: usize) -> &Path {
        &self.loaded.target.outputs[output].dest
    }

    /// What the `HAProxies` of an output say of a variable.
    async fn variable(&self, output: usize, name: &Word, value: &Word) -> Said {
        let told = match (
            self.loaded.haproxies.get(output),
            &self.loaded.target.reload,
        ) {
            (Some(haproxy), _) => haproxy.runtime.variable(name).await,
            (None, Some(Reload::HaproxyMaster(socket))) => {
                let socket = socket.as_path().into();
                let said = master::variable(&socket, name).await;
                said.map(|value| (socket, value)).into_iter().collect()
            }
            (None, _) => return Said::Right,
        };
        if told.is_empty() {
            return Said::Nothing;
        }
        let is_other = |(_, said): &(_, Option<String>)| said.as_deref() != Some(value.as_str());
        // One that runs an earlier file says more than one that has none.
        let others = told.into_iter().filter(is_other);
        match others.max_by_key(|(_, said)| said.is_some()) {
            None => Said::Right,
            Some((address, said)) => Said::Other(ReloadError::OtherFile {
                address,
                name: name.as_str().to_owned(),
                value: value.as_str().to_owned(),
                said,
                mounted: Box::default(),
            }),
        }
    }
}

/// The variables by which a text for HAProxy can be told from others. Where conditions decide what counts, there is none.
fn marks(text: &str) -> Vec<(Word, Word)> {
    let text = Text::read(text);
    if text.ambiguous.is_some() {
        return Vec::new();
    }
    let marks = text.marks.into_iter();
    marks
        .filter_map(|(name, value)| Some((Word::new(name)?, Word::new(value)?)))
        .collect()
}

/// Whether the page that a target names has the generation on it.
async fn page(page: &HttpCheck, generation: &Generation) -> Said {
    let check = HttpCheck {
        // What Apache has on its page for an error is as good.
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
    // The page says where it is.
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    match probe::round(&checks, nowhere).await {
        ProbeResult::Passed => Said::Right,
        ProbeResult::Failed(reason) => Said::Other(ReloadError::OtherGeneration {
            generation: generation.to_string(),
            reason,
            mounted: Box::default(),
        }),
    }
}

/// Asks until the program says that it runs the new files, or the time is over.
async fn until<F>(deadline: Instant, ask: impl Fn() -> F) -> Result<(), ReloadError>
where
    F: Future<Output = Said>,
{
    let silent_until = deadline.min(Instant::now() + PAUSE);
    loop {
        match ask().await {
            Said::Right => return Ok(()),
            Said::Nothing if Instant::now() >= silent_until => return Ok(()),
            Said::Other(error) if Instant::now() >= deadline => return Err(error),
            Said::Nothing | Said::Other(_) => sleep(POLL).await,
        }
    }
}
