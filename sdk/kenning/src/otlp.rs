//! The frame of an OTLP export request around items that are encoded already, and reading the reply.
//!
//! Definitions: opentelemetry-proto, `trace/v1/trace.proto`, `logs/v1/logs.proto` and their collector services.

use crate::config::Config;
use crate::proto::{self, Scalar};

/// The resource as name and value, the identity of the service first.
pub(crate) fn resource_attributes(config: &Config) -> Vec<(String, String)> {
    let mut attributes = vec![("service.name".to_owned(), config.service.clone())];
    if let Some(version) = &config.version {
        attributes.push(("service.version".to_owned(), version.clone()));
    }
    if let Some(environment) = &config.environment {
        attributes.push(("deployment.environment.name".to_owned(), environment.clone()));
    }
    attributes.extend(config.resource.iter().cloned());
    attributes
}

/// The encoded start of every request: `resource` (field 1) of `ResourceSpans` or `ResourceLogs`.
pub(crate) fn encode_resource(config: &Config) -> Vec<u8> {
    let mut out = Vec::new();
    proto::message(&mut out, 1, |resource| {
        for (key, value) in resource_attributes(config) {
            proto::key_value(resource, 1, &key, Scalar::Str(&value));
        }
        let own = [
            ("telemetry.sdk.name", "kenning"),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ];
        for (key, value) in own {
            proto::key_value(resource, 1, key, Scalar::Str(value));
        }
    });
    out
}

/// A whole export request. Spans and logs share the layout: request { 1: per resource { 1: resource, 2: per scope
/// { 1: scope, 2: item ... } } }; `items` are those fields 2, one after the other.
pub(crate) fn encode_request(resource: &[u8], items: &[u8]) -> Vec<u8> {
    let mut scope = Vec::new();
    proto::message(&mut scope, 1, |scope| {
        proto::bytes(scope, 1, b"kenning");
        proto::bytes(scope, 2, env!("CARGO_PKG_VERSION").as_bytes());
    });
    let per_scope = scope.len() + items.len();
    let per_resource = resource.len() + 1 + proto::varint_len(per_scope as u64) + per_scope;
    let mut out = Vec::with_capacity(per_resource + 16);
    proto::message_head(&mut out, 1, per_resource);
    out.extend_from_slice(resource);
    proto::message_head(&mut out, 2, per_scope);
    out.extend_from_slice(&scope);
    out.extend_from_slice(items);
    out
}

/// What a collector says about items it rejected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PartialSuccess {
    pub(crate) rejected: u64,
    pub(crate) message: String,
}

/// Reads a reply: { 1: partial_success { 1: rejected, 2: message } }. `None` when it is no protobuf.
pub(crate) fn decode_reply(bytes: &[u8]) -> Option<PartialSuccess> {
    let mut reply = PartialSuccess::default();
    for field in Fields::new(bytes) {
        if let (1, Wire::Bytes(partial)) = field? {
            for field in Fields::new(partial) {
                match field? {
                    (1, Wire::Varint(rejected)) => {
                        reply.rejected = i64::try_from(rejected).map_or(0, i64::unsigned_abs)
                    }
                    (2, Wire::Bytes(text)) => reply.message = String::from_utf8_lossy(text).into_owned(),
                    _ => {}
                }
            }
        }
    }
    Some(reply)
}

/// A field's content as the wire format tells kinds apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// Walks over the fields of one message; yields `None` once and ends where the bytes are no protobuf.
#[derive(Debug, Clone)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    broken: bool,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, broken: false }
    }

    /// Bytes not walked over yet.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u32, Wire<'a>)> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok()?;
        let content = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((number, content))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u32, Wire<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.broken {
            return None;
        }
        let field = self.field();
        self.broken = field.is_none();
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn replies() {
        let check = |bytes: &[u8], expect: Option<(u64, &str)>| {
            let expect = expect.map(|(rejected, text)| PartialSuccess { rejected, message: text.to_owned() });
            assert_eq!(decode_reply(bytes), expect, "{bytes:?}");
        };
        check(b"", Some((0, "")));
        check(b"\x0a\x07\x08\x05\x12\x03bad", Some((5, "bad")));
        check(b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Some((0, "")));
        check(b"\x0a\x07\x08", None);
        check(b"<html>", None);
    }

    proptest! {
        #[test]
        fn anything_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_reply(&bytes);
        }
    }
}
