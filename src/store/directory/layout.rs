//! The paths below the root of a directory store, and how their names are read. Adapter.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::lease_id::LeaseId;
use crate::model::prefix::Prefix;
use crate::model::publication::Publication;
use crate::store::StoreError;

/// The directory below the root that is the store's own.
const OWN: &str = ".sidekick";
const LEASES: &str = "leases";
/// The list of published fields, in each data directory.
const MANIFEST: &str = ".manifest";

/// Names of files that belong to the store, or to an editor, and are no keys.
pub(super) fn is_hidden(name: &str) -> bool {
    name.starts_with('.')
}

/// Whether a file of this name can be a key: what a prefix could name, and not hidden.
pub(super) fn is_key_part(name: &str) -> bool {
    !name.is_empty() && !is_hidden(name) && !name.chars().any(char::is_control)
}

/// The data directory of one publication.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Data {
    pub(super) lease: LeaseId,
    pub(super) name: String,
}

/// The paths of a store.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
    /// How many paths one piece of work has asked for. Work that asks for the next one has had an answer for the last one.
    asked: Arc<AtomicU64>,
}

impl Layout {
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let root = std::path::absolute(root)?;
        Ok(Self {
            root,
            asked: Arc::default(),
        })
    }

    /// The same paths for another piece of work, whose progress is its own.
    pub(super) fn for_other_work(&self) -> Self {
        Self {
            root: self.root.clone(),
            asked: Arc::default(),
        }
    }

    /// A number that grows as long as the work with these paths goes on.
    pub(super) fn progress(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn own(&self) -> PathBuf {
        self.below_root(OWN)
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.own().join("lock")
    }

    pub(super) fn revision(&self) -> PathBuf {
        self.own().join("revision")
    }

    pub(super) fn leases(&self) -> PathBuf {
        self.own().join(LEASES)
    }

    pub(super) fn lease(&self, lease: LeaseId) -> PathBuf {
        self.leases().join(lease.to_string())
    }

    pub(super) fn heartbeat(&self, lease: LeaseId) -> PathBuf {
        self.lease(lease).join("beat")
    }

    pub(super) fn data(&self, data: &Data) -> PathBuf {
        self.lease(data.lease).join(&data.name)
    }

    pub(super) fn manifest(data_dir: &Path) -> PathBuf {
        data_dir.join(MANIFEST)
    }

    /// The path of a key or directory of keys.
    pub(super) fn path_of(&self, key: &str) -> PathBuf {
        self.below_root(key.trim_start_matches('/'))
    }

    fn below_root(&self, path: &str) -> PathBuf {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.root.join(path)
    }

    /// The text of the link that stands at `key` and leads to `data`; relative, so that the root can be mounted anywhere.
    pub(super) fn link_text(key: &str, data: &Data) -> PathBuf {
        let ups = key.matches('/').count().saturating_sub(1);
        let up = "../".repeat(ups);
        PathBuf::from(format!("{up}{OWN}/{LEASES}/{}/{}", data.lease, data.name))
    }

    /// Reads the text of a link that stands at `key`; `None` for a link that no publication made.
    pub(super) fn parse_link(key: &str, text: &Path) -> Option<Data> {
        let path = text.to_str()?;
        let (lease, name) = path.rsplit_once('/')?;
        let lease = parse_lease(lease.rsplit_once('/')?.1)?;
        let data = Data {
            lease,
            name: name.to_owned(),
        };
        let is_ours = is_key_part(name)
            && Self::link_text(key, &data).as_os_str().as_bytes() == path.as_bytes();
        is_ours.then_some(data)
    }

    /// Whether a text from a file names a place within the tree.
    pub(super) fn is_key(key: &str) -> bool {
        let below = key.strip_prefix('/');
        below.is_some_and(|below| below.split('/').all(is_key_part))
    }

    /// Refuses what could step outside the tree, be hidden in it, or not be stored as files.
    pub(super) fn check(&self, publication: &Publication) -> Result<(), StoreError> {
        let dir = publication.dir.as_str();
        if dir.is_empty() {
            return Err(self.refused("a publication needs a directory below /".to_owned()));
        }
        let fine = |path: &str| {
            path.split('/')
                .all(|part| is_key_part(part) && part.len() <= 255)
        };
        if !fine(dir.trim_start_matches('/')) {
            return Err(self.refused(format!(
                "{dir} cannot be a directory: a part of it is hidden or too long"
            )));
        }
        for field in publication.fields.keys() {
            if !fine(field) {
                return Err(self.refused(format!(
                    "{dir}/{field} cannot be a file: a part of it is empty, hidden, too long or has control characters"
                )));
            }
            let is_parent = |other: &String| {
                Prefix::parse(&format!("/{field}")).is_ok_and(|p| p.covers(&format!("/{other}")))
            };
            if publication
                .fields
                .keys()
                .any(|other| other != field && is_parent(other))
            {
                return Err(self.refused(format!(
                    "{dir}/{field} cannot be both a file and a directory"
                )));
            }
        }
        Ok(())
    }

    pub(super) fn refused(&self, reason: String) -> StoreError {
        StoreError::Refused {
            store: self.to_string(),
            reason,
            hint: None,
        }
    }

    pub(super) fn unavailable(&self, reason: String) -> StoreError {
        StoreError::Unavailable {
            store: self.to_string(),
            reason,
            hint: None,
        }
    }

    /// The error of an operation on a file, with a hint where there is one.
    pub(super) fn failed(&self, deed: &str, path: &Path, error: &io::Error) -> StoreError {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "; give this user access to the store, or name another directory"
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                "; announcing needs a directory mounted read-write, and under systemd one that the unit's ReadWritePaths= names"
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room there",
            _ => "",
        };
        self.unavailable(format!("cannot {deed} {}: {error}{remedy}", path.display()))
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "dir://{}", self.root.display())
    }
}

/// Reads the name of a lease's directory.
pub(super) fn parse_lease(name: &str) -> Option<LeaseId> {
    let lease = LeaseId(i64::from_str_radix(name, 16).ok()?);
    // One lease has one name: no sign, no leading zeros, no capitals.
    (lease.to_string() == name).then_some(lease)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::publication::Claim;

    #[test]
    fn links_are_read_as_they_are_written() {
        let data = Data {
            lease: LeaseId(0x1f),
            name: "u1".to_owned(),
        };
        for (key, text) in [
            ("/a", ".sidekick/leases/1f/u1"),
            ("/services/web/a", "../../.sidekick/leases/1f/u1"),
        ] {
            let link = Layout::link_text(key, &data);
            assert_eq!(link, Path::new(text));
            assert_eq!(Layout::parse_link(key, &link), Some(data.clone()));
        }
    }

    #[test]
    fn foreign_links_are_not_followed() {
        for text in [
            "/etc",
            "../../../../etc",
            "u1",
            ".sidekick/leases/1f/u1",
            "../../.sidekick/leases/1F/u1",
            "../../.sidekick/leases/01f/u1",
            "../../.sidekick/leases/1f/..",
            "../../.sidekick/leases/1f/.manifest",
            "../../../.sidekick/leases/1f/u1",
            "../../.sidekick/leases/../leases/1f/u1",
            "../../.sidekick/leases/1f//u1",
        ] {
            let read = Layout::parse_link("/services/web/a", Path::new(text));
            assert_eq!(read, None, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_files_is_refused() {
        let layout = Layout::new(Path::new("/nowhere")).unwrap();
        let check = |dir: &str, fields: &[&str]| {
            let fields = fields.iter().map(|f| ((*f).to_owned(), Vec::new()));
            layout.check(&Publication {
                dir: Prefix::parse(dir).unwrap(),
                fields: fields.collect(),
                state: None,
                claim: Claim::default(),
                predecessors: std::collections::BTreeSet::new(),
            })
        };
        assert_eq!(check("/services/web/a", &["ip", "settings/zone"]), Ok(()));
        for (dir, fields) in [
            ("/", &["ip"][..]),
            ("/.sidekick/leases", &["ip"]),
            ("/a", &["../b"]),
            ("/a", &[".manifest"]),
            ("/a", &["b/"]),
            ("/a", &[""]),
            ("/a", &["b\nc"]),
            ("/a", &["b", "b/c"]),
        ] {
            let answer = check(dir, fields);
            assert!(
                matches!(answer, Err(StoreError::Refused { .. })),
                "{dir} {fields:?}: {answer:?}"
            );
        }
    }
}
