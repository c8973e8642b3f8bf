//! What is kept of a template's last render for the next one. Renders may run at the same time, hence the lock; it changes no
//! text, only how long a render takes. Adapter.

use std::sync::{Arc, Mutex, PoisonError};

use super::memory::Remembered;

/// What is kept of the last render that gave a text.
#[derive(Default)]
pub(super) struct LastRender(Mutex<Option<Arc<Remembered>>>);

impl LastRender {
    pub(super) fn get(&self) -> Option<Arc<Remembered>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.clone()
    }

    pub(super) fn set(&self, remembered: Option<Remembered>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = remembered.map(Arc::new);
    }
}
