//! Writing the protobuf wire format into a byte buffer, just what OTLP needs.
//!
//! Reference: <https://protobuf.dev/programming-guides/encoding/>.

/// Bytes reserved for a length that is not known yet: a varint padded to this width stays valid protobuf.
const PADDED_LENGTH_BYTES: usize = 4;

pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn tag(out: &mut Vec<u8>, field: u32, wire_type: u32) {
    varint(out, u64::from(field << 3 | wire_type));
}

/// A varint field (`int64`, `uint32`, `bool`, `enum`).
pub(crate) fn uint(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, 0);
    varint(out, value);
}

/// A `fixed64` or `double` field, given as its bits.
pub(crate) fn fixed64(out: &mut Vec<u8>, field: u32, bits: u64) {
    tag(out, field, 1);
    out.extend_from_slice(&bits.to_le_bytes());
}

/// A `fixed32` field.
pub(crate) fn fixed32(out: &mut Vec<u8>, field: u32, bits: u32) {
    tag(out, field, 5);
    out.extend_from_slice(&bits.to_le_bytes());
}

/// A `bytes` or `string` field.
pub(crate) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    tag(out, field, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// The head of an embedded message whose length is known.
pub(crate) fn message_head(out: &mut Vec<u8>, field: u32, length: usize) {
    tag(out, field, 2);
    varint(out, length as u64);
}

/// An embedded message written in place by `body`.
pub(crate) fn message(out: &mut Vec<u8>, field: u32, body: impl FnOnce(&mut Vec<u8>)) {
    tag(out, field, 2);
    let at = out.len();
    out.resize(at + PADDED_LENGTH_BYTES, 0);
    body(out);
    let mut length = out.len() - at - PADDED_LENGTH_BYTES;
    for (index, byte) in out.iter_mut().skip(at).take(PADDED_LENGTH_BYTES).enumerate() {
        let more = if index + 1 < PADDED_LENGTH_BYTES { 0x80 } else { 0 };
        *byte = (length as u8 & 0x7f) | more;
        length >>= 7;
    }
}

/// Number of bytes `value` takes as a varint.
pub(crate) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// A value OTLP's `AnyValue` can hold without nesting.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scalar<'a> {
    Str(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
}

/// Writes `AnyValue` fields (no head).
fn any_value(out: &mut Vec<u8>, value: Scalar<'_>) {
    match value {
        Scalar::Str(text) => bytes(out, 1, text.as_bytes()),
        Scalar::Bool(flag) => uint(out, 2, u64::from(flag)),
        Scalar::Int(number) => uint(out, 3, number as u64),
        Scalar::Double(number) => fixed64(out, 4, number.to_bits()),
    }
}

fn any_value_len(value: Scalar<'_>) -> usize {
    match value {
        Scalar::Str(text) => 1 + varint_len(text.len() as u64) + text.len(),
        Scalar::Bool(_) => 2,
        Scalar::Int(number) => 1 + varint_len(number as u64),
        Scalar::Double(_) => 9,
    }
}

/// An `AnyValue` as field `field`.
pub(crate) fn any(out: &mut Vec<u8>, field: u32, value: Scalar<'_>) {
    message_head(out, field, any_value_len(value));
    any_value(out, value);
}

/// A `KeyValue` as field `field`: how OTLP writes an attribute.
pub(crate) fn key_value(out: &mut Vec<u8>, field: u32, key: &str, value: Scalar<'_>) {
    let value_len = any_value_len(value);
    let key_len = 1 + varint_len(key.len() as u64) + key.len();
    message_head(out, field, key_len + 1 + varint_len(value_len as u64) + value_len);
    bytes(out, 1, key.as_bytes());
    message_head(out, 2, value_len);
    any_value(out, value);
}
