//! What Go takes, refuses and matches.
//!
//! Definition: Go `regexp/syntax`.

use kenning_regex::{Limits, compile, compile_whole, translate};
use proptest::prelude::*;

fn matches(pattern: &str, text: &str) -> bool {
    compile(pattern, Limits::default()).unwrap_or_else(|e| panic!("{pattern}: {e}")).is_match(text)
}

#[test]
fn classes_know_only_ascii() {
    for (pattern, yes, no) in [
        (r"^\d$", "7", "٣"),
        (r"^\w$", "_", "é"),
        (r"^\s$", "\x0C", "\x0B"),
        (r"^\W$", "é", "a"),
        (r"^[\W]$", "é", "a"),
        (r"^[^\d]$", "٣", "3"),
        (r"^[[:word:]]$", "a", "é"),
        (r"^[[:^alpha:]]$", "é", "b"),
        (r"^\pL$", "é", "1"),
        (r"^\p{Greek}$", "λ", "l"),
        (r"^\P{Greek}$", "l", "λ"),
        (r"^\p{^Lu}$", "a", "A"),
        (r"^[\pN_]$", "٣", "a"),
        (r"é\b.", "éa", "é "),
    ] {
        assert!(matches(pattern, yes), "{pattern} matches {yes:?}");
        assert!(!matches(pattern, no), "{pattern} does not match {no:?}");
    }
}

#[test]
fn what_rust_reads_otherwise_stands_for_itself() {
    for (pattern, text) in [
        ("^{$", "{"),
        ("^{}$", "{}"),
        ("^a{,5}$", "a{,5}"),
        ("^a{01}$", "a{01}"),
        ("^x{y}$", "x{y}"),
        ("^{{.*}}$", "{{ .name }}"),
        ("^[[]$", "["),
        ("^[a[b]$", "["),
        ("^[a&&b]+$", "a&b"),
        ("^[+--]$", ","),
        ("^[a~~b]+$", "~"),
        ("^[]a]+$", "]a"),
        ("^[^]a]+$", "bc"),
        ("^[a-]+$", "a-"),
        (r"^\Qa.b\E$", "a.b"),
        (r"^\Q$(", "$("),
        (r"^\0$", "\0"),
        (r"^\12$", "\n"),
        (r"^\x{41}\x42$", "AB"),
        (r"^\-\_\#\&\~\<\>\@$", "-_#&~<>@"),
        ("^a#b c$", "a#b c"),
        ("(?)a", "a"),
        ("(?ii)A", "a"),
        ("(?i:A)b", "ab"),
        ("a(?i)*b", "aaB"),
        ("(?i-i)a|b", "a"),
        ("(?P<n>a)(?P<n>b)", "ab"),
        ("(?<n>a)", "a"),
        ("(?P<1>a)", "a"),
        ("()|a||", ""),
        ("(?U)a+?", "aa"),
        (r"\Q\E", ""),
    ] {
        assert!(matches(pattern, text), "{pattern} matches {text:?}");
    }
    assert!(!matches(r"[\x{D800}]", "a") && !matches(r"\x{D800}", "a"), "no text holds a surrogate");
    assert!(!matches(r"^[^\x00-\x{10FFFF}]", "a"));
}

#[test]
fn what_go_refuses_is_refused_in_its_words() {
    for (pattern, message) in [
        ("*", "missing argument to repetition operator: `*`"),
        ("+Inf", "missing argument to repetition operator: `+`"),
        ("a|*?", "missing argument to repetition operator: `*?`"),
        ("(?i)*", "missing argument to repetition operator: `*`"),
        ("(*)", "missing argument to repetition operator: `*`"),
        ("{2}", "missing argument to repetition operator: `{2}`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a*+b", "invalid nested repetition operator: `*+`"),
        ("a{2}??", "invalid nested repetition operator: `{2}??`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{3,2}", "invalid repeat count: `{3,2}`"),
        ("a{99999999999}", "invalid repeat count: `{99999999999}`"),
        ("(a{40}){40}", "invalid repeat count: `{40}`"),
        ("(a", "missing closing ): `(a`"),
        ("a)", "unexpected ): `a)`"),
        ("[a", "missing closing ]: `[a`"),
        ("x[", "missing closing ]: `[`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        (r"\p{Nope}", r"invalid character class range: `\p{Nope}`"),
        (r"\p{Alphabetic}", r"invalid character class range: `\p{Alphabetic}`"),
        (r"\pX", r"invalid character class range: `\pX`"),
        (r"a\", "trailing backslash at end of expression: ``"),
        (r"\y", r"invalid escape sequence: `\y`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"\8", r"invalid escape sequence: `\8`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"\Z", r"invalid escape sequence: `\Z`"),
        (r"\x4", r"invalid escape sequence: `\x4`"),
        (r"\xZZ", r"invalid escape sequence: `\xZZ`"),
        (r"\x{}", r"invalid escape sequence: `\x{}`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
        (r"\é", r"invalid escape sequence: `\é`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(?<!a)", "invalid named capture: `(?<!a)`"),
        ("(?P=n)", "invalid or unsupported Perl syntax: `(?P`"),
        ("(?i-)", "invalid or unsupported Perl syntax: `(?i-)`"),
        ("(?P<n", "invalid named capture: `(?P<n`"),
        ("(?P<>a)", "invalid named capture: `(?P<>`"),
        ("(?P<a-b>a)", "invalid named capture: `(?P<a-b>`"),
        ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
    ] {
        let told = compile(pattern, Limits::default()).map(|_| ()).map_err(|e| e.to_string());
        assert_eq!(told, Err(format!("error parsing regexp: {message}")), "{pattern}");
    }
    let told = compile_whole("+", Limits::default()).map(|_| ()).map_err(|e| e.to_string());
    assert_eq!(told, Err("error parsing regexp: missing argument to repetition operator: `+`".to_owned()));
}

#[test]
fn limits_are_said() {
    let deep = "(".repeat(300) + &")".repeat(300);
    assert!(translate(&deep).is_err_and(|e| e.to_string().contains("nests too deeply")));
    assert!(translate(&"a".repeat(100_000)).is_err_and(|e| e.to_string().contains("too large")));
    let wide = Limits { program: 1_000, ..Limits::default() };
    assert!(compile(r"\pL{500}", wide).is_err_and(|e| e.to_string().contains("too large")));
}

proptest! {
    /// Whatever is written is read by the engine, or refused by us: the translation itself is never wrong.
    #[test]
    fn every_translation_is_an_expression(pattern in r"([a-c.^$|()?*+{}\[\]\\:<>P,0-9imsU&~#-]|\\[dDwWsSbBAzQEpPx]|\[:word:\]|é){0,14}") {
        if let Ok(text) = translate(&pattern) {
            prop_assert!(regex::Regex::new(&text).is_ok(), "{pattern} became {text}: {:?}", regex::Regex::new(&text).err());
        }
    }

    /// A literal in quotes matches itself.
    #[test]
    fn quoted_texts_match_themselves(text in r"[^\\]{0,20}") {
        let pattern = format!(r"\A\Q{text}\E\z");
        prop_assert!(matches(&pattern, &text));
    }
}
