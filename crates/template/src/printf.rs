//! `printf`: Go's verbs for the kinds of values templates have.

use crate::TEXT_BYTES_MAX;
use crate::value::Value;
use kenning_gotext::{float, quote};

/// Greatest width and precision. The standard library's formatter panics beyond 65535.
const SPEC_MAX: usize = 10_000;

#[derive(Clone, Copy, Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    zero: bool,
    space: bool,
    width: usize,
    precision: Option<usize>,
}

/// Formats values; what does not fit its verb is written as Go complains about it.
pub fn printf(format: &str, args: &[Value]) -> Result<String, String> {
    let (mut out, mut chars, mut next) = (String::new(), format.chars().peekable(), args.iter());
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| "-+# 0".contains(*c)) {
            match flag {
                '-' => spec.minus = true,
                '+' => spec.plus = true,
                '#' => spec.sharp = true,
                '0' => spec.zero = true,
                _ => spec.space = true,
            }
        }
        spec.width = number(&mut chars, &mut next).unwrap_or(0);
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(number(&mut chars, &mut next).unwrap_or(0));
        }
        if spec.width.max(spec.precision.unwrap_or(0)) > SPEC_MAX {
            return Err(format!("width or precision above {SPEC_MAX}"));
        }
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) => match next.next() {
                None => out.push_str(&format!("%!{verb}(MISSING)")),
                Some(value) => out.push_str(&padded(&spec, verb, value)),
            },
        }
        if out.len() > TEXT_BYTES_MAX {
            return Err(format!("result longer than {TEXT_BYTES_MAX} bytes"));
        }
    }
    let extra: Vec<String> = next.map(|v| format!("{}={}", v.type_name(), v.display())).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    Ok(out)
}

/// A width or precision: digits, or `*` for the next argument.
fn number<'v>(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    next: &mut impl Iterator<Item = &'v Value>,
) -> Option<usize> {
    if chars.next_if_eq(&'*').is_some() {
        return next.next().and_then(|value| usize::try_from(value.to_int()).ok());
    }
    let mut digits = String::new();
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    digits.parse().ok()
}

fn padded(spec: &Spec, verb: char, value: &Value) -> String {
    let Some(text) = formatted(spec, verb, value) else {
        return format!("%!{verb}({}={})", value.type_name(), value.display());
    };
    let missing = spec.width.saturating_sub(text.chars().count());
    let numeric = matches!(value, Value::Int(_) | Value::Float(_));
    if spec.minus {
        return text + &" ".repeat(missing);
    }
    if spec.zero && (numeric || verb == 's') {
        let (sign, digits) = match text.strip_prefix(['-', '+']) {
            Some(digits) if numeric => text.split_at(text.len() - digits.len()),
            _ => ("", text.as_str()),
        };
        return format!("{sign}{}{digits}", "0".repeat(missing));
    }
    " ".repeat(missing) + &text
}

fn formatted(spec: &Spec, verb: char, value: &Value) -> Option<String> {
    match (verb, value) {
        ('v', Value::Float(n)) => Some(signed(spec, float::general(*n), *n >= 0.0)),
        ('v', Value::Int(n)) => Some(signed(spec, n.to_string(), *n >= 0)),
        ('v', Value::Str(text)) if spec.sharp => Some(quote::quote(text)),
        ('v', other) => Some(other.display()),
        ('T', other) => Some(other.type_name().to_owned()),
        (_, Value::Str(text)) => text_verb(spec, verb, text),
        (_, Value::Int(n)) => int_verb(spec, verb, *n),
        (_, Value::Float(n)) => float_verb(spec, verb, *n),
        ('t', Value::Bool(flag)) => Some(flag.to_string()),
        ('s', Value::Time(_)) => Some(value.display()),
        // A verb is for the members, each of which may complain.
        (_, Value::List(items)) => {
            let items: Vec<String> = items.iter().map(|item| member(spec, verb, item)).collect();
            Some(format!("[{}]", items.join(" ")))
        }
        (_, Value::Map(pairs)) => {
            let name = |name: &String| text_verb(spec, verb, name).unwrap_or_else(|| name.clone());
            let pairs = pairs.iter().map(|(key, item)| format!("{}:{}", name(key), member(spec, verb, item)));
            Some(format!("map[{}]", pairs.collect::<Vec<_>>().join(" ")))
        }
        _ => None,
    }
}

fn member(spec: &Spec, verb: char, value: &Value) -> String {
    match value {
        Value::Nil => format!("%!{verb}(<nil>)"),
        value => padded(spec, verb, value),
    }
}

fn signed(spec: &Spec, text: String, positive: bool) -> String {
    match positive {
        true if spec.plus && !text.starts_with('+') => format!("+{text}"),
        true if spec.space => format!(" {text}"),
        _ => text,
    }
}

fn text_verb(spec: &Spec, verb: char, text: &str) -> Option<String> {
    let cut: String = match spec.precision {
        Some(max) if matches!(verb, 's' | 'q') => text.chars().take(max).collect(),
        _ => text.to_owned(),
    };
    let hex = |upper: bool| {
        cut.bytes().map(|b| if upper { format!("{b:02X}") } else { format!("{b:02x}") }).collect::<String>()
    };
    match verb {
        's' => Some(cut),
        'q' => Some(quote::quote(&cut)),
        'x' => Some(hex(false)),
        'X' => Some(hex(true)),
        _ => None,
    }
}

fn int_verb(spec: &Spec, verb: char, n: i64) -> Option<String> {
    let magnitude = n.unsigned_abs();
    let digits = match verb {
        'd' => magnitude.to_string(),
        'x' if spec.sharp => format!("{magnitude:#x}"),
        'x' => format!("{magnitude:x}"),
        'X' => format!("{magnitude:X}"),
        'o' => format!("{magnitude:o}"),
        'b' => format!("{magnitude:b}"),
        'c' => return u32::try_from(n).ok().and_then(char::from_u32).map(String::from),
        'q' => return u32::try_from(n).ok().and_then(char::from_u32).map(|c| format!("'{c}'")),
        'U' => return Some(format!("U+{magnitude:04X}")),
        _ => return None,
    };
    let width = spec.precision.unwrap_or(0);
    let digits = format!("{digits:0>width$}");
    Some(if n < 0 { format!("-{digits}") } else { signed(spec, digits, true) })
}

fn float_verb(spec: &Spec, verb: char, n: f64) -> Option<String> {
    let precision = spec.precision;
    let text = match verb {
        _ if !n.is_finite() => float::general(n),
        'f' | 'F' => format!("{n:.*}", precision.unwrap_or(6)),
        'e' | 'E' => exponent(&format!("{n:.*e}", precision.unwrap_or(6))),
        'g' | 'G' => match precision {
            None => float::general(n),
            Some(digits) => significant(n, digits.max(1)),
        },
        _ => return None,
    };
    let text = if matches!(verb, 'E' | 'G') { text.to_uppercase() } else { text };
    Some(signed(spec, text, n >= 0.0))
}

/// Go writes exponents with a sign and two digits.
fn exponent(text: &str) -> String {
    let Some((mantissa, exponent)) = text.split_once('e') else { return text.to_owned() };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn significant(n: f64, digits: usize) -> String {
    let scientific = format!("{n:.*e}", digits - 1);
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if power < -4 || power >= digits as i32 {
        return exponent(&format!("{}e{power}", trim(mantissa)));
    }
    trim(&format!("{n:.*}", (digits as i32 - 1 - power).max(0) as usize))
}
