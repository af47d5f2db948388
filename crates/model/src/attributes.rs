//! Typed key-value attributes of resources, spans and events (OpenTelemetry `AnyValue`), packed into one buffer.

use std::fmt;

/// Deepest nesting of arrays and maps that a decoder keeps; the value below it is replaced by [`Value::Empty`].
const DEPTH_MAX: usize = 32;

/// An owned attribute value. Definition: OpenTelemetry common `AnyValue`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value was given.
    Empty,
    /// Text.
    Str(String),
    /// A truth value.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// A double; NaN payloads are kept.
    Double(f64),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// A list.
    Array(Vec<Value>),
    /// A map, in the order given.
    Map(Vec<(String, Value)>),
}

/// A borrowed attribute value. Lists and maps are rare and come as owned trees.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueRef<'a> {
    /// No value was given.
    Empty,
    /// Text.
    Str(&'a str),
    /// A truth value.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// Raw bytes.
    Bytes(&'a [u8]),
    /// A list or a map.
    Nested(Box<Value>),
}

/// An immutable list of attributes in the order given, packed into one allocation.
///
/// Layout: per attribute `varint key length, key, value`; a value is one tag byte and its payload. The bytes are an
/// implementation detail that `kenning-codec` also writes to disk, hence [`Attributes::as_bytes`] and
/// [`Attributes::from_bytes`]; a change of layout is a change of the disk format.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Attributes(Box<[u8]>);

/// Collects attributes.
#[derive(Clone, Debug, Default)]
pub struct AttributesBuilder {
    bytes: Vec<u8>,
}

const TAG_EMPTY: u8 = 0;
const TAG_STR: u8 = 1;
const TAG_FALSE: u8 = 2;
const TAG_TRUE: u8 = 3;
const TAG_INT: u8 = 4;
const TAG_DOUBLE: u8 = 5;
const TAG_BYTES: u8 = 6;
const TAG_ARRAY: u8 = 7;
const TAG_MAP: u8 = 8;

impl Attributes {
    /// A builder.
    #[must_use]
    pub fn builder() -> AttributesBuilder {
        AttributesBuilder::default()
    }

    /// The attributes in order. Bytes that do not parse end the iteration.
    pub fn iter(&self) -> impl Iterator<Item = (&str, ValueRef<'_>)> {
        let mut rest = Reader { bytes: &self.0 };
        std::iter::from_fn(move || rest.attribute())
    }

    /// The first attribute of that name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<ValueRef<'_>> {
        self.iter().find_map(|(k, value)| (k == key).then_some(value))
    }

    /// The first attribute of that name when it is text; empty text otherwise.
    #[must_use]
    pub fn get_str(&self, key: &str) -> &str {
        match self.get(key) {
            Some(ValueRef::Str(text)) => text,
            _ => "",
        }
    }

    /// True without attributes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The packed form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes a packed form; `None` unless every byte of it parses.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes };
        while !reader.bytes.is_empty() {
            reader.attribute()?;
        }
        Some(Self(bytes.into()))
    }
}

impl<K: AsRef<str>> FromIterator<(K, Value)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(pairs: I) -> Self {
        let mut builder = Self::builder();
        for (key, value) in pairs {
            builder.push(key.as_ref(), &value);
        }
        builder.build()
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl AttributesBuilder {
    /// Appends an attribute.
    pub fn push(&mut self, key: &str, value: &Value) -> &mut Self {
        put_text(&mut self.bytes, key.as_bytes());
        put_value(&mut self.bytes, value, 0);
        self
    }

    /// Appends a text attribute without an owned value in between.
    pub fn push_str(&mut self, key: &str, text: &str) -> &mut Self {
        put_text(&mut self.bytes, key.as_bytes());
        self.bytes.push(TAG_STR);
        put_text(&mut self.bytes, text.as_bytes());
        self
    }

    /// Appends a borrowed value.
    pub fn push_ref(&mut self, key: &str, value: &ValueRef<'_>) -> &mut Self {
        match value {
            ValueRef::Str(text) => self.push_str(key, text),
            ValueRef::Empty => self.push(key, &Value::Empty),
            ValueRef::Bool(flag) => self.push(key, &Value::Bool(*flag)),
            ValueRef::Int(n) => self.push(key, &Value::Int(*n)),
            ValueRef::Double(n) => self.push(key, &Value::Double(*n)),
            ValueRef::Bytes(bytes) => self.push(key, &Value::Bytes(bytes.to_vec())),
            ValueRef::Nested(value) => self.push(key, value),
        }
    }

    /// The finished list.
    #[must_use]
    pub fn build(self) -> Attributes {
        Attributes(self.bytes.into())
    }
}

impl ValueRef<'_> {
    /// An owned copy.
    #[must_use]
    pub fn to_owned(&self) -> Value {
        match self {
            ValueRef::Empty => Value::Empty,
            ValueRef::Str(text) => Value::Str((*text).to_owned()),
            ValueRef::Bool(flag) => Value::Bool(*flag),
            ValueRef::Int(n) => Value::Int(*n),
            ValueRef::Double(n) => Value::Double(*n),
            ValueRef::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            ValueRef::Nested(value) => (**value).clone(),
        }
    }
}

/// Text as it is, numbers in shortest decimal form, lists and maps as JSON, bytes as lower-case hex.
impl fmt::Display for ValueRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueRef::Empty => Ok(()),
            ValueRef::Str(text) => f.write_str(text),
            ValueRef::Bool(flag) => flag.fmt(f),
            ValueRef::Int(n) => n.fmt(f),
            ValueRef::Double(n) => n.fmt(f),
            ValueRef::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            ValueRef::Nested(value) => write_json(f, value),
        }
    }
}

/// As [`ValueRef`]'s: top-level text is bare, nested text is quoted JSON.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Str(text) => f.write_str(text),
            other => write_json(f, other),
        }
    }
}

fn write_json(f: &mut fmt::Formatter<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Empty => f.write_str("null"),
        Value::Str(text) => write_json_text(f, text),
        Value::Bool(flag) => write!(f, "{flag}"),
        Value::Int(n) => write!(f, "{n}"),
        Value::Double(n) if n.is_finite() => write!(f, "{n}"),
        Value::Double(n) => write!(f, "\"{n}\""),
        Value::Bytes(bytes) => {
            f.write_str("\"")?;
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            f.write_str("\"")
        }
        Value::Array(items) => {
            f.write_str("[")?;
            for (i, item) in items.iter().enumerate() {
                f.write_str(if i == 0 { "" } else { "," })?;
                write_json(f, item)?;
            }
            f.write_str("]")
        }
        Value::Map(pairs) => {
            f.write_str("{")?;
            for (i, (key, item)) in pairs.iter().enumerate() {
                f.write_str(if i == 0 { "" } else { "," })?;
                write_json_text(f, key)?;
                f.write_str(":")?;
                write_json(f, item)?;
            }
            f.write_str("}")
        }
    }
}

fn write_json_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c < ' ' => write!(f, "\\u{:04x}", c as u32)?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n as u8) | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text);
}

fn put_value(out: &mut Vec<u8>, value: &Value, depth: usize) {
    match value {
        Value::Array(_) | Value::Map(_) if depth >= DEPTH_MAX => out.push(TAG_EMPTY),
        Value::Empty => out.push(TAG_EMPTY),
        Value::Bool(false) => out.push(TAG_FALSE),
        Value::Bool(true) => out.push(TAG_TRUE),
        Value::Str(text) => {
            out.push(TAG_STR);
            put_text(out, text.as_bytes());
        }
        Value::Int(n) => {
            out.push(TAG_INT);
            put_varint(out, ((n << 1) ^ (n >> 63)) as u64);
        }
        Value::Double(n) => {
            out.push(TAG_DOUBLE);
            out.extend_from_slice(&n.to_le_bytes());
        }
        Value::Bytes(bytes) => {
            out.push(TAG_BYTES);
            put_text(out, bytes);
        }
        Value::Array(items) => {
            out.push(TAG_ARRAY);
            put_varint(out, items.len() as u64);
            items.iter().for_each(|item| put_value(out, item, depth + 1));
        }
        Value::Map(pairs) => {
            out.push(TAG_MAP);
            put_varint(out, pairs.len() as u64);
            for (key, item) in pairs {
                put_text(out, key.as_bytes());
                put_value(out, item, depth + 1);
            }
        }
    }
}

/// Reads the packed form; every method answers `None` at the first byte that does not parse.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn attribute(&mut self) -> Option<(&'a str, ValueRef<'a>)> {
        let key = self.text()?;
        Some((key, self.value(0)?))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    fn chunk(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        self.take(len)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.chunk()?).ok()
    }

    fn value(&mut self, depth: usize) -> Option<ValueRef<'a>> {
        if depth > DEPTH_MAX {
            return None;
        }
        Some(match *self.take(1)?.first()? {
            TAG_EMPTY => ValueRef::Empty,
            TAG_FALSE => ValueRef::Bool(false),
            TAG_TRUE => ValueRef::Bool(true),
            TAG_STR => ValueRef::Str(self.text()?),
            TAG_INT => {
                let zigzag = self.varint()?;
                ValueRef::Int((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
            }
            TAG_DOUBLE => ValueRef::Double(f64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            TAG_BYTES => ValueRef::Bytes(self.chunk()?),
            TAG_ARRAY => {
                let count = self.varint()?;
                let items =
                    (0..count).map(|_| Some(self.value(depth + 1)?.to_owned())).collect::<Option<_>>()?;
                ValueRef::Nested(Box::new(Value::Array(items)))
            }
            TAG_MAP => {
                let count = self.varint()?;
                let pair = |reader: &mut Self| {
                    Some((reader.text()?.to_owned(), reader.value(depth + 1)?.to_owned()))
                };
                let pairs = (0..count).map(|_| pair(self)).collect::<Option<_>>()?;
                ValueRef::Nested(Box::new(Value::Map(pairs)))
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<(&'static str, Value)> {
        vec![
            ("s", Value::Str("text".into())),
            ("b", Value::Bool(true)),
            ("i", Value::Int(i64::MIN)),
            ("d", Value::Double(0.1)),
            ("y", Value::Bytes(vec![0, 255])),
            ("e", Value::Empty),
            (
                "a",
                Value::Array(vec![Value::Int(-1), Value::Map(vec![("k".into(), Value::Str("v\n".into()))])]),
            ),
        ]
    }

    #[test]
    fn what_goes_in_comes_out() {
        let packed: Attributes = sample().into_iter().collect();
        let unpacked: Vec<_> = packed.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        assert_eq!(unpacked, sample().into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Vec<_>>());
        assert_eq!(Attributes::from_bytes(packed.as_bytes()), Some(packed));
    }

    #[test]
    fn values_print_as_people_read_them() {
        let packed: Attributes = sample().into_iter().collect();
        let printed: Vec<_> = packed.iter().map(|(_, v)| v.to_string()).collect();
        assert_eq!(
            printed,
            ["text", "true", "-9223372036854775808", "0.1", "00ff", "", r#"[-1,{"k":"v\n"}]"#]
        );
    }

    #[test]
    fn every_cut_is_noticed_or_falls_between_attributes() {
        let packed: Attributes = sample().into_iter().collect();
        let whole = (0..packed.as_bytes().len())
            .filter(|n| Attributes::from_bytes(&packed.as_bytes()[..*n]).is_some());
        assert_eq!(whole.count(), sample().len());
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let deep = (0..200).fold(Value::Int(1), |inner, _| Value::Array(vec![inner]));
        let packed: Attributes = [("deep", deep)].into_iter().collect();
        assert!(Attributes::from_bytes(packed.as_bytes()).is_some());
    }
}
