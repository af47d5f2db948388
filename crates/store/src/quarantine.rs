//! Keeps what could not be read: bytes go to `quarantine/`, each with a text file beside it that says why.
//!
//! Nothing that is damaged is deleted by the store itself; a human (or a later repair tool) decides.

use std::io;
use std::path::Path;
use std::sync::Arc;

use kenning_stdx::vfs::{File, Vfs};

use crate::dir::{QUARANTINE, replace_file};
use crate::frame_reader::Damage;

/// Bytes copied at a time.
const COPY_LEN: usize = 64 << 10;

/// Copies a damaged range of `source` to `quarantine/<name>-<offset>.bytes`. A range kept before is not kept again.
pub(crate) fn keep_range(
    vfs: &dyn Vfs,
    source: &Arc<dyn File>,
    name: &str,
    damage: &Damage,
) -> io::Result<()> {
    let name = format!("{name}-{:012}", damage.range.start);
    let reason_path = Path::new(QUARANTINE).join(format!("{name}.reason"));
    if vfs.exists(&reason_path)? {
        return Ok(());
    }
    prepare(vfs)?;
    let bytes_path = Path::new(QUARANTINE).join(format!("{name}.bytes"));
    replace_file(vfs, &bytes_path, |target| copy(&**source, target, damage))?;
    let reason = format!("bytes {}..{}: {}\n", damage.range.start, damage.range.end, damage.reason);
    replace_file(vfs, &reason_path, |file| file.write_all_at(reason.as_bytes(), 0))?;
    Ok(())
}

/// Moves a whole file to `quarantine/<name>`.
pub(crate) fn move_aside(vfs: &dyn Vfs, path: &Path, name: &str, reason: &str) -> io::Result<()> {
    prepare(vfs)?;
    let reason_path = Path::new(QUARANTINE).join(format!("{name}.reason"));
    replace_file(vfs, &reason_path, |file| file.write_all_at(format!("{reason}\n").as_bytes(), 0))?;
    vfs.rename(path, &Path::new(QUARANTINE).join(name))?;
    vfs.sync_dir(Path::new(QUARANTINE))?;
    vfs.sync_dir(path.parent().unwrap_or(Path::new("")))
}

fn prepare(vfs: &dyn Vfs) -> io::Result<()> {
    let folder = Path::new(QUARANTINE);
    if !vfs.exists(folder)? {
        vfs.create_dir_all(folder)?;
        vfs.sync_dir(Path::new(""))?;
    }
    Ok(())
}

fn copy(source: &dyn File, target: &dyn File, damage: &Damage) -> io::Result<()> {
    let (mut from, end) = (damage.range.start, damage.range.end);
    let mut buffer = vec![0; COPY_LEN];
    while from < end {
        let len = usize::try_from(end - from).unwrap_or(COPY_LEN).min(COPY_LEN);
        buffer.resize(len, 0);
        source.read_exact_at(&mut buffer, from)?;
        target.write_all_at(&buffer, from - damage.range.start)?;
        from += len as u64;
    }
    Ok(())
}
