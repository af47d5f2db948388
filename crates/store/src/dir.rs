//! The data directory: who owns it, which format it has, where things lie in it, and the one way to replace a file.
//!
//! ```text
//! LOCK         held by the process that owns the directory
//! FORMAT       one line: "kenning data format 1"
//! manifest     which parts there are (see [`crate::manifest`])
//! wal/         write-ahead log (see [`crate::wal`])
//! parts/       immutable files
//! quarantine/  what could not be read, each with a reason beside it
//! snapshots/   copies of the directory, each a data directory itself (see [`crate::snapshot`])
//! ```
//!
//! Promised: a second process is refused; a directory of an unknown format is refused with the reason before a byte of
//! it is changed; [`replace_file`] leaves either the old or the new content, whenever the power goes. Absent: moving
//! between formats (there is one so far).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kenning_stdx::vfs::{File, LockGuard, Vfs};

/// Folder of the write-ahead log.
pub const WAL: &str = "wal";
/// Folder of the immutable parts.
pub const PARTS: &str = "parts";
/// Folder of what could not be read.
pub const QUARANTINE: &str = "quarantine";
/// The version of the directory's layout that this program writes and reads.
pub const FORMAT_VERSION: u32 = 1;

const LOCK: &str = "LOCK";
/// The file that says which format the directory has.
pub(crate) const FORMAT: &str = "FORMAT";
const FORMAT_PREFIX: &str = "kenning data format ";
/// Longest FORMAT file that is looked at.
const FORMAT_MAX_LEN: u64 = 256;

/// A data directory that this process owns while the value lives.
pub struct DataDir {
    vfs: Arc<dyn Vfs>,
    _lock: Box<dyn LockGuard>,
}

impl fmt::Debug for DataDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataDir").finish_non_exhaustive()
    }
}

/// Why a data directory cannot be used. Nothing in it was changed but the lock file's existence.
#[derive(Debug)]
pub enum OpenDirError {
    /// Another process owns it.
    Locked {
        /// What the lock said.
        source: io::Error,
    },
    /// It was written by another version.
    UnknownFormat {
        /// What FORMAT says.
        found: String,
    },
    /// There is data in it, but no FORMAT.
    FormatMissing {
        /// A name that shows that there is data.
        found: String,
    },
    /// The file system failed.
    Io {
        /// What was being done.
        doing: &'static str,
        /// How it failed.
        source: io::Error,
    },
}

impl fmt::Display for OpenDirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { .. } => f.write_str("the data directory is in use by another process"),
            Self::UnknownFormat { found } => write!(
                f,
                "the data directory has format \"{found}\", this program knows \"{FORMAT_PREFIX}{FORMAT_VERSION}\"; \
                 nothing was changed, use the program that wrote it"
            ),
            Self::FormatMissing { found } => write!(
                f,
                "the directory holds \"{found}\" but no {FORMAT} file, so it may not be a data directory; nothing was \
                 changed, choose an empty directory or restore {FORMAT}"
            ),
            Self::Io { doing, .. } => write!(f, "the data directory cannot be opened: {doing} failed"),
        }
    }
}

impl std::error::Error for OpenDirError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Locked { source } | Self::Io { source, .. } => Some(source),
            Self::UnknownFormat { .. } | Self::FormatMissing { .. } => None,
        }
    }
}

fn io_error(doing: &'static str) -> impl Fn(io::Error) -> OpenDirError {
    move |source| OpenDirError::Io { doing, source }
}

impl DataDir {
    /// Takes the directory that `vfs` is rooted at, laying it out when it is empty.
    pub fn open(vfs: Arc<dyn Vfs>) -> Result<Self, OpenDirError> {
        let lock = vfs.lock(Path::new(LOCK)).map_err(|source| match source.kind() {
            io::ErrorKind::ResourceBusy => OpenDirError::Locked { source },
            _ => OpenDirError::Io { doing: "locking", source },
        })?;
        if vfs.exists(Path::new(FORMAT)).map_err(io_error("looking for FORMAT"))? {
            check_format(&*vfs)?;
        } else {
            check_unused(&*vfs)?;
            write_format(&*vfs, Path::new("")).map_err(io_error("writing FORMAT"))?;
        }
        for folder in [WAL, PARTS, QUARANTINE] {
            vfs.create_dir_all(Path::new(folder)).map_err(io_error("creating a folder"))?;
        }
        vfs.sync_dir(Path::new("")).map_err(io_error("syncing the directory"))?;
        Ok(Self { vfs, _lock: lock })
    }

    /// The file system under the directory.
    #[must_use]
    pub fn vfs(&self) -> &Arc<dyn Vfs> {
        &self.vfs
    }
}

/// Says that `folder` is a data directory of this format.
pub(crate) fn write_format(vfs: &dyn Vfs, folder: &Path) -> io::Result<()> {
    let line = format!("{FORMAT_PREFIX}{FORMAT_VERSION}\n");
    replace_file(vfs, &folder.join(FORMAT), |file| file.write_all_at(line.as_bytes(), 0)).map(drop)
}

fn check_format(vfs: &dyn Vfs) -> Result<(), OpenDirError> {
    let read = || {
        let file = vfs.open(Path::new(FORMAT))?;
        let len = file.len()?.min(FORMAT_MAX_LEN);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    let found = read().map_err(io_error("reading FORMAT"))?;
    if found == format!("{FORMAT_PREFIX}{FORMAT_VERSION}") {
        Ok(())
    } else {
        Err(OpenDirError::UnknownFormat { found })
    }
}

/// A directory without FORMAT may be taken only when nothing of value can be in it.
fn check_unused(vfs: &dyn Vfs) -> Result<(), OpenDirError> {
    let names = vfs.list(Path::new("")).map_err(io_error("listing the directory"))?;
    // A crash while laying out may leave these; `lost+found` stands in every fresh ext4 file system.
    let harmless = [LOCK, "lost+found", &aside_name(FORMAT)].map(str::to_owned);
    match names.into_iter().find(|name| !harmless.contains(name)) {
        Some(found) => Err(OpenDirError::FormatMissing { found }),
        None => Ok(()),
    }
}

fn aside_name(name: &str) -> String {
    format!("{name}.new")
}

/// Replaces the file at `path`, or creates it, all or nothing: written aside, synced, renamed, directory synced.
///
/// This is the only place of the store that renames over a file. After an error the old content is still what a reader
/// of this process finds, except when the last step (syncing the directory) failed: then the new content is found, and
/// a power cut may bring back the old.
pub fn replace_file(
    vfs: &dyn Vfs,
    path: &Path,
    write: impl FnOnce(&dyn File) -> io::Result<()>,
) -> io::Result<Arc<dyn File>> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    let parent = path.parent().unwrap_or(Path::new(""));
    let aside: PathBuf = parent.join(aside_name(name));
    // Left by an earlier attempt that died.
    if vfs.exists(&aside)? {
        vfs.remove(&aside)?;
    }
    let file = vfs.create(&aside)?;
    write(&*file)?;
    file.sync_data()?;
    vfs.rename(&aside, path)?;
    vfs.sync_dir(parent)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_stdx::vfs::sim::{OpClass, SimVfs};

    fn open(vfs: &SimVfs) -> Result<DataDir, OpenDirError> {
        DataDir::open(Arc::new(vfs.clone()))
    }

    #[test]
    fn a_new_directory_is_laid_out_and_opens_again() {
        let vfs = SimVfs::new(1);
        let dir = open(&vfs).unwrap();
        assert!(matches!(open(&vfs), Err(OpenDirError::Locked { .. })));
        drop(dir);
        open(&vfs).unwrap();
        assert_eq!(vfs.list(Path::new("")).unwrap(), ["FORMAT", "LOCK", "parts", "quarantine", "wal"]);
        open(&vfs.crash()).unwrap();
    }

    #[test]
    fn unknown_formats_and_foreign_directories_are_refused_untouched() {
        for (name, bytes, expect) in [
            ("FORMAT", "kenning data format 2\n", "has format \"kenning data format 2\""),
            ("FORMAT", "", "has format \"\""),
            ("thesis.tex", "x", "holds \"thesis.tex\" but no FORMAT"),
            ("wal/0000000000000001.wal", "x", "holds \"wal\" but no FORMAT"),
        ] {
            let vfs = SimVfs::new(1);
            vfs.install(Path::new(name), bytes.as_bytes());
            vfs.install(Path::new(LOCK), b"");
            let before = vfs.state_hash();
            let error = open(&vfs).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
            assert_eq!(vfs.state_hash(), before);
        }
    }

    #[test]
    fn laying_out_survives_any_failure_and_crash() {
        for k in 1..40 {
            let vfs = SimVfs::new(k);
            vfs.fail_at(OpClass::Any, k, io::ErrorKind::Other);
            let first = open(&vfs).is_ok();
            assert!(first || vfs.faults_hit() == 1, "operation {k}");
            vfs.clear_faults();
            open(&vfs.crash()).unwrap_or_else(|error| panic!("operation {k}: {error}"));
        }
    }

    #[test]
    fn replacing_a_file_is_all_or_nothing() {
        for seed in 0..200 {
            let vfs = SimVfs::new(seed);
            vfs.install(Path::new("f"), &[1; 2000]);
            if seed % 2 == 0 {
                vfs.fail_at(OpClass::Any, 1 + seed % 16 / 2, io::ErrorKind::Other);
            }
            let done = replace_file(&vfs, Path::new("f"), |file| file.write_all_at(&[2; 3000], 0)).is_ok();
            let bytes = vfs.crash().contents(Path::new("f")).unwrap();
            assert!(bytes == [2; 3000] || (!done && bytes == [1; 2000]), "seed {seed}");
        }
    }
}
