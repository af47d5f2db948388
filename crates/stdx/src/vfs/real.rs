//! The machine's own file system.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;

use super::{File, LockGuard, Vfs, check_relative};

/// Bytes of zeros written at a time where the file system cannot reserve blocks by itself.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A directory of the machine's file system.
#[derive(Debug)]
pub struct RealVfs {
    root: PathBuf,
}

impl RealVfs {
    /// Opens the tree under `root`, creating the directory (and its parents) durably when missing.
    pub fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        if let Some(parent) = root.parent() {
            // A parent that may not be read (a mount point, a container's root) cannot be synced; the root itself is
            // synced whenever a name in it changes, so this one is best effort.
            let _ = fs::File::open(parent).and_then(|dir| dir.sync_all());
        }
        Ok(Self { root })
    }

    /// Where the tree lies, as an absolute path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(self.root.join(check_relative(path)?))
    }
}

impl Vfs for RealVfs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::File::options().read(true).write(true).create_new(true).open(self.resolve(path)?)?;
        Ok(Arc::new(RealFile { file }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = fs::File::options().read(true).write(true).open(self.resolve(path)?)?;
        Ok(Arc::new(RealFile { file }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.resolve(dir)?)? {
            // A name that is not UTF-8 cannot be one of ours; it is shown in a form that no file of ours has.
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(self.resolve(dir)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.resolve(from)?, self.resolve(to)?)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(self.resolve(from)?, self.resolve(to)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.resolve(path)?)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(self.resolve(dir)?)?.sync_all()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.resolve(path)?.try_exists()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        let path = self.resolve(path)?;
        let file = fs::File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock { _file: file })),
            Err(fs::TryLockError::WouldBlock) => Err(super::held_elsewhere(&path)),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Holds the lock: the operating system releases it when the file is closed, also when the process dies.
#[derive(Debug)]
struct RealLock {
    _file: fs::File,
}

impl LockGuard for RealLock {}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
}

impl RealFile {
    /// Reserves by writing: the way for file systems without `fallocate`.
    fn allocate_with_zeros(&self, len: u64) -> io::Result<()> {
        let mut offset = self.file.metadata()?.len();
        while offset < len {
            let step = usize::try_from(len - offset).unwrap_or(ZEROS.len()).min(ZEROS.len());
            self.file.write_all_at(ZEROS.get(..step).unwrap_or(&ZEROS), offset)?;
            offset += step as u64;
        }
        Ok(())
    }
}

impl File for RealFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Err(rustix::io::Errno::OPNOTSUPP) => self.allocate_with_zeros(len),
            result => Ok(result?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temp() -> (tempfile::TempDir, RealVfs) {
        let dir = tempfile::tempdir().unwrap();
        let vfs = RealVfs::open(&dir.path().join("a/b")).unwrap();
        (dir, vfs)
    }

    #[test]
    fn files_are_written_and_read_by_offset() {
        let (_dir, vfs) = temp();
        let file = vfs.create(Path::new("f")).unwrap();
        file.allocate(100).unwrap();
        file.write_all_at(b"hello", 98).unwrap();
        file.sync_data().unwrap();
        vfs.sync_dir(Path::new("")).unwrap();
        assert_eq!(file.len().unwrap(), 103);
        let mut buf = [0; 5];
        vfs.open(Path::new("f")).unwrap().read_exact_at(&mut buf, 98).unwrap();
        assert_eq!(&buf, b"hello");
        let error = file.read_exact_at(&mut buf, 99).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        file.set_len(3).unwrap();
        assert!(!file.is_empty().unwrap());
        assert!(vfs.free_bytes().unwrap() > 0);
    }

    #[test]
    fn names_are_listed_renamed_and_removed() {
        let (_dir, vfs) = temp();
        vfs.create_dir_all(Path::new("d/e")).unwrap();
        for name in ["d/2", "d/1"] {
            vfs.create(Path::new(name)).unwrap();
        }
        assert_eq!(vfs.create(Path::new("d/1")).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        vfs.rename(Path::new("d/2"), Path::new("d/e/3")).unwrap();
        vfs.remove(Path::new("d/1")).unwrap();
        assert_eq!(vfs.list(Path::new("d")).unwrap(), ["e"]);
        assert!(vfs.exists(Path::new("d/e/3")).unwrap());
        assert!(!vfs.exists(Path::new("d/1")).unwrap());
    }

    #[test]
    fn paths_stay_inside_the_root() {
        let (_dir, vfs) = temp();
        for path in ["../x", "a/../../x", "/etc/passwd"] {
            assert_eq!(
                vfs.open(Path::new(path)).err().unwrap().kind(),
                io::ErrorKind::InvalidInput,
                "{path}"
            );
        }
    }

    #[test]
    fn a_lock_refuses_the_second_taker_until_released() {
        let (_dir, vfs) = temp();
        let guard = vfs.lock(Path::new("LOCK")).unwrap();
        let error = vfs.lock(Path::new("LOCK")).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().contains("held by another process"), "{error}");
        drop(guard);
        vfs.lock(Path::new("LOCK")).unwrap();
    }
}
