//! Templates and what they give.

use super::*;

struct Bare;

impl Scope for Bare {
    fn call(&self, name: &str, args: Vec<Value>) -> Result<Value, String> {
        match (name, args.as_slice()) {
            ("up", [Value::Str(text)]) => Ok(Value::Str(text.to_uppercase())),
            _ => Err(format!("{name} refuses")),
        }
    }
}

const FUNCTIONS: Functions = Functions::new(&[("fail", (0, 1)), ("up", (1, 1))]);

fn data() -> Value {
    let labels = Value::texts(vec![("b".into(), "2".into()), ("a".into(), "<1>".into())]);
    let list = Value::List(vec![Value::Int(1), Value::Int(2), Value::Int(3)]);
    let time = Value::Time(kenning_model::Nanos(1_700_000_000_000_000_000));
    Value::structure(
        "t.Data",
        vec![("Labels", labels), ("List", list), ("Time", time), ("V", Value::Float(0.5))],
    )
}

fn run(source: &str, options: Options) -> String {
    let outcome = Template::parse("t", source, FUNCTIONS).and_then(|t| t.execute(data(), &Bare, options));
    outcome.unwrap_or_else(|error| error.to_string())
}

fn check(source: &str, expect: &str) {
    assert_eq!(run(source, Options::default()), expect, "{source}");
}

#[test]
fn language() {
    check("a {{.Labels.a}} {{ .Labels.none }} b", "a <1> <no value> b");
    check("{{range $k, $v := .Labels}}{{$k}}={{$v}},{{end}}", "a=<1>,b=2,");
    check("{{range .List}}{{if eq . 2}}{{continue}}{{end}}{{.}}{{else}}none{{end}}", "13");
    check("{{with .Labels.b}}{{.}}{{else}}no{{end}}{{$.V}}", "20.5");
    check("{{define \"x\"}}[{{.}}]{{end}}{{template \"x\" .V}}{{block \"y\" 1}}<{{.}}>{{end}}", "[0.5]<1>");
    check("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2");
    check("x  {{- /* gone */ -}}  y", "xy");
    check("{{ `a\"b` }}{{ 'c' }}{{ print nil }}", "a\"b99<nil>");
    check(
        "{{ .Time.Format \"2006\" }} {{ .Time.Unix }} {{ (.Time.Sub .Time).String }}",
        "2023 1700000000 0s",
    );
    check("{{ (.Labels.a | up) | printf \"%q\" }} {{ \"x\" | up }}", "\"<1>\" X");
    check("{{range 3}}{{.}}{{end}}{{ index .List 1 }}{{ index .Labels \"b\" }}{{ len .Labels }}", "012222");
    check("{{ and .V 0 1 }}{{ or 0 .V }}{{ not 0 }}", "00.5true");
}

#[test]
fn html() {
    let options = Options { html: true, missing: Missing::Zero };
    assert_eq!(
        run("<b>{{.Labels.a}}</b>{{.Labels.none}}{{print nil}}", options),
        "<b>&lt;1&gt;</b>&lt;nil&gt;"
    );
}

#[test]
fn parse_faults() {
    let fault = |source: &str, expect: &str| check(source, &format!("template: t:{expect}"));
    fault("{{", "1: unclosed action");
    fault("{{\n", "2: unclosed action started at t:1");
    fault("{{ nope }}", "1: function \"nope\" not defined");
    fault("{{ $x }}", "1: undefined variable \"$x\"");
    fault("{{ }}", "1: missing value for command");
    fault("{{ if }}{{end}}", "1: missing value for if");
    fault("\n{{ if .a }}", "2: unexpected EOF");
    fault("{{ end }}", "1: unexpected {{end}}");
    fault("{{ else }}", "1: unexpected {{else}}");
    fault("{{if .a}}{{else}}{{else}}{{end}}", "1: expected end; found {{else}}");
    fault("{{ break }}", "1: {{break}} outside {{range}}");
    fault("{{ .a | 1 }}", "1: non executable command in pipeline stage 2");
    fault("{{ 1.2.3 }}", "1: illegal number syntax: \"1.2.3\"");
    fault("{{ \"a }}", "1: unterminated quoted string");
    fault("{{ `a }}", "1: unterminated raw quoted string");
    fault("{{ (.a }}", "1: unclosed left paren");
    fault("{{ .a) }}", "1: unexpected right paren");
    fault("{{ .a } }}", "1: unexpected \"}\" in operand");
    fault("{{ .a! }}", "1: bad character U+0021 '!'");
    fault("{{\u{a0}}}", "1: unrecognized character in action: U+00A0");
    fault("{{/* x }}", "1: unclosed comment");
    fault("{{/* x */ y}}", "1: comment ends before closing delimiter");
    fault("{{ $a, $b := 1 }}", "1: too many declarations in command");
    fault("{{ \"a\".b }}", "1: unexpected . after term \"\\\"a\\\"\"");
    fault("{{ a:b }}", "1: function \"a\" not defined");
    fault("{{template}}", "1: unexpected \"}}\" in template clause");
    fault("{{define \"x\"}}", "1: unexpected EOF");
    fault("{{ .a | end }}", "1: unexpected <end> in command");
    fault(&"{{if 1}}".repeat(1000), "1: nested more than 64 deep");
    fault(&format!("{{{{ {} }}}}", "(".repeat(1000)), "1: nested more than 64 deep");
}

#[test]
fn run_faults() {
    let fault = |source: &str, expect: &str| check(source, &format!("template: t:1:{expect}"));
    fault("{{ .Nope }}", "3: executing \"t\" at <.Nope>: can't evaluate field Nope in type t.Data");
    fault("{{ fail }}", "3: executing \"t\" at <fail>: error calling fail: fail refuses");
    fault("{{ up 1 2 }}", "3: executing \"t\" at <up>: wrong number of args for up: want 1 got 2");
    fault("{{ template \"x\" }}", "3: executing \"t\" at <{{template \"x\"}}>: template \"x\" not defined");
    fault("{{ .V 1 }}", "3: executing \"t\" at <.V>: V has arguments but cannot be invoked as function");
    fault("{{ 1 2 }}", "3: executing \"t\" at <1>: can't give argument to non-function 1");
    fault("{{ range .V }}{{ end }}", "9: executing \"t\" at <.V>: range can't iterate over 0.5");
    let source = "{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}";
    assert!(run(source, Options::default()).contains("exceeded maximum template depth"));
    assert!(
        run("{{range 999999}}{{range 999999}}{{end}}{{end}}", Options::default()).contains("loops take more")
    );
}

proptest::proptest! {
    #[test]
    fn any_text_parses_and_runs_or_not(source in "[-{}.$a(|)\"` \n=:,if1/*]{0,40}") {
        let _ = run(&source, Options::default());
    }

    #[test]
    fn any_words_parse_and_run_or_not(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "{{", "}}", "{{-", "-}}", " ", ".V", "$x", ":=", "if", "range", "end", "else", "with", "define", "template",
                "\"x\"", "(", ")", "|", "print", ".List", "1", ",", "x", "break", ".Time.Format", "printf",
            ]),
            0..24,
        )
    ) {
        let _ = run(&words.concat(), Options::default());
    }
}

#[test]
fn a_set_of_functions_may_lend_from_another() {
    const MORE: Functions = Functions::new(&[("a", (1, 1)), ("b", (2, 2)), ("hidden", (0, 0))]);
    const SET: Functions = Functions::new(&[("b", (3, 3))]).with(&MORE, &["hidden"]);
    assert_eq!(["a", "b", "hidden"].map(|name| SET.count(name)), [Some((1, 1)), Some((3, 3)), None]);
    assert_eq!(SET.count("printf"), Functions::new(&[]).count("printf"));
}
