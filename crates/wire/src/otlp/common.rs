//! What the three signals share: attribute values, resources, scopes, and the walk from a request to its items.
//! Definition: opentelemetry-proto `common.proto`, `resource.proto`; all three requests number their fields alike.

use kenning_model::{Attributes, Nanos, Reason, Value, ValueRef};

use crate::error::{DecodeError, Fault};
use crate::limits::DecodeLimits;
use crate::protobuf::{Field, Reader};

/// A list of attributes, borrowed from the request.
pub(super) type Pairs<'a> = Vec<(&'a str, ValueRef<'a>)>;

/// The instrumentation scope.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope<'a> {
    pub name: &'a str,
    pub version: &'a str,
    pub schema_url: &'a str,
    pub attributes: Pairs<'a>,
}

/// Calls `each` with every resource's attributes and the reader over its fields. A bad resource is handed over as its
/// fault, so that its items can be counted under it.
pub(super) fn for_each_resource<'a>(
    body: &'a [u8],
    limits: &DecodeLimits,
    mut each: impl FnMut(Result<Pairs<'a>, Fault>, Reader<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut request = Reader::new(body);
    while let Some(field) = request.next()? {
        if field.number == 1 {
            let group = field.message("resource group")?;
            each(resource_of(group, limits)?, group)?;
        }
    }
    Ok(())
}

/// Calls `each` with every scope of a resource group and the reader over its fields.
pub(super) fn for_each_scope<'a>(
    mut group: Reader<'a>,
    limits: &DecodeLimits,
    mut each: impl FnMut(Result<Scope<'a>, Fault>, Reader<'a>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    while let Some(field) = group.next()? {
        if field.number == 2 {
            let items = field.message("scope group")?;
            each(scope_of(items, limits)?, items)?;
        }
    }
    Ok(())
}

/// The attributes of a group's resource. The outer error is for bytes that cannot be walked at all.
pub(super) fn resource_of<'a>(
    mut group: Reader<'a>,
    limits: &DecodeLimits,
) -> Result<Result<Pairs<'a>, Fault>, Fault> {
    let mut pairs = Ok(Pairs::new());
    while let Some(field) = group.next()? {
        if field.number == 1 {
            pairs = pairs.and_then(|pairs| resource_into(pairs, &field, limits));
        }
    }
    Ok(pairs)
}

fn resource_into<'a>(
    mut pairs: Pairs<'a>,
    field: &Field<'a>,
    limits: &DecodeLimits,
) -> Result<Pairs<'a>, Fault> {
    let mut message = field.message("resource")?;
    while let Some(field) = message.next()? {
        if field.number == 1 {
            push_attribute(&mut pairs, &field, limits)?;
        }
    }
    Ok(pairs)
}

/// The scope of a group, likewise.
pub(super) fn scope_of<'a>(
    mut group: Reader<'a>,
    limits: &DecodeLimits,
) -> Result<Result<Scope<'a>, Fault>, Fault> {
    let mut scope = Ok(Scope::default());
    while let Some(field) = group.next()? {
        scope = scope.and_then(|scope| match field.number {
            1 => scope_into(scope, &field, limits),
            3 => Ok(Scope { schema_url: field.text("scope_group.schema_url")?, ..scope }),
            _ => Ok(scope),
        });
    }
    Ok(scope)
}

fn scope_into<'a>(
    mut scope: Scope<'a>,
    field: &Field<'a>,
    limits: &DecodeLimits,
) -> Result<Scope<'a>, Fault> {
    let mut message = field.message("scope")?;
    while let Some(field) = message.next()? {
        match field.number {
            1 => scope.name = field.text("scope.name")?,
            2 => scope.version = field.text("scope.version")?,
            3 => push_attribute(&mut scope.attributes, &field, limits)?,
            _ => {}
        }
    }
    Ok(scope)
}

/// Reads a `KeyValue` and appends it, within the limits on count and size.
pub(super) fn push_attribute<'a>(
    pairs: &mut Pairs<'a>,
    field: &Field<'a>,
    limits: &DecodeLimits,
) -> Result<(), Fault> {
    if pairs.len() >= limits.attributes {
        let limit = limits.attributes;
        return Err(Fault::over(
            Reason::TooManyLabels,
            field.at,
            "number of attributes",
            limit,
            "attributes",
        ));
    }
    pairs.push(key_value(field, limits)?);
    Ok(())
}

fn key_value<'a>(field: &Field<'a>, limits: &DecodeLimits) -> Result<(&'a str, ValueRef<'a>), Fault> {
    let mut message = field.message("attribute")?;
    let (mut key, mut value) = ("", ValueRef::Empty);
    while let Some(field) = message.next()? {
        match field.number {
            1 => key = field.text("attribute.key")?,
            2 => value = any_value(&field, limits.attribute_bytes, limits)?,
            _ => {}
        }
    }
    if key.len() > limits.label_name_bytes {
        let limit = limits.label_name_bytes;
        return Err(Fault::over(Reason::BadLabelName, field.at, "attribute.key", limit, "bytes"));
    }
    Ok((key, value))
}

/// Reads an `AnyValue` of at most `bytes_max` encoded bytes.
pub(super) fn any_value<'a>(
    field: &Field<'a>,
    bytes_max: usize,
    limits: &DecodeLimits,
) -> Result<ValueRef<'a>, Fault> {
    let mut message = field.message("value")?;
    // Tag and length of the payload do not count as its size.
    if message.len() > bytes_max.saturating_add(8) {
        return Err(Fault::over(Reason::TooLong, field.at, "value", bytes_max, "bytes"));
    }
    let mut value = ValueRef::Empty;
    while let Some(field) = message.next()? {
        value = match field.number {
            1 => ValueRef::Str(field.text("string_value")?),
            2 => ValueRef::Bool(field.varint("bool_value")? != 0),
            3 => ValueRef::Int(field.varint("int_value")? as i64),
            4 => ValueRef::Double(field.double("double_value")?),
            5 | 6 => ValueRef::Nested(Box::new(nested(&field, 1, limits.depth)?)),
            7 => ValueRef::Bytes(field.bytes("bytes_value")?),
            _ => value,
        };
    }
    Ok(value)
}

/// A list or map on level `depth`. Recursion ends at the limit.
fn nested(field: &Field<'_>, depth: usize, depth_max: usize) -> Result<Value, Fault> {
    if depth > depth_max {
        return Err(Fault::over(Reason::TooDeep, field.at, "value", depth_max, "levels"));
    }
    let mut message = field.message("list or map value")?;
    if field.number == 5 {
        let mut items = Vec::new();
        while let Some(item) = message.next()? {
            if item.number == 1 {
                items.push(nested_value(&item, depth, depth_max)?);
            }
        }
        return Ok(Value::Array(items));
    }
    let mut pairs = Vec::new();
    while let Some(item) = message.next()? {
        if item.number == 1 {
            pairs.push(nested_pair(&item, depth, depth_max)?);
        }
    }
    Ok(Value::Map(pairs))
}

fn nested_pair(field: &Field<'_>, depth: usize, depth_max: usize) -> Result<(String, Value), Fault> {
    let mut message = field.message("map entry")?;
    let (mut key, mut value) = (String::new(), Value::Empty);
    while let Some(field) = message.next()? {
        match field.number {
            1 => field.text("map key")?.clone_into(&mut key),
            2 => value = nested_value(&field, depth, depth_max)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn nested_value(field: &Field<'_>, depth: usize, depth_max: usize) -> Result<Value, Fault> {
    let mut message = field.message("value")?;
    let mut value = Value::Empty;
    while let Some(field) = message.next()? {
        value = match field.number {
            1 => Value::Str(field.text("string_value")?.to_owned()),
            2 => Value::Bool(field.varint("bool_value")? != 0),
            3 => Value::Int(field.varint("int_value")? as i64),
            4 => Value::Double(field.double("double_value")?),
            5 | 6 => nested(&field, depth + 1, depth_max)?,
            7 => Value::Bytes(field.bytes("bytes_value")?.to_vec()),
            _ => value,
        };
    }
    Ok(value)
}

/// Packs borrowed attributes.
pub(super) fn pack(pairs: &[(&str, ValueRef<'_>)]) -> Attributes {
    let mut builder = Attributes::builder();
    for (key, value) in pairs {
        builder.push_ref(key, value);
    }
    builder.build()
}

/// OpenTelemetry's unsigned nanoseconds; stamps after 2262 become the last instant there is.
pub(super) fn nanos(value: u64) -> Nanos {
    Nanos(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Refuses a request with more items than the limit, before memory is spent on them.
pub(super) fn count_item(seen: &mut usize, limits: &DecodeLimits) -> Result<(), DecodeError> {
    *seen += 1;
    if *seen > limits.items {
        return Err(DecodeError::TooLarge {
            what: "the request holds too many items; send smaller batches",
            limit: limits.items,
        });
    }
    Ok(())
}
