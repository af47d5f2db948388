//! The name of a part says which it is and proves its footer.
//!
//! `parts/<tenant>/<table>-<order>-<id>-<tail length>-<tail crc32c>.parquet`, all numbers in hex. The tail is everything
//! after the row groups (indexes and footer); the footer in turn holds the checksums of everything before it. So a file
//! under a foreign name, a cut file and a swapped file are all noticed when opened.

use std::path::{Path, PathBuf};

use kenning_model::TenantId;

use super::PartTable;
use crate::dir::PARTS;

/// A part's file name in parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PartName {
    pub(crate) tenant: TenantId,
    pub(crate) table: PartTable,
    /// Where the part's rows stand in the order of arrival: a flush has its id, a merge the least of what it merged.
    pub(crate) order: u64,
    /// Unique in the data directory for ever.
    pub(crate) id: u64,
    pub(crate) tail_len: u32,
    pub(crate) tail_crc: u32,
}

const SUFFIX: &str = ".parquet";

impl PartName {
    /// The path under the data directory.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new(PARTS).join(self.to_file())
    }

    /// The path under `parts/`, as the manifest keeps it.
    pub(crate) fn to_file(&self) -> String {
        let Self { tenant, table, order, id, tail_len, tail_crc } = self;
        format!("{tenant}/{}-{order:016x}-{id:016x}-{tail_len:x}-{tail_crc:08x}{SUFFIX}", table.as_str())
    }

    /// Reads what [`Self::to_file`] wrote.
    pub(crate) fn parse(file: &str) -> Option<Self> {
        let (tenant, name) = file.split_once('/')?;
        let mut fields = name.strip_suffix(SUFFIX)?.split('-');
        let name = Self {
            tenant: TenantId::parse(tenant).ok()?,
            table: PartTable::parse(fields.next()?)?,
            order: u64::from_str_radix(fields.next()?, 16).ok()?,
            id: u64::from_str_radix(fields.next()?, 16).ok()?,
            tail_len: u32::from_str_radix(fields.next()?, 16).ok()?,
            tail_crc: u32::from_str_radix(fields.next()?, 16).ok()?,
        };
        fields.next().is_none().then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_others_are_refused() {
        let name = PartName {
            tenant: TenantId::parse("a-b.c").unwrap(),
            table: PartTable::Logs,
            order: 3,
            id: u64::MAX,
            tail_len: 500,
            tail_crc: 7,
        };
        assert_eq!(PartName::parse(&name.to_file()), Some(name));
        for bad in [
            "",
            "x",
            "a/logs-1-2-3.parquet",
            "a/logs-1-2-3-4-5.parquet",
            "a/what-1-2-3-4.parquet",
            "a/logs-1-2-3-4",
        ] {
            assert_eq!(PartName::parse(bad), None, "{bad}");
        }
    }
}
