//! The functions templates may call: Go's, those of the sprig library that Loki allows, and Loki's own.

use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{DecodeError, Engine as _};
use std::borrow::Cow;

use super::{Scope, decimal};
use kenning_gotext::{duration, quote, size, url};
use kenning_template::{ANY, Args, Functions, TEXT_BYTES_MAX, Value, layout};

/// Largest compiled regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// Every function that Go's templates do not have, by name, with its number of arguments.
pub(super) const FUNCTIONS: Functions = Functions::new(&[
    ("Replace", (4, 4)),
    ("ToLower", (1, 1)),
    ("ToUpper", (1, 1)),
    ("Trim", (2, 2)),
    ("TrimLeft", (2, 2)),
    ("TrimPrefix", (2, 2)),
    ("TrimRight", (2, 2)),
    ("TrimSpace", (1, 1)),
    ("TrimSuffix", (2, 2)),
    ("__line__", (0, 0)),
    ("__timestamp__", (0, 0)),
    ("add", (0, ANY)),
    ("addf", (0, ANY)),
    ("alignLeft", (2, 2)),
    ("alignRight", (2, 2)),
    ("b64dec", (1, 1)),
    ("b64enc", (1, 1)),
    ("bytes", (1, 1)),
    ("ceil", (1, 1)),
    ("contains", (2, 2)),
    ("count", (2, 2)),
    ("date", (2, 2)),
    ("default", (1, ANY)),
    ("div", (2, 2)),
    ("divf", (1, ANY)),
    ("duration", (1, 1)),
    ("duration_seconds", (1, 1)),
    ("float64", (1, 1)),
    ("floor", (1, 1)),
    ("fromJson", (1, 1)),
    ("hasPrefix", (2, 2)),
    ("hasSuffix", (2, 2)),
    ("indent", (2, 2)),
    ("int", (1, 1)),
    ("lower", (1, 1)),
    ("max", (1, ANY)),
    ("maxf", (1, ANY)),
    ("min", (1, ANY)),
    ("minf", (1, ANY)),
    ("mod", (2, 2)),
    ("mul", (1, ANY)),
    ("mulf", (1, ANY)),
    ("nindent", (2, 2)),
    ("now", (0, 0)),
    ("regexReplaceAll", (3, 3)),
    ("regexReplaceAllLiteral", (3, 3)),
    ("repeat", (2, 2)),
    ("replace", (3, 3)),
    ("round", (2, ANY)),
    ("sub", (2, 2)),
    ("subf", (1, ANY)),
    ("substr", (3, 3)),
    ("title", (1, 1)),
    ("toDate", (2, 2)),
    ("toDateInZone", (3, 3)),
    ("trim", (1, 1)),
    ("trimAll", (2, 2)),
    ("trimPrefix", (2, 2)),
    ("trimSuffix", (2, 2)),
    ("trunc", (2, 2)),
    ("unixEpoch", (1, 1)),
    ("unixEpochMillis", (1, 1)),
    ("unixEpochNanos", (1, 1)),
    ("unixToTime", (1, 1)),
    ("upper", (1, 1)),
    ("urldecode", (1, 1)),
    ("urlencode", (1, 1)),
]);

type Called = Result<Value, String>;

fn text(value: impl Into<String>) -> Called {
    let value = value.into();
    if value.len() > TEXT_BYTES_MAX {
        return Err(format!("result longer than {TEXT_BYTES_MAX} bytes"));
    }
    Ok(Value::Str(value))
}

/// Calls a function whose number of arguments was checked.
pub(super) fn call(name: &str, args: Vec<Value>, scope: &Scope<'_>) -> Called {
    let args = Args(args);
    match name {
        "__line__" => text(scope.line),
        "__timestamp__" => Ok(Value::Time(scope.time)),
        "now" => Ok(Value::Time(scope.now)),
        _ => string_function(name, &args)
            .or_else(|| number_function(name, &args))
            .or_else(|| time_function(name, &args))
            .unwrap_or_else(|| Err(format!("{name} is not implemented"))),
    }
}

fn string_function(name: &str, args: &Args) -> Option<Called> {
    Some(match name {
        "ToLower" | "lower" => args.text(0).and_then(|s| text(s.to_lowercase())),
        "ToUpper" | "upper" => args.text(0).and_then(|s| text(s.to_uppercase())),
        "TrimSpace" | "trim" => args.text(0).and_then(|s| text(s.trim())),
        "Trim" => two(args, |s, set| text(s.trim_matches(|c| set.contains(c)))),
        "TrimLeft" => two(args, |s, set| text(s.trim_start_matches(|c| set.contains(c)))),
        "TrimRight" => two(args, |s, set| text(s.trim_end_matches(|c| set.contains(c)))),
        "TrimPrefix" => two(args, |s, part| text(s.strip_prefix(part).unwrap_or(s))),
        "TrimSuffix" => two(args, |s, part| text(s.strip_suffix(part).unwrap_or(s))),
        "trimAll" => two(args, |set, s| text(s.trim_matches(|c| set.contains(c)))),
        "trimPrefix" => two(args, |part, s| text(s.strip_prefix(part).unwrap_or(s))),
        "trimSuffix" => two(args, |part, s| text(s.strip_suffix(part).unwrap_or(s))),
        "contains" => two(args, |part, s| Ok(Value::Bool(s.contains(part)))),
        "hasPrefix" => two(args, |part, s| Ok(Value::Bool(s.starts_with(part)))),
        "hasSuffix" => two(args, |part, s| Ok(Value::Bool(s.ends_with(part)))),
        "title" => args.text(0).and_then(|s| text(title(s))),
        "Replace" => go_replace(args),
        "replace" => (|| replace_all(args.text(2)?, args.text(0)?, args.text(1)?, usize::MAX))(),
        "repeat" => (|| repeat(args.int(0)?, args.text(1)?))(),
        "indent" => (|| indent("", args.int(0)?, args.text(1)?))(),
        "nindent" => (|| indent("\n", args.int(0)?, args.text(1)?))(),
        "trunc" => (|| text(trunc(args.int(0)?, args.text(1)?)))(),
        "substr" => (|| text(substring(args.int(0)?, args.int(1)?, args.text(2)?)))(),
        "alignLeft" => (|| align(args.int(0)?, args.text(1)?, true))(),
        "alignRight" => (|| align(args.int(0)?, args.text(1)?, false))(),
        "regexReplaceAll" => regex_replace(args, false),
        "regexReplaceAllLiteral" => regex_replace(args, true),
        "count" => (|| Ok(Value::Int(compile(args.text(0)?)?.find_iter(args.text(1)?).count() as i64)))(),
        "urlencode" => args.text(0).and_then(|s| text(url::query_escape(s))),
        "urldecode" => args.text(0).and_then(|s| url::query_unescape(s).and_then(text)),
        "b64enc" => args.text(0).and_then(|s| text(STANDARD.encode(s))),
        "b64dec" => args.text(0).and_then(|s| text(base64_decode(s))),
        "default" => Ok(args.0.get(1).filter(|given| given.is_true()).unwrap_or(args.get(0)).clone()),
        "fromJson" => args.text(0).map(|s| serde_json::from_str(s).map_or(Value::Nil, from_json)),
        _ => return None,
    })
}

fn from_json(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(flag) => Value::Bool(flag),
        // Go reads every JSON number as a double.
        serde_json::Value::Number(n) => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Value::Str(text),
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(from_json).collect()),
        serde_json::Value::Object(map) => {
            let mut pairs: Vec<_> = map.into_iter().map(|(name, value)| (name, from_json(value))).collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Map(pairs)
        }
    }
}

fn two(args: &Args, run: impl Fn(&str, &str) -> Called) -> Called {
    run(args.text(0)?, args.text(1)?)
}

fn title(s: &str) -> String {
    let mut start = true;
    let upper =
        |c: char, start: bool| if start { c.to_uppercase().collect::<String>() } else { c.to_string() };
    s.chars()
        .map(|c| {
            let out = upper(c, start);
            start = separates(c);
            out
        })
        .collect()
}

/// Which characters Go's `strings.Title` takes for the end of a word.
fn separates(c: char) -> bool {
    match c.is_ascii() {
        true => !(c.is_ascii_alphanumeric() || c == '_'),
        false => c.is_whitespace(),
    }
}

fn go_replace(args: &Args) -> Called {
    let (s, old, new, n) = (args.text(0)?, args.text(1)?, args.text(2)?, args.int(3)?);
    replace_all(s, old, new, usize::try_from(n).unwrap_or(usize::MAX))
}

fn replace_all(s: &str, old: &str, new: &str, n: usize) -> Called {
    let hits = s.matches(old).take(n).count();
    if s.len().saturating_add(hits.saturating_mul(new.len())) > TEXT_BYTES_MAX {
        return Err(format!("result longer than {TEXT_BYTES_MAX} bytes"));
    }
    text(s.replacen(old, new, n))
}

fn repeat(count: i64, s: &str) -> Called {
    let count = usize::try_from(count).map_err(|_| "strings: negative Repeat count".to_owned())?;
    if s.len().saturating_mul(count) > TEXT_BYTES_MAX {
        return Err(format!("result longer than {TEXT_BYTES_MAX} bytes"));
    }
    text(s.repeat(count))
}

fn indent(before: &str, spaces: i64, s: &str) -> Called {
    let Value::Str(pad) = repeat(spaces, " ")? else { return Ok(Value::Nil) };
    let Value::Str(body) = replace_all(s, "\n", &format!("\n{pad}"), usize::MAX)? else {
        return Ok(Value::Nil);
    };
    text(format!("{before}{pad}{body}"))
}

/// The first `count` characters, or the last ones for a negative count.
fn trunc(count: i64, s: &str) -> String {
    let len = s.chars().count() as i64;
    match count {
        c if c < 0 && len + c > 0 => s.chars().skip((len + c) as usize).collect(),
        c if c >= 0 && len > c => s.chars().take(c as usize).collect(),
        _ => s.to_owned(),
    }
}

fn substring(start: i64, end: i64, s: &str) -> String {
    let len = s.chars().count() as i64;
    let (start, end) = (start.min(len), end.min(len));
    let (from, to) = match (start < 0, end < 0) {
        (true, true) => return String::new(),
        (true, false) => (0, end),
        (false, true) => (start, len),
        (false, false) => (start, end),
    };
    s.chars().skip(from as usize).take((to - from).max(0) as usize).collect()
}

fn align(count: i64, s: &str, left: bool) -> Called {
    let len = s.chars().count() as i64;
    if count < 0 || count == len {
        return text(s);
    }
    if count > len {
        let Value::Str(pad) = repeat(count - len, " ")? else { return Ok(Value::Nil) };
        return text(if left { format!("{s}{pad}") } else { format!("{pad}{s}") });
    }
    let skip = if left { 0 } else { (len - count) as usize };
    text(s.chars().skip(skip).take(count as usize).collect::<String>())
}

fn compile(pattern: &str) -> Result<regex::Regex, String> {
    let limits = kenning_regex::Limits { program: REGEX_BYTES_MAX, ..kenning_regex::Limits::default() };
    kenning_regex::compile(pattern, limits).map_err(|error| error.to_string())
}

fn regex_replace(args: &Args, literal: bool) -> Called {
    let (regex, s, replacement) = (compile(args.text(0)?)?, args.text(1)?, args.text(2)?);
    let growth = regex.find_iter(s).count().saturating_mul(replacement.len());
    if s.len().saturating_add(growth) > TEXT_BYTES_MAX {
        return Err(format!("result longer than {TEXT_BYTES_MAX} bytes"));
    }
    let replaced: Cow<'_, str> = match literal {
        true => regex.replace_all(s, regex::NoExpand(replacement)),
        false => regex.replace_all(s, replacement),
    };
    text(replaced)
}

/// Decodes; missing padding is forgiven. As in Loki, the text of the error is the result when it fails.
fn base64_decode(text: &str) -> String {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let place = match GeneralPurpose::new(&alphabet::STANDARD, LENIENT).decode(text) {
        Ok(bytes) => return String::from_utf8_lossy(&bytes).into_owned(),
        Err(DecodeError::InvalidByte(place, _)) => place,
        Err(_) => text.trim_end_matches('=').len() / 4 * 4,
    };
    format!("illegal base64 data at input byte {place}")
}

fn number_function(name: &str, args: &Args) -> Option<Called> {
    let ints = || args.0.iter().map(Value::to_int);
    let floats = || args.0.iter().map(Value::to_float);
    let fold = |op: fn(f64, f64) -> f64| Ok(Value::Float(floats().reduce(op).unwrap_or(0.0)));
    let (a, b) = (args.get(0).to_int(), args.get(1).to_int());
    Some(match name {
        "add" => Ok(Value::Int(ints().fold(0, i64::wrapping_add))),
        "sub" => Ok(Value::Int(a.wrapping_sub(b))),
        "mul" => Ok(Value::Int(ints().fold(1, i64::wrapping_mul))),
        "div" | "mod" if b == 0 => Err("runtime error: integer divide by zero".to_owned()),
        "div" => Ok(Value::Int(a.wrapping_div(b))),
        "mod" => Ok(Value::Int(a.wrapping_rem(b))),
        "max" => Ok(Value::Int(ints().max().unwrap_or(0))),
        "min" => Ok(Value::Int(ints().min().unwrap_or(0))),
        "addf" => fold(decimal::add),
        "subf" => fold(decimal::sub),
        "mulf" => fold(decimal::mul),
        "divf" if floats().skip(1).any(|n| n == 0.0) => Err("decimal division by 0".to_owned()),
        "divf" => fold(decimal::div),
        "maxf" => fold(f64::max),
        "minf" => fold(f64::min),
        "ceil" => Ok(Value::Float(args.get(0).to_float().ceil())),
        "floor" => Ok(Value::Float(args.get(0).to_float().floor())),
        "round" => Ok(Value::Float(round(&args.0))),
        "int" => Ok(Value::Int(a)),
        "float64" => Ok(Value::Float(args.get(0).to_float())),
        "bytes" => args.text(0).and_then(size::parse).map(|n| Value::Float(n as f64)),
        "duration" | "duration_seconds" => {
            args.text(0).and_then(duration::parse_go).map(|ns| Value::Float(ns as f64 / 1e9))
        }
        _ => return None,
    })
}

/// `round number places [threshold]`: up from the threshold on, half by default.
fn round(args: &[Value]) -> f64 {
    let number = |index: usize| args.get(index).map(Value::to_float);
    let power = 10f64.powi(number(1).unwrap_or(0.0) as i32);
    let digit = power * number(0).unwrap_or(0.0);
    let up = digit.fract() >= number(2).unwrap_or(0.5);
    (if up { digit.ceil() } else { digit.floor() }) / power
}

fn time_function(name: &str, args: &Args) -> Option<Called> {
    Some(match name {
        "date" => (|| text(layout::format(args.text(0)?, date_of(args.get(1)))))(),
        "toDate" => (|| Ok(read_time(args.text(0)?, args.text(1)?)))(),
        "toDateInZone" => (|| Ok(read_time(args.text(0)?, args.text(2)?)))(),
        "unixEpoch" => args.time(0).and_then(|time| text(layout::unix_seconds(time).to_string())),
        "unixEpochMillis" => args.time(0).and_then(|time| {
            let within = time.0.rem_euclid(1_000_000_000) / 1_000_000;
            text(match time {
                layout::YEAR_ONE => (layout::unix_seconds(time) * 1_000).to_string(),
                _ => (layout::unix_seconds(time) * 1_000 + within).to_string(),
            })
        }),
        "unixEpochNanos" => args.time(0).and_then(|time| text(time.0.to_string())),
        "unixToTime" => args.text(0).and_then(unix_to_time),
        _ => return None,
    })
}

/// Sprig's `date` takes times and Unix seconds.
fn date_of(value: &Value) -> kenning_model::Nanos {
    match value {
        Value::Time(time) => *time,
        other => kenning_model::Nanos(other.to_int().saturating_mul(1_000_000_000)),
    }
}

/// A text that does not follow the layout is the year 1, as in Go.
fn read_time(format: &str, s: &str) -> Value {
    Value::Time(layout::parse(format, s).unwrap_or(layout::YEAR_ONE))
}

/// Days, seconds, milliseconds, microseconds or nanoseconds, by the number of digits.
fn unix_to_time(s: &str) -> Called {
    let unable = |cause: &str| format!("unable to parse time '{s}': {cause}");
    let n: i64 = s
        .parse()
        .map_err(|_| unable(&format!("strconv.ParseInt: parsing {}: invalid syntax", quote::quote(s))))?;
    let scale = match s.len() {
        5 => 86_400_000_000_000,
        10 => 1_000_000_000,
        13 => 1_000_000,
        16 => 1_000,
        19 => 1,
        _ => return Err(unable("%!w(<nil>)")),
    };
    Ok(Value::Time(kenning_model::Nanos(n.saturating_mul(scale))))
}
