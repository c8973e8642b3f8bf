//! The rows of a template's last render, kept for the next one. Renders may run at the same time, hence the lock; it changes no
//! result, only how long a render takes. Adapter.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tera::TeraResult;

use super::rows::{Fields, Rows};
use super::view::Seen;

/// The rows of the last render, by service.
#[derive(Default)]
pub(super) struct LastRows(Mutex<BTreeMap<String, Rows>>);

impl LastRows {
    /// The rows of all these services; they are kept for the next render.
    pub(super) fn update(
        &self,
        services: &BTreeMap<&str, Seen<'_>>,
        fields: Fields,
    ) -> TeraResult<BTreeMap<String, Rows>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made = services.iter().map(|(service, seen)| {
            let rows = Rows::make(seen, kept.get(*service), fields)?;
            Ok(((*service).to_owned(), rows))
        });
        let made: BTreeMap<String, Rows> = made.collect::<TeraResult<_>>()?;
        kept.clone_from(&made);
        Ok(made)
    }
}
