//! MessagePack as JSON text, without recursion.

use std::fmt::Write;

use kenning_model::Reason;

use crate::error::Fault;
use crate::json::quote;
use crate::msgpack::{MsgpackError, Reader, Token};

/// A list or a map that is being written.
struct Open {
    left: u32,
    is_map: bool,
    is_first: bool,
}

/// Appends the first value of `bytes` as JSON. Extensions and bytes that are no text become hex; numbers that JSON does
/// not have become text.
pub(super) fn json(bytes: &[u8], out: &mut String, depth_max: usize) -> Result<(), Fault> {
    let mut reader = Reader::new(bytes);
    let mut stack: Vec<Open> = Vec::new();
    loop {
        if let Some(open) = stack.last_mut() {
            if open.left == 0 {
                out.push(if open.is_map { '}' } else { ']' });
                stack.pop();
                if stack.is_empty() {
                    return Ok(());
                }
                continue;
            }
            open.left -= 1;
            if !std::mem::take(&mut open.is_first) {
                out.push(',');
            }
            if open.is_map {
                let key = reader.token().map_err(cut)?;
                member_name(key, out)?;
            }
        }
        match reader.token().map_err(cut)? {
            Token::Array(left) => stack.push(open(left, false, out)),
            Token::Map(left) => stack.push(open(left, true, out)),
            scalar => value(scalar, out),
        }
        if stack.len() > depth_max {
            return Err(Fault::over(Reason::TooDeep, reader.offset(), "record", depth_max, "levels"));
        }
        if stack.is_empty() {
            return Ok(());
        }
    }
}

fn open(left: u32, is_map: bool, out: &mut String) -> Open {
    out.push(if is_map { '{' } else { '[' });
    Open { left, is_map, is_first: true }
}

fn cut(error: MsgpackError) -> Fault {
    let at = if let MsgpackError::Reserved { at } = error { at } else { 0 };
    Fault::new(Reason::Malformed, at, "record", "is no MessagePack")
}

fn member_name(key: Token<'_>, out: &mut String) -> Result<(), Fault> {
    match key {
        Token::Str(_) | Token::Bin(_) => value(key, out),
        Token::Array(_) | Token::Map(_) => {
            return Err(Fault::new(Reason::WrongType, 0, "record", "has a list or a map as a key"));
        }
        scalar => {
            let mut text = String::new();
            value(scalar, &mut text);
            out.push_str(&quote(text.trim_matches('"')));
        }
    }
    out.push(':');
    Ok(())
}

fn value(token: Token<'_>, out: &mut String) {
    let _ = match token {
        Token::Bool(flag) => write!(out, "{flag}"),
        Token::Int(n) => write!(out, "{n}"),
        Token::Uint(n) => write!(out, "{n}"),
        Token::F32(n) if n.is_finite() => write!(out, "{n:?}"),
        Token::F64(n) if n.is_finite() => write!(out, "{n:?}"),
        Token::F32(n) => write!(out, "\"{n}\""),
        Token::F64(n) => write!(out, "\"{n}\""),
        Token::Str(text) => write!(out, "{}", quote(&String::from_utf8_lossy(text))),
        Token::Bin(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => write!(out, "{}", quote(text)),
            Err(_) => write!(out, "\"{}\"", hex(bytes)),
        },
        Token::Ext(_, bytes) => write!(out, "\"{}\"", hex(bytes)),
        Token::Nil | Token::Array(_) | Token::Map(_) => write!(out, "null"),
    };
}

/// Lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}
