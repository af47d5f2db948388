//! Templates of `line_format` and `label_format`: Go's `text/template` (see `kenning_template`) with Loki's functions
//! over one line and its labels. Time zones other than UTC are not there (an unknown zone is UTC in Loki too).

mod decimal;
mod functions;

use std::borrow::Cow;

use kenning_model::Nanos;
use kenning_template::{Missing, Options, Value};

use crate::pipeline::{ERROR, ERROR_DETAILS, LineLabels};

/// A parsed template.
#[derive(Debug)]
pub(crate) struct Template(kenning_template::Template);

/// What a template can look at.
pub(crate) struct Scope<'s> {
    /// The line's time.
    pub(crate) time: Nanos,
    /// The present, as far as the query is concerned.
    pub(crate) now: Nanos,
    /// The line.
    pub(crate) line: &'s str,
    /// Its labels.
    pub(crate) fields: &'s dyn Fields,
}

/// Labels by name.
pub(crate) trait Fields {
    /// A label's value; empty when absent.
    fn field(&self, name: &str) -> Cow<'_, str>;
    /// All labels, by name.
    fn all(&self) -> Vec<(String, String)>;
}

impl Fields for LineLabels<'_> {
    fn field(&self, name: &str) -> Cow<'_, str> {
        match name {
            ERROR => Cow::Borrowed(self.error()),
            ERROR_DETAILS => Cow::Borrowed(self.details()),
            _ => Cow::Borrowed(self.get(name).unwrap_or("")),
        }
    }

    fn all(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        self.for_each(|name, value, _| all.push((name.to_owned(), value.to_owned())));
        all.sort();
        all
    }
}

/// A copy of labels taken at one moment.
impl Fields for Vec<(String, String)> {
    fn field(&self, name: &str) -> Cow<'_, str> {
        Cow::Borrowed(self.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value))
    }

    fn all(&self) -> Vec<(String, String)> {
        self.clone()
    }
}

/// The functions of Loki's templates, for templates elsewhere that have most of them too.
pub const TEMPLATE_FUNCTIONS: kenning_template::Functions = functions::FUNCTIONS;

/// Calls a function of Loki's templates by name, for templates elsewhere that have it too. The caller has checked the number
/// of arguments. `now` is what the time is said to be.
pub fn template_function(name: &str, args: Vec<Value>, now: Nanos) -> Result<Value, String> {
    let fields: Vec<(String, String)> = Vec::new();
    functions::call(name, args, &Scope { time: now, now, line: "", fields: &fields })
}

impl kenning_template::Scope for Scope<'_> {
    fn call(&self, name: &str, args: Vec<Value>) -> Result<Value, String> {
        functions::call(name, args, self)
    }

    fn label(&self, name: &str) -> Cow<'_, str> {
        self.fields.field(name)
    }

    fn labels(&self) -> Vec<(String, String)> {
        self.fields.all()
    }
}

impl Template {
    /// Reads a template. `name` appears in error texts, which are Go's.
    pub(crate) fn parse(name: &'static str, source: &str) -> Result<Self, String> {
        kenning_template::Template::parse(name, source, functions::FUNCTIONS)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// Runs it.
    pub(crate) fn execute(&self, scope: &Scope<'_>) -> Result<String, String> {
        let options = Options { missing: Missing::Zero, html: false };
        self.0.execute(Value::Labels, scope, options).map_err(|error| error.to_string())
    }

    /// The label when the template is nothing but `{{.label}}`.
    pub(crate) fn single_field(&self) -> Option<&str> {
        self.0.single_field()
    }

    /// Names of the fields it mentions, each once.
    pub(crate) fn fields(&self) -> Vec<String> {
        self.0.fields()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expect: &str) {
        let fields: Vec<(String, String)> =
            [("app", "api"), ("n", "5"), ("j", r#"{"a":[1,2],"b":"x"}"#), ("z", "")]
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .to_vec();
        let time = Nanos(1_700_000_000_123_456_789);
        let scope = Scope { time, now: time, line: "the line", fields: &fields };
        let result = Template::parse("line", template).and_then(|t| t.execute(&scope));
        assert_eq!(result.unwrap_or_else(|error| error), expect, "{template}");
    }

    #[test]
    fn actions_and_control() {
        check("a {{.app}} {{ .missing }}b", "a api b");
        check("{{ if eq .app \"api\" }}yes{{else if .z}}hm{{ else }}no{{ end }}", "yes");
        check("{{with .z}}full{{else}}empty{{end}}", "empty");
        check("{{range $i, $e := (fromJson .j).a}}{{$i}}={{$e}};{{else}}none{{end}}", "0=1;1=2;");
        check("x  {{- \" y \" -}}  z{{/* gone */}}", "x y z");
        check("{{ $a := .app }}{{ $a | upper }}{{ $a = \"b\" }}{{ $a }}", "APIb");
        check("{{ __line__ | len }} {{ and .app .z .n }}{{ or .z .app }} {{ not .z }}", "8 api true");
        check(
            "{{ range $i, $c := fromJson \"[1,2,3]\" }}{{ if eq $i 1 }}{{ continue }}{{ end }}{{ $c }}{{ end }}",
            "13",
        );
    }

    #[test]
    fn numbers_and_printing() {
        check("{{ add .n 2 }} {{ div 7 2 }} {{ addf 0.1 .2 }} {{ round 2.345 2 }}", "7 3 0.3 2.35");
        check("{{ printf \"%-4s|%04d|%.2f|%q|%x\" .app 7 1.5 .n 255 }}", "api |0007|1.50|\"5\"|ff");
        check("{{ print 1 2 \"a\" \"b\" 3 }} {{ 1.0 }} {{ true }} {{ 0x10 }}", "1 2ab3 1 true 16");
        check("{{ if lt (int .n) 6 }}small{{ end }}", "small");
    }

    #[test]
    fn times() {
        check(
            "{{ __timestamp__ | unixEpoch }} {{ __timestamp__ | date \"2006-01-02T15:04:05.000Z07:00\" }}",
            "1700000000 2023-11-14T22:13:20.123Z",
        );
        check("{{ toDate \"2006-01-02\" \"2024-02-29\" | unixEpochMillis }}", "1709164800000");
        check("{{ unixToTime \"1679577215\" }}", "2023-03-23 13:13:35 +0000 UTC");
    }

    #[test]
    fn faults() {
        check("{{", "template: line:1: unclosed action");
        check("{{ nope }}", "template: line:1: function \"nope\" not defined");
        check("{{ if .a }}", "template: line:1: unexpected EOF");
        check(
            "{{ .app | now }}",
            "template: line:1:10: executing \"line\" at <now>: wrong number of args for now: want 0 got 1",
        );
        for spec in ["%99999d", "%.99999d", "%.99999f", "%.99999e", "%*d"] {
            let call = format!("printf \"{spec}\" 99999 1");
            check(
                &format!("{{{{ {call} }}}}"),
                &format!(
                    "template: line:1:3: executing \"line\" at <{call}>: error calling printf: \
                     width or precision above 10000"
                ),
            );
        }
        check(
            "{{ div 1 0 }}",
            "template: line:1:3: executing \"line\" at <div 1 0>: error calling div: runtime error: integer divide by zero",
        );
        check(
            "{{ repeat 99999999 \"x\" }}",
            "template: line:1:3: executing \"line\" at <repeat 99999999 \"x\">: error calling repeat: result longer than 1048576 bytes",
        );
    }
}
