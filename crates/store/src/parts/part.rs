//! A part that the engine knows: written, opened, quarantined, and removed when its last reader is done.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kenning_model::{TenantId, TimeRange};
use kenning_stdx::vfs::{File, Vfs};

use super::columns::{TableReader, Written};
use super::name::PartName;
use super::pieces::{PIECE_LEN, Pieces};
use super::{PartError, PartTable};
use crate::delete::Hidden;
use crate::dir::{PARTS, replace_file};
use crate::quarantine;

/// What is known of a part without opening it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PartInfo {
    pub(crate) name: PartName,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// From the earliest to the latest row.
    pub(crate) time: TimeRange,
    /// How often its rows were merged.
    pub(crate) level: u8,
}

/// A part in use. Dropping the last reference to a part that was retired removes its file.
pub(crate) struct Part {
    pub(crate) info: PartInfo,
    vfs: Arc<dyn Vfs>,
    damage: Mutex<Option<String>>,
    hidden: Mutex<Hidden>,
    retired: AtomicBool,
}

impl Part {
    pub(crate) fn new(vfs: Arc<dyn Vfs>, info: PartInfo) -> Self {
        let (damage, hidden) = (Mutex::new(None), Mutex::default());
        Self { info, vfs, damage, hidden, retired: AtomicBool::new(false) }
    }

    /// What of its rows was deleted. Readers look at it when they open the part.
    pub(crate) fn hidden(&self) -> Hidden {
        self.hidden.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn change_hidden(&self, change: impl FnOnce(&Hidden) -> Hidden) {
        let mut hidden = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        *hidden = change(&hidden);
    }

    /// Opens the file; fails at once when the part is known to be damaged.
    pub(crate) fn open(&self) -> Result<TableReader, PartError> {
        match self.damage() {
            Some(reason) => Err(PartError::Damaged(reason)),
            None => Ok(TableReader::open(&*self.vfs, &self.info.name)?.hiding(self.hidden())),
        }
    }

    /// Why the part cannot be read, when that is known.
    pub(crate) fn damage(&self) -> Option<String> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Moves a damaged part aside. The manifest goes on naming it, so answers go on saying what they miss.
    pub(crate) fn quarantine(&self, reason: &str) {
        let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        if damage.is_some() {
            return;
        }
        *damage = Some(reason.to_owned());
        let path = self.info.name.path();
        let aside = self.info.name.to_file().replace('/', "_");
        // A disk that cannot move the file leaves it where it is; the part stays marked either way.
        if self.vfs.exists(&path).unwrap_or(false) {
            let _ = quarantine::move_aside(&*self.vfs, &path, &aside, reason);
        }
    }

    /// Has the file removed once nobody reads it. The manifest must have forgotten the part durably before.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// The sentence for an answer that misses this part.
    pub(crate) fn missing(&self, reason: &str) -> String {
        let PartInfo { name, rows, time, .. } = &self.info;
        format!(
            "part {} of {} ({rows} rows from {} to {}) could not be read: {reason}",
            name.id,
            name.table.as_str(),
            time.start,
            time.end
        )
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Acquire) {
            // What cannot be removed now is removed as an orphan at the next start.
            let _ = self.vfs.remove(&self.info.name.path());
        }
    }
}

/// What a table's writer made for one partition, before it has a name.
pub(crate) struct Draft {
    pub(crate) table: PartTable,
    pub(crate) written: Written,
    pub(crate) rows: u64,
    pub(crate) time: TimeRange,
}

/// Where a draft goes.
pub(crate) struct Place<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) id: u64,
    pub(crate) order: u64,
    pub(crate) level: u8,
}

/// Writes a draft as a file: aside, synced, renamed, directory synced. The manifest does not know it yet.
pub(crate) fn write_part(vfs: &Arc<dyn Vfs>, place: &Place<'_>, draft: Draft) -> io::Result<Part> {
    let Written { bytes, tail_len, tail_crc } = draft.written;
    let (tenant, table) = (place.tenant.clone(), draft.table);
    let name = PartName { tenant, table, order: place.order, id: place.id, tail_len, tail_crc };
    let parent = Path::new(PARTS).join(place.tenant.as_str());
    if !vfs.exists(&parent)? {
        vfs.create_dir_all(&parent)?;
    }
    // Synced every time: the attempt that created the folder may have died before its sync.
    vfs.sync_dir(Path::new(PARTS))?;
    replace_file(&**vfs, &name.path(), |file| write_pieces(file, &bytes))?;
    let info =
        PartInfo { name, rows: draft.rows, bytes: bytes.len() as u64, time: draft.time, level: place.level };
    Ok(Part::new(Arc::clone(vfs), info))
}

fn write_pieces(file: &dyn File, bytes: &Pieces) -> io::Result<()> {
    let offsets = (0u64..).step_by(PIECE_LEN);
    offsets.zip(bytes.iter()).try_for_each(|(offset, piece)| file.write_all_at(piece, offset))
}
