//! Columns in and out of Parquet, without Arrow: the store's rows are few fixed shapes, and the low-level writers and
//! readers of the `parquet` crate serve them with a third of the code to compile.

use std::cell::OnceCell;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kenning_stdx::vfs::Vfs;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::reader::ColumnReader;
use parquet::data_type::{
    ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, Int32Type,
    Int64Type,
};
use parquet::file::metadata::{KeyValue, ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::properties::{
    EnabledStatistics, ReaderProperties, WriterProperties, WriterPropertiesBuilder,
};
use parquet::file::reader::{ChunkReader, FileReader, RowGroupReader};
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::blocks::{BLOCK_LEN, CheckedFile, SMALL_BLOCK_LEN, SUMS_KEY, sums_text};
use super::name::PartName;
use super::pages::{self, RawPage};
use super::pieces::Pieces;
use super::{PartError, damaged};
use crate::delete::Hidden;

/// Zstandard level of every column: higher levels were measured and are not worth their time.
const ZSTD_LEVEL: i32 = 1;
/// Rows of a page: small enough to skip to a series, large enough to pack well.
const PAGE_ROWS: usize = 20_000;
/// Largest dictionary of a column chunk before the writer falls back to another encoding.
const DICTIONARY_BYTES_MAX: usize = 4 << 20;
/// Bytes of text that bounds in the footer keep.
const BOUND_BYTES_MAX: usize = 64;
/// Share of absent trace ids that a bloom filter lets through.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// Where the version of a part's format stands in the footer.
const VERSION_KEY: &str = "kenning.part";
/// The version that this program writes, but for logs.
pub(crate) const VERSION: &str = "1";
/// The version of parts of logs: row groups follow each other in time, columns of texts may be phrases.
pub(crate) const VERSION_LOGS: &str = "5";
/// The version of parts of samples: a row per series.
pub(crate) const VERSION_SAMPLES: &str = "6";
/// All versions that this program reads.
const VERSIONS: [&str; 6] = [VERSION, "2", "3", "4", VERSION_LOGS, VERSION_SAMPLES];
/// Values that are written between two looks at the size of a page.
const PAGE_STEP: usize = 32;
/// Bytes of a page whose rows are counted; no page of lines reaches it.
const PAGE_BYTES_MAX: usize = 64 << 20;

/// How a table lies in a file.
pub(crate) struct Layout<'a> {
    /// The Parquet schema in its text form.
    pub(crate) schema: &'a str,
    /// Columns that are not dictionary encoded, and how they are.
    pub(crate) encodings: &'a [(&'a str, Encoding)],
    /// Columns whose bounds stand in the footer.
    pub(crate) bounded: &'a [&'a str],
    /// Columns that compression does not make smaller.
    pub(crate) plain: &'a [&'a str],
    /// Columns with a bloom filter, and the most values that it is sized for.
    pub(crate) blooms: &'a [(&'a str, usize)],
}

/// Values of a column that are there.
#[derive(Debug)]
pub(crate) enum Values {
    I32(Vec<i32>),
    I64(Vec<i64>),
    F64(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Fixed(Vec<FixedLenByteArray>),
}

/// A leaf column of one row group: values, and the levels that say where they belong (Dremel's definition and
/// repetition levels; empty for required columns).
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) values: Values,
    pub(crate) definition: Vec<i16>,
    pub(crate) repetition: Vec<i16>,
}

impl Values {
    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::I32(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::Bytes(values) => values.len(),
            Self::Fixed(values) => values.len(),
        }
    }
}

impl Column {
    pub(crate) fn required(values: Values) -> Self {
        Self { values, definition: Vec::new(), repetition: Vec::new() }
    }

    /// One value or none per row.
    pub(crate) fn optional<T>(
        rows: impl Iterator<Item = Option<T>>,
        values: impl Fn(Vec<T>) -> Values,
    ) -> Self {
        let (mut definition, mut there) = (Vec::new(), Vec::new());
        for row in rows {
            definition.push(i16::from(row.is_some()));
            there.extend(row);
        }
        Self { values: values(there), definition, repetition: Vec::new() }
    }

    /// Any number of values per row.
    pub(crate) fn repeated<T, R: IntoIterator<Item = T>>(
        rows: impl Iterator<Item = R>,
        values: impl Fn(Vec<T>) -> Values,
    ) -> Self {
        let (mut definition, mut repetition, mut there) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let before = there.len();
            there.extend(row);
            let count = there.len() - before;
            repetition.push(0);
            definition.push(i16::from(count > 0));
            for _ in 1..count {
                repetition.push(1);
                definition.push(1);
            }
        }
        Self { values: values(there), definition, repetition }
    }

    pub(crate) fn into_i32(self) -> Result<Vec<i32>, PartError> {
        match self.values {
            Values::I32(values) => Ok(values),
            _ => Err(damaged("a column is not of 32-bit integers")),
        }
    }

    pub(crate) fn into_i64(self) -> Result<Vec<i64>, PartError> {
        match self.values {
            Values::I64(values) => Ok(values),
            _ => Err(damaged("a column is not of 64-bit integers")),
        }
    }

    pub(crate) fn into_f64(self) -> Result<Vec<f64>, PartError> {
        match self.values {
            Values::F64(values) => Ok(values),
            _ => Err(damaged("a column is not of doubles")),
        }
    }

    pub(crate) fn into_bytes(self) -> Result<Vec<ByteArray>, PartError> {
        match self.values {
            Values::Bytes(values) => Ok(values),
            _ => Err(damaged("a column is not of byte strings")),
        }
    }

    pub(crate) fn into_fixed(self) -> Result<Vec<FixedLenByteArray>, PartError> {
        match self.values {
            Values::Fixed(values) => Ok(values),
            _ => Err(damaged("a column is not of fixed byte strings")),
        }
    }
}

/// Spreads the values of an optional column over its rows.
pub(crate) fn spread<T>(definition: &[i16], values: Vec<T>) -> Vec<Option<T>> {
    let mut values = values.into_iter();
    definition.iter().map(|level| if *level > 0 { values.next() } else { None }).collect()
}

/// Cuts the values of a repeated column into rows.
pub(crate) fn cut_rows<T>(definition: &[i16], repetition: &[i16], values: Vec<T>) -> Vec<Vec<T>> {
    let mut values = values.into_iter();
    let mut rows: Vec<Vec<T>> = Vec::new();
    for (defined, repeated) in definition.iter().zip(repetition) {
        if *repeated == 0 {
            rows.push(Vec::new());
        }
        if *defined > 0
            && let (Some(row), Some(value)) = (rows.last_mut(), values.next())
        {
            row.push(value);
        }
    }
    rows
}

/// Text or bytes as Parquet holds them.
pub(crate) fn bytes_of(bytes: &[u8]) -> ByteArray {
    ByteArray::from(bytes.to_vec())
}

/// The text of a byte string column.
pub(crate) fn text_of(bytes: &ByteArray) -> Result<&str, PartError> {
    std::str::from_utf8(bytes.data()).map_err(|_| damaged("a text is not UTF-8"))
}

/// What goes into one leaf column of a row group.
pub(crate) enum Leaf<'a> {
    /// All of it at once.
    Whole(Column),
    /// Whole rows after whole rows, each made when the one before is written.
    Pieces(Box<dyn Iterator<Item = Column> + 'a>),
}

/// A finished Parquet file in memory.
pub(crate) struct Written {
    pub(crate) bytes: Pieces,
    pub(crate) tail_len: u32,
    pub(crate) tail_crc: u32,
}

/// Writes row groups of one table.
pub(crate) struct TableWriter {
    writer: SerializedFileWriter<Pieces>,
    version: &'static str,
}

impl TableWriter {
    pub(crate) fn new(layout: &Layout<'_>) -> Result<Self, PartError> {
        Self::with_properties(layout, properties(layout)?.build(), VERSION)
    }

    /// A writer of a table whose pages have about so many bytes, in a version of the format of its own.
    pub(crate) fn with_page_bytes(
        layout: &Layout<'_>,
        page_bytes: usize,
        version: &'static str,
    ) -> Result<Self, PartError> {
        let properties =
            properties(layout)?.set_data_page_size_limit(page_bytes).set_write_batch_size(PAGE_STEP);
        Self::with_properties(layout, properties.build(), version)
    }

    /// A writer of a table whose pages have so many rows, in a version of the format of its own.
    pub(crate) fn with_pages(
        layout: &Layout<'_>,
        page_rows: usize,
        version: &'static str,
    ) -> Result<Self, PartError> {
        let properties = properties(layout)?
            .set_data_page_row_count_limit(page_rows)
            .set_data_page_size_limit(PAGE_BYTES_MAX);
        Self::with_properties(layout, properties.build(), version)
    }

    fn with_properties(
        layout: &Layout<'_>,
        properties: WriterProperties,
        version: &'static str,
    ) -> Result<Self, PartError> {
        let schema = Arc::new(parse_message_type(layout.schema)?);
        let writer = SerializedFileWriter::new(Pieces::default(), schema, Arc::new(properties))?;
        Ok(Self { writer, version })
    }

    /// Appends bytes that no Parquet reader looks at, behind the row groups; `key` in the footer says where they are.
    pub(crate) fn append(&mut self, key: &str, bytes: &[u8]) -> Result<(), PartError> {
        let start = self.writer.bytes_written();
        self.writer.write_all(bytes)?;
        let place = format!("{start} {}", bytes.len());
        self.writer.append_key_value_metadata(KeyValue::new(key.to_owned(), place));
        Ok(())
    }

    /// Writes one row group: every leaf column of the schema, in its order.
    pub(crate) fn write_group(&mut self, columns: &[Column]) -> Result<(), PartError> {
        let mut columns = columns.iter();
        self.write_each(|writer| write_column(writer, columns.next().ok_or_else(missing_column)?))
    }

    /// As [`Self::write_group`], asking for a column when the one before is written, so that they need not all be there
    /// at once.
    pub(crate) fn write_leaves<'a>(
        &mut self,
        leaves: impl IntoIterator<Item = Leaf<'a>>,
    ) -> Result<(), PartError> {
        let mut leaves = leaves.into_iter();
        self.write_each(|writer| match leaves.next().ok_or_else(missing_column)? {
            Leaf::Whole(column) => write_column(writer, &column),
            Leaf::Pieces(mut pieces) => pieces.try_for_each(|piece| write_column(writer, &piece)),
        })
    }

    fn write_each(
        &mut self,
        mut write: impl FnMut(&mut SerializedColumnWriter<'_>) -> Result<(), PartError>,
    ) -> Result<(), PartError> {
        let mut group = self.writer.next_row_group()?;
        while let Some(mut writer) = group.next_column()? {
            write(&mut writer)?;
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }

    /// Writes the footer.
    pub(crate) fn finish(mut self) -> Result<Written, PartError> {
        self.writer.flush()?;
        let data_len = self.writer.inner().len();
        let block_len = if self.version == VERSION_LOGS { SMALL_BLOCK_LEN } else { BLOCK_LEN };
        let sums: String = self.writer.inner().iter().map(|piece| sums_text(piece, block_len)).collect();
        self.writer.append_key_value_metadata(KeyValue::new(SUMS_KEY.to_owned(), sums));
        self.writer.append_key_value_metadata(KeyValue::new(VERSION_KEY.to_owned(), self.version.to_owned()));
        let bytes = self.writer.into_inner()?;
        let tail_len = bytes.len().saturating_sub(data_len);
        let tail_len = u32::try_from(tail_len).map_err(|_| damaged("the footer is over 4 GiB"))?;
        let tail_crc = bytes.iter_from(data_len).fold(0, crc32c::crc32c_append);
        Ok(Written { tail_len, tail_crc, bytes })
    }
}

fn missing_column() -> PartError {
    damaged("a column is missing")
}

fn properties(layout: &Layout<'_>) -> Result<WriterPropertiesBuilder, PartError> {
    let path = |name: &str| ColumnPath::new(name.split('.').map(str::to_owned).collect());
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_statistics_truncate_length(Some(BOUND_BYTES_MAX))
        .set_created_by(format!("kenning {}", env!("CARGO_PKG_VERSION")))
        // Row groups are cut by the tables' own writers, which know where a series ends.
        .set_max_row_group_row_count(None);
    for (name, encoding) in layout.encodings {
        builder = builder
            .set_column_dictionary_enabled(path(name), false)
            .set_column_encoding(path(name), *encoding);
    }
    for name in layout.plain {
        builder = builder.set_column_compression(path(name), Compression::UNCOMPRESSED);
    }
    for name in layout.bounded {
        builder = builder.set_column_statistics_enabled(path(name), EnabledStatistics::Chunk);
    }
    for (name, values) in layout.blooms {
        builder = builder
            .set_column_bloom_filter_enabled(path(name), true)
            .set_column_bloom_filter_max_ndv(path(name), *values as u64)
            .set_column_bloom_filter_fpp(path(name), BLOOM_FALSE_POSITIVES);
    }
    Ok(builder)
}

fn write_column(writer: &mut SerializedColumnWriter<'_>, column: &Column) -> Result<(), PartError> {
    let definition = (!column.definition.is_empty()).then_some(column.definition.as_slice());
    let repetition = (!column.repetition.is_empty()).then_some(column.repetition.as_slice());
    match &column.values {
        Values::I32(values) => writer.typed::<Int32Type>().write_batch(values, definition, repetition)?,
        Values::I64(values) => writer.typed::<Int64Type>().write_batch(values, definition, repetition)?,
        Values::F64(values) => writer.typed::<DoubleType>().write_batch(values, definition, repetition)?,
        Values::Bytes(values) => {
            writer.typed::<ByteArrayType>().write_batch(values, definition, repetition)?
        }
        Values::Fixed(values) => {
            writer.typed::<FixedLenByteArrayType>().write_batch(values, definition, repetition)?
        }
    };
    Ok(())
}

/// Reads row groups of one part.
pub(crate) struct TableReader {
    file: CheckedFile,
    reader: SerializedFileReader<CheckedFile>,
    hidden: Hidden,
}

impl TableReader {
    /// Opens a part: its tail is read and verified, its data blocks as they are needed.
    pub(crate) fn open(vfs: &dyn Vfs, name: &PartName) -> Result<Self, PartError> {
        Self::open_at(vfs, &name.path(), name)
    }

    fn open_at(vfs: &dyn Vfs, path: &Path, name: &PartName) -> Result<Self, PartError> {
        let file = CheckedFile::open(vfs.open(path)?, name.tail_len, name.tail_crc)
            .map_err(|error| PartError::from(parquet::errors::ParquetError::External(Box::new(error))))?;
        let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
        let options = ReadOptionsBuilder::new().with_page_index().with_reader_properties(properties).build();
        let reader = SerializedFileReader::new_with_options(file.clone(), options)?;
        let pairs = reader.metadata().file_metadata().key_value_metadata();
        let value_of = |key: &str| {
            let pair = pairs.into_iter().flatten().find(|pair| pair.key == key);
            pair.and_then(|pair| pair.value.as_deref())
        };
        let version = value_of(VERSION_KEY).unwrap_or("none");
        if !VERSIONS.contains(&version) {
            // Not damage: the program that wrote it reads it, so it stays where it is.
            let reason = format!("it has format {version}, this program knows {}", VERSIONS.join(", "));
            return Err(PartError::Io(std::io::Error::new(std::io::ErrorKind::Unsupported, reason)));
        }
        let sums = value_of(SUMS_KEY).ok_or_else(|| damaged("the checksums are missing"))?;
        file.set_sums(sums).map_err(|error| PartError::Damaged(error.to_string()))?;
        Ok(Self { file, reader, hidden: Hidden::default() })
    }

    /// The same without deleted rows.
    pub(crate) fn hiding(self, hidden: Hidden) -> Self {
        Self { hidden, ..self }
    }

    /// The bytes that [`TableWriter::append`] put under a key.
    pub(crate) fn appended(&self, key: &str) -> Result<Option<bytes::Bytes>, PartError> {
        let pairs = self.reader.metadata().file_metadata().key_value_metadata();
        let Some(pair) = pairs.into_iter().flatten().find(|pair| pair.key == key) else { return Ok(None) };
        let place = pair.value.as_deref().and_then(|text| text.split_once(' '));
        let place = place.and_then(|(start, len)| Some((start.parse().ok()?, len.parse().ok()?)));
        let (start, len) = place.ok_or_else(|| damaged("the place of an index is no place"))?;
        Ok(Some(self.file.get_bytes(start, len)?))
    }

    /// Number of row groups.
    pub(crate) fn groups(&self) -> usize {
        self.reader.num_row_groups()
    }

    /// Bytes read from disk so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.file.bytes_read()
    }

    /// One row group, without rows that were deleted since the part was opened.
    pub(crate) fn group_hiding<'a>(
        &'a self,
        index: usize,
        hidden: &'a Hidden,
    ) -> Result<GroupReader<'a>, PartError> {
        self.group_with(index, hidden)
    }

    fn group_with<'a>(&'a self, index: usize, hidden: &'a Hidden) -> Result<GroupReader<'a>, PartError> {
        let whole = self.reader.metadata();
        let group = whole.row_groups().get(index).ok_or_else(|| damaged("a row group is missing"))?;
        let rest = OnceCell::new();
        Ok(GroupReader { reader: &self.reader, rest, group, hidden, file: &self.file, whole, index })
    }

    /// Bytes of blocks that are kept for the next read.
    pub(crate) fn recent_bytes(&self) -> usize {
        self.file.recent_bytes()
    }

    /// One row group.
    pub(crate) fn group(&self, index: usize) -> Result<GroupReader<'_>, PartError> {
        self.group_with(index, &self.hidden)
    }
}

/// Reads columns of one row group.
pub(crate) struct GroupReader<'a> {
    reader: &'a SerializedFileReader<CheckedFile>,
    /// The library's reader of the group, which reads filters of all columns when it is made: few ask for it.
    rest: OnceCell<Box<dyn RowGroupReader + 'a>>,
    group: &'a RowGroupMetaData,
    hidden: &'a Hidden,
    file: &'a CheckedFile,
    whole: &'a ParquetMetaData,
    index: usize,
}

impl<'a> GroupReader<'a> {
    /// The library's reader.
    fn rest(&self) -> Result<&(dyn RowGroupReader + 'a), PartError> {
        if let Some(reader) = self.rest.get() {
            return Ok(&**reader);
        }
        let reader = self.reader.get_row_group(self.index)?;
        Ok(&**self.rest.get_or_init(|| reader))
    }

    /// Which rows were deleted. Those who make rows of columns take them out.
    pub(crate) fn hidden(&self) -> &Hidden {
        self.hidden
    }

    /// Rows of the group.
    pub(crate) fn rows(&self) -> usize {
        usize::try_from(self.metadata().num_rows()).unwrap_or(0)
    }

    fn metadata(&self) -> &RowGroupMetaData {
        self.group
    }

    /// Bytes of the group's columns when decompressed, for memory accounting.
    pub(crate) fn decompressed_bytes(&self) -> usize {
        usize::try_from(self.metadata().total_byte_size()).unwrap_or(usize::MAX)
    }

    /// Least and greatest value of an integer column, when the footer holds them.
    pub(crate) fn bounds(&self, column: usize) -> Option<(i64, i64)> {
        match self.metadata().columns().get(column)?.statistics()? {
            Statistics::Int64(bounds) => Some((*bounds.min_opt()?, *bounds.max_opt()?)),
            Statistics::Int32(bounds) => Some((i64::from(*bounds.min_opt()?), i64::from(*bounds.max_opt()?))),
            _ => None,
        }
    }

    /// False when a fixed byte string is certainly not in a column.
    pub(crate) fn may_contain(&self, column: usize, value: &[u8]) -> bool {
        let bounds = self.metadata().columns().get(column).and_then(|column| column.statistics());
        if let Some(Statistics::FixedLenByteArray(bounds)) = bounds
            && let (Some(min), Some(max)) = (bounds.min_bytes_opt(), bounds.max_bytes_opt())
            && (value < min || value > max)
        {
            return false;
        }
        // The filter of an absent column index would be an out-of-range access inside the reader.
        let Some(rest) = self.rest().ok().filter(|_| self.has_column(column)) else { return true };
        let wanted = FixedLenByteArray::from(value.to_vec());
        rest.get_column_bloom_filter(column).is_none_or(|filter| filter.check(&wanted))
    }

    /// A whole column.
    pub(crate) fn column(&self, index: usize) -> Result<Column, PartError> {
        self.column_rows(index, std::slice::from_ref(&(0..self.rows())))
    }

    /// A page of a column as it is, if it begins at row `first_row` and its form is known ([`pages`]).
    pub(crate) fn raw_page(
        &self,
        leaf: usize,
        page: usize,
        first_row: usize,
    ) -> Result<Option<RawPage>, PartError> {
        pages::data_page(self.file, self.whole, self.index, leaf, page, first_row)
    }

    /// One value of `len` bytes out of a page that holds them as they are; see [`pages::plain_value`].
    pub(crate) fn plain_value(
        &self,
        leaf: usize,
        page: usize,
        rows: Range<usize>,
        row: usize,
        len: usize,
    ) -> Result<Option<Bytes>, PartError> {
        pages::plain_value(self.file, self.whole, (self.index, leaf, page), rows, row, len)
    }

    /// True when the pages of a column can be read one by one with [`Self::page_of_row`].
    pub(crate) fn has_known_pages(&self, leaf: usize) -> bool {
        pages::places(self.whole, self.index, leaf).is_some()
    }

    /// The page of a column that holds a row, and its rows.
    pub(crate) fn page_of_row(&self, leaf: usize, row: usize) -> Result<(Range<usize>, RawPage), PartError> {
        let short = || damaged("a column has fewer rows than its row group");
        let places = pages::places(self.whole, self.index, leaf).ok_or_else(short)?;
        let first_row = |place: &PageLocation| usize::try_from(place.first_row_index).unwrap_or(usize::MAX);
        let behind = places.partition_point(|place| first_row(place) <= row);
        let page = behind.checked_sub(1).ok_or_else(short)?;
        let start = places.get(page).map(first_row).ok_or_else(short)?;
        let rows = start..places.get(behind).map_or(self.rows(), first_row);
        let found = self.raw_page(leaf, page, start)?.filter(|found| found.values == rows.len());
        let found = found.filter(|_| rows.contains(&row));
        Ok((rows, found.ok_or_else(|| damaged("a page is not what the index of pages says"))?))
    }

    /// The dictionary of a column as it is, if its form is known.
    pub(crate) fn raw_dictionary(&self, leaf: usize) -> Result<Option<RawPage>, PartError> {
        pages::dictionary_page(self.file, self.whole, self.index, leaf)
    }

    /// True when rows of a column may be without a value.
    pub(crate) fn is_optional(&self, index: usize) -> bool {
        let column = self.metadata().columns().get(index);
        column.is_some_and(|column| column.column_descr().max_def_level() > 0)
    }

    /// True when all pages of a column are known to be in one encoding.
    pub(crate) fn is_all_encoded(&self, index: usize, encoding: Encoding) -> bool {
        let mask = self.metadata().columns().get(index).and_then(|column| column.page_encoding_stats_mask());
        mask.is_some_and(|mask| mask.is_only(encoding))
    }

    /// True when a column is there and has this name.
    pub(crate) fn is_named(&self, index: usize, name: &str) -> bool {
        let column = self.metadata().columns().get(index);
        column.is_some_and(|column| column.column_descr().name() == name)
    }

    /// True when the file has so many columns that this is one.
    pub(crate) fn has_column(&self, index: usize) -> bool {
        index < self.metadata().num_columns()
    }

    /// True when a column has a dictionary.
    pub(crate) fn has_dictionary(&self, index: usize) -> bool {
        let column = self.metadata().columns().get(index);
        column.is_some_and(|column| column.dictionary_page_offset().is_some())
    }

    /// True when a column has a dictionary and all of its pages refer to it.
    pub(crate) fn is_all_dictionary(&self, index: usize) -> bool {
        let mask = self.metadata().columns().get(index).and_then(|column| column.page_encoding_stats_mask());
        let is_only = mask.is_some_and(|mask| {
            mask.is_only(Encoding::RLE_DICTIONARY) || mask.is_only(Encoding::PLAIN_DICTIONARY)
        });
        is_only && self.has_dictionary(index)
    }

    /// The rows of a column in these ranges, ascending and apart.
    pub(crate) fn column_rows(&self, index: usize, ranges: &[Range<usize>]) -> Result<Column, PartError> {
        if !self.has_column(index) {
            return Err(damaged("a column is missing"));
        }
        Ok(match self.rest()?.get_column_reader(index)? {
            ColumnReader::Int32ColumnReader(reader) => read_rows::<Int32Type>(reader, ranges, Values::I32)?,
            ColumnReader::Int64ColumnReader(reader) => read_rows::<Int64Type>(reader, ranges, Values::I64)?,
            ColumnReader::DoubleColumnReader(reader) => read_rows::<DoubleType>(reader, ranges, Values::F64)?,
            ColumnReader::ByteArrayColumnReader(reader) => {
                read_rows::<ByteArrayType>(reader, ranges, Values::Bytes)?
            }
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                read_rows::<FixedLenByteArrayType>(reader, ranges, Values::Fixed)?
            }
            _ => return Err(damaged("a column has an unexpected type")),
        })
    }
}

fn read_rows<T: DataType>(
    mut reader: parquet::column::reader::ColumnReaderImpl<T>,
    ranges: &[Range<usize>],
    values: impl Fn(Vec<T::T>) -> Values,
) -> Result<Column, PartError> {
    let (mut read, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 0;
    for range in ranges {
        reader.skip_records(range.start.saturating_sub(at))?;
        let mut left = range.len();
        while left > 0 {
            let (records, ..) =
                reader.read_records(left, Some(&mut definition), Some(&mut repetition), &mut read)?;
            if records == 0 {
                return Err(damaged("a column has fewer rows than its row group"));
            }
            left -= records;
        }
        at = range.end;
    }
    Ok(Column { values: values(read), definition, repetition })
}
