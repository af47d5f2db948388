//! Files that other programs write: found by pattern, told apart by identity, read, never changed.
//!
//! A file is its [`FileId`], not its path: paths change hands when logs are rotated. Patterns match within a name as in
//! [`crate::files`]; besides, `**` stands for any number of directories and `{a,b}` for alternatives.
//! Absent: notification by the kernel (whoever watches looks again).

mod pattern;
pub mod sim;

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

pub use pattern::{expand, path_matches};

/// Deepest directory below a `**`.
const DEPTH_MAX: usize = 16;

/// Which file, as long as it exists; afterwards the system may give the number to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// The file system; may be another number after a restart of the machine.
    pub device: u64,
    /// The file within it.
    pub inode: u64,
}

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileState {
    /// Which file.
    pub id: FileId,
    /// Its length in bytes.
    pub len: u64,
    /// When it was last written, in nanoseconds since 1970, by the file system's clock.
    pub modified: i64,
    /// Its names; none when it was removed and is only held open.
    pub links: u64,
}

/// Looks at files. Blocking.
pub trait Watched: Send + Sync + 'static {
    /// The files (no directories, sockets, pipes) that a pattern finds, sorted, at most `max`; symbolic links are
    /// followed.
    fn find(&self, pattern: &str, max: usize) -> Vec<String>;
    /// Looks at the regular file at a path; symbolic links are followed.
    fn state(&self, path: &str) -> io::Result<FileState>;
    /// Opens a regular file for reading.
    fn open(&self, path: &str) -> io::Result<Box<dyn WatchedFile>>;
}

/// An open file: stays readable when it is renamed or removed.
pub trait WatchedFile: Send + Sync {
    /// Looks at the file.
    fn state(&self) -> io::Result<FileState>;
    /// Reads as much as there is at `offset`, up to the whole buffer.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// The machine's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealWatched;

impl Watched for RealWatched {
    fn find(&self, pattern: &str, max: usize) -> Vec<String> {
        let mut found: Vec<_> = expand(pattern).iter().flat_map(|pattern| find(pattern, max)).collect();
        found.sort();
        found.dedup();
        found.truncate(max);
        found
    }

    fn state(&self, path: &str) -> io::Result<FileState> {
        state_of(&fs::metadata(path)?)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn WatchedFile>> {
        // Looked at before it is opened: opening a pipe would wait for its other end.
        self.state(path)?;
        Ok(Box::new(RealFile(fs::File::open(path)?)))
    }
}

struct RealFile(fs::File);

impl WatchedFile for RealFile {
    fn state(&self) -> io::Result<FileState> {
        state_of(&self.0.metadata()?)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

pub(crate) fn state_of(meta: &fs::Metadata) -> io::Result<FileState> {
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no regular file"));
    }
    Ok(FileState {
        id: FileId { device: meta.dev(), inode: meta.ino() },
        len: meta.len(),
        modified: meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec()),
        links: meta.nlink(),
    })
}

/// Files of one pattern without alternatives.
fn find(pattern: &str, max: usize) -> Vec<String> {
    let mut dirs = vec![if pattern.starts_with('/') { "/".to_owned() } else { String::new() }];
    let parts: Vec<_> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    for (place, part) in parts.iter().enumerate() {
        let is_last = place + 1 == parts.len();
        let wanted = |path: &String| !is_last || Path::new(path).is_file();
        dirs = match *part {
            "**" => dirs.iter().flat_map(|dir| below(dir, max)).take(max).collect(),
            part => dirs.iter().flat_map(|dir| step(dir, part)).filter(wanted).take(max).collect(),
        };
    }
    dirs.retain(|path| Path::new(path).is_file());
    dirs
}

fn join(dir: &str, name: &str) -> String {
    match dir {
        "" => name.to_owned(),
        _ if dir.ends_with('/') => format!("{dir}{name}"),
        _ => format!("{dir}/{name}"),
    }
}

fn names_in(dir: &str) -> Vec<String> {
    let listed = fs::read_dir(if dir.is_empty() { "." } else { dir });
    let Ok(entries) = listed else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

fn step(dir: &str, part: &str) -> Vec<String> {
    if !part.contains(['*', '?', '[', '\\']) {
        let path = join(dir, part);
        return if Path::new(&path).exists() { vec![path] } else { Vec::new() };
    }
    let names = names_in(dir).into_iter();
    names.filter(|name| crate::files::matches(part, name)).map(|name| join(dir, &name)).collect()
}

/// `dir` and the directories below it. Links are not followed here, so there is no way round in circles.
fn below(dir: &str, max: usize) -> Vec<String> {
    let (mut found, mut level) = (vec![dir.to_owned()], vec![dir.to_owned()]);
    for _ in 0..DEPTH_MAX {
        let is_dir = |path: &String| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
        level = level
            .iter()
            .flat_map(|dir| names_in(dir).into_iter().map(|name| join(dir, &name)).collect::<Vec<_>>())
            .filter(is_dir)
            .take(max)
            .collect();
        if level.is_empty() || found.len() >= max {
            break;
        }
        found.extend(level.iter().cloned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::sim::SimWatched;
    use super::*;

    #[test]
    fn real_and_simulated_files_are_found_and_read_alike() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        let sim = SimWatched::default();
        for name in ["a.log", "b.log", "sub/c.log", "sub/deep/d.log", "e.txt"] {
            let path = format!("{root}/{name}");
            fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
            sim.append(&path, name);
        }
        for (pattern, count) in [
            ("*.log", 2),
            ("**/*.log", 4),
            ("sub/**", 0),
            ("sub/**/d.log", 1),
            ("{a,e}.{log,txt}", 2),
            ("no", 0),
        ] {
            let pattern = format!("{root}/{pattern}");
            let found = RealWatched.find(&pattern, 100);
            assert_eq!((found.len(), &found), (count, &sim.find(&pattern, 100)), "{pattern}");
        }
        let path = format!("{root}/a.log");
        let (real, simulated) = (RealWatched.open(&path).unwrap(), sim.open(&path).unwrap());
        fs::rename(&path, format!("{path}.1")).unwrap();
        sim.rename(&path, &format!("{path}.1"));
        for file in [&real, &simulated] {
            let mut buffer = [0; 9];
            assert_eq!(file.read_at(&mut buffer, 2).unwrap(), 3);
            assert_eq!(&buffer[..3], b"log");
            assert_eq!(file.state().unwrap().len, 5);
        }
        assert!(RealWatched.open(root).is_err() && RealWatched.state(&path).is_err());
        assert!(sim.state(&path).is_err());
    }
}
