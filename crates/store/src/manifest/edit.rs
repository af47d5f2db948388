//! Edits and their bytes.

use std::fmt;

use kenning_model::{Nanos, TenantId};

/// Identifies a part for the life of its data directory; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId(pub u64);

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the manifest knows of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartEntry {
    /// Its id.
    pub id: PartId,
    /// The table whose rows it holds.
    pub table: String,
    /// Whose rows they are.
    pub tenant: TenantId,
    /// Its path under `parts/`.
    pub file: String,
    /// Number of rows.
    pub rows: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// The earliest time of a row.
    pub min_time: Nanos,
    /// The latest time of a row.
    pub max_time: Nanos,
    /// How many merges its rows went through, at most.
    pub level: u8,
}

/// Rows that parts hold and nobody is to see any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TombstoneEntry {
    /// Its id; later ones are greater.
    pub id: u64,
    /// What is deleted, as `crate::delete` writes it.
    pub body: Vec<u8>,
    /// The parts it holds for. Data that came later is in none of them.
    pub parts: Vec<PartId>,
}

/// A change of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A part is there from now on.
    AddPart(PartEntry),
    /// A part is gone: merged, expired or given up.
    RemovePart {
        /// Its id.
        id: PartId,
    },
    /// Parts hold all records of the write-ahead log up to a sequence.
    Flushed {
        /// The sequence.
        through: u64,
    },
    /// Ids up to this one were given out, also of parts that are gone.
    PartIdsUsed {
        /// The highest id.
        through: u64,
    },
    /// Rows are deleted from now on.
    AddTombstone(TombstoneEntry),
    /// A tombstone has no part left that it holds for.
    RemoveTombstone {
        /// Its id.
        id: u64,
    },
}

const TAG_ADD: u8 = 1;
const TAG_REMOVE: u8 = 2;
const TAG_FLUSHED: u8 = 3;
const TAG_IDS_USED: u8 = 4;
const TAG_ADD_TOMBSTONE: u8 = 5;
const TAG_REMOVE_TOMBSTONE: u8 = 6;

/// The bytes of a transaction: edits one after the other, integers little-endian, texts with a 32-bit length.
pub(super) fn encode(edits: &[Edit]) -> Vec<u8> {
    let mut out = Vec::new();
    for edit in edits {
        match edit {
            Edit::AddPart(part) => encode_part(part, &mut out),
            Edit::RemovePart { id } => encode_number(TAG_REMOVE, id.0, &mut out),
            Edit::Flushed { through } => encode_number(TAG_FLUSHED, *through, &mut out),
            Edit::PartIdsUsed { through } => encode_number(TAG_IDS_USED, *through, &mut out),
            Edit::AddTombstone(tombstone) => encode_tombstone(tombstone, &mut out),
            Edit::RemoveTombstone { id } => encode_number(TAG_REMOVE_TOMBSTONE, *id, &mut out),
        }
    }
    out
}

fn encode_number(tag: u8, number: u64, out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(&number.to_le_bytes());
}

fn encode_part(part: &PartEntry, out: &mut Vec<u8>) {
    encode_number(TAG_ADD, part.id.0, out);
    for number in [part.rows, part.bytes, part.min_time.0 as u64, part.max_time.0 as u64] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.push(part.level);
    for text in [&part.table, part.tenant.as_str(), &part.file] {
        // A text over 4 GiB makes the transaction longer than any frame, which the caller refuses.
        out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
}

fn encode_tombstone(tombstone: &TombstoneEntry, out: &mut Vec<u8>) {
    encode_number(TAG_ADD_TOMBSTONE, tombstone.id, out);
    out.extend_from_slice(&u32::try_from(tombstone.body.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&tombstone.body);
    out.extend_from_slice(&(tombstone.parts.len() as u64).to_le_bytes());
    tombstone.parts.iter().for_each(|id| out.extend_from_slice(&id.0.to_le_bytes()));
}

/// Reads a transaction back; `None` when the bytes are not one.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Edit>> {
    let mut cursor = Cursor(bytes);
    let mut edits = Vec::new();
    while !cursor.0.is_empty() {
        edits.push(match cursor.u8()? {
            TAG_ADD => Edit::AddPart(cursor.part()?),
            TAG_REMOVE => Edit::RemovePart { id: PartId(cursor.u64()?) },
            TAG_FLUSHED => Edit::Flushed { through: cursor.u64()? },
            TAG_IDS_USED => Edit::PartIdsUsed { through: cursor.u64()? },
            TAG_ADD_TOMBSTONE => Edit::AddTombstone(cursor.tombstone()?),
            TAG_REMOVE_TOMBSTONE => Edit::RemoveTombstone { id: cursor.u64()? },
            _ => return None,
        });
    }
    Some(edits)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn u8(&mut self) -> Option<u8> {
        let (value, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*value)
    }

    fn u64(&mut self) -> Option<u64> {
        let (value, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*value))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn tombstone(&mut self) -> Option<TombstoneEntry> {
        let id = self.u64()?;
        let body = self.bytes()?.to_vec();
        let count = usize::try_from(self.u64()?).ok().filter(|count| *count <= self.0.len() / 8)?;
        let parts = (0..count).map(|_| self.u64().map(PartId)).collect::<Option<Vec<_>>>()?;
        Some(TombstoneEntry { id, body, parts })
    }

    fn part(&mut self) -> Option<PartEntry> {
        let id = PartId(self.u64()?);
        let (rows, bytes) = (self.u64()?, self.u64()?);
        let (min_time, max_time) = (Nanos(self.u64()? as i64), Nanos(self.u64()? as i64));
        let level = self.u8()?;
        let table = self.text()?.to_owned();
        let tenant = TenantId::parse(self.text()?).ok()?;
        let file = self.text()?.to_owned();
        Some(PartEntry { id, table, tenant, file, rows, bytes, min_time, max_time, level })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edits() -> impl Strategy<Value = Vec<Edit>> {
        let part = (any::<(u64, u64, u64, i64, i64, u8)>(), "[a-z]{0,9}", "[a-z]{1,9}", ".{0,20}");
        let part = part.prop_map(|((id, rows, bytes, min, max, level), table, tenant, file)| {
            let tenant = TenantId::parse(&tenant).unwrap();
            let (min_time, max_time) = (Nanos(min), Nanos(max));
            Edit::AddPart(PartEntry {
                id: PartId(id),
                table,
                tenant,
                file,
                rows,
                bytes,
                min_time,
                max_time,
                level,
            })
        });
        let other = (0..4, any::<u64>()).prop_map(|(which, number)| match which {
            0 => Edit::RemovePart { id: PartId(number) },
            1 => Edit::Flushed { through: number },
            2 => Edit::PartIdsUsed { through: number },
            _ => Edit::RemoveTombstone { id: number },
        });
        let tombstone = (any::<u64>(), any::<Vec<u8>>(), any::<Vec<u64>>()).prop_map(|(id, body, parts)| {
            Edit::AddTombstone(TombstoneEntry { id, body, parts: parts.into_iter().map(PartId).collect() })
        });
        prop::collection::vec(prop_oneof![part, other, tombstone], 0..8)
    }

    proptest! {
        #[test]
        fn edits_come_back(edits in edits()) {
            prop_assert_eq!(decode(&encode(&edits)), Some(edits));
        }

        #[test]
        fn any_bytes_decode_or_not(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(edits) = decode(&bytes) {
                prop_assert_eq!(encode(&edits), bytes);
            }
        }
    }
}
