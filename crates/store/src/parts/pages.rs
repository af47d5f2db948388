//! Pages of Parquet columns as they lie in the file: found by the offset index, one read and one decompression each.
//!
//! The `parquet` crate's own reader walks a column from its start and makes a decompressor for each column; who wants a
//! few rows of many columns spends most of the time on that. Only what this program's writers make is understood here
//! (data pages of version 1, Zstandard or nothing); for the rest callers have the crate's reader.

use std::cell::RefCell;
use std::ops::Range;

use bytes::Bytes;
use kenning_codec::bytes::Decoder;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::ChunkReader;

use super::blocks::CheckedFile;
use super::{PartError, damaged};

/// Most bytes of a page; the writers stay far below.
const PAGE_BYTES_MAX: usize = 128 << 20;
/// Deepest nesting in a page's header.
const HEADER_DEPTH_MAX: usize = 8;

/// One page, decompressed.
pub(crate) struct RawPage {
    pub(crate) bytes: Bytes,
    /// Values it holds, absent ones included.
    pub(crate) values: usize,
    pub(crate) encoding: Encoding,
}

/// What a page's header says.
#[derive(Debug, Default, PartialEq)]
struct Header {
    kind: i64,
    uncompressed: usize,
    compressed: usize,
    values: usize,
    encoding: i64,
}

const DATA_PAGE: i64 = 0;
const DICTIONARY_PAGE: i64 = 2;

/// A data page of a column, by its number. `None` when the page does not begin at row `first_row`, or is of a form that
/// is not understood here.
pub(crate) fn data_page(
    file: &CheckedFile,
    metadata: &ParquetMetaData,
    group: usize,
    leaf: usize,
    page: usize,
    first_row: usize,
) -> Result<Option<RawPage>, PartError> {
    let (Some(index), Some(column)) = (metadata.page_index(), column_of(metadata, group, leaf)) else {
        return Ok(None);
    };
    let place = index.page_locations(group, leaf).and_then(|places| places.get(page));
    let Some(place) = place.filter(|place| usize::try_from(place.first_row_index) == Ok(first_row)) else {
        return Ok(None);
    };
    let (Ok(start), Ok(len)) = (u64::try_from(place.offset), usize::try_from(place.compressed_page_size))
    else {
        return Err(damaged("a page has no place"));
    };
    read(&file.get_bytes(start, len)?, column, DATA_PAGE)
}

/// Most bytes of a page's header and of the levels of a column without gaps.
const HEADER_BYTES_MAX: usize = 256;

/// One value of `len` bytes out of a page that is not compressed and in which every row has one: only its bytes are read.
/// `None` for other pages. `row` is one of the page's `rows`; `place` are the row group, the column and the page.
pub(crate) fn plain_value(
    file: &CheckedFile,
    metadata: &ParquetMetaData,
    place: (usize, usize, usize),
    rows: Range<usize>,
    row: usize,
    len: usize,
) -> Result<Option<Bytes>, PartError> {
    let (group, leaf, page) = place;
    let known = column_of(metadata, group, leaf)
        .filter(|column| column.compression() == Compression::UNCOMPRESSED && !column_has_dictionary(column));
    let place =
        known.and(metadata.page_index()).and_then(|index| index.page_locations(group, leaf)?.get(page));
    let place = place.filter(|place| usize::try_from(place.first_row_index) == Ok(rows.start));
    let sizes = place.map(|place| (u64::try_from(place.offset), usize::try_from(place.compressed_page_size)));
    let Some((Ok(start), Ok(page_len))) = sizes else { return Ok(None) };
    let head = file.get_bytes(start, page_len.min(HEADER_BYTES_MAX))?;
    let mut decoder = Decoder::new(&head);
    let header = read_header(&mut decoder).ok_or_else(|| damaged("the header of a page is malformed"))?;
    let is_plain = header.kind == DATA_PAGE && header.encoding == 0 && header.values == rows.len();
    let body = head.get(head.len() - decoder.remaining()..).unwrap_or_default();
    let Some(values) = levels_of_all(body, rows.len()).filter(|_| is_plain) else { return Ok(None) };
    let before = head.len() - body.len() + values;
    let at = row.checked_sub(rows.start).and_then(|row| row.checked_mul(len)).map(|at| before + at);
    match at.filter(|at| row < rows.end && at.saturating_add(len) <= page_len) {
        Some(at) => Ok(Some(file.get_bytes(start + at as u64, len)?)),
        None => Err(damaged("a page is shorter than its values")),
    }
}

fn column_has_dictionary(column: &ColumnChunkMetaData) -> bool {
    column.dictionary_page_offset().is_some()
}

/// Bytes of the levels of an optional column, when they say that each of so many rows has a value.
fn levels_of_all(body: &[u8], rows: usize) -> Option<usize> {
    let (len, rest) = body.split_first_chunk::<4>()?;
    let len = u32::from_le_bytes(*len) as usize;
    let mut levels = Decoder::new(rest.get(..len)?);
    let run = levels.varint()?;
    let is_all = run & 1 == 0 && run >> 1 >= rows as u64 && levels.byte()? == 1;
    is_all.then_some(len + 4)
}

/// Where the data pages of a column are; none when the footer does not say or they are of a form that is not understood
/// here.
pub(crate) fn places(metadata: &ParquetMetaData, group: usize, leaf: usize) -> Option<&[PageLocation]> {
    let compression = column_of(metadata, group, leaf)?.compression();
    let is_known = matches!(compression, Compression::UNCOMPRESSED | Compression::ZSTD(_));
    let places = metadata.page_index().filter(|_| is_known)?.page_locations(group, leaf)?;
    (!places.is_empty()).then_some(places.as_slice())
}

/// The dictionary of a column; `None` when it has none, or one of a form that is not understood here.
pub(crate) fn dictionary_page(
    file: &CheckedFile,
    metadata: &ParquetMetaData,
    group: usize,
    leaf: usize,
) -> Result<Option<RawPage>, PartError> {
    let Some(column) = column_of(metadata, group, leaf) else { return Ok(None) };
    let Some(start) = column.dictionary_page_offset() else { return Ok(None) };
    let (Ok(from), Ok(len)) = (u64::try_from(start), usize::try_from(column.data_page_offset() - start))
    else {
        return Err(damaged("a dictionary has no place"));
    };
    read(&file.get_bytes(from, len)?, column, DICTIONARY_PAGE)
}

fn column_of(metadata: &ParquetMetaData, group: usize, leaf: usize) -> Option<&ColumnChunkMetaData> {
    metadata.row_groups().get(group)?.columns().get(leaf)
}

fn read(bytes: &Bytes, column: &ColumnChunkMetaData, kind: i64) -> Result<Option<RawPage>, PartError> {
    let mut decoder = Decoder::new(bytes);
    let header = read_header(&mut decoder).ok_or_else(|| damaged("the header of a page is malformed"))?;
    let start = bytes.len() - decoder.remaining();
    let encoding = match header.encoding {
        0 => Encoding::PLAIN,
        3 => Encoding::RLE,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        2 | 8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        _ => return Ok(None),
    };
    if header.kind != kind {
        return Ok(None);
    }
    if header.compressed > decoder.remaining() || header.uncompressed > PAGE_BYTES_MAX {
        return Err(damaged("a page is longer than its place"));
    }
    let packed = bytes.slice(start..start + header.compressed);
    let bytes = match column.compression() {
        Compression::UNCOMPRESSED => packed,
        Compression::ZSTD(_) => decompress(&packed, header.uncompressed)?,
        _ => return Ok(None),
    };
    Ok(Some(RawPage { bytes, values: header.values, encoding }))
}

fn decompress(packed: &[u8], len: usize) -> Result<Bytes, PartError> {
    thread_local! {
        // A context holds 150 KB that take longer to make than a small page takes to unpack.
        static CONTEXT: RefCell<zstd::bulk::Decompressor<'static>> = RefCell::default();
    }
    let mut out = Vec::with_capacity(len);
    let done = CONTEXT.with(|context| match context.try_borrow_mut() {
        Ok(mut context) => context.decompress_to_buffer(packed, &mut out),
        Err(_) => zstd::bulk::Decompressor::default().decompress_to_buffer(packed, &mut out),
    });
    match done {
        Ok(written) if written == len => Ok(out.into()),
        _ => Err(damaged("a page cannot be decompressed")),
    }
}

/// Reads a `PageHeader` of Parquet's definition in Thrift's compact form.
fn read_header(from: &mut Decoder<'_>) -> Option<Header> {
    let mut header = Header::default();
    let mut field = 0;
    while let Some(kind) = next_field(from, &mut field)? {
        match (field, kind) {
            (1, I32) => header.kind = from.signed()?,
            (2, I32) => header.uncompressed = usize::try_from(from.signed()?).ok()?,
            (3, I32) => header.compressed = usize::try_from(from.signed()?).ok()?,
            (5 | 7, STRUCT) => {
                let mut inner = 0;
                while let Some(kind) = next_field(from, &mut inner)? {
                    match (inner, kind) {
                        (1, I32) => header.values = usize::try_from(from.signed()?).ok()?,
                        (2, I32) => header.encoding = from.signed()?,
                        _ => skip(from, kind, HEADER_DEPTH_MAX)?,
                    }
                }
            }
            _ => skip(from, kind, HEADER_DEPTH_MAX)?,
        }
    }
    Some(header)
}

const STOP: u8 = 0;
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const STRUCT: u8 = 12;

/// The type of the next field, whose number goes to `field`; `Some(None)` at the end of the struct.
fn next_field(from: &mut Decoder<'_>, field: &mut i64) -> Option<Option<u8>> {
    let byte = from.byte()?;
    if byte == STOP {
        return Some(None);
    }
    *field = match byte >> 4 {
        0 => from.signed()?,
        more => field.checked_add(i64::from(more))?,
    };
    Some(Some(byte & 15))
}

fn skip(from: &mut Decoder<'_>, kind: u8, depth: usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    match kind {
        TRUE | FALSE => {}
        BYTE => drop(from.byte()?),
        I16 | I32 | I64 => drop(from.varint()?),
        DOUBLE => drop(from.raw(8)?),
        BINARY => drop(from.chunk()?),
        LIST | SET => {
            let byte = from.byte()?;
            let len = if byte >> 4 == 15 { from.size()? } else { usize::from(byte >> 4) };
            for _ in 0..len {
                match byte & 15 {
                    // Alone, a truth value is a byte.
                    TRUE | FALSE => drop(from.byte()?),
                    kind => skip(from, kind, depth)?,
                }
            }
        }
        STRUCT => {
            let mut field = 0;
            while let Some(kind) = next_field(from, &mut field)? {
                skip(from, kind, depth)?;
            }
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        let check = |bytes: &[u8], expect: Option<Header>| {
            assert_eq!(read_header(&mut Decoder::new(bytes)), expect, "{bytes:?}");
        };
        // type 0, 20 bytes, 10 compressed; data page header: 3 values, encoding 8, levels 3 and 3, statistics with a text.
        let data = [
            0x15, 0, 0x15, 40, 0x15, 20, 0x2c, 0x15, 6, 0x15, 16, 0x15, 6, 0x15, 6, 0x1c, 0x18, 1, b'x', 0,
            0, 0,
        ];
        check(&data, Some(Header { kind: 0, uncompressed: 20, compressed: 10, values: 3, encoding: 8 }));
        // A dictionary that says that it is sorted.
        let dictionary = [0x15, 4, 0x15, 40, 0x15, 20, 0x4c, 0x15, 6, 0x15, 0, 0x11, 0, 0];
        check(
            &dictionary,
            Some(Header { kind: 2, uncompressed: 20, compressed: 10, values: 3, encoding: 0 }),
        );
        check(&[0x15, 1, 0x15, 1], None);
        check(&[0x1c; 40], None);
        (0..data.len()).for_each(|len| check(&data[..len], None));
    }
}
