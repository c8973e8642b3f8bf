//! What a guard writes to the state directory, for its next process and for `sidekick guard`, which writes its requests to
//! release there. Shell.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::instance::{Instance, ServiceName};
use crate::model::keyspace;
use crate::model::prefix::Prefix;
use crate::system::file;
use crate::system::own_files::OwnFiles;

const RECORD: &str = "json";
const REQUEST: &str = "release";

/// One guarded target, as its file in the state directory describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The target.
    pub(crate) target: String,
    /// Its file; the first one of a group.
    pub(crate) dest: PathBuf,
    /// The process that keeps it.
    pub(crate) pid: u32,
    /// How many instances of each service the file shows, if that is known.
    pub(crate) shown: Option<BTreeMap<String, usize>>,
    /// What is held.
    pub(crate) held: Vec<HoldRecord>,
    /// Instances that vanished without draining since that process started.
    pub(crate) lost_total: u64,
    /// Holds that began since then.
    pub(crate) holds_total: u64,
    /// Instances that were held since then.
    pub(crate) held_total: u64,
    /// Holds that were ended by hand since then.
    pub(crate) released_total: u64,
    /// Instances that are passed over, since their addresses are outside of the networks.
    pub(crate) outside: usize,
}

/// What is held of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HoldRecord {
    /// The service; the whole file without one.
    pub(crate) service: Option<String>,
    /// Why.
    pub(crate) why: String,
    /// Since when, in seconds since 1970.
    pub(crate) since: u64,
    /// Until when, likewise; until something happens without it.
    pub(crate) until: Option<u64>,
    /// The instances that are held.
    pub(crate) instances: Vec<String>,
    /// The same with their fields, for the next process.
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, BTreeMap<String, String>>,
}

impl HoldRecord {
    /// The instances as they were. What another version has written may be of no use.
    pub(crate) fn decode_instances(&self) -> Vec<Arc<Instance>> {
        let service = self.service.as_deref().unwrap_or_default();
        let decoded = self.fields.iter().filter_map(|(id, fields)| {
            let fields = fields.iter();
            let fields = fields.map(|(name, value)| (name.as_str(), value.as_bytes()));
            keyspace::decode(service, id, fields).ok().flatten()
        });
        decoded.map(Arc::new).collect()
    }
}

/// What `sidekick guard release` asks the process for that keeps a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReleaseRequest {
    /// The service whose instances are to be let go; all that is held without one.
    pub(crate) service: Option<ServiceName>,
}

/// The fields of an instance, to be written down.
pub(crate) fn fields(instance: &Instance) -> (String, BTreeMap<String, String>) {
    let fields = keyspace::encode(&Prefix::root(), instance).fields;
    let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
    let fields = fields.into_iter().map(|(name, value)| (name, text(value)));
    (instance.id.to_string(), fields.collect())
}

/// Where the records lie.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    dir: PathBuf,
    own_files: OwnFiles,
}

impl Records {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self {
            dir: state_dir.join("guards"),
            own_files: OwnFiles::default(),
        }
    }

    pub(crate) fn make_dir(&self) -> io::Result<()> {
        file::make_private_dir(&self.dir)
    }

    /// The record of the target with this file.
    pub(crate) fn read(&self, dest: &Path) -> Option<Record> {
        read(&self.path_of(dest, RECORD))
    }

    /// All of them, sorted by target. A state directory that is not there is an error, since it is probably not the one of
    /// `sidekick watch`.
    pub(crate) fn read_all(&self) -> io::Result<Vec<Record>> {
        let mut all = Vec::new();
        self.dir.parent().map(fs::metadata).transpose()?;
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(all),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|is| is == RECORD) {
                // A record that somebody removes meanwhile does not count.
                all.extend(read(&path));
            }
        }
        all.sort_by(|a, b| (&a.target, &a.dest).cmp(&(&b.target, &b.dest)));
        Ok(all)
    }

    /// Writes a record; the log says whether that works.
    pub(crate) fn write(&self, record: &Record) {
        let place = self.path_of(&record.dest, RECORD);
        let text = serde_json::to_string_pretty(record).map_err(io::Error::other);
        let written = text.and_then(|text| file::replace_own(&place, (text + "\n").as_bytes()));
        let loss = "; until it can be, `sidekick guard` does not see what is held, and a restart of sidekick forgets it";
        self.own_files.log(&place, loss, written);
    }

    /// The target is no longer kept.
    pub(crate) fn remove(&self, dest: &Path) {
        // It may never have been written.
        let _ = fs::remove_file(self.path_of(dest, RECORD));
        self.remove_request(dest);
    }

    /// Asks the process that keeps the target to end its holds.
    pub(crate) fn request_release(&self, dest: &Path, request: &ReleaseRequest) -> io::Result<()> {
        let service = request.service.as_ref().map_or("", ServiceName::as_str);
        file::replace_own(&self.path_of(dest, REQUEST), service.as_bytes())
    }

    /// The request that no process has taken yet. A text that is no name of a service is no request.
    pub(crate) fn requested_release(&self, dest: &Path) -> Option<ReleaseRequest> {
        let text = fs::read_to_string(self.path_of(dest, REQUEST)).ok()?;
        match text.trim() {
            "" => Some(ReleaseRequest { service: None }),
            name => Some(ReleaseRequest {
                service: Some(name.parse().ok()?),
            }),
        }
    }

    /// Removes the request; returns whether there was one.
    pub(crate) fn remove_request(&self, dest: &Path) -> bool {
        fs::remove_file(self.path_of(dest, REQUEST)).is_ok()
    }

    fn path_of(&self, dest: &Path, what: &str) -> PathBuf {
        let name = file::name_of_path(dest);
        self.dir.join(format!("{name}.{what}"))
    }
}

fn read(path: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
