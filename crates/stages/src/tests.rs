//! Every stage in a language of its own: YAML of the stages, lines that go in, and what comes out.
//!
//! `> {labels} [@time] text` goes in; `< [{labels}] [@time] [(metadata)] text` comes out, labels and time where they are other than what
//! went in; `< dropped: reason` is one that does not. A `\n` in a text is a line's end.

#[allow(dead_code, reason = "the tests of the format use all of it, these some")]
#[path = "../../pipeline/src/geoip/mmdb.rs"]
mod mmdb;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use kenning_model::{Batch, LabelSet, LogBatch, LogRow, Nanos, Severity, SpanId, TenantId, TraceId};
use kenning_pipeline::geoip::GeoDatabases;
use kenning_pipeline::process::{Origin, Processed, Processor};
use kenning_stdx::files::MemFiles;
use kenning_stdx::files::{Files, RealFiles};
use kenning_template::layout;
use proptest::prelude::*;

use crate::{Context, LogMetrics, Pipeline, Report};

use mmdb::V;

/// 2026-01-15 12:00:00.
const NOW: Nanos = Nanos(1_768_478_400_000_000_000);
const STAMP: &str = "2006-01-02T15:04:05.999999999Z07:00";

fn read(yaml: &str, metrics: &LogMetrics) -> (Pipeline, Vec<String>) {
    let document = kenning_yaml::read(yaml.as_bytes()).unwrap();
    let mut report = Report::default();
    let context = Context { metrics, databases: &GeoDatabases::default(), files: &WithDatabases::new() };
    let root = document.root.unwrap();
    let pipeline = Pipeline::read("pipeline", &root, context, &mut report);
    (pipeline, report.problems)
}

/// The machine's files, and databases of addresses: 81.2.69.0/24 and 2001:db8::/32 are known.
struct WithDatabases(MemFiles);

impl WithDatabases {
    fn new() -> Self {
        let files = MemFiles::default();
        files.put(CITY, database("GeoLite2-City", &city()));
        files.put(ASN, database("GeoLite2-ASN", &network()));
        Self(files)
    }
}

impl Files for WithDatabases {
    fn read(&self, path: &str, max: usize) -> std::io::Result<Vec<u8>> {
        self.0.read(path, max).or_else(|_| RealFiles.read(path, max))
    }

    fn exists(&self, path: &str) -> bool {
        self.0.exists(path) || RealFiles.exists(path)
    }

    fn glob(&self, pattern: &str) -> Vec<String> {
        RealFiles.glob(pattern)
    }
}

const CITY: &str = "/usr/share/GeoIP/GeoLite2-City.mmdb";
const ASN: &str = "/usr/share/GeoIP/GeoLite2-ASN.mmdb";

fn database(kind: &'static str, record: &V) -> Vec<u8> {
    let networks = [(0x5102_4500, 120, 0), (0x2001_0db8_u128 << 96, 32, 0)];
    mmdb::file(kind, 28, 6, &networks, &mmdb::encode(record))
}

fn named(name: &'static str) -> V {
    V::M(vec![("names", V::M(vec![("de", V::S("anders")), ("en", V::S(name))]))])
}

fn city() -> V {
    let code = |key, code, name| V::M(vec![(key, V::S(code)), ("names", V::M(vec![("en", V::S(name))]))]);
    let location =
        [("latitude", V::D(51.5142)), ("longitude", V::D(-0.0931)), ("time_zone", V::S("Europe/London"))];
    V::M(vec![
        ("city", named("London")),
        ("continent", code("code", "EU", "Europe")),
        ("country", code("iso_code", "GB", "United Kingdom")),
        ("location", V::M(location.into())),
        (
            "subdivisions",
            V::A(vec![code("iso_code", "ENG", "England"), code("iso_code", "WBK", "West Berkshire")]),
        ),
    ])
}

fn network() -> V {
    V::M(vec![
        ("autonomous_system_number", V::U(64500)),
        ("autonomous_system_organization", V::S("Example Networks")),
    ])
}

/// `{a="b", c="d"}` and what stands behind it.
fn labels_of(text: &str) -> (Vec<(String, String)>, &str) {
    let Some((inner, rest)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) else {
        return (Vec::new(), text);
    };
    let pair = |pair: &str| {
        let (name, value) = pair.trim().split_once('=').unwrap();
        (name.to_owned(), value.trim_matches('"').to_owned())
    };
    (inner.split(',').filter(|pair| !pair.trim().is_empty()).map(pair).collect(), rest.trim_start())
}

fn batch_of(input: &[&str]) -> LogBatch {
    let mut batch = LogBatch::default();
    for line in input {
        let (labels, rest) = labels_of(line);
        let (time, text) = match rest.strip_prefix('@').map(|rest| rest.split_once(' ').unwrap_or((rest, "")))
        {
            Some((time, text)) => (layout::parse(STAMP, time).unwrap(), text),
            None => (NOW, rest),
        };
        let labels = LabelSet::from_pairs(labels);
        let stream = match batch.streams.iter().position(|known| *known == labels) {
            Some(stream) => stream as u32,
            None => batch.add_stream(labels.clone()),
        };
        let (trace_id, span_id, metadata) = (TraceId::NONE, SpanId::NONE, &LabelSet::empty());
        let (severity, line) = (Severity::UNKNOWN, text.replace("\\n", "\n"));
        batch.push(
            stream,
            LogRow { stream: &labels, time, severity, trace_id, span_id, line: &line, metadata },
        );
    }
    batch
}

fn shown(labels: &LabelSet) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    pairs.join(", ")
}

fn show(row: &LogRow<'_>, before: &LogRow<'_>) -> String {
    let mut out = String::new();
    if row.stream != before.stream {
        let _ = write!(out, "{{{}}} ", shown(row.stream));
    }
    if row.time != before.time {
        let _ = write!(out, "@{} ", layout::format(STAMP, row.time));
    }
    let metadata: LabelSet =
        LabelSet::from_pairs(row.metadata.iter().filter(|(name, _)| *name != crate::DETECTED_LEVEL));
    if !metadata.is_empty() {
        let _ = write!(out, "({}) ", shown(&metadata));
    }
    out + &row.line.replace('\n', "\\n")
}

/// What comes out of `input`, and what was dropped by reason.
fn outcome(yaml: &str, input: &[&str]) -> String {
    let metrics = LogMetrics::default();
    let (pipeline, problems) = read(yaml, &metrics);
    assert_eq!(problems, Vec::<String>::new(), "{yaml}");
    let batch = batch_of(input);
    let tenant = TenantId::default_tenant();
    let origin = Origin { tenant: &tenant, receiver: "test", now: NOW, steady: Duration::ZERO };
    let made = pipeline.process(&origin, Processed::untouched(Batch::Logs(batch.clone())));
    let made = match made {
        Ok(made) => made,
        Err(refusal) => return format!("refused: {refusal}"),
    };
    let Batch::Logs(kept) = &made.batch else { panic!("logs stay logs") };
    let rows: Vec<usize> = (0..kept.len()).map(|row| made.offered_row(row)).collect();
    let mut lines: Vec<String> = kept
        .rows()
        .zip(&rows)
        .map(|(row, before)| format!("< {}", show(&row, &batch.row(*before).unwrap())))
        .collect();
    let dropped: BTreeMap<_, _> = made.dropped().map(|(reason, count)| (reason.to_owned(), count)).collect();
    lines.extend(dropped.iter().map(|(reason, count)| format!("< dropped: {reason} {count}")));
    lines.join("\n")
}

#[track_caller]
fn check(yaml: &str, lines: &str) {
    let lines: Vec<&str> = lines.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let input: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("> ")).collect();
    let expect: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with('<')).collect();
    assert_eq!(outcome(yaml, &input), expect.join("\n"), "{yaml}");
}

#[track_caller]
fn refuse(yaml: &str, parts: &[&str]) {
    let told = read(yaml, &LogMetrics::default()).1.join("\n");
    parts.iter().for_each(|part| assert!(told.contains(part), "{part:?} is not in\n{told}"));
}

/// Each block of YAML in the page has a block of lines behind it, which must be true.
#[test]
fn the_examples_of_the_page_are_true() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/processors.md")).unwrap();
    let blocks: Vec<(&str, &str)> =
        page.split("\n```").skip(1).step_by(2).filter_map(|block| block.split_once('\n')).collect();
    let mut examples = 0;
    for pair in blocks.windows(2) {
        if let [("yaml", yaml), ("text", lines)] = pair {
            check(yaml, lines);
            examples += 1;
        }
    }
    assert!(examples >= 18, "{examples} examples were found");
    let unnamed: Vec<_> =
        crate::stage::KNOWN.iter().filter(|stage| !page.contains(&format!("- {stage}"))).collect();
    assert!(unnamed.is_empty(), "the page has no example of {unnamed:?}");
}

#[test]
fn geoip() {
    let stages = |rest: &str| {
        let rest = rest.replace("CITY", CITY).replace("ASN", ASN);
        format!("- regex: {{expression: '^(?P<ip>\\S+)'}}\n- geoip: {{source: ip, {rest}}}")
    };
    let london = "geoip_city_name=\"London\", geoip_continent_code=\"EU\", geoip_continent_name=\"Europe\", \
                  geoip_country_name=\"United Kingdom\", geoip_location_latitude=\"51.5142\", \
                  geoip_location_longitude=\"-0.0931\", geoip_subdivision_code=\"WBK\", \
                  geoip_subdivision_name=\"West Berkshire\", geoip_timezone=\"Europe/London\"";
    let city = stages("db: CITY, db_type: city");
    check(&city, &format!("> {{}} 81.2.69.142 x\n< {{{london}}} 81.2.69.142 x"));
    check(&city, &format!("> {{}} 2001:db8::1 x\n< {{{london}}} 2001:db8::1 x"));
    for unknown in ["81.2.70.1", "10.1.2.3", "127.0.0.1", "::1", "nobody", "81.2.69.142.5", "081.2.69.142"] {
        check(&city, &format!("> {{}} {unknown} x\n< {unknown} x"));
    }
    check(
        &stages("db: CITY, db_type: country"),
        "> {} 81.2.69.142 x\n< {geoip_continent_code=\"EU\", geoip_continent_name=\"Europe\", \
         geoip_country_code=\"GB\", geoip_country_name=\"United Kingdom\"} 81.2.69.142 x",
    );
    check(
        &stages("db: ASN, db_type: asn"),
        "> {} 81.2.69.142 x\n< {geoip_autonomous_system_number=\"64500\", \
         geoip_autonomous_system_organization=\"Example Networks\"} 81.2.69.142 x",
    );
    check(
        &stages(
            "db: ASN, db_type: asn, custom_lookups: {org: autonomous_system_organization, none: a.b, n: '[autonomous_system_number]'}",
        ),
        "> {} 81.2.69.142 x\n< {geoip_autonomous_system_number=\"64500\", \
         geoip_autonomous_system_organization=\"Example Networks\", n=\"[64500]\", org=\"Example Networks\"} 81.2.69.142 x",
    );
    refuse("- geoip: {}", &["geoip.source", "geoip.db_type", "geoip.db (line 1): is missing; name a file"]);
    refuse(
        "- geoip: {db: /none, source: ip, db_type: isp}",
        &["\"isp\" must be city, asn or country", "/none: cannot be read"],
    );
    refuse(
        &stages("db: CITY, db_type: asn"),
        &["does not go with /usr/share/GeoIP/GeoLite2-City.mmdb, which is a GeoLite2-City"],
    );
    refuse(&stages("db: ASN, db_type: city"), &["which is a GeoLite2-ASN"]);
    refuse(
        &stages("db: ASN, db_type: asn, custom_lookups: {1a: x, b: '['}, x: 1"),
        &["\"1a\" cannot be", "custom_lookups.b", "is not known"],
    );
}

#[test]
fn json() {
    let level = "- json: {expressions: {level: , id: req.id}}\n- labels: {level: , id: }";
    check(level, "> {} {\"x\":1}\n< {\"x\":1}");
    check(
        level,
        "> {} {\"level\":\"warn\",\"req\":{\"id\":17}}\n< {id=\"17\", level=\"warn\"} {\"level\":\"warn\",\"req\":{\"id\":17}}",
    );
    check("- json: {expressions: {a: }}", "> {} not json\n< not json");
    check(
        "- json: {expressions: {a: }, drop_malformed: true}",
        "> {} x\n> {} [1]\n> {} {}\n< {}\n< dropped: malformed_json 2",
    );
    check(
        "- json: {expressions: {inner: }}\n- json: {expressions: {n: a.n}, source: inner}\n- labels: {n: }",
        "> {} {\"inner\":\"{\\\"a\\\":{\\\"n\\\":5}}\"}\n< {n=\"5\"} {\"inner\":\"{\\\"a\\\":{\\\"n\\\":5}}\"}",
    );
    check(
        "- json: {expressions: {o: , n: , b: , f: }}\n- structured_metadata: {o: , n: , b: , f: }",
        "> {} {\"o\":{\"x\":[1]},\"n\":12345678901234567,\"b\":true,\"f\":1.50}\n\
         < (b=\"true\", f=\"1.5\", n=\"12345678901234567\", o=\"{\"x\":[1]}\") {\"o\":{\"x\":[1]},\"n\":12345678901234567,\"b\":true,\"f\":1.50}",
    );
    // An expression that finds nothing takes away what a label had put there.
    check("- json: {expressions: {app: }}\n- labels: {copy: app}", "> {app=\"a\"} {}\n< {}");
    refuse("- json: {}", &["pipeline[0].json.expressions (line 1): is missing"]);
    refuse(
        "- json: {expressions: {a: 'x['}, sauce: x}",
        &[
            "pipeline[0].json.expressions.a",
            "pipeline[0].json.sauce (line 1): is not known; known are expressions",
        ],
    );
    refuse("- json: {expressions: {a: }, source: ''}", &["is empty; name an extracted field"]);
}

#[test]
fn logfmt_and_regex() {
    check(
        "- logfmt: {mapping: {level: , took: duration}}\n- labels: {level: }\n- structured_metadata: {took: }",
        "> {} level=info duration=\"5 ms\" x=1\n< {level=\"info\"} (took=\"5 ms\") level=info duration=\"5 ms\" x=1",
    );
    check(
        "- regex: {expression: '^(?P<verb>\\w+) (?P<path>\\S+)( (?P<rest>.*))?$'}\n- labels: {verb: , rest: }",
        "> {} GET /a\n> {} x\n< {verb=\"GET\"} GET /a\n< x",
    );
    check(
        "- regex: {expression: '(?P<a>\\d+)', labels_from_groups: true}",
        "> {} order 17\n< {a=\"17\"} order 17",
    );
    check(
        "- regex: {expression: '/(?P<first>[^/]+)/', source: filename}\n- labels: {first: }",
        "> {filename=\"/var/log/x\"} l\n< {filename=\"/var/log/x\", first=\"var\"} l",
    );
    refuse(
        "- regex: {expression: '('}\n- regex: {}",
        &["pipeline[0].regex.expression", "pipeline[1].regex.expression"],
    );
    refuse("- logfmt: {}", &["pipeline[0].logfmt.mapping"]);
}

#[test]
fn replace() {
    check(
        "- replace: {expression: 'password (\\S+)', replace: '****'}",
        "> {} password a, password b\n< password **** password ****",
    );
    check(
        "- replace: {expression: '(?P<ip>\\d+\\.\\d+\\.\\d+\\.\\d+) (\\S+)', replace: '{{ .Value | ToUpper | printf \"<%s>\" }}'}\n- labels: {ip: }",
        "> {} 1.2.3.4 bob and 5.6.7.8 eve\n< {ip=\"<1.2.3.4>\"} <1.2.3.4> <BOB> and <5.6.7.8> <EVE>",
    );
    check("- replace: {expression: 'x', replace: y}", "> {} axb\n< axb");
    check("- replace: {expression: '(a(b))', replace: z}", "> {} ab-ab\n< z-z");
    check("- replace: {expression: '(a)(b)', replace: z}", "> {} ab\n< zz");
    check("- replace: {expression: '( gone)', replace: ''}", "> {} here gone\n< here");
    check(
        "- replace: {source: app, expression: '^(.)', replace: 'X'}\n- labels: {app: }",
        "> {app=\"abc\"} l\n< {app=\"Xbc\"} l",
    );
    refuse("- replace: {expression: 'a', replace: '{{ nope }}'}", &["pipeline[0].replace.replace", "nope"]);
}

#[test]
fn template_output_and_pack() {
    check(
        "- template: {source: new, template: 'hi {{ .app }}: {{ .Entry }}'}\n- output: {source: new}",
        "> {app=\"a\"} x\n< hi a: x",
    );
    check(
        "- template: {source: app, template: '{{ if eq .Value \"a\" }}first{{ else }}{{ .Value }}{{ end }}'}\n- labels: {app: }",
        "> {app=\"a\"} x\n> {app=\"b\"} x\n< {app=\"first\"} x\n< x",
    );
    check(
        "- template: {source: app, template: '{{ if .nope }}x{{ end }}'}\n- labels: {copy: app}",
        "> {app=\"a\"} x\n< x",
    );
    check(
        "- template: {source: a, template: '{{ .nope }}'}\n- labels: {a: }",
        "> {} x\n< {a=\"<no value>\"} x",
    );
    check("- output: {source: nope}", "> {} x\n< x");
    check(
        "- pack: {labels: [app, nope], ingest_timestamp: false}",
        "> {app=\"a\", job=\"j\"} say \"x\"\n< {job=\"j\"} {\"app\":\"a\",\"_entry\":\"say \\\"x\\\"\"}",
    );
    check("- pack: {labels: []}", "> {} @2026-01-01T00:00:00Z x\n< @2026-01-15T12:00:00Z {\"_entry\":\"x\"}");
    refuse(
        "- template: {template: x}\n- output: {}",
        &["pipeline[0].template.source", "pipeline[1].output.source"],
    );
}

#[test]
fn labels() {
    check("- static_labels: {env: prod, none: }", "> {app=\"a\"} x\n< {app=\"a\", env=\"prod\"} x");
    check("- labeldrop: [app, nope]", "> {app=\"a\", job=\"j\"} x\n< {job=\"j\"} x");
    check("- labelallow: [job]", "> {app=\"a\", job=\"j\"} x\n< {job=\"j\"} x");
    check("- structured_metadata: {user: app}\n- labeldrop: [app]", "> {app=\"a\"} x\n< {} (user=\"a\") x");
    check("- decolorize: {}", "> {} \u{1b}[31mred\u{1b}[0m\n< red");
    refuse(
        "- labels: {\"a.b\": x}\n- static_labels: {1a: x}\n- labels: {}",
        &["\"a.b\" cannot be", "\"1a\" cannot be", "pipeline[2].labels (line 3): is empty"],
    );
    refuse("- labeldrop: {a: b}", &["must be a list of names"]);
}

#[test]
fn timestamp() {
    let stage =
        |more: &str| format!("- regex: {{expression: '^(?P<ts>\\S+)'}}\n- timestamp: {{source: ts, {more}}}");
    check(
        &stage("format: RFC3339"),
        "> {} 2026-01-02T03:04:05+01:00 x\n< @2026-01-02T02:04:05Z 2026-01-02T03:04:05+01:00 x",
    );
    check(&stage("format: UnixMs"), "> {} 1700000000123 x\n< @2023-11-14T22:13:20.123Z 1700000000123 x");
    check(
        &stage("format: Unix, fallback_formats: [RFC3339, UnixMs]"),
        "> {} 2026-01-02T03:04:05Z\n< @2026-01-02T03:04:05Z 2026-01-02T03:04:05Z",
    );
    check(
        &stage("format: '2006-01-02T15:04:05', location: America/New_York"),
        "> {} 2026-01-02T03:04:05\n< @2026-01-02T08:04:05Z 2026-01-02T03:04:05",
    );
    check(
        &stage("format: RFC3339"),
        "> {} 2026-01-02T03:04:05Z a\n> {} more\n> {} more\n> {app=\"b\"} more\n\
         < @2026-01-02T03:04:05Z 2026-01-02T03:04:05Z a\n< @2026-01-02T03:04:05.000000001Z more\n\
         < @2026-01-02T03:04:05.000000002Z more\n< more",
    );
    check(
        &stage("format: RFC3339, action_on_failure: skip"),
        "> {} 2026-01-02T03:04:05Z a\n> {} more\n< @2026-01-02T03:04:05Z 2026-01-02T03:04:05Z a\n< more",
    );
    refuse("- timestamp: {source: x}", &["pipeline[0].timestamp.format"]);
    refuse(
        "- timestamp: {source: x, format: Unix, location: Mars/Crater, action_on_failure: panic}",
        &["pipeline[0].timestamp.location", "must be skip or fudge"],
    );
}

#[test]
fn drop_and_match() {
    check("- drop: {expression: '^DEBUG'}", "> {} DEBUG x\n> {} INFO x\n< INFO x\n< dropped: drop_stage 1");
    check("- drop: {source: app}", "> {app=\"a\"} x\n> {} y\n< y\n< dropped: drop_stage 1");
    check(
        "- drop: {source: app, value: a, drop_counter_reason: test}",
        "> {app=\"a\"} x\n> {app=\"b\"} y\n< y\n< dropped: test 1",
    );
    check(
        "- drop: {source: [app, job], value: 'a;j'}",
        "> {app=\"a\", job=\"j\"} x\n> {app=\"a\"} y\n< y\n< dropped: drop_stage 1",
    );
    check(
        "- drop: {source: [app, job], separator: '-', expression: '^a-j$'}",
        "> {app=\"a\", job=\"j\"} x\n< dropped: drop_stage 1",
    );
    check("- drop: {source: nope, expression: '.*'}", "> {} x\n< x");
    check("- drop: {longer_than: 3}", "> {} abcd\n> {} abc\n< abc\n< dropped: drop_stage 1");
    check(
        "- drop: {older_than: 24h}",
        "> {} @2026-01-14T11:59:59Z x\n> {} @2026-01-14T12:00:00Z y\n< y\n< dropped: drop_stage 1",
    );
    check(
        "- drop: {longer_than: 3, expression: b}",
        "> {} abcd\n> {} acd\n> {} ab\n< acd\n< ab\n< dropped: drop_stage 1",
    );
    check(
        "- match: {selector: '{app=\"a\"} |= \"noise\"', action: drop}",
        "> {app=\"a\"} noise\n> {app=\"a\"} x\n> {app=\"b\"} noise\n< x\n< noise\n< dropped: match_stage 1",
    );
    check(
        "- match:\n    selector: '{app=~\"a|b\"}'\n    stages:\n    - static_labels: {hit: y}\n    - match: {selector: '{hit=\"y\"} | json | n > 4', stages: [{drop: {expression: '.', drop_counter_reason: inner}}]}",
        "> {app=\"a\"} {\"n\":5}\n> {app=\"b\"} {\"n\":1}\n> {app=\"c\"} {\"n\":9}\n< {app=\"b\", hit=\"y\"} {\"n\":1}\n< {\"n\":9}\n< dropped: inner 1",
    );
    check("- match: {selector: '{app=~\".*\"}', action: drop}", "> {} x\n< dropped: match_stage 1");
    refuse(
        "- drop: {}\n- drop: {value: x}\n- drop: {source: a, value: x, expression: y}",
        &["at least one of source", "needs source", "cannot stand beside expression"],
    );
    refuse(
        "- match: {selector: '{app='}\n- match: {selector: '{a=\"b\"}', action: hide}\n- match: {selector: '{a=\"b\"}', action: drop, stages: []}",
        &["is not a LogQL selector", "must be keep or drop", "cannot stand beside action"],
    );
    refuse(
        "- match: {selector: '{a=\"b\"}', stages: [{json: {}}]}",
        &["pipeline[0].match.stages[0].json.expressions"],
    );
}

#[test]
fn limit_and_sampling() {
    check(
        "- limit: {rate: 1, burst: 2, drop: true}",
        "> {} a\n> {} b\n> {} c\n< a\n< b\n< dropped: ratelimit_drop_stage 1",
    );
    check(
        "- limit: {rate: 1, burst: 1, drop: true, by_label_name: app}",
        "> {app=\"a\"} 1\n> {app=\"a\"} 2\n> {app=\"b\"} 3\n> {} 4\n> {} 5\n< 1\n< 3\n< 4\n< 5\n< dropped: ratelimit_drop_stage 1",
    );
    check("- limit: {rate: 1, burst: 2}", "> {} a\n> {} b\n> {} c\n< a\n< b\n< c");
    check("- sampling: {rate: 0}", "> {} a\n< dropped: sampling_stage 1");
    check("- sampling: {rate: 1}", "> {} a\n< a");
    refuse(
        "- limit: {rate: 0}\n- limit: {rate: 1, burst: 1, by_label_name: a}\n- sampling: {rate: 2}",
        &["pipeline[0].limit.rate", "pipeline[0].limit.burst", "must be true with by_label_name", "from 0"],
    );
}

#[test]
fn a_limit_that_waits_makes_the_next_batch_come_again() {
    let metrics = LogMetrics::default();
    let (pipeline, _) = read("- limit: {rate: 1, burst: 2}", &metrics);
    let tenant = TenantId::default_tenant();
    let at = |seconds| {
        let origin = Origin { tenant: &tenant, receiver: "", now: NOW, steady: Duration::from_secs(seconds) };
        pipeline
            .process(&origin, Processed::untouched(Batch::Logs(batch_of(&["{} a", "{} b", "{} c"]))))
            .is_ok()
    };
    assert_eq!([at(0), at(1), at(3)], [true, false, true]);
}

#[test]
fn wrappings() {
    check(
        "- docker: {}",
        "> {} {\"log\":\"hi\\u000a\",\"stream\":\"stderr\",\"time\":\"2026-01-02T03:04:05.6Z\"}\n< {stream=\"stderr\"} @2026-01-02T03:04:05.6Z hi",
    );
    check(
        "- cri: {}",
        "> {} 2026-01-02T03:04:05.6Z stdout F the  line\n> {} no\n< {stream=\"stdout\"} @2026-01-02T03:04:05.6Z the  line\n< no",
    );
    check(
        "- multiline: {firstline: '^\\d'}",
        "> {} 1 a\n> {} at x\n> {app=\"b\"} lone\n> {} 2 b\n> {} at y\n< 1 a\\nat x\n< lone\n< 2 b\\nat y",
    );
    check("- multiline: {firstline: '^\\d', max_lines: 2}", "> {} 1\n> {} a\n> {} b\n< 1\\na\n< b");
    refuse(
        "- json: {expressions: {a: }}\n- multiline: {firstline: x}",
        &["pipeline[1].multiline (line 2): works only as the first stage"],
    );
    refuse("- multiline: {}", &["pipeline[0].multiline.firstline"]);
}

#[test]
fn metrics() {
    let yaml = "
- json: {expressions: {took: , code: }}
- metrics:
    lines_total: {type: Counter, description: all, prefix: my_, config: {match_all: true, action: inc}}
    bytes_total: {type: Counter, config: {match_all: true, count_entry_bytes: true, action: add}}
    errors_total: {type: Counter, source: code, config: {value: '500', action: inc}}
    took_seconds: {type: Histogram, source: took, config: {buckets: [0.1, 1]}}
    last: {type: Gauge, source: took, config: {action: set}}";
    let metrics = LogMetrics::default();
    let (pipeline, problems) = read(yaml, &metrics);
    assert_eq!(problems, Vec::<String>::new());
    let tenant = TenantId::default_tenant();
    let origin = Origin { tenant: &tenant, receiver: "", now: NOW, steady: Duration::ZERO };
    let input = ["{app=\"a\"} {\"took\":\"50ms\",\"code\":500}", "{app=\"a\"} {\"took\":2,\"code\":200}"];
    let made = pipeline.process(&origin, Processed::untouched(Batch::Logs(batch_of(&input)))).unwrap();
    assert!(metrics.families(Duration::ZERO).is_empty(), "nothing is durable yet");
    made.settle();
    let text = kenning_pipeline::telemetry::text(&metrics.families(Duration::from_secs(1)));
    for line in [
        "# HELP my_lines_total all",
        "my_lines_total{app=\"a\"} 2",
        "promtail_custom_bytes_total{app=\"a\"} 47",
        "promtail_custom_errors_total{app=\"a\"} 1",
        "promtail_custom_took_seconds_bucket{app=\"a\",le=\"0.1\"} 1",
        "promtail_custom_took_seconds_sum{app=\"a\"} 2.05",
        "promtail_custom_last{app=\"a\"} 2",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(metrics.families(Duration::from_secs(300)).is_empty(), "idle series go");
}

#[test]
fn metrics_that_cannot_be_made() {
    refuse(
        "- metrics: {a: {type: Summary, config: {action: inc}}}",
        &["pipeline[0].metrics.a.type", "counter, gauge or histogram"],
    );
    refuse("- metrics: {a: {type: Counter, config: {action: set}}}", &["must be inc or add"]);
    refuse(
        "- metrics: {a: {type: Counter, max_idle_duration: 10ms, config: {action: inc, match_all: true, value: x}}}",
        &["at least 1s", "cannot stand beside match_all"],
    );
    refuse("- metrics: {a: {type: Histogram, config: {buckets: [2, 1]}}}", &["each above the one before"]);
    refuse("- metrics: {'a b': {type: Gauge, config: {action: set}}}", &["cannot be a metric's name"]);
}

#[test]
fn stages_that_do_not_work_are_named() {
    refuse(
        "- tenant: {value: x}\n- nope: {}\n- {a: 1, b: 2}\n- 5",
        &[
            "pipeline[0].tenant (line 1): does not work: records belong to the tenant",
            "pipeline[1].nope (line 2): does not work: is not a stage; stages that work are cri, decolorize",
            "pipeline[2] (line 3): must be a mapping of one stage's name",
            "pipeline[3]",
        ],
    );
    refuse("json: {}", &["must be a list of stages"]);
}

#[test]
fn levels_that_stages_find_become_severities() {
    let (pipeline, _) =
        read("- regex: {expression: '^(?P<level>\\w+)'}\n- labels: {level: }", &LogMetrics::default());
    let tenant = TenantId::default_tenant();
    let origin = Origin { tenant: &tenant, receiver: "", now: NOW, steady: Duration::ZERO };
    let made =
        pipeline.process(&origin, Processed::untouched(Batch::Logs(batch_of(&["{} WARNING x"])))).unwrap();
    let Batch::Logs(batch) = made.batch else { panic!("logs stay logs") };
    assert_eq!((batch.severity[0], batch.metadata[0].get("detected_level")), (Severity::WARN, "warn"));
}

proptest! {
    /// Stages that drop nothing keep every line, in its order; and nothing panics.
    #[test]
    fn lines_keep_their_order(lines in proptest::collection::vec("[ -~äß\\n\\x1b]{0,40}", 0..20)) {
        let yaml = "
- json: {expressions: {level: , b: 'a[0] || b'}}
- logfmt: {mapping: {level: , x: }}
- regex: {expression: '(?P<w>\\w+)'}
- template: {source: t, template: '{{ .w | ToUpper }}{{ .Entry }}'}
- replace: {source: t, expression: '(\\d+)', replace: '{{ .Value }}0'}
- labels: {level: }
- structured_metadata: {w: }
- timestamp: {source: x, format: RFC3339}
- decolorize: {}";
        let (pipeline, _) = read(yaml, &LogMetrics::default());
        let input: Vec<String> = lines.iter().enumerate().map(|(n, line)| format!("{{n=\"{n}\"}} .{line}")).collect();
        let batch = batch_of(&input.iter().map(String::as_str).collect::<Vec<_>>());
        let tenant = TenantId::default_tenant();
        let origin = Origin { tenant: &tenant, receiver: "", now: NOW, steady: Duration::ZERO };
        let made = pipeline.process(&origin, Processed::untouched(Batch::Logs(batch.clone()))).unwrap();
        let Batch::Logs(made) = made.batch else { panic!("logs stay logs") };
        let order: Vec<&str> = made.rows().map(|row| row.stream.get("n")).collect();
        let expect: Vec<String> = (0..lines.len()).map(|n| n.to_string()).collect();
        prop_assert_eq!(order, expect);
    }

    /// No configuration panics, however its words are mixed.
    #[test]
    fn no_configuration_panics(
        stage in "json|regex|replace|template|labels|drop|match|limit|metrics|timestamp|pack|multiline|nope",
        field in "expressions|expression|source|stages|selector|rate|config|template|format|labels|value",
        value in "\\[\\]|\\{\\}|x|''|'\\('|5|\\[a, \\{b: c\\}\\]|\\{a: \\[1\\]\\}|~",
    ) {
        let yaml = format!("- {stage}: {{{field}: {value}}}");
        let (pipeline, _) = read(&yaml, &LogMetrics::default());
        let tenant = TenantId::default_tenant();
        let origin = Origin { tenant: &tenant, receiver: "", now: NOW, steady: Duration::ZERO };
        let _ = pipeline.process(&origin, Processed::untouched(Batch::Logs(batch_of(&["{a=\"b\"} x=1"]))));
    }
}
