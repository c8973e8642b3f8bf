//! The number of the last change, in the store's own file. Adapter.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use super::expiry::{is_absent, replace};
use super::layout::Layout;
use super::lock::Writer;
use crate::model::update::Revision;
use crate::store::StoreError;

/// Revisions that writers make are this far apart; readers use those between for changes that no writer has counted:
/// an expiry, an edit by hand.
pub(super) const STEP: u64 = 1000;

/// The number in the store's own file; 0 for a directory that nobody has ever announced to.
pub(super) fn read_revision(layout: &Layout) -> Result<u64, StoreError> {
    let file = layout.revision();
    match fs::read_to_string(&file) {
        Ok(text) => Ok(text.trim().parse().unwrap_or(0)),
        Err(error) if is_absent(&error) => Ok(0),
        Err(error) => Err(layout.failed("read", &file, &error)),
    }
}

impl Writer<'_> {
    pub(super) fn bump(&self) -> Result<Revision, StoreError> {
        let revision = self.next_revision()?;
        self.write_revision(revision)?;
        Ok(Revision(revision))
    }

    /// A new store begins at the clock, in microseconds: a store that was wiped and made anew is later than it was.
    pub(super) fn next_revision(&self) -> Result<u64, StoreError> {
        let last = match read_revision(self.layout)? {
            0 => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .ok()
                .and_then(|now| u64::try_from(now.as_micros()).ok())
                .unwrap_or(0),
            last => last,
        };
        Ok((last / STEP + 1) * STEP)
    }

    pub(super) fn write_revision(&self, revision: u64) -> Result<(), StoreError> {
        let file = self.layout.revision();
        replace(&file, &format!("{revision}\n")).map_err(|e| self.layout.failed("write", &file, &e))
    }
}
