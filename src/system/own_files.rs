//! Files that `sidekick` keeps for itself: the log says once that they cannot be written, and once that they can be again.
//! Adapter.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tracing::{info, warn};

use super::file;
use crate::model::failures::Failures;

/// The files of one purpose.
#[derive(Debug, Clone, Default)]
pub struct OwnFiles(Arc<Mutex<Failures>>);

impl OwnFiles {
    /// Writes one of them, in one step.
    pub fn replace(&self, place: &Path, text: &[u8]) {
        self.log(place, "", file::replace_own(place, text));
    }

    /// Logs how a write ended, if that is news. `loss` is what is lost while nothing can be written, if the path does not
    /// say it.
    pub fn log(&self, place: &Path, loss: &str, written: io::Result<()>) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, place) = (Instant::now(), place.display());
        match written {
            Ok(()) => {
                if let Some(past) = failures.end(now) {
                    info!(took_ms = past.took_ms(), "{place} is written again, {past}");
                }
            }
            Err(error) if failures.count(now) => {
                warn!(%error, "{place} cannot be written: {error}{loss}");
            }
            Err(_) => {}
        }
    }
}
