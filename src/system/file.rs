//! Files that are replaced as a whole: a candidate is staged beside the destination, and a rename puts it in place. Adapter.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use tempfile::NamedTempFile;

use super::process;
use super::xattr::{self, Attributes};
use crate::model::fingerprint::fingerprint;

const PERMISSIONS: u32 = 0o7777;
/// The ending of a candidate's name.
const SUFFIX: &str = ".sidekick";
/// A candidate that is older was left behind by a process that was killed.
const MAX_CANDIDATE_AGE: Duration = Duration::from_secs(10 * 60);
/// Names of paths are cut to this many bytes and get a hash behind, since file systems allow 255 bytes.
const LONGEST_NAME: usize = 180;

/// The content of a file and who may access it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileState {
    /// Its bytes.
    pub content: Vec<u8>,
    /// Its permission bits and owners.
    pub access: Access,
}

/// Permission bits and owners of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The permission bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// The properties of a file besides its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    /// Its permission bits and owners.
    pub access: Access,
    /// Its identity.
    pub inode: Inode,
    /// Its access control list, labels and attributes.
    pub attributes: Attributes,
}

/// The identity of a file, by which it differs from another file of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inode {
    /// The inode number; the file system may give the number of a deleted file to a new one.
    pub number: u64,
    /// When it was created, in nanoseconds since 1970; `None` if the file system does not record it.
    pub born: Option<u64>,
}

/// Whether `path` exists. As in confd, a path that cannot be examined counts as existing; only "no such file" means no.
#[must_use]
pub fn exists(path: &str) -> bool {
    !matches!(fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Reads a file with its access; `None` if it does not exist.
pub fn read(path: &Path) -> io::Result<Option<FileState>> {
    Ok(open(path)?.map(|(_, state)| state))
}

/// Reads a file with all its properties; `None` if it does not exist.
pub fn read_with_properties(path: &Path) -> io::Result<Option<(FileState, Properties)>> {
    let Some((file, state)) = open(path)? else {
        return Ok(None);
    };
    let meta = file.metadata()?;
    let born = meta.created().ok();
    let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    let properties = Properties {
        access: state.access,
        inode: Inode {
            number: meta.ino(),
            born: born.and_then(|born| u64::try_from(born.as_nanos()).ok()),
        },
        attributes: Attributes::read_from(&file).unwrap_or_default(),
    };
    Ok(Some((state, properties)))
}

fn open(path: &Path) -> io::Result<Option<(File, FileState)>> {
    // Without this flag, opening a pipe would wait for a writer.
    let flags = nix::libc::O_NONBLOCK;
    let found = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = found.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut content = Vec::new();
    io::Read::read_to_end(&mut &found, &mut content)?;
    let access = Access {
        mode: meta.mode() & PERMISSIONS,
        uid: meta.uid(),
        gid: meta.gid(),
    };
    Ok(Some((found, FileState { content, access })))
}

/// How long ago a file was changed, by the clock of the system.
pub fn age(path: &Path) -> io::Result<Duration> {
    let changed = fs::metadata(path)?.modified()?;
    Ok(changed.elapsed().unwrap_or_default())
}

/// A file name that stands for a path. Different paths have different names, and every name leaves room for an ending and
/// for the prefix and suffix of a [`Candidate`].
#[must_use]
pub fn name_of_path(path: &Path) -> String {
    let mut name = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        name += &chunk.valid().replace('%', "%25").replace('/', "%2F");
        name.extend(chunk.invalid().iter().map(|byte| format!("%{byte:02X}")));
    }
    if name.len() <= LONGEST_NAME {
        return name;
    }
    // The hash is that of the whole path, including the part that is cut off.
    let hash = fingerprint([path.as_os_str().as_encoded_bytes()]);
    let fits = (0..=LONGEST_NAME)
        .rev()
        .find(|end| name.is_char_boundary(*end));
    format!("{}%~{hash:016x}", &name[..fits.unwrap_or_default()])
}

/// Follows symbolic links to the real destination, so that a link stays when the file is replaced. The destination need
/// not exist.
pub fn resolve(dest: &Path) -> io::Result<PathBuf> {
    let mut path = dest.to_owned();
    // The kernel has the same limit.
    for _ in 0..40 {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("/")).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many levels of symbolic links"))
}

/// A file that is written beside its destination under a hidden name, which patterns like `conf.d/*` do not match. It has
/// the access control list, the labels and the attributes of the file that it will replace. Dropping it removes it.
#[derive(Debug)]
pub struct Candidate {
    file: NamedTempFile,
    dest: PathBuf,
}

impl Candidate {
    /// Writes a candidate for `dest`.
    pub fn stage(dest: &Path, content: &[u8], access: Access) -> io::Result<Self> {
        Self::stage_with(dest, content, access, None)
    }

    /// Writes a candidate for a destination that is gone or was exchanged, with the access and attributes that the file had.
    /// If the process may not give the file to its former owners, it keeps it, and allows nobody more than before.
    pub fn stage_remembered(
        dest: &Path,
        content: &[u8],
        access: Access,
        attributes: &Attributes,
    ) -> io::Result<Self> {
        Self::stage_with(dest, content, access, Some(attributes))
    }

    fn stage_with(
        dest: &Path,
        content: &[u8],
        mut access: Access,
        remembered: Option<&Attributes>,
    ) -> io::Result<Self> {
        let mut prefix = OsString::from(".");
        prefix.push(dest.file_name().ok_or(io::ErrorKind::InvalidInput)?);
        prefix.push(".");
        let dir = dest.parent().ok_or(io::ErrorKind::InvalidInput)?;
        remove_old_candidates(dir, &prefix);
        // The name is the same each time, so that the messages of a check are the same each time, too. A file that has the
        // name already was left behind by an earlier process with the same id.
        let own = format!("{}{SUFFIX}", std::process::id());
        let mut left = prefix.clone();
        left.push(&own);
        let _ = fs::remove_file(dir.join(left));
        let mut file = tempfile::Builder::new()
            .prefix(&prefix)
            .rand_bytes(0)
            .suffix(&own)
            .tempfile_in(dir)
            .map_err(without_path)?;
        file.write_all(content)?;
        let meta = file.as_file().metadata()?;
        // The owner is set before the mode, because a change of owner clears set-id bits.
        if (meta.uid(), meta.gid()) != (access.uid, access.gid) {
            match fchown(file.as_file(), Some(access.uid), Some(access.gid)) {
                Err(error)
                    if remembered.is_some() && error.kind() == io::ErrorKind::PermissionDenied =>
                {
                    access.mode = mode_of_another_owner(file.as_file(), access);
                }
                other => other?,
            }
        }
        // The attributes are set between owner and mode: a change of owner clears some of them, and the mode changes the
        // access control list.
        match remembered {
            Some(attributes) => xattr::set_attributes(dest, attributes, file.as_file()),
            None => xattr::copy_attributes(dest, file.as_file()),
        }
        file.as_file()
            .set_permissions(Permissions::from_mode(access.mode))?;
        Ok(Self {
            file,
            dest: dest.to_owned(),
        })
    }

    /// The path of the candidate until it is swapped in.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Puts it in the place of its destination. After this has returned, the new file survives a power cut.
    pub fn swap(self) -> io::Result<SwapMethod> {
        self.file.as_file().sync_all()?;
        let how = match self.file.persist(&self.dest) {
            Ok(_) => SwapMethod::Renamed,
            // A destination that is a mount point, as in containers, cannot be replaced by a rename.
            Err(error) if error.error.raw_os_error() == Some(nix::libc::EBUSY) => {
                write_over(&self.dest, error.file.as_file())?;
                return Ok(SwapMethod::InPlace);
            }
            Err(error) => return Err(error.error),
        };
        if let Some(dir) = self.dest.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(how)
    }
}

/// The mode of a file that could not be given its former owner: it allows the process's own user and group no more than the
/// former ones. The group is restored if possible.
fn mode_of_another_owner(file: &File, access: Access) -> u32 {
    const SET_ID: u32 = 0o6000;
    const GROUP: u32 = 0o070;
    let mode = access.mode & !SET_ID;
    match fchown(file, None, Some(access.gid)) {
        Ok(()) => mode,
        // The process's own group is allowed what everybody is.
        Err(_) => mode & (!GROUP | ((mode & 0o007) << 3)),
    }
}

/// How a file was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwapMethod {
    /// By a rename, in one step.
    Renamed,
    /// By writing over it; a program that reads it at that moment may see a part.
    InPlace,
}

/// Gives the destination the content and the access of the candidate.
fn write_over(dest: &Path, candidate: &File) -> io::Result<()> {
    let (mut from, wanted) = (candidate, candidate.metadata()?);
    let mut content = Vec::new();
    io::Seek::rewind(&mut from)?;
    io::Read::read_to_end(&mut from, &mut content)?;
    let mut file = File::options().write(true).open(dest)?;
    reserve(&file, content.len())?;
    file.write_all(&content)?;
    file.set_len(content.len() as u64)?;
    let has = file.metadata()?;
    if (has.uid(), has.gid()) != (wanted.uid(), wanted.gid()) {
        fchown(&file, Some(wanted.uid()), Some(wanted.gid()))?;
    }
    file.set_permissions(wanted.permissions())?;
    file.sync_all()
}

/// Reserves space on the disk, so that a full disk is noticed while the old content is still whole.
fn reserve(file: &File, length: usize) -> io::Result<()> {
    let Ok(length @ 1..) = i64::try_from(length) else {
        return Ok(());
    };
    let keep_size = FallocateFlags::FALLOC_FL_KEEP_SIZE;
    match fallocate(file, keep_size, 0, length) {
        // The file system cannot reserve space.
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        other => Ok(other?),
    }
}

/// Creates the directories above a file.
pub fn make_parents(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Creates a directory with mode 0700, and those above it.
pub fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

/// Replaces a file of sidekick's own in one step, with mode 0600. Nothing is flushed to the disk: the file need not survive
/// a power cut.
pub fn replace_own(path: &Path, content: &[u8]) -> io::Result<()> {
    let (uid, gid) = process::effective_ids();
    let mode = 0o600;
    let candidate = Candidate::stage(path, content, Access { mode, uid, gid })?;
    candidate.file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Removes old candidates of a destination, which processes that were killed have left behind.
fn remove_old_candidates(dir: &Path, prefix: &OsString) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_candidate = name
            .as_encoded_bytes()
            .starts_with(prefix.as_encoded_bytes())
            && name.as_encoded_bytes().ends_with(SUFFIX.as_bytes());
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_candidate && age().is_some_and(|age| age > MAX_CANDIDATE_AGE) {
            // If this fails, the next candidate tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The error without the name of the temporary file, which means nothing to an operator.
fn without_path(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path ") {
        Some((text, _)) => io::Error::new(error.kind(), text.to_owned()),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(path: &Path, mode: u32) -> Access {
        let meta = fs::metadata(path).unwrap();
        Access {
            mode,
            uid: meta.uid(),
            gid: meta.gid(),
        }
    }

    #[test]
    fn a_swap_replaces_all_at_once_and_leaves_no_candidate() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("a.cfg");
        let access = access(dir.path(), 0o640);
        for content in ["one", "two"] {
            let candidate = Candidate::stage(&dest, content.as_bytes(), access).unwrap();
            let name = candidate
                .path()
                .file_name()
                .unwrap()
                .to_string_lossy()
                .into_owned();
            assert!(
                name.starts_with(".a.cfg.") && name.ends_with(".sidekick"),
                "{name}"
            );
            candidate.swap().unwrap();
            let state = read(&dest).unwrap().unwrap();
            assert_eq!((state.content, state.access), (content.into(), access));
        }
        drop(Candidate::stage(&dest, b"three", access).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(read(&dest).unwrap().unwrap().content, b"two");
    }

    #[test]
    fn an_old_candidate_of_a_killed_process_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("a.cfg");
        let old = std::time::SystemTime::now() - Duration::from_secs(60 * 60);
        for (name, is_old) in [
            (".a.cfg.x1.sidekick", true),
            (".a.cfg.x2.sidekick", false),
            (".b.cfg.x3.sidekick", true),
        ] {
            let file = File::create(dir.path().join(name)).unwrap();
            if is_old {
                file.set_modified(old).unwrap();
            }
        }
        let access = access(dir.path(), 0o640);
        drop(Candidate::stage(&dest, b"", access).unwrap());
        let left = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, [".a.cfg.x2.sidekick", ".b.cfg.x3.sidekick"]);
    }

    #[test]
    fn a_link_is_resolved_even_if_it_dangles() {
        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("link"), dir.path().join("target"));
        std::os::unix::fs::symlink("target", &link).unwrap();
        assert_eq!(resolve(&link).unwrap(), target);
        assert_eq!(resolve(&target).unwrap(), target);
        let ring = dir.path().join("ring");
        std::os::unix::fs::symlink("ring", &ring).unwrap();
        assert!(resolve(&ring).is_err());
    }

    #[test]
    fn different_paths_have_different_names_that_fit() {
        use std::os::unix::ffi::OsStrExt;
        let long = |last: &str| PathBuf::from(format!("/{}/{last}", "d%\u{e4}".repeat(80)));
        let not_text = |byte| PathBuf::from(std::ffi::OsStr::from_bytes(&[b'/', byte]));
        let paths = ["a/b", "a-b", "a%2Fb", "a%b", "/a/b", "\u{fffd}"].map(PathBuf::from);
        let others = [long("x"), long("y"), not_text(0xff), not_text(0xfe)];
        let all: Vec<PathBuf> = paths.into_iter().chain(others).collect();
        let names: std::collections::BTreeSet<String> =
            all.iter().map(|path| name_of_path(path)).collect();
        assert_eq!(names.len(), all.len(), "{names:?}");
        for name in names {
            let room = 255 - "before.".len() - "..4194304.sidekick".len();
            assert!(!name.contains('/') && name.len() <= room, "{name}");
        }
    }

    #[test]
    fn a_missing_file_is_none_and_a_special_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(&dir.path().join("none")).unwrap(), None);
        assert!(read(dir.path()).is_err());
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&pipe).is_err());
    }
}
