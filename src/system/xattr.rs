//! What a file has besides its content, mode and owners: access control lists, security labels and the attributes that
//! people give it. A file that takes the place of another one gets them too. Adapter.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;
use tracing::warn;

const ACL: &CStr = c"system.posix_acl_access";
/// What the kernel derives from the content, or keeps for itself.
const DERIVED: [&[u8]; 3] = [b"security.ima", b"security.evm", b"trusted.overlay."];

/// The files and attributes about which the log already has a warning.
static LOGGED: Mutex<BTreeSet<(PathBuf, CString)>> = Mutex::new(BTreeSet::new());

/// Copies the attributes of the file at `dest` to `new`, which is about to replace it. Logs once what cannot be copied.
pub(super) fn copy_attributes(dest: &Path, new: &File) {
    let flags = nix::libc::O_NONBLOCK;
    let mut options = File::options();
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags);
    // Without a file there is nothing to keep.
    let Ok(old) = options.read(true).open(dest) else {
        return;
    };
    if let Some(attributes) = Attributes::read_from(&old) {
        set_attributes(dest, &attributes, new);
    }
}

/// The attributes of a file that people or programs have given it, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes(pub BTreeMap<CString, Vec<u8>>);

impl Attributes {
    /// `None` if the file system does not know of such.
    pub(super) fn read_from(file: &File) -> Option<Self> {
        let names = names(file).ok()?.into_iter();
        let own = names.filter(|name| !is_derived(name));
        // What cannot be read may not be ours to know, or has been taken away meanwhile.
        let all = own.filter_map(|name| Some((value(file, &name).ok()?, name)));
        Some(Self(all.map(|(value, name)| (name, value)).collect()))
    }
}

/// Sets these attributes on `new`, which is about to be the file at `dest`. Logs once what cannot be set.
pub(super) fn set_attributes(dest: &Path, attributes: &Attributes, new: &File) {
    for (name, wanted) in &attributes.0 {
        // A label that the new file has by itself need not be set, which may be forbidden.
        if value(new, name).as_ref() != Ok(wanted)
            && let Err(error) = fsetxattr(new, name, wanted, XattrFlags::empty())
        {
            warn_once(dest, name, &error.into());
        }
    }
    // The directory may give a new file a list that the old one does not have.
    if !attributes.0.contains_key(ACL)
        && value(new, ACL).is_ok()
        && let Err(error) = fremovexattr(new, ACL)
    {
        warn_once(dest, ACL, &error.into());
    }
}

fn is_derived(name: &CStr) -> bool {
    DERIVED
        .iter()
        .any(|derived| name.to_bytes().starts_with(derived))
}

fn warn_once(dest: &Path, name: &CStr, error: &io::Error) {
    let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
    if logged.insert((dest.to_owned(), name.to_owned())) {
        warn!(
            %error, "{}: the new file cannot be given the attribute {} of the one that it replaces ({error})",
            dest.display(),
            name.to_string_lossy()
        );
    }
}

fn names(file: &File) -> Result<Vec<CString>, Errno> {
    let all = read(|buffer| flistxattr(file, buffer))?;
    let names = all.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| CString::new(name).ok()).collect())
}

fn value(file: &File, name: &CStr) -> Result<Vec<u8>, Errno> {
    read(|buffer| fgetxattr(file, name, buffer))
}

/// The kernel has no attribute, and no list of names, that is longer.
const LONGEST: usize = 1 << 16;

/// Reads something of unknown length.
fn read(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 1024];
    loop {
        match call(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < LONGEST => buffer.resize(LONGEST, 0),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// User 1234 may read: the kernel's form of such a list.
    fn acl(named: u16) -> Vec<u8> {
        let entry = |tag: u16, rights: u16, id: u32| {
            [
                &tag.to_le_bytes()[..],
                &rights.to_le_bytes(),
                &id.to_le_bytes(),
            ]
            .concat()
        };
        [
            2_u32.to_le_bytes().to_vec(),
            entry(0x01, 6, u32::MAX),
            entry(0x02, named, 1234),
            entry(0x04, 4, u32::MAX),
            entry(0x10, 6, u32::MAX),
            entry(0x20, 0, u32::MAX),
        ]
        .concat()
    }

    fn set(file: &File, name: &CStr, value: &[u8]) -> bool {
        fsetxattr(file, name, value, XattrFlags::empty()).is_ok()
    }

    #[test]
    fn a_file_that_replaces_another_has_its_list_and_attributes_and_none_of_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("a.cfg");
        fs::write(&dest, "old").unwrap();
        let old = File::open(&dest).unwrap();
        if !set(&old, ACL, &acl(4)) || !set(&old, c"user.origin", b"by hand") {
            eprintln!(
                "skipped: {} takes no access control lists or user attributes",
                dir.path().display()
            );
            return;
        }
        let mode = || fs::metadata(&dest).unwrap().permissions().mode() & 0o777;
        let before = mode();
        let look = super::super::file::read(&dest).unwrap().unwrap();
        let swap = |dest: &Path| {
            let candidate =
                super::super::file::Candidate::stage(dest, b"new", look.access).unwrap();
            candidate.swap().unwrap();
            File::open(dest).unwrap()
        };
        let new = swap(&dest);
        assert_eq!(value(&new, ACL), Ok(acl(4)));
        assert_eq!(value(&new, c"user.origin"), Ok(b"by hand".to_vec()));
        assert_eq!(mode(), before);
        // It is gone, and made again.
        let known = Attributes::read_from(&new).unwrap();
        fs::remove_file(&dest).unwrap();
        let again =
            super::super::file::Candidate::stage_remembered(&dest, b"x", look.access, &known);
        again.unwrap().swap().unwrap();
        assert_eq!(
            Attributes::read_from(&File::open(&dest).unwrap()),
            Some(known)
        );
        assert_eq!(mode(), before);
        // The directory has a list for new files, which the old one does not have.
        let here = File::open(dir.path()).unwrap();
        assert!(set(&here, c"system.posix_acl_default", &acl(7)));
        let plain = dir.path().join("b.cfg");
        fs::write(&plain, "old").unwrap();
        fremovexattr(File::open(&plain).unwrap(), ACL).unwrap();
        let new = swap(&plain);
        assert_eq!(value(&new, ACL), Err(Errno::NODATA));
        // A first file has what its directory gives.
        let first = swap(&dir.path().join("c.cfg"));
        assert!(value(&first, ACL).is_ok());
    }
}
