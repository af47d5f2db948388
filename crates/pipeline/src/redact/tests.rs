//! What goes, what stays, and what holds for every text.

use kenning_model::{
    Attributes, Batch, LabelSet, LogBatch, LogRow, Nanos, Severity, Span, SpanBatch, SpanId, TraceId, Value,
};
use proptest::prelude::*;

use super::*;

fn redactor() -> Redactor {
    Redactor::new(&RedactOptions::default()).expect("defaults are options")
}

fn redacted(redactor: &Redactor, text: &str) -> String {
    let (mut scratch, mut tally) = (Scratch::default(), Tally::default());
    redactor.redact(text, &mut scratch, &mut tally).unwrap_or_else(|| text.to_owned())
}

/// `expect` has `<kind>` for `<redacted:kind>`.
fn check(text: &str, expect: &str) {
    let redactor = redactor();
    let found = redacted(&redactor, text);
    assert_eq!(found.replace("<redacted:", "<"), expect, "{text}");
    assert_eq!(redacted(&redactor, &found), found, "again: {text}");
}

fn stays(texts: &[&str]) {
    texts.iter().for_each(|text| check(text, text));
}

#[test]
fn names_with_values() {
    check("user=ann password=hunter2 ok=1", "user=ann password=<password> ok=1");
    check("user=ann password=\"hun ter2\" ok=1", "user=ann password=\"<password>\" ok=1");
    check("DB_PASSWORD: hunter2", "DB_PASSWORD: <password>");
    check("password: hunter", "password: <password>");
    check(
        r#"{"user":"ann","password":"hun\"ter2","ok":1}"#,
        r#"{"user":"ann","password":"<password>","ok":1}"#,
    );
    check(r#"{"pin": 1234, "apiKey" : "k-9f8e7d"}"#, r#"{"pin": "<password>", "apiKey" : "<api_key>"}"#);
    check(r#"{"password":12345678}"#, r#"{"password":"<password>"}"#);
    check(
        r#"{"msg":"{\"password\":\"hun\\\"ter2\",\"a\":1}"}"#,
        r#"{"msg":"{\"password\":\"<password>\",\"a\":1}"}"#,
    );
    check(r#"{"msg":"{\"pin\":4321}"}"#, r#"{"msg":"{\"pin\":\"<password>\"}"}"#);
    check(r#"{"passwords":["aa1","bb2"]}"#, r#"{"passwords":["<password>","<password>"]}"#);
    check(
        "GET /login?user=ann&password=a%26b&next=/ HTTP/1.1",
        "GET /login?user=ann&password=<password>&next=/ HTTP/1.1",
    );
    check(r"url=/a?x=1\u0026token=9f8e7d6c\u0026y=2", r"url=/a?x=1\u0026token=<token>\u0026y=2");
    check("next=%2Fa%3Fpassword%3Dhunter2%26x%3D1", "next=%2Fa%3Fpassword%3D<password>%26x%3D1");
    check("user[password]=hunter2&x=1", "user[password]=<password>&x=1");
    check("user%5Bpassword%5D=hunter2&x=1", "user%5Bpassword%5D=<password>&x=1");
    check("<password>hunter2</password>", "<password><password></password>");
    check("<ns:Password>hunter2</ns:Password>", "<ns:Password><password></ns:Password>");
    check("run --password hunter2 --verbose", "run --password <password> --verbose");
    check("run --db-password=hunter2 --verbose", "run --db-password=<password> --verbose");
    check("{'password': 'hunter2', 'a': 1}", "{'password': '<password>', 'a': 1}");
    check("{'password': b'hunter2'}", "{'password': b'<password>'}");
    check("{:password=>\"hunter2\", :a=>1}", "{:password=>\"<password>\", :a=>1}");
    check("map[password:hunter2 user:ann]", "map[password:<password> user:ann]");
    check("User(name=ann, password=hunter2)", "User(name=ann, password=<password>)");
    check(
        "Server=db;User Id=ann;Password=hun,ter2;Encrypt=true",
        "Server=db;User Id=ann;Password=<password>;Encrypt=true",
    );
    check("a=1,password=hunter2,b=2", "a=1,password=<password>,b=2");
    check(r#"{"name":"DB_PASSWORD","value":"hunter2"}"#, r#"{"name":"DB_PASSWORD","value":"<password>"}"#);
    check("('Authorization', 'Bearer abcdef123456')", "('Authorization', 'Bearer <authorization>')");
    check("the password is hunter2!", "the password is <password>");
    check("CREATE USER a IDENTIFIED BY 'pw x'", "CREATE USER a IDENTIFIED BY '<password>'");
    check("ALTER ROLE a PASSWORD 'hunter2'", "ALTER ROLE a PASSWORD '<password>'");
    check("client_secret=abc123DEF&grant=x", "client_secret=<secret>&grant=x");
    check("curl -u ann:hunter2 https://x", "curl -u ann:<password> https://x");
    check("ssn=078-05-1120 cvv=123", "ssn=<ssn> cvv=<credit_card>");
}

#[test]
fn headers() {
    check("Authorization: Bearer abc.def-123 status=200", "Authorization: Bearer <authorization> status=200");
    check("authorization: Basic YW5uOmh1bnRlcjI=", "authorization: Basic <authorization>");
    check(r#""Authorization": "Bearer abcdef123""#, r#""Authorization": "Bearer <authorization>""#);
    check(r#"-H "Authorization: Token 9944b09199c62bcf""#, r#"-H "Authorization: Token <authorization>""#);
    check(
        r#"Authorization: Digest username="ann", realm="r", response="6629fae49393a05397450978507c4ef1""#,
        "Authorization: Digest <authorization>",
    );
    check("Authorization: 0a1b2c3d4e5f", "Authorization: <authorization>");
    check("sent Bearer 9f8e7d6c5b4a3f2e to x", "sent Bearer <authorization> to x");
    check("got Basic YW5uOmh1bnRlcjI= from", "got Basic <authorization> from");
    check("Cookie: a=b; sid=9f8e7d", "Cookie: <cookie>");
    check("Set-Cookie: id=a3fWa; Expires=Wed, 21 Oct 2026 07:28:00 GMT; HttpOnly", "Set-Cookie: <cookie>");
    check(
        "map[Authorization:[Bearer abc123def] Accept:[*/*]]",
        "map[Authorization:[Bearer <authorization>] Accept:[*/*]]",
    );
    check("PHPSESSID=298zf09hf012fh2; x", "PHPSESSID=<session>; x");
}

#[test]
fn known_tokens() {
    let alnum = |count: usize| "aB3dE5gH7jK9".repeat(8)[..count].to_owned();
    for (token, kind) in [
        (format!("AKIA{}", "IOSFODNN7EXAMPLE"), "aws_key"),
        (format!("ghp_{}", alnum(36)), "github_token"),
        (format!("github_pat_{}_{}", alnum(22), alnum(59)), "github_token"),
        (format!("glpat-{}", alnum(20)), "gitlab_token"),
        (format!("xoxb-{}-{}-{}", "123456789012", "1234567890123", alnum(24)), "slack_token"),
        (format!("sk_live_{}", alnum(24)), "stripe_key"),
        (format!("AIza{}", alnum(35)), "google_key"),
        (format!("sk-proj-{}", alnum(48)), "openai_key"),
        (format!("SG.{}.{}", alnum(22), alnum(43)), "sendgrid_key"),
        (format!("npm_{}", alnum(36)), "npm_token"),
        (format!("pypi-{}", alnum(80)), "pypi_token"),
        (format!("hf_{}", alnum(34)), "vendor_token"),
        (format!("123456789:AA{}", alnum(33)), "vendor_token"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P".to_owned(), "jwt"),
    ] {
        check(&format!("got {token} from"), &format!("got <{kind}> from"));
        check(&format!("{{\"a\":\"x\\n{token}\"}}"), &format!("{{\"a\":\"x\\n<{kind}>\"}}"));
        check(&format!("?a=%3D{token}&b"), &format!("?a=%3D<{kind}>&b"));
        let inside = format!("x{token}");
        if kind != "vendor_token" {
            check(&inside, &inside);
        }
    }
    check("AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY x", "<aws_key> <aws_key> x");
    check(
        "https://hooks.slack.com/services/T000/B000/XXXXXXXXXXXXXXXX1",
        "https://hooks.slack.com/services/<slack_token>",
    );
}

#[test]
fn blocks() {
    check(
        r#"{"key":"-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----\n"}"#,
        r#"{"key":"<private_key>\n"}"#,
    );
    check("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn", "<private_key>");
    stays(&["-----BEGIN CERTIFICATE-----\nMIIEow\n-----END CERTIFICATE-----"]);
}

#[test]
fn personal_data() {
    check("mail to ann.lee+x@mail.example.co.uk.", "mail to <email>.");
    check("email=user%40example.com&x", "email=<email>&x");
    check("postgres://app:s3cr3t@db:5432/x", "postgres://app:<url_password>@db:5432/x");
    check("redis://:s3cr3t@db.example.com/0", "redis://:<url_password>@db.example.com/0");
    check("app:s3cr3t@tcp(db:3306)/x", "app:<url_password>@tcp(db:3306)/x");
    check("card 4111 1111 1111 1111 ok", "card <credit_card> ok");
    check("card=4111111111111111,x", "card=<credit_card>,x");
    check("amex 3782-822463-10005", "amex <credit_card>");
    check("to DE89 3704 0044 0532 0130 00 now", "to <iban> now");
    check("iban GB29NWBK60161331926819", "iban <iban>");
    check("MT84MALT011000012345MTLCAST001S", "<iban>");
}

#[test]
fn look_alikes_stay() {
    stays(&[
        "",
        "password reset requested for user",
        "password: incorrect",
        "password=***** token=<redacted> secret=${SECRET}",
        "Failed password for invalid user admin from 10.0.0.1 port 22 ssh2",
        "authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost=1.2.3.4",
        "session opened for user root by (uid=0)",
        "token expired",
        "unexpected token: '}'",
        "max_tokens=512 total_tokens: 1024",
        "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7",
        "id=550e8400-e29b-41d4-a716-446655440000",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "order_id=4111111111111111 blk_4111111111111111 ts=4111111111111111",
        "at 1732204800123456789 ns 1732204800123",
        "1234567890123456 1111111111111111",
        "getty@tty1.service started, git@github.com:a/b.git, logo@2x.png, pkg@1.2.3, image@sha256:abc",
        "https://medium.com/@user/x https://registry.npmjs.org/@scope/pkg",
        "cache_key=abc123 primary_key=5 key=user:1",
        "author=ann authors: bob",
        "task-abcdefghij1234567890 disk-0123456789abcdefghij",
        "auth_method=password auth=none",
        "docker run -u 1000:1000 x",
        "password policy: minimum 8",
        "PWD=/home/ann OLDPWD=/",
        "Bearer token is missing; Basic authentication required",
        "java.lang.Object@1a2b3c4d",
    ]);
}

#[test]
fn attributes_with_names() {
    let redactor = redactor();
    let named = |name: &str, value: &str| {
        let (mut scratch, mut tally) = (Scratch::default(), Tally::default());
        redactor.redact_named(name, value, &mut scratch, &mut tally).unwrap_or_else(|| value.to_owned())
    };
    assert_eq!(named("http.request.header.authorization", "anything at all"), "<redacted:authorization>");
    assert_eq!(named("db.password", "hunter"), "<redacted:password>");
    assert_eq!(named("url.full", "https://x/?api_key=9f8e7d"), "https://x/?api_key=<redacted:api_key>");
    assert_eq!(named("service.name", "password"), "password");
    assert_eq!(named("apiKey", "9f8e7d"), "<redacted:api_key>");
}

fn row<'a>(line: &'a str, metadata: &'a LabelSet, stream: &'a LabelSet) -> LogRow<'a> {
    LogRow {
        stream,
        time: Nanos(1),
        severity: Severity::UNKNOWN,
        trace_id: TraceId::NONE,
        span_id: SpanId::NONE,
        line,
        metadata,
    }
}

#[test]
fn batches_of_logs() {
    let mut logs = LogBatch::default();
    let (labels, metadata) = (
        LabelSet::from_pairs([("app", "a")]),
        LabelSet::from_pairs([("db_password", "hunter2"), ("x", "1")]),
    );
    let stream = logs.add_stream(labels.clone());
    let body = "MIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn";
    for line in [
        "plain",
        "-----BEGIN RSA PRIVATE KEY-----",
        body,
        body,
        "-----END RSA PRIVATE KEY-----",
        body,
        "a@example.com",
    ] {
        logs.push(stream, row(line, &metadata, &labels));
    }
    let mut batch = Batch::Logs(logs);
    let redactor = redactor();
    let tally = redactor.redact_batch(&mut batch);
    let Batch::Logs(logs) = batch else { panic!() };
    let lines: Vec<_> = logs.line.iter().collect();
    let key = "<redacted:private_key>";
    assert_eq!(lines, ["plain", key, key, key, "-----END RSA PRIVATE KEY-----", body, "<redacted:email>"]);
    assert!(
        logs.metadata
            .iter()
            .all(|metadata| metadata.get("db_password") == "<redacted:password>" && metadata.get("x") == "1")
    );
    let counts: Vec<_> = redactor.counts(&tally).collect();
    assert_eq!(counts, [("password", 1), ("private_key", 3), ("email", 1)]);
}

#[test]
fn batches_of_spans() {
    let args = Value::Array(
        ["app", "--password", "hunter2", "--x"].map(|text| Value::Str(text.to_owned())).to_vec(),
    );
    let attributes: Attributes =
        [("args", args), ("pin", Value::Int(1234)), ("n", Value::Int(5))].into_iter().collect();
    let span = Span { attributes, name: "GET /?token=9f8e7d6c".to_owned(), ..Span::default() };
    let mut batch = Batch::Spans(SpanBatch { sources: Vec::new(), spans: vec![span] });
    assert_eq!(redactor().redact_batch(&mut batch).total(), 3);
    let Batch::Spans(batch) = batch else { panic!() };
    let span = &batch.spans[0];
    assert_eq!(span.name, "GET /?token=<redacted:token>");
    let shown: Vec<_> = span.attributes.iter().map(|(_, value)| value.to_string()).collect();
    assert_eq!(shown, [r#"["app","--password","<redacted:password>","--x"]"#, "<redacted:password>", "5"]);
}

#[test]
fn options_are_checked() {
    let pattern = |name: &str, regex: &str, replacement: &str| OwnPattern {
        name: name.to_owned(),
        regex: regex.to_owned(),
        replacement: replacement.to_owned(),
    };
    let patterns = vec![pattern("employee", r"\bE-(\d{6})\b", "<employee>")];
    let options = RedactOptions {
        patterns,
        keys: vec!["customer-no".to_owned()],
        allow: vec![".*@example\\.com".to_owned()],
        ..RedactOptions::default()
    };
    let own = Redactor::new(&options).expect("good options");
    assert_eq!(
        redacted(&own, "E-123456 CustomerNo=7 a@example.com b@example.org"),
        "E-<employee> CustomerNo=<redacted:secret> a@example.com <redacted:email>"
    );
    let fields = |options: RedactOptions| -> Vec<String> {
        Redactor::new(&options).err().unwrap_or_default().into_iter().map(|mistake| mistake.field).collect()
    };
    let bad = |pattern| RedactOptions { patterns: vec![pattern], ..RedactOptions::default() };
    assert_eq!(fields(bad(pattern("a", "(", "x"))), ["patterns[0].regex"]);
    assert_eq!(fields(bad(pattern("a", "x*", "x"))), ["patterns[0].regex"]);
    assert_eq!(fields(bad(pattern("a", r"(\w{1000}){1000}", "x"))), ["patterns[0].regex"]);
    let told = |regex: &str| -> String {
        let mistakes = Redactor::new(&bad(pattern("a", regex, "x"))).err().unwrap_or_default();
        mistakes.iter().map(ToString::to_string).collect()
    };
    for (regex, expect) in [
        ("a(", "missing closing ): `a(`; write it as Go's regexp takes it (RE2)"),
        (r"\b{", "ok"),
        ("x{", "ok"),
        (r"(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("a**", "invalid nested repetition operator: `**`"),
        (r"(\w{1000}){1000}", "invalid repeat count"),
        (r"(?:\w{1000}\pL{999}){1}", "lower its repetitions"),
    ] {
        match (expect, told(regex)) {
            ("ok", told) => assert_eq!(told, "", "{regex}"),
            (part, told) => assert!(
                told.starts_with("redact.patterns[0].regex: error parsing regexp: ") && told.contains(part),
                "{regex}: {told}"
            ),
        }
    }
    // Classes are Go's: ASCII.
    let digits =
        RedactOptions { patterns: vec![pattern("n", r"^\d{3}$", "<n>")], ..RedactOptions::default() };
    let digits = Redactor::new(&digits).expect("good options");
    assert_eq!((redacted(&digits, "123"), redacted(&digits, "١٢٣")), ("<n>".to_owned(), "١٢٣".to_owned()));
    assert_eq!(fields(bad(pattern("email", "x", "\""))), ["patterns[0].name", "patterns[0].replacement"]);
    assert_eq!(
        fields(RedactOptions { allow: vec!["[".to_owned()], ..RedactOptions::default() }),
        ["allow[0]"]
    );
    assert_eq!(
        fields(RedactOptions { keys: vec!["a-b".to_owned()], ..RedactOptions::default() }),
        ["keys[0]"]
    );
}

#[test]
fn kinds_can_be_chosen() {
    let only = |kinds: &[Kind]| {
        Redactor::new(&RedactOptions { kinds: kinds.to_vec(), ..RedactOptions::default() }).expect("good")
    };
    let text = "password=hunter2 a@example.org from 10.1.2.3 and 2001:db8::1 call +49 151 23456789";
    assert_eq!(redacted(&only(&[Kind::Email]), text), text.replace("a@example.org", "<redacted:email>"));
    assert_eq!(
        redacted(&only(&[Kind::Ip]), text),
        text.replace("10.1.2.3", "<redacted:ip>").replace("2001:db8::1", "<redacted:ip>")
    );
    assert_eq!(redacted(&only(&[Kind::Phone]), text), text.replace("+49 151 23456789", "<redacted:phone>"));
}

#[test]
fn long_texts_take_linear_work() {
    let redactor = redactor();
    for piece in [
        "password=",
        "a@",
        "\"password\":\"",
        "4111 ",
        "-----BEGIN PRIVATE KEY",
        "eyJhbGci",
        "://a:",
        "\\",
        "token: [",
        "AKIA",
        "DE89 ",
        "cookie: a=b; ",
    ] {
        // Work that grows with the square of this would not end.
        let _ = redacted(&redactor, &piece.repeat((1 << 18) / piece.len()));
    }
}

fn piece() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "password",
        "token",
        "=",
        ":",
        "\"",
        "\\\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        "'",
        "@",
        "://",
        "a",
        "7",
        " ",
        "&",
        ";",
        ",",
        "Bearer ",
        "Authorization",
        "Cookie",
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----END",
        "eyJhbGci",
        "4111111111111111",
        "%40",
        "%3D",
        "<",
        ">",
        "é",
        "\n",
        "secret",
        "null",
        "-u ",
        "x.com",
        "AKIAIOSFODNN7EXAMPLE",
        "\u{1f600}",
        "ghp_",
        "\\u0026",
        "is ",
    ]);
    prop_oneof![words.prop_map(str::to_owned), "\\PC{0,4}"]
}

proptest! {
    #[test]
    fn any_text_is_redacted_once(pieces in prop::collection::vec(piece(), 0..24)) {
        let (text, redactor) = (pieces.concat(), redactor());
        let once = redacted(&redactor, &text);
        prop_assert_eq!(redacted(&redactor, &once), once);
    }

    #[test]
    fn json_stays_json(pieces in prop::collection::vec(piece(), 0..12), name in piece(), number in 0u32..100_000) {
        let text = serde_json::json!({ "a": pieces.concat(), name: "hunter2", "password": number, "n": { "token": pieces } }).to_string();
        let once = redacted(&redactor(), &text);
        let read: Result<serde_json::Value, _> = serde_json::from_str(&once);
        prop_assert!(read.is_ok(), "{} became {}", text, once);
    }
}

#[test]
fn what_is_misread_stays_within_its_tokens() {
    for line in [
        r#"{"a":"password=\\","n":{"token":["password","=","\\"]},"password":0}"#,
        r#"{"a":"Bearer -u '","n":{"token":["Bearer ","-u ","'"]},"password":0}"#,
    ] {
        let once = redacted(&redactor(), line);
        assert!(serde_json::from_str::<serde_json::Value>(&once).is_ok(), "{once}");
        assert!(once.ends_with(r#""password":"<redacted:password>"}"#), "{once}");
    }
}

#[test]
fn the_page_lists_every_kind() {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/redaction.md"));
    for kind in Kind::ALL {
        let state = if kind.is_default() { "on" } else { "off" };
        let row = format!("| `{kind}` | {state} | {} |\n", kind.about());
        assert!(page.contains(&row), "docs/redaction.md lacks: {row}");
    }
}
