//! Files that only their owner may write.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{Error, ErrorKind, Result, Write};
use std::path::{Path, PathBuf};

/// Who may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    #[cfg(feature = "remote")]
    Anyone,
    #[cfg(feature = "issue")]
    Owner,
}

/// Opens a file if no other user can have put it there. Returns `None` if there is no file.
pub(crate) fn open(path: &Path, readers: Readers) -> Result<Option<File>> {
    match opened(path, readers) {
        // Another instance may remove it between two of the steps.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

fn opened(path: &Path, readers: Readers) -> Result<File> {
    // Checked before the file is opened, because opening a pipe would block.
    check_kind(&fs::metadata(path)?)?;
    #[cfg(unix)]
    unix::check_place(path)?;
    let file = File::open(path)?;
    // Check again: the file may have been replaced before it was opened.
    let metadata = file.metadata()?;
    check_kind(&metadata)?;
    check_owner(&metadata, readers)?;
    Ok(file)
}

/// Writes a new file in the same directory, and calls `place` to put it where it belongs. Afterwards
/// no temporary file is left.
pub(crate) fn write(
    path: &Path,
    content: &[u8],
    place: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let (new, prefix) = temporary_path(path)?;
    let placed = write_new(&new, content).and_then(|()| place(&new));
    // The file no longer has this name if it was renamed.
    drop(fs::remove_file(&new));
    clean_up(path, &prefix);
    placed
}

/// The directory of a file.
pub(crate) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// The name of a file, with a dot after it.
pub(crate) fn prefix(path: &Path) -> Result<OsString> {
    let name = path
        .file_name()
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the path names no file"))?;
    let mut prefix = name.to_owned();
    prefix.push(".");
    Ok(prefix)
}

fn write_new(place: &Path, content: &[u8]) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(place)?;
    file.write_all(content)?;
    file.sync_all()
}

/// The path of a temporary file in the same directory, and the prefix of its name. Each writer gets
/// a different path.
fn temporary_path(path: &Path) -> Result<(PathBuf, OsString)> {
    let prefix = prefix(path)?;
    let mut name = prefix.clone();
    name.push(format!(
        "{:016x}{TEMPORARY}",
        RandomState::new().hash_one(())
    ));
    Ok((path.with_file_name(name), prefix))
}

/// Removes temporary files of interrupted runs. Younger files may belong to another instance that
/// is writing.
fn clean_up(path: &Path, prefix: &OsString) {
    let Ok(entries) = fs::read_dir(directory(path)) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let (name, prefix) = (name.as_encoded_bytes(), prefix.as_encoded_bytes());
        let is_temporary = name.strip_prefix(prefix).is_some_and(|rest| {
            rest.len() == 16 + TEMPORARY.len() && rest.ends_with(TEMPORARY.as_bytes())
        });
        let age = entry.metadata().and_then(|it| it.modified());
        let age = age.map(|modified| modified.elapsed().unwrap_or_default());
        if is_temporary && age.is_ok_and(|age| age > LEFT_OVER_AGE) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

fn check_kind(metadata: &Metadata) -> Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(Error::other("it is not a regular file"))
}

#[cfg(unix)]
use unix::check_owner;

/// Checks that the directory of a file is not writable by everybody. The file need not exist.
#[cfg(all(unix, feature = "issue"))]
pub(crate) use unix::check_directory;

/// Other systems have no such permissions.
#[cfg(all(not(unix), feature = "issue"))]
pub(crate) fn check_directory(_: &Path) -> Result<()> {
    Ok(())
}

/// Other systems have no such permissions.
#[cfg(not(unix))]
fn check_owner(_: &Metadata, _: Readers) -> Result<()> {
    Ok(())
}

#[cfg(unix)]
mod unix {
    use std::fs::{self, File, Metadata};
    use std::io::{Error, Result, pipe};
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use super::{Readers, directory};

    pub(super) fn check_owner(metadata: &Metadata, readers: Readers) -> Result<()> {
        if metadata.mode() & 0o022 != 0 {
            return Err(Error::other("others than its owner may write the file"));
        }
        match readers {
            #[cfg(feature = "remote")]
            Readers::Anyone => {}
            #[cfg(feature = "issue")]
            Readers::Owner if metadata.mode() & 0o044 != 0 => {
                return Err(Error::other("others than its owner may read the file"));
            }
            #[cfg(feature = "issue")]
            Readers::Owner => {}
        }
        check_user(metadata)
    }

    fn check_user(metadata: &Metadata) -> Result<()> {
        let owner = metadata.uid();
        if owner != ROOT && owner != user()? {
            return Err(Error::other(format!(
                "it belongs to another user ({owner})"
            )));
        }
        Ok(())
    }

    /// Checks the directory of the file. If the path is a symbolic link, checks the owner and the
    /// directory of the link too, because the owner of the link chooses the file.
    pub(super) fn check_place(path: &Path) -> Result<()> {
        let link = fs::symlink_metadata(path)?;
        if link.is_symlink() {
            check_user(&link)?;
            check_directory(path)?;
        }
        check_directory(&fs::canonicalize(path)?)
    }

    pub(crate) fn check_directory(path: &Path) -> Result<()> {
        let mode = fs::metadata(directory(path))?.mode();
        if mode & 0o002 != 0 && mode & STICKY == 0 {
            return Err(Error::other("everybody may write its directory"));
        }
        Ok(())
    }

    /// The user of this process. The standard library has no function for it, but a new pipe belongs
    /// to that user.
    fn user() -> Result<u32> {
        let (reader, _writer) = pipe()?;
        let metadata = File::from(OwnedFd::from(reader)).metadata()?;
        Ok(metadata.uid())
    }

    const ROOT: u32 = 0;
    const STICKY: u32 = 0o1000;
}

/// The suffix of temporary files.
const TEMPORARY: &str = ".new";
/// The age after which a temporary file is considered left over.
const LEFT_OVER_AGE: std::time::Duration = std::time::Duration::from_secs(3_600);
