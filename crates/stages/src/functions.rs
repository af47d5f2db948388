//! Templates of the stages `template` and `replace`: Go's `text/template` with Promtail's functions and the usual ones
//! of sprig, most of which Loki's `line_format` has too.
//!
//! Lacking of sprig: dates and math beyond Loki's, cryptography beyond hashes, `env` (on purpose: secrets), dictionaries
//! that are changed, and reflection.

use kenning_logql::{TEMPLATE_FUNCTIONS, template_function};
use kenning_model::Nanos;
use kenning_template::{ANY, Functions, Missing, Options, Scope, TEXT_BYTES_MAX, Template, Value, print};
use sha2::Digest as _;

/// Every function beyond Go's own: those of [`own`], and those of Loki's templates.
const FUNCTIONS: Functions = Functions::new(&[
    ("Hash", (2, 2)),
    ("Sha2Hash", (2, 2)),
    ("add1", (1, 1)),
    ("atoi", (1, 1)),
    ("cat", (0, ANY)),
    ("coalesce", (0, ANY)),
    ("empty", (1, 1)),
    ("first", (1, 1)),
    ("has", (2, 2)),
    ("int64", (1, 1)),
    ("join", (2, 2)),
    ("last", (1, 1)),
    ("list", (0, ANY)),
    ("nospace", (1, 1)),
    ("quote", (0, ANY)),
    ("regexFind", (2, 2)),
    ("regexMatch", (2, 2)),
    ("sha256sum", (1, 1)),
    ("splitList", (2, 2)),
    ("squote", (0, ANY)),
    ("ternary", (3, 3)),
    ("toString", (1, 1)),
    ("untitle", (1, 1)),
])
.with(&TEMPLATE_FUNCTIONS, NOT_PROMTAILS);

/// What Loki's templates have and Promtail's do not.
const NOT_PROMTAILS: &[&str] = &[
    "__line__",
    "__timestamp__",
    "alignLeft",
    "alignRight",
    "bytes",
    "count",
    "duration_seconds",
    "toDateInZone",
    "unixEpochMillis",
    "unixEpochNanos",
    "unixToTime",
    "urldecode",
    "urlencode",
];

/// Reads a template; the message is Go's.
pub(crate) fn parse(text: &str) -> Result<Template, String> {
    Template::parse("pipeline_template", text, FUNCTIONS).map_err(|error| error.to_string())
}

/// Runs a template on fields by name; none when it fails.
pub(crate) fn execute(template: &Template, fields: Vec<(String, Value)>, now: Nanos) -> Option<String> {
    let options = Options { missing: Missing::Invalid, html: false };
    template.execute(Value::Map(fields), &Now(now), options).ok()
}

struct Now(Nanos);

impl Scope for Now {
    fn call(&self, name: &str, args: Vec<Value>) -> Result<Value, String> {
        match own(name, &args) {
            Some(result) => result,
            // Promtail's take the text before the replacement, Loki's templates too.
            None => template_function(name, args, self.0),
        }
    }
}

/// The functions that Loki's templates do not have.
fn own(name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let nil = Value::Nil;
    let (first, second) = (args.first().unwrap_or(&nil), args.get(1).unwrap_or(&nil));
    let text = |text: String| Ok(Value::Str(text));
    let shown = |value: &Value| value.print();
    Some(match name {
        "Hash" => text(hex(&sha3::Sha3_256::digest(shown(first) + &shown(second)))),
        "Sha2Hash" => text(hex(&sha2::Sha256::digest(shown(first) + &shown(second)))),
        "sha256sum" => text(hex(&sha2::Sha256::digest(shown(first)))),
        "atoi" => Ok(Value::Int(shown(first).parse().unwrap_or(0))),
        "int64" => Ok(Value::Int(first.to_int())),
        "toString" => text(shown(first)),
        "cat" => text(args.iter().map(shown).collect::<Vec<_>>().join(" ")),
        "quote" => text(args.iter().map(|arg| format!("{:?}", shown(arg))).collect::<Vec<_>>().join(" ")),
        "squote" => text(args.iter().map(|arg| format!("'{}'", shown(arg))).collect::<Vec<_>>().join(" ")),
        "nospace" => text(shown(first).split_whitespace().collect()),
        "untitle" => text(untitled(&shown(first))),
        "empty" => Ok(Value::Bool(!first.is_true())),
        "coalesce" => Ok(args.iter().find(|arg| arg.is_true()).cloned().unwrap_or(Value::Nil)),
        "ternary" => Ok(if args.get(2).is_some_and(Value::is_true) { first } else { second }.clone()),
        "list" => Ok(Value::List(args.to_vec())),
        "first" => Ok(items(first).first().cloned().unwrap_or(Value::Nil)),
        "last" => Ok(items(first).last().cloned().unwrap_or(Value::Nil)),
        "has" => Ok(Value::Bool(items(second).contains(first))),
        "join" => joined(&shown(first), items(second)),
        "splitList" => Ok(split(&shown(first), &shown(second))),
        "regexMatch" => {
            crate::config::compile(&shown(first)).map(|regex| Value::Bool(regex.is_match(&shown(second))))
        }
        "regexFind" => crate::config::compile(&shown(first)).map(|regex| {
            Value::Str(regex.find(&shown(second)).map_or(String::new(), |m| m.as_str().to_owned()))
        }),
        _ => return None,
    })
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::List(items) => items,
        _ => &[],
    }
}

fn joined(separator: &str, items: &[Value]) -> Result<Value, String> {
    let bytes: usize =
        items.iter().map(|item| print(std::slice::from_ref(item)).len() + separator.len()).sum();
    if bytes > TEXT_BYTES_MAX {
        return Err(format!("result longer than {TEXT_BYTES_MAX} bytes"));
    }
    Ok(Value::Str(items.iter().map(Value::print).collect::<Vec<_>>().join(separator)))
}

fn split(separator: &str, text: &str) -> Value {
    let parts: Vec<String> = match separator {
        "" => text.chars().map(String::from).collect(),
        separator => text.split(separator).map(str::to_owned).collect(),
    };
    Value::List(parts.into_iter().map(Value::Str).collect())
}

fn untitled(text: &str) -> String {
    let words = text.split_inclusive(' ').map(|word| {
        let mut chars = word.chars();
        let first = chars.next().map(|c| c.to_lowercase().to_string()).unwrap_or_default();
        first + chars.as_str()
    });
    words.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expect: &str) {
        let fields = [("Value", "Some Text"), ("n", "7")];
        let fields = fields.map(|(name, text)| (name.to_owned(), Value::Str(text.to_owned()))).to_vec();
        let made = parse(template).map(|template| execute(&template, fields, Nanos(0)));
        assert_eq!(made, Ok(Some(expect.to_owned())), "{template}");
    }

    #[test]
    fn promtails_functions() {
        check("{{ ToLower .Value }}", "some text");
        check("{{ ToUpper .Value }}-{{ .n }}", "SOME TEXT-7");
        check("{{ Replace .Value \"e\" \"_\" 1 }}", "Som_ Text");
        check("{{ TrimPrefix .Value \"Some \" }}", "Text");
        check("{{ regexReplaceAll \"(S)ome\" .Value \"${1}ane\" }}", "Sane Text");
        check("{{ regexReplaceAllLiteral \"T.*\" .Value \"$\" }}", "Some $");
        check(
            "{{ Sha2Hash \"salt\" .n }}",
            "2ab204d76cdcec4609d290441fed2eec4186d288ca47c40cc7dd661a0de1b0d0",
        );
        check("{{ Hash \"salt\" .n }}", "ddeaca2c7fd1221da735466de3acc0f2fd0707fca9eca31d37a6dc7d64ddcdb2");
    }

    #[test]
    fn what_is_missing_is_said() {
        check("{{ .nope }}", "<no value>");
        check("{{ .nope | default \"x\" }}", "x");
    }

    #[test]
    fn sprigs_functions() {
        check("{{ quote .Value }} {{ squote .n }} {{ cat .n 1 }}", "\"Some Text\" '7' 7 1");
        check("{{ splitList \" \" .Value | last }}{{ list 1 2 | join \"-\" }}", "Text1-2");
        check("{{ ternary \"y\" \"n\" (regexMatch \"^S\" .Value) }}{{ regexFind \"T.x\" .Value }}", "yTex");
        check("{{ coalesce .nope .n }}{{ empty .nope }}{{ atoi .n | add 1 }}", "7true8");
        check("{{ nospace .Value }} {{ untitle .Value }} {{ trunc 4 .Value }}", "SomeText some text Some");
    }
}
