//! The file system as an interface.
//!
//! The engine writes only through this trait, so the simulated disk can crash (dropping or tearing what was not
//! synced), fail the k-th operation, fill up and flip bits. Paths are relative to the root that the implementation
//! was opened on, and `..` is refused. Memory maps are absent on purpose: a full disk must be an error value.

mod real;
pub mod sim;

use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

pub use real::RealVfs;

/// A directory tree on some disk.
///
/// Durability follows POSIX: bytes are safe after [`File::sync_data`], a file's *name* (creation, rename, removal) only
/// after [`Vfs::sync_dir`] of its directory.
pub trait Vfs: Send + Sync + 'static {
    /// Creates a file that must not exist yet, readable and writable.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Opens an existing file, readable and writable.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// The names (not paths) in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Creates a directory and its parents; no error if it exists.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Renames a file or directory, replacing a file at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name, which must not exist yet. File systems without links answer
    /// [`io::ErrorKind::Unsupported`] or another error; the caller copies then.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _ = (from, to);
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals inside `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// True when a file or directory is there.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Takes an exclusive lock that lives as long as the returned guard (and this process).
    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>>;
    /// Bytes that may still be written.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file, addressed by offset: there is no cursor to share.
pub trait File: Send + Sync {
    /// Reads exactly `buf.len()` bytes at `offset`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`, growing the file when needed. A failure may leave a prefix written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// True when the file holds no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends (with zeros) to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves real blocks up to `len` bytes and sets the length, so that later writes inside cannot hit a full disk.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Makes written bytes (and the length) survive a power cut. After an error nothing may be assumed about what was
    /// written since the last success, and the file must not be used any more.
    fn sync_data(&self) -> io::Result<()>;
}

/// Holds a lock until dropped.
pub trait LockGuard: Send + Sync {}

/// Lets only paths through that stay under the root: relative, without `..`.
fn check_relative(path: &Path) -> io::Result<&Path> {
    let stays_inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if stays_inside {
        return Ok(path);
    }
    let message = format!("path {} leaves the data directory", path.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

fn held_elsewhere(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, format!("lock {} is held by another process", path.display()))
}
