//! Finds the fields of an object without reading more of the text than needed.

use std::borrow::Cow;

use kenning_gotext::quote::unescape_json;

/// What a value is, by its first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Kind {
    String,
    Number,
    Bool,
    Null,
    Object,
    Array,
}

const BAD_JSON: &str = "Malformed JSON error";
const BAD_STRING: &str = "Value is string, but can't find closing '\"' symbol";
const BAD_ARRAY: &str = "Value is array, but can't find closing ']' symbol";
const BAD_OBJECT: &str = "Value looks like object, but can't find closing '}' symbol";
const BAD_VALUE: &str = "Unknown value type";

fn err<T>(message: &str) -> Result<T, String> {
    Err(message.to_owned())
}

/// Hands each field's name, kind and raw text (strings without their quotes) to `found` until it says stop or fails.
/// True when the object was read to its end.
pub(in super::super) fn each_field<'l>(
    text: &'l str,
    found: &mut dyn FnMut(Cow<'l, str>, Kind, &'l str) -> Result<bool, String>,
) -> Result<bool, String> {
    let mut at = skip_space(text, 0);
    if byte(text, at) != Some(b'{') {
        return err(BAD_OBJECT);
    }
    at = skip_space(text, at + 1);
    match byte(text, at) {
        None => return err(BAD_JSON),
        Some(b'}') => return Ok(true),
        Some(_) => {}
    }
    loop {
        let (key, after) = match byte(text, at) {
            Some(b'"') => string(text, at).ok_or_else(|| BAD_JSON.to_owned())?,
            Some(b'}') => return Ok(true),
            _ => return err(BAD_OBJECT),
        };
        at = skip_space(text, after);
        if byte(text, at) != Some(b':') {
            return err(BAD_JSON);
        }
        let (kind, raw, after) = value(text, skip_space(text, at + 1))?;
        let key = unescape_json(key)
            .ok_or_else(|| "Encountered an invalid escape sequence in a string".to_owned())?;
        if !found(key, kind, raw)? {
            return Ok(false);
        }
        at = skip_space(text, after);
        match byte(text, at) {
            None => return err(BAD_ARRAY),
            Some(b'}') => return Ok(true),
            Some(b',') => at = skip_space(text, at + 1),
            Some(_) => return err(BAD_OBJECT),
        }
    }
}

/// Hands each element of an array to `found` until it says stop.
pub(super) fn each_element<'l>(
    text: &'l str,
    found: &mut dyn FnMut(usize, Kind, &'l str) -> bool,
) -> Result<(), String> {
    let mut at = skip_space(text, skip_space(text, 0) + 1);
    for index in 0.. {
        if matches!(byte(text, at), None | Some(b']')) {
            break;
        }
        let (kind, raw, after) = value(text, at)?;
        if !found(index, kind, raw) {
            break;
        }
        at = skip_space(text, after);
        match byte(text, at) {
            Some(b',') => at = skip_space(text, at + 1),
            Some(b']') => break,
            _ => return err(BAD_ARRAY),
        }
    }
    Ok(())
}

fn byte(text: &str, at: usize) -> Option<u8> {
    text.as_bytes().get(at).copied()
}

pub(super) fn skip_space(text: &str, at: usize) -> usize {
    let rest = text.as_bytes().get(at..).unwrap_or(&[]);
    at + rest.iter().take_while(|b| matches!(b, b' ' | b'\n' | b'\r' | b'\t')).count()
}

/// The inside of a string that starts at `at`, and what follows it.
fn string(text: &str, at: usize) -> Option<(&str, usize)> {
    let start = at + 1;
    let mut escaped = false;
    let end = text.as_bytes().get(start..)?.iter().position(|b| {
        let closes = *b == b'"' && !escaped;
        escaped = *b == b'\\' && !escaped;
        closes
    })?;
    Some((text.get(start..start + end)?, start + end + 1))
}

/// Where the block that starts at `at` ends.
fn block_end(text: &str, at: usize, open: u8, close: u8) -> Option<usize> {
    let (mut depth, mut at) = (0usize, at);
    loop {
        match byte(text, at)? {
            b'"' => {
                at = string(text, at)?.1;
                continue;
            }
            b if b == open => depth += 1,
            b if b == close => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// A value's kind, its raw text and what follows it.
fn value(text: &str, at: usize) -> Result<(Kind, &str, usize), String> {
    match byte(text, at) {
        None => err(BAD_JSON),
        Some(b'"') => {
            let (inside, after) = string(text, at).ok_or_else(|| BAD_STRING.to_owned())?;
            Ok((Kind::String, inside, after))
        }
        Some(b'[') => block(text, at, Kind::Array).ok_or_else(|| BAD_ARRAY.to_owned()),
        Some(b'{') => block(text, at, Kind::Object).ok_or_else(|| BAD_OBJECT.to_owned()),
        Some(first) => {
            let rest = text.as_bytes().get(at..).unwrap_or(&[]);
            let len = rest
                .iter()
                .take_while(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t' | b',' | b'}' | b']'))
                .count();
            let raw = text.get(at..at + len).unwrap_or("");
            let kind = match (first, raw) {
                (_, "true" | "false") => Kind::Bool,
                (_, "null") => Kind::Null,
                (b'0'..=b'9' | b'-', _) => Kind::Number,
                _ => return err(BAD_VALUE),
            };
            Ok((kind, raw, at + len))
        }
    }
}

fn block(text: &str, at: usize, kind: Kind) -> Option<(Kind, &str, usize)> {
    let (open, close) = if kind == Kind::Array { (b'[', b']') } else { (b'{', b'}') };
    let end = block_end(text, at, open, close)?;
    Some((kind, text.get(at..end)?, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let mut found = Vec::new();
        let result = each_field(text, &mut |key, kind, raw| {
            found.push(format!("{key}:{kind:?}:{raw}"));
            Ok(true)
        });
        if let Err(error) = result {
            found.push(error);
        }
        assert_eq!(found.join(" "), expect, "{text}");
    }

    #[test]
    fn fields_up_to_the_first_fault() {
        check(
            r#"{"a":1,"b":"x\"y","c":[1,"]"],"d":{"e":"}"},"f":null,"g":true}"#,
            r#"a:Number:1 b:String:x\"y c:Array:[1,"]"] d:Object:{"e":"}"} f:Null:null g:Bool:true"#,
        );
        check("{}", "");
        check("", BAD_OBJECT);
        check("not json", BAD_OBJECT);
        check(r#"{"a":1"#, &format!("a:Number:1 {BAD_ARRAY}"));
        check(r#"{"a":1,"b":x}"#, &format!("a:Number:1 {BAD_VALUE}"));
        check(r#"{"a":"open}"#, BAD_STRING);
    }
}
