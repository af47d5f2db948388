//! Files in memory and what programs and log rotation do to them.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{FileId, FileState, Watched, WatchedFile, path_matches};

/// Simulated files. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct SimWatched(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    names: BTreeMap<String, Node>,
    /// Numbers of files that nobody holds any more; given out again first, as many file systems do.
    free: Vec<u64>,
    last: u64,
    /// Each change is a nanosecond later than the one before.
    now: i64,
}

type Node = Arc<Mutex<Content>>;

#[derive(Debug, Default)]
struct Content {
    inode: u64,
    bytes: Vec<u8>,
    modified: i64,
    links: u64,
    is_forbidden: bool,
}

impl SimWatched {
    /// Takes away the permission to open a file, or gives it back.
    pub fn forbid(&self, path: &str, is_forbidden: bool) {
        let node = lock(&self.0).node(path);
        lock(&node).is_forbidden = is_forbidden;
    }

    /// Appends to a file, which comes to be when there is none.
    pub fn append(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let mut disk = lock(&self.0);
        let node = disk.node(path);
        disk.now += 1;
        let mut content = lock(&node);
        content.bytes.extend_from_slice(bytes.as_ref());
        content.modified = disk.now;
    }

    /// Renames a file, over another if there is one.
    pub fn rename(&self, from: &str, to: &str) {
        let mut disk = lock(&self.0);
        if let Some(node) = disk.names.remove(from) {
            disk.unlink(to);
            disk.names.insert(to.to_owned(), node);
        }
    }

    /// Copies a file's bytes into a new one.
    pub fn copy(&self, from: &str, to: &str) {
        let bytes = self.content(from);
        self.remove(to);
        self.append(to, bytes);
    }

    /// Cuts a file down.
    pub fn truncate(&self, path: &str, len: usize) {
        let mut disk = lock(&self.0);
        let node = disk.node(path);
        disk.now += 1;
        let mut content = lock(&node);
        content.bytes.truncate(len);
        content.modified = disk.now;
    }

    /// Removes a name.
    pub fn remove(&self, path: &str) {
        lock(&self.0).unlink(path);
    }

    /// The time by which files are stamped, in nanoseconds.
    #[must_use]
    pub fn now(&self) -> i64 {
        lock(&self.0).now
    }

    /// Lets time pass.
    pub fn pass(&self, nanos: i64) {
        lock(&self.0).now += nanos;
    }

    /// What a file holds; nothing when there is none.
    #[must_use]
    pub fn content(&self, path: &str) -> Vec<u8> {
        let disk = lock(&self.0);
        disk.names.get(path).map(|node| lock(node).bytes.clone()).unwrap_or_default()
    }
}

impl Disk {
    fn node(&mut self, path: &str) -> Node {
        if let Some(node) = self.names.get(path) {
            return Arc::clone(node);
        }
        let inode = self.free.pop().unwrap_or(self.last + 1);
        self.last = self.last.max(inode);
        let node = Arc::new(Mutex::new(Content { inode, links: 1, ..Content::default() }));
        self.names.insert(path.to_owned(), Arc::clone(&node));
        node
    }

    fn unlink(&mut self, path: &str) {
        let Some(node) = self.names.remove(path) else { return };
        let mut content = lock(&node);
        content.links = 0;
        if Arc::strong_count(&node) == 1 {
            self.free.push(content.inode);
        }
    }
}

impl Watched for SimWatched {
    fn find(&self, pattern: &str, max: usize) -> Vec<String> {
        let disk = lock(&self.0);
        disk.names.keys().filter(|path| path_matches(pattern, path)).take(max).cloned().collect()
    }

    fn state(&self, path: &str) -> io::Result<FileState> {
        let disk = lock(&self.0);
        let node = disk.names.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        Open(node).state()
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn WatchedFile>> {
        let disk = lock(&self.0);
        let node = disk.names.get(path).cloned().ok_or(io::ErrorKind::NotFound)?;
        if lock(&node).is_forbidden {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(Box::new(Open(node)))
    }
}

struct Open(Node);

impl WatchedFile for Open {
    fn state(&self) -> io::Result<FileState> {
        let content = lock(&self.0);
        Ok(FileState {
            id: FileId { device: 1, inode: content.inode },
            len: content.bytes.len() as u64,
            modified: content.modified,
            links: content.links,
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = lock(&self.0);
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(content.bytes.len());
        let rest = &content.bytes[from..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

// Every critical section leaves the state whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
