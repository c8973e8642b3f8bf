//! Files that are replaced as a whole: staged beside the destination, swapped in by a rename. Adapter.

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
/// How the name of a candidate ends.
const SUFFIX: &str = ".sidekick";
/// A candidate that is older belongs to nobody: whoever staged it was killed.
const LITTER: Duration = Duration::from_mins(10);
/// File systems take names of 255 bytes. A longer name of a path is cut here and ends in a hash.
const LONGEST_NAME: usize = 180;

/// A file as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
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

/// All that a file has besides its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its permission bits and owners.
    pub access: Access,
    /// Which file it is.
    pub inode: Inode,
    /// Its access control list, labels and attributes.
    pub attributes: Attributes,
}

/// What tells a file from another one that has taken its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inode {
    /// The number of a file that is gone may be given to the next one.
    pub number: u64,
    /// When it was made, in nanoseconds; not every file system knows.
    pub born: Option<u64>,
}

/// Whether there is something at `path`. As confd has it, what cannot be looked at is there: only "no such file" is no.
#[must_use]
pub fn exists(path: &str) -> bool {
    !matches!(fs::metadata(path), Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Looks at a file; `None` if there is none.
pub fn look(path: &Path) -> io::Result<Option<Look>> {
    Ok(open(path)?.map(|(_, look)| look))
}

/// Looks at a file and all that it has besides its content.
pub fn look_closely(path: &Path) -> io::Result<Option<(Look, Standing)>> {
    let Some((file, look)) = open(path)? else {
        return Ok(None);
    };
    let meta = file.metadata()?;
    let born = meta.created().ok();
    let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    let standing = Standing {
        access: look.access,
        inode: Inode {
            number: meta.ino(),
            born: born.and_then(|born| u64::try_from(born.as_nanos()).ok()),
        },
        attributes: Attributes::read_from(&file).unwrap_or_default(),
    };
    Ok(Some((look, standing)))
}

fn open(path: &Path) -> io::Result<Option<(File, Look)>> {
    // Opening a pipe would wait for somebody to write into it.
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
    Ok(Some((found, Look { content, access })))
}

/// How long ago a file was changed, by the clock of the system.
pub fn age(path: &Path) -> io::Result<Duration> {
    let changed = fs::metadata(path)?.modified()?;
    Ok(changed.elapsed().unwrap_or_default())
}

/// The name of a file that stands for a path. Different paths have different names, and every name leaves room for an
/// ending and for what [`Candidate`] adds.
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
    // The whole path counts, also what does not fit into the name of a file.
    let hash = fingerprint([path.as_os_str().as_encoded_bytes()]);
    let start = name.floor_char_boundary(LONGEST_NAME);
    format!("{}%~{hash:016x}", &name[..start])
}

/// Where a destination really lies: the target of a symbolic link, so that the link stays when the file is replaced.
pub fn resolve(dest: &Path) -> io::Result<PathBuf> {
    let mut path = dest.to_owned();
    // The kernel's own limit.
    for _ in 0..40 {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("/")).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many levels of symbolic links"))
}

/// A file written beside its destination under a hidden name, which patterns like `conf.d/*` do not match. Dropping it
/// removes it. It has the access control list, the labels and the attributes of the file that it is to replace.
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

    /// The same for a file that is gone or not the one that was known, with the attributes that it is remembered to have
    /// had. Where its owners cannot be had again, it is ours, and open to no more people for that.
    pub fn stage_again(
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
        clear_litter(dir, &prefix);
        // The same name each time, so that what a check says of it is the same each time too. Whatever has that name
        // was left behind by an earlier process with our id.
        let own = format!("{}{SUFFIX}", std::process::id());
        let mut left = prefix.clone();
        left.push(&own);
        let _ = fs::remove_file(dir.join(left));
        let mut file = tempfile::Builder::new()
            .prefix(&prefix)
            .rand_bytes(0)
            .suffix(&own)
            .tempfile_in(dir)
            .map_err(plain)?;
        file.write_all(content)?;
        let meta = file.as_file().metadata()?;
        // Before the mode: a change of owner clears set-id bits.
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
        // Between the two: a change of owner clears some attributes, and the mode is part of an access control list.
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

    /// Where it lies until it is swapped in.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Puts it in the place of its destination; after this returns, a power cut leaves the new file.
    pub fn swap(self) -> io::Result<How> {
        self.file.as_file().sync_all()?;
        let how = match self.file.persist(&self.dest) {
            Ok(_) => How::Renamed,
            // A file that is a mount point of its own, as containers have them, cannot be replaced.
            Err(error) if error.error.raw_os_error() == Some(nix::libc::EBUSY) => {
                write_over(&self.dest, error.file.as_file())?;
                return Ok(How::InPlace);
            }
            Err(error) => return Err(error.error),
        };
        if let Some(dir) = self.dest.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(how)
    }
}

/// The mode of a file that could not be given its owner, and perhaps not its group: ours may do no more than that could.
fn mode_of_another_owner(file: &File, access: Access) -> u32 {
    const SET_ID: u32 = 0o6000;
    const GROUP: u32 = 0o070;
    let mode = access.mode & !SET_ID;
    match fchown(file, None, Some(access.gid)) {
        Ok(()) => mode,
        // What everybody may do, our group may.
        Err(_) => mode & (!GROUP | ((mode & 0o007) << 3)),
    }
}

/// How a file was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// At once.
    Renamed,
    /// By writing over it: who reads it meanwhile may see a part.
    InPlace,
}

/// Gives a file the content and the access of another one.
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

/// Sees to it that there is room, so that a full disk is noticed while the file is still whole.
fn reserve(file: &File, length: usize) -> io::Result<()> {
    let Ok(length @ 1..) = i64::try_from(length) else {
        return Ok(());
    };
    let keep_size = FallocateFlags::FALLOC_FL_KEEP_SIZE;
    match fallocate(file, keep_size, 0, length) {
        // The file system has no such thing.
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        other => Ok(other?),
    }
}

/// Makes the directories above a file.
pub fn make_parents(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Makes a directory, and those above it, that nobody else has to look into.
pub fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

/// Writes a file of our own in one step. It need not outlive a power cut, so nothing is flushed to the disk.
pub fn replace_own(path: &Path, content: &[u8]) -> io::Result<()> {
    let (uid, gid) = process::effective_ids();
    let mode = 0o600;
    let candidate = Candidate::stage(path, content, Access { mode, uid, gid })?;
    candidate.file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Removes what was staged for a destination by those who did not live to swap it in.
fn clear_litter(dir: &Path, prefix: &OsString) {
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
        if is_candidate && age().is_some_and(|age| age > LITTER) {
            // Next time, then.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// An error without the name of the temporary file that could not be made: nobody knows it.
fn plain(error: io::Error) -> io::Error {
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
    fn a_swap_replaces_all_at_once_and_leaves_no_litter() {
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
            let look = look(&dest).unwrap().unwrap();
            assert_eq!((look.content, look.access), (content.into(), access));
        }
        drop(Candidate::stage(&dest, b"three", access).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(look(&dest).unwrap().unwrap().content, b"two");
    }

    #[test]
    fn what_a_killed_process_left_behind_is_cleared_away_when_it_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("a.cfg");
        let old = std::time::SystemTime::now() - Duration::from_hours(1);
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
    fn what_is_not_there_and_what_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(look(&dir.path().join("none")).unwrap(), None);
        assert!(look(dir.path()).is_err());
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(look(&pipe).is_err());
    }
}
