//! Files that users name in settings: read whole, found by pattern. The engine's own files are the [`crate::vfs`]'s.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::watched::{FileId, FileState, state_of};

/// Most files one pattern may find.
const FOUND_MAX: usize = 10_000;

/// Files by path. Blocking.
pub trait Files: Send + Sync {
    /// The whole file; an error when it holds more than `max` bytes.
    fn read(&self, path: &str, max: usize) -> io::Result<Vec<u8>>;
    /// Adds bytes at the end of a file, which is made when it is not there; an error when it would hold more than `max`
    /// bytes. Nothing is synced. Files that can only be read refuse it.
    fn append(&self, path: &str, bytes: &[u8], max: u64) -> io::Result<()> {
        let _ = (path, bytes, max);
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Looks at a regular file without reading it: another state is another content. Files that cannot tell refuse it.
    fn state(&self, path: &str) -> io::Result<FileState> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }
    /// True when a file is there.
    fn exists(&self, path: &str) -> bool;
    /// The paths that match `pattern`, sorted, at most 10 000. `*` and `?` match within a name, `[a-z]` one of a set, as
    /// in Go's `filepath.Glob`. A path without these is found when it exists.
    fn glob(&self, pattern: &str) -> Vec<String>;
}

/// The machine's files. Relative paths start at the process's working directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

impl Files for RealFiles {
    fn read(&self, path: &str, max: usize) -> io::Result<Vec<u8>> {
        let file = fs::File::open(path)?;
        // Buffers that grow by doubling would end up to twice as large as the file.
        let expected = file.metadata().map_or(0, |meta| meta.len()).min(max as u64);
        let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default() + 1);
        file.take((max as u64).saturating_add(1)).read_to_end(&mut bytes)?;
        checked(bytes, max)
    }

    fn append(&self, path: &str, bytes: &[u8], max: u64) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path)?;
        within(file.metadata()?.len(), bytes, max)?;
        file.write_all(bytes)
    }

    fn state(&self, path: &str) -> io::Result<FileState> {
        state_of(&fs::metadata(path)?)
    }

    fn exists(&self, path: &str) -> bool {
        Path::new(path).exists()
    }

    fn glob(&self, pattern: &str) -> Vec<String> {
        let rooted = pattern.starts_with('/');
        let mut found = vec![if rooted { "/".to_owned() } else { String::new() }];
        let parts: Vec<_> = pattern.split('/').filter(|part| !part.is_empty()).collect();
        for part in parts {
            found = found.iter().flat_map(|dir| step(dir, part)).take(FOUND_MAX).collect();
        }
        found.sort();
        found
    }
}

/// What `part` of a pattern finds in `dir`.
fn step(dir: &str, part: &str) -> Vec<String> {
    let join = |name: &str| match dir {
        "" => name.to_owned(),
        _ if dir.ends_with('/') => format!("{dir}{name}"),
        _ => format!("{dir}/{name}"),
    };
    if !part.contains(['*', '?', '[']) {
        let path = join(part);
        return if Path::new(&path).exists() { vec![path] } else { Vec::new() };
    }
    let listed = fs::read_dir(if dir.is_empty() { "." } else { dir });
    let Ok(entries) = listed else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| matches(part, name)).map(|name| join(&name)).collect()
}

/// Files in memory, for tests. Cloning is not possible; share it in an `Arc`.
#[derive(Debug, Default)]
pub struct MemFiles(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    files: BTreeMap<String, MemFile>,
    /// Of all files, so that one that was removed and put again is another.
    writes: u64,
}

#[derive(Debug, Default)]
struct MemFile {
    bytes: Vec<u8>,
    /// Which write was the last.
    written: u64,
}

impl MemFiles {
    /// Writes a file.
    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let mut memory = self.memory();
        memory.writes += 1;
        let file = MemFile { bytes: bytes.into(), written: memory.writes };
        memory.files.insert(path.to_owned(), file);
    }

    /// Removes a file.
    pub fn remove(&self, path: &str) {
        self.memory().files.remove(path);
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for MemFiles {
    fn read(&self, path: &str, max: usize) -> io::Result<Vec<u8>> {
        let found = self.memory().files.get(path).map(|file| file.bytes.clone());
        checked(found.ok_or(io::ErrorKind::NotFound)?, max)
    }

    fn append(&self, path: &str, bytes: &[u8], max: u64) -> io::Result<()> {
        let mut memory = self.memory();
        memory.writes += 1;
        let written = memory.writes;
        let file = memory.files.entry(path.to_owned()).or_default();
        within(file.bytes.len() as u64, bytes, max)?;
        file.bytes.extend_from_slice(bytes);
        file.written = written;
        Ok(())
    }

    fn state(&self, path: &str) -> io::Result<FileState> {
        let memory = self.memory();
        let file = memory.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        let id = FileId { device: 0, inode: file.written };
        Ok(FileState { id, len: file.bytes.len() as u64, modified: 0, links: 1 })
    }

    fn exists(&self, path: &str) -> bool {
        self.memory().files.contains_key(path)
    }

    fn glob(&self, pattern: &str) -> Vec<String> {
        let same_depth = |path: &str| path.split('/').count() == pattern.split('/').count();
        let parts_match = |path: &str| path.split('/').zip(pattern.split('/')).all(|(n, p)| matches(p, n));
        self.memory().files.keys().filter(|path| same_depth(path) && parts_match(path)).cloned().collect()
    }
}

fn within(len: u64, more: &[u8], max: u64) -> io::Result<()> {
    if len.saturating_add(more.len() as u64) > max {
        let problem = format!("holds {len} bytes and may hold {max}");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(())
}

fn checked(bytes: Vec<u8>, max: usize) -> io::Result<Vec<u8>> {
    if bytes.len() > max {
        let problem = format!("is larger than {max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(bytes)
}

/// True when a name matches one part of a pattern. Goes back to the last `*` only, so the work is bounded by the product
/// of the lengths.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if let Some(width) = one(&pattern[p.min(pattern.len())..], name[n]) {
            p += width;
            n += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (p, n) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p.min(pattern.len())..].iter().all(|c| *c == '*')
}

/// How much of the pattern stands for this character; `None` when it does not match.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '\\' => (pattern.get(1) == Some(&c)).then_some(2),
        '[' => {
            let end = pattern.iter().skip(2).position(|c| *c == ']')? + 2;
            let set = &pattern[1..end];
            let (negated, set) = match set.first() {
                Some('^') => (true, &set[1..]),
                _ => (false, set),
            };
            let mut at = 0;
            let mut inside = false;
            while at < set.len() {
                if set.get(at + 1) == Some(&'-') && at + 2 < set.len() {
                    inside |= (set[at]..=set[at + 2]).contains(&c);
                    at += 3;
                } else {
                    inside |= set[at] == c;
                    at += 1;
                }
            }
            (inside != negated).then_some(end + 1)
        }
        other => (*other == c).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expect) in [
            ("*.json", "a.json", true),
            ("*.json", "a.jsonx", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("?b", "éb", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("", "", true),
            ("a", "", false),
            ("a\\*", "a*", true),
            ("[a", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        }
    }

    #[test]
    fn real_and_simulated_files_are_found_alike() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        let memory = MemFiles::default();
        fs::create_dir(dir.path().join("sub")).unwrap();
        for name in ["a.yml", "b.yml", "c.json", "sub/d.yml"] {
            fs::write(dir.path().join(name), name).unwrap();
            memory.put(&format!("{root}/{name}"), name);
        }
        for pattern in ["*.yml", "a.yml", "no", "s*/*.yml", "[ab].yml"] {
            let pattern = format!("{root}/{pattern}");
            assert_eq!(RealFiles.glob(&pattern), memory.glob(&pattern), "{pattern}");
        }
        let path = format!("{root}/a.yml");
        assert_eq!(RealFiles.read(&path, 5).unwrap(), memory.read(&path, 5).unwrap());
        assert!(RealFiles.read(&path, 4).is_err() && memory.read(&path, 4).is_err());
        for files in [&RealFiles as &dyn Files, &memory] {
            let before = files.state(&path).unwrap();
            assert_eq!((before.len, files.state(&path).unwrap()), (5, before));
            files.append(&path, b"more", 100).unwrap();
            assert_ne!(files.state(&path).unwrap(), before);
            assert!(files.state(&format!("{root}/no")).is_err());
        }
    }
}
