//! Snapshots: a consistent copy of the data directory, made while everything goes on.
//!
//! ```text
//! snapshots/<name>/parts/<tenant>/...   hard links (copies where the file system has no links)
//! snapshots/<name>/manifest             names exactly these parts
//! snapshots/<name>/FORMAT               written last: without it the directory is refused as incomplete
//! ```
//!
//! Restoring is starting a server with that directory, or with a copy of it, as its data directory. Heads are flushed
//! first, so a snapshot needs no log: it holds every group acknowledged before the call and, of what is written
//! meanwhile, a prefix in the order of writing. Flush, merge and retention wait while links are made; writers and scans
//! do not, unless heads fill up.
//!
//! Lacking: removal (delete the directory), increments, copies to another file system.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use kenning_model::SnapshotError;
use kenning_stdx::vfs::Vfs;

use crate::dir::{PARTS, WAL, replace_file, write_format};
use crate::engine::{Engine, lock};
use crate::manifest;

/// Folder of the snapshots.
pub const SNAPSHOTS: &str = "snapshots";
/// Longest name of a snapshot.
const NAME_LEN_MAX: usize = 100;
/// Bytes copied at a time where files cannot be linked.
const COPY_LEN: usize = 1 << 20;

impl Engine {
    /// See [`kenning_model::Store::snapshot`].
    pub(crate) fn take_snapshot(&self, name: &str, recent: bool) -> Result<(), SnapshotError> {
        check_name(name)?;
        if recent {
            self.catch_up().map_err(failed("reading recent data back"))?;
        }
        let mut gate = lock(&self.gate);
        let vfs = &**self.vfs();
        let root = Path::new(SNAPSHOTS).join(name);
        if vfs.exists(&root.join(crate::dir::FORMAT)).map_err(failed("looking for it"))? {
            return Err(SnapshotError::Refused {
                detail: format!("there is a snapshot named \"{name}\" already"),
            });
        }
        if recent {
            self.flush_gated(&mut gate).map_err(failed("flushing recent data"))?;
        }
        let files = gate.manifest.state().parts.values().map(|entry| entry.file.clone()).collect();
        link_parts(vfs, &root, &files).map_err(failed("linking parts"))?;
        gate.manifest.write_copy(&root.join(manifest::FILE_NAME)).map_err(failed("writing its manifest"))?;
        write_format(vfs, &root).map_err(failed("writing FORMAT"))
    }
}

fn failed<E: fmt::Display>(doing: &'static str) -> impl Fn(E) -> SnapshotError {
    move |error| SnapshotError::Unavailable { detail: format!("{doing}: {error}") }
}

fn check_name(name: &str) -> Result<(), SnapshotError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=NAME_LEN_MAX).contains(&name.len()) && name.bytes().all(allowed) && !name.starts_with('.') {
        return Ok(());
    }
    let detail = format!("a name has 1 to {NAME_LEN_MAX} letters, digits, '-', '_' and '.', not first a '.'");
    Err(SnapshotError::Refused { detail })
}

/// Brings the parts' files under `root`, names included, durably.
fn link_parts(vfs: &dyn Vfs, root: &Path, files: &BTreeSet<String>) -> io::Result<()> {
    let parts = root.join(PARTS);
    let folder_of = |file: &String| parts.join(file).parent().map(Path::to_owned);
    let tenants: BTreeSet<PathBuf> = files.iter().filter_map(folder_of).collect();
    for folder in tenants.iter().chain([&parts, &root.join(WAL)]) {
        vfs.create_dir_all(folder)?;
    }
    for file in files {
        match link(vfs, &Path::new(PARTS).join(file), &parts.join(file)) {
            // A damaged part was set aside; the copy misses it and says so, as the original does.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
    let above = [parts.as_path(), root, Path::new(SNAPSHOTS), Path::new("")];
    tenants.iter().map(PathBuf::as_path).chain(above).try_for_each(|folder| vfs.sync_dir(folder))
}

fn link(vfs: &dyn Vfs, from: &Path, to: &Path) -> io::Result<()> {
    // Left by an attempt that died. Parts never change, but it may be half a copy.
    if vfs.exists(to)? {
        vfs.remove(to)?;
    }
    match vfs.hard_link(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => copy(vfs, from, to),
        done => done,
    }
}

fn copy(vfs: &dyn Vfs, from: &Path, to: &Path) -> io::Result<()> {
    let source = vfs.open(from)?;
    let len = source.len()?;
    replace_file(vfs, to, |target| {
        let mut buffer = vec![0; COPY_LEN];
        let mut offset = 0;
        while offset < len {
            let step = usize::try_from(len - offset).unwrap_or(COPY_LEN).min(COPY_LEN);
            let piece = buffer.get_mut(..step).unwrap_or_default();
            source.read_exact_at(piece, offset)?;
            target.write_all_at(piece, offset)?;
            offset += step as u64;
        }
        Ok(())
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_names() {
        let check = |name: &str, expect| assert_eq!(check_name(name).is_ok(), expect, "{name}");
        check("20261121T131722Z-2be650b6d019eb54", true);
        check("a.b_c", true);
        check("", false);
        check("..", false);
        check("a/b", false);
        check(&"x".repeat(101), false);
    }
}
