//! The files of guards in the state directory: a record that each guard writes for the next process and for
//! `sidekick guard`, and a request that `sidekick guard release` leaves for the guard. Shell.

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

const RECORD: &str = "json";
const REQUEST: &str = "release";

/// The record of one guarded target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The target.
    pub(crate) target: String,
    /// Its file; the first one of a group.
    pub(crate) dest: PathBuf,
    /// The process that publishes it.
    pub(crate) pid: u32,
    /// How many instances of each service the file shows, if that is known.
    pub(crate) shown: Option<BTreeMap<String, usize>>,
    /// What is held, one entry for each service.
    pub(crate) held: Vec<HoldRecord>,
    /// Instances that were lost since that process started.
    pub(crate) lost_total: u64,
    /// Holds that began since then.
    pub(crate) holds_total: u64,
    /// Instances that were held since then.
    pub(crate) held_total: u64,
    /// Holds that were ended by hand since then.
    pub(crate) released_total: u64,
    /// Instances that are skipped, since their addresses are outside of the networks.
    pub(crate) outside: usize,
}

/// What is held of one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HoldRecord {
    /// The service; `None` if the file as a whole is frozen.
    pub(crate) service: Option<String>,
    /// Why, as text for people.
    pub(crate) why: String,
    /// When the hold began, in seconds since 1970.
    pub(crate) since: u64,
    /// When the hold ends, in seconds since 1970; `None` if only a return or a release ends it.
    pub(crate) until: Option<u64>,
    /// The ids of the instances that are held.
    pub(crate) instances: Vec<String>,
    /// The same instances with their fields, for the next process.
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, BTreeMap<String, String>>,
}

impl HoldRecord {
    /// The instances that are held, with their fields. An instance that cannot be decoded is left out: another version
    /// may have written it.
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

/// What `sidekick guard release` asks of the process that publishes a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReleaseRequest {
    /// The service whose instances are to be released; `None` for all that is held.
    pub(crate) service: Option<ServiceName>,
}

/// The id of an instance and its fields, as they are written to the record.
pub(crate) fn fields(instance: &Instance) -> (String, BTreeMap<String, String>) {
    let fields = keyspace::encode(&Prefix::root(), instance).fields;
    let text = |value: Vec<u8>| String::from_utf8_lossy(&value).into_owned();
    let fields = fields.into_iter().map(|(name, value)| (name, text(value)));
    (instance.id.to_string(), fields.collect())
}

/// The directory of the records and requests.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    dir: PathBuf,
}

impl Records {
    /// `guards` below the state directory, which need not be there yet.
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self {
            dir: state_dir.join("guards"),
        }
    }

    /// Makes the directory, for its owner alone.
    pub(crate) fn make_dir(&self) -> io::Result<()> {
        file::make_private_dir(&self.dir)
    }

    /// The record of the target whose first file is `dest`; `None` if there is none that can be read.
    pub(crate) fn read(&self, dest: &Path) -> Option<Record> {
        read(&self.place(dest, RECORD))
    }

    /// All records, sorted by target.
    pub(crate) fn read_all(&self) -> io::Result<Vec<Record>> {
        let mut all = Vec::new();
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(all),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|is| is == RECORD) {
                // A record that is removed meanwhile is left out.
                all.extend(read(&path));
            }
        }
        all.sort_by(|a, b| (&a.target, &a.dest).cmp(&(&b.target, &b.dest)));
        Ok(all)
    }

    /// Writes a record, in place of an earlier one.
    pub(crate) fn write(&self, record: &Record) -> io::Result<()> {
        let text = serde_json::to_string_pretty(record).map_err(io::Error::other)?;
        file::replace_own(&self.place(&record.dest, RECORD), (text + "\n").as_bytes())
    }

    /// Removes the record and the request of a target that is no longer guarded.
    pub(crate) fn remove(&self, dest: &Path) {
        // The record may never have been written.
        let _ = fs::remove_file(self.place(dest, RECORD));
        self.remove_request(dest);
    }

    /// Leaves a request for the process that publishes the target.
    pub(crate) fn request_release(&self, dest: &Path, request: &ReleaseRequest) -> io::Result<()> {
        let service = request.service.as_ref().map_or("", ServiceName::as_str);
        file::replace_own(&self.place(dest, REQUEST), service.as_bytes())
    }

    /// The request that waits to be taken in. A text that is no name of a service cannot concern anything that is held,
    /// and is no request.
    pub(crate) fn requested_release(&self, dest: &Path) -> Option<ReleaseRequest> {
        let text = fs::read_to_string(self.place(dest, REQUEST)).ok()?;
        match text.trim() {
            "" => Some(ReleaseRequest { service: None }),
            name => Some(ReleaseRequest {
                service: Some(name.parse().ok()?),
            }),
        }
    }

    /// Removes the request; returns whether there was one.
    pub(crate) fn remove_request(&self, dest: &Path) -> bool {
        fs::remove_file(self.place(dest, REQUEST)).is_ok()
    }

    /// The path of the record or the request of a target.
    fn place(&self, dest: &Path, what: &str) -> PathBuf {
        let name = file::name_of_path(dest);
        self.dir.join(format!("{name}.{what}"))
    }
}

fn read(path: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
