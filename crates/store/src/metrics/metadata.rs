//! Metadata of metrics: small, timeless, and rewritten whole into one part per tenant when something new is learned.

use std::collections::BTreeSet;

use kenning_model::{LabelSet, METRIC_NAME, MetricKind, MetricMetadata, TimeRange};

use crate::parts::columns::{Column, Layout, TableReader, TableWriter, Values, bytes_of, text_of};
use crate::parts::part::Draft;
use crate::parts::{PartError, PartTable, damaged};

pub(crate) const LAYOUT: Layout = Layout {
    schema: "message metadata {
        required binary metric (STRING);
        required int32 kind;
        required binary help (STRING);
        required binary unit (STRING);
    }",
    encodings: &[],
    plain: &[],
    bounded: &[],
    blooms: &[],
};

/// Metadata in the order they are listed: metric, kind, help, unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MetadataKey(String, MetricKind, String, String);

impl MetadataKey {
    pub(crate) fn of(metadata: &MetricMetadata) -> Self {
        let MetricMetadata { metric, kind, help, unit } = metadata.clone();
        Self(metric, kind, help, unit)
    }

    pub(crate) fn to_metadata(&self) -> MetricMetadata {
        let Self(metric, kind, help, unit) = self.clone();
        MetricMetadata { metric, kind, help, unit }
    }

    /// What filters look at.
    pub(crate) fn labels(&self) -> LabelSet {
        LabelSet::from_pairs([(METRIC_NAME, &self.0)])
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.0.len() + self.2.len() + self.3.len()
    }
}

/// Writes all metadata of a tenant.
pub(crate) fn write(metadata: &BTreeSet<MetadataKey>) -> Result<Draft, PartError> {
    let mut table = TableWriter::new(&LAYOUT)?;
    let texts = |of: fn(&MetadataKey) -> &String| {
        Column::required(Values::Bytes(metadata.iter().map(|key| bytes_of(of(key).as_bytes())).collect()))
    };
    table.write_group(&[
        texts(|key| &key.0),
        Column::required(Values::I32(metadata.iter().map(|key| key.1 as i32).collect())),
        texts(|key| &key.2),
        texts(|key| &key.3),
    ])?;
    let (written, rows) = (table.finish()?, metadata.len() as u64);
    Ok(Draft { table: PartTable::Metadata, written, rows, time: TimeRange::ALL })
}

/// Reads all metadata of a part.
pub(crate) fn read(reader: &TableReader) -> Result<BTreeSet<MetadataKey>, PartError> {
    let mut all = BTreeSet::new();
    for index in 0..reader.groups() {
        let group = reader.group(index)?;
        let metrics = group.column(0)?.into_bytes()?;
        let kinds = group.column(1)?.into_i32()?;
        let helps = group.column(2)?.into_bytes()?;
        let units = group.column(3)?.into_bytes()?;
        for (((metric, kind), help), unit) in metrics.iter().zip(kinds).zip(&helps).zip(&units) {
            let kind = usize::try_from(kind).ok().and_then(|kind| MetricKind::ALL.get(kind));
            let kind = *kind.ok_or_else(|| damaged("metadata have an unknown kind"))?;
            let text = |bytes| Ok::<_, PartError>(text_of(bytes)?.to_owned());
            all.insert(MetadataKey(text(metric)?, kind, text(help)?, text(unit)?));
        }
    }
    Ok(all)
}
