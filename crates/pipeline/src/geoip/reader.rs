//! Files of MaxMind's format. Definition: MaxMind DB File Format Specification, version 2.0.
//!
//! ```text
//! search tree: nodes of two records │ 16 zeros │ data │ marker, metadata
//! ```
//!
//! Nothing is decoded but what is asked for. Values are found by walking, with a bound on steps and depth, so a file
//! that was made to harm costs no more than a refusal.

use std::fmt;
use std::net::IpAddr;

/// Stands before the metadata, within the last 128 KiB.
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
const METADATA_LEN_MAX: usize = 128 << 10;
/// Zeros between tree and data.
const SEPARATOR_LEN: usize = 16;
/// Deepest nesting, and most values passed on the way to one.
const DEPTH_MAX: usize = 16;
const STEPS_MAX: usize = 4096;

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseError {
    /// There is no metadata: it is some other file, or cut off.
    NoMetadata,
    /// A field of the metadata is missing or of the wrong type.
    BadMetadata(&'static str),
    /// A version of the format that is not known.
    Version(u64),
    /// The search tree does not fit into the file.
    Truncated,
    /// A record leads out of the file, or to something that is no map.
    Damaged,
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMetadata => f.write_str("it is no MaxMind database, or it is cut off; download it again"),
            Self::BadMetadata(field) => write!(f, "its metadata lacks a usable {field}; download it again"),
            Self::Version(version) => write!(f, "its format has version {version}; only version 2 is known"),
            Self::Truncated => f.write_str("it is shorter than its search tree; download it again"),
            Self::Damaged => f.write_str("its search tree or data are damaged; download it again"),
        }
    }
}

impl std::error::Error for DatabaseError {}

/// A value of the data that has no parts.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A text.
    Text(String),
    /// A whole number without sign.
    Number(u64),
    /// A whole number.
    Signed(i32),
    /// A number with a fraction.
    Double(f64),
    /// A truth value.
    Bool(bool),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Signed(number) => number.fmt(f),
            Self::Double(number) => number.fmt(f),
            Self::Bool(flag) => flag.fmt(f),
        }
    }
}

/// A value with all its parts.
#[derive(Clone, Debug, PartialEq)]
pub enum GeoValue {
    /// A type that nobody asks for, such as bytes.
    Other,
    /// A text, number or truth value.
    Scalar(Scalar),
    /// A list.
    List(Vec<GeoValue>),
    /// Names and their values, in the file's order.
    Map(Vec<(String, GeoValue)>),
}

/// A part of the way to a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Key(&'static str),
    /// The last value of a list.
    Last,
}

/// A file in memory.
pub(super) struct Reader {
    bytes: Vec<u8>,
    nodes: usize,
    record_bits: usize,
    /// Where the data begin.
    data: usize,
    /// The node at which addresses of version 4 begin.
    v4_root: usize,
    is_v4_only: bool,
    pub(super) kind: String,
}

impl Reader {
    pub(super) fn new(bytes: Vec<u8>) -> Result<Self, DatabaseError> {
        let tail = bytes.len().saturating_sub(METADATA_LEN_MAX);
        let found = memchr::memmem::rfind(bytes.get(tail..).unwrap_or_default(), MARKER);
        let metadata = tail + found.ok_or(DatabaseError::NoMetadata)? + MARKER.len();
        let section = Section { bytes: bytes.get(metadata..).unwrap_or_default() };
        let number = |field: &'static str| match section.find(0, &[Step::Key(field)]) {
            Some(Scalar::Number(number)) => Ok(number),
            _ => Err(DatabaseError::BadMetadata(field)),
        };
        let (version, size, ip) =
            (number("binary_format_major_version")?, number("record_size")?, number("ip_version")?);
        if version != 2 {
            return Err(DatabaseError::Version(version));
        }
        let record_bits = usize::try_from(size).ok().filter(|size| matches!(size, 24 | 28 | 32));
        let record_bits = record_bits.ok_or(DatabaseError::BadMetadata("record_size"))?;
        let nodes = usize::try_from(number("node_count")?).map_err(|_| DatabaseError::Truncated)?;
        let tree = nodes.checked_mul(record_bits / 4).ok_or(DatabaseError::Truncated)?;
        let data = tree.saturating_add(SEPARATOR_LEN);
        if nodes == 0 || data > metadata - MARKER.len() {
            return Err(DatabaseError::Truncated);
        }
        let kind = match section.find(0, &[Step::Key("database_type")]) {
            Some(Scalar::Text(kind)) => kind,
            _ => return Err(DatabaseError::BadMetadata("database_type")),
        };
        let is_v4_only = ip == 4;
        let mut reader = Self { bytes, nodes, record_bits, data, v4_root: 0, is_v4_only, kind };
        reader.bytes.truncate(metadata - MARKER.len());
        if !is_v4_only {
            reader.v4_root = reader.walk(0, 0, 96).ok_or(DatabaseError::Damaged)?;
        }
        Ok(reader)
    }

    /// Bytes of memory that the file takes.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Where the data of an address begin, in the data; `None` when there are none.
    pub(super) fn lookup(&self, address: IpAddr) -> Option<usize> {
        let found = match address {
            IpAddr::V4(address) => self.walk(self.v4_root, u128::from(u32::from(address)) << 96, 32)?,
            IpAddr::V6(_) if self.is_v4_only => return None,
            IpAddr::V6(address) => self.walk(0, u128::from(address), 128)?,
        };
        found.checked_sub(self.nodes + SEPARATOR_LEN)
    }

    /// Follows the first `count` of `bits` from a node. Gives a node, or what a record says beyond nodes.
    fn walk(&self, mut node: usize, mut bits: u128, count: usize) -> Option<usize> {
        for _ in 0..count {
            if node >= self.nodes {
                break;
            }
            node = self.record(node, bits >> 127 == 1)?;
            bits <<= 1;
        }
        Some(node)
    }

    fn record(&self, node: usize, is_right: bool) -> Option<usize> {
        let len = self.record_bits / 4;
        let node = self.bytes.get(node * len..(node + 1) * len)?;
        let number = |bytes: &[u8]| bytes.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        let half = len / 2;
        if self.record_bits != 28 {
            return Some(number(if is_right { node.get(half..)? } else { node.get(..half)? }));
        }
        let middle = usize::from(*node.get(3)?);
        Some(match is_right {
            false => (middle >> 4) << 24 | number(node.get(..3)?),
            true => (middle & 15) << 24 | number(node.get(4..)?),
        })
    }

    /// The value at the end of a path from a place in the data.
    pub(super) fn find(&self, place: usize, path: &[Step]) -> Option<Scalar> {
        Section { bytes: self.bytes.get(self.data..)? }.find(place, path)
    }

    /// Everything from a place in the data on; `None` when it is nested or numerous beyond the bounds.
    pub(super) fn value(&self, place: usize) -> Option<GeoValue> {
        let section = Section { bytes: self.bytes.get(self.data..)? };
        let mut steps = STEPS_MAX;
        section.value(place, 0, &mut steps).map(|(value, _)| value)
    }

    /// True when a map begins at a place in the data.
    pub(super) fn is_map(&self, place: usize) -> bool {
        let section = Section { bytes: self.bytes.get(self.data..).unwrap_or_default() };
        section.resolved(place).is_some_and(|head| head.kind == MAP)
    }
}

const POINTER: u8 = 1;
const TEXT: u8 = 2;
const DOUBLE: u8 = 3;
const BYTES: u8 = 4;
const UINT16: u8 = 5;
const UINT32: u8 = 6;
const MAP: u8 = 7;
const INT32: u8 = 8;
const UINT64: u8 = 9;
const UINT128: u8 = 10;
const ARRAY: u8 = 11;
const BOOL: u8 = 14;
const FLOAT: u8 = 15;

/// Encoded values; pointers count from its begin.
#[derive(Clone, Copy)]
struct Section<'a> {
    bytes: &'a [u8],
}

/// What a value says of itself.
#[derive(Clone, Copy)]
struct Head {
    kind: u8,
    /// Bytes, pairs of a map, values of an array; where a pointer leads.
    size: usize,
    /// Behind the head.
    next: usize,
}

impl<'a> Section<'a> {
    fn number(self, place: usize, len: usize) -> Option<u64> {
        let bytes = self.bytes.get(place..place.checked_add(len)?)?;
        (len <= 8).then(|| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn size(self, place: usize, len: usize) -> Option<usize> {
        self.number(place, len).map(|number| number as usize)
    }

    fn head(self, place: usize) -> Option<Head> {
        let control = *self.bytes.get(place)?;
        let mut next = place + 1;
        let mut kind = control >> 5;
        if kind == POINTER {
            let (high, len) = (usize::from(control & 7), usize::from(control >> 3 & 3) + 1);
            let low = self.size(next, len)?;
            let size = match len {
                1 => high << 8 | low,
                2 => (high << 16 | low) + 2048,
                3 => (high << 24 | low) + 526_336,
                _ => low,
            };
            return Some(Head { kind, size, next: next + len });
        }
        if kind == 0 {
            kind = self.bytes.get(next)?.checked_add(7)?;
            next += 1;
        }
        let (more, base) = match control & 31 {
            29 => (1, 29),
            30 => (2, 285),
            31 => (3, 65_821),
            small => (0, usize::from(small)),
        };
        Some(Head { kind, size: base + self.size(next, more)?, next: next + more })
    }

    /// As [`Self::head`], behind a pointer if there is one. Pointers do not lead to pointers.
    fn resolved(self, place: usize) -> Option<Head> {
        let head = self.head(place)?;
        if head.kind != POINTER {
            return Some(head);
        }
        self.head(head.size).filter(|head| head.kind != POINTER)
    }

    fn text(self, head: Head) -> Option<&'a str> {
        let bytes = self.bytes.get(head.next..head.next.checked_add(head.size)?)?;
        (head.kind == TEXT).then(|| std::str::from_utf8(bytes).ok()).flatten()
    }

    /// Behind a value with all its parts. Not recursive: what is still to be passed is counted.
    fn skip(self, place: usize, steps: &mut usize) -> Option<usize> {
        let (mut place, mut left) = (place, 1usize);
        while left > 0 {
            *steps = steps.checked_sub(1)?;
            let head = self.head(place)?;
            left -= 1;
            place = match head.kind {
                POINTER | BOOL => head.next,
                MAP => {
                    left = left.checked_add(head.size.checked_mul(2)?)?;
                    head.next
                }
                ARRAY => {
                    left = left.checked_add(head.size)?;
                    head.next
                }
                TEXT | DOUBLE | BYTES | UINT16 | UINT32 | INT32 | UINT64 | UINT128 | FLOAT => {
                    head.next.checked_add(head.size)?
                }
                _ => return None,
            };
        }
        Some(place)
    }

    fn find(self, mut place: usize, path: &[Step]) -> Option<Scalar> {
        let mut steps = STEPS_MAX;
        for step in path.iter().take(DEPTH_MAX) {
            let head = self.resolved(place)?;
            place = match step {
                Step::Key(key) if head.kind == MAP => self.entry(head, key, &mut steps)?,
                Step::Last if head.kind == ARRAY && head.size > 0 => {
                    (1..head.size).try_fold(head.next, |place, _| self.skip(place, &mut steps))?
                }
                _ => return None,
            };
        }
        self.scalar(self.resolved(place)?)
    }

    fn entry(self, map: Head, key: &str, steps: &mut usize) -> Option<usize> {
        let mut place = map.next;
        for _ in 0..map.size {
            let name = self.text(self.resolved(place)?)?;
            let value = self.skip(place, steps)?;
            if name == key {
                return Some(value);
            }
            place = self.skip(value, steps)?;
        }
        None
    }

    /// A value with all its parts, and the place behind it. Nesting is bounded by [`DEPTH_MAX`].
    fn value(self, place: usize, depth: usize, steps: &mut usize) -> Option<(GeoValue, usize)> {
        *steps = steps.checked_sub(1)?;
        if depth > DEPTH_MAX {
            return None;
        }
        let behind_pointer = self.head(place).filter(|head| head.kind == POINTER).map(|head| head.next);
        let head = self.resolved(place)?;
        let (value, next) = match head.kind {
            MAP => {
                let (mut map, mut at) = (Vec::new(), head.next);
                for _ in 0..head.size {
                    let name = self.text(self.resolved(at)?)?.to_owned();
                    let (value, next) = self.value(self.skip(at, steps)?, depth + 1, steps)?;
                    map.push((name, value));
                    at = next;
                }
                (GeoValue::Map(map), at)
            }
            ARRAY => {
                let (mut items, mut at) = (Vec::new(), head.next);
                for _ in 0..head.size {
                    let (item, next) = self.value(at, depth + 1, steps)?;
                    items.push(item);
                    at = next;
                }
                (GeoValue::List(items), at)
            }
            BOOL => (GeoValue::Scalar(Scalar::Bool(head.size != 0)), head.next),
            _ => {
                let value = self.scalar(head).map_or(GeoValue::Other, GeoValue::Scalar);
                (value, head.next.checked_add(head.size)?)
            }
        };
        Some((value, behind_pointer.unwrap_or(next)))
    }

    fn scalar(self, head: Head) -> Option<Scalar> {
        let Head { kind, size, next } = head;
        Some(match kind {
            TEXT => Scalar::Text(self.text(head)?.to_owned()),
            UINT16 | UINT32 | UINT64 => Scalar::Number(self.number(next, size)?),
            INT32 => Scalar::Signed((self.number(next, size.min(4))? as u32).cast_signed()),
            DOUBLE if size == 8 => Scalar::Double(f64::from_bits(self.number(next, 8)?)),
            FLOAT if size == 4 => Scalar::Double(f64::from(f32::from_bits(self.number(next, 4)? as u32))),
            BOOL => Scalar::Bool(size != 0),
            _ => return None,
        })
    }
}
