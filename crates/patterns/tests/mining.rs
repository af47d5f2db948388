//! Templates of made-up and of real logs.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;

use kenning_model::{LabelSet, LogBatch, Millis, Nanos, Severity, SpanId, TenantId, TimeRange, TraceId};
use kenning_patterns::{Asked, Miner, Options, PatternRow};
use proptest::prelude::*;

const SECOND: i64 = 1_000_000_000;

fn batch<'a>(app: &str, lines: impl IntoIterator<Item = (i64, &'a str)>) -> LogBatch {
    let mut batch = LogBatch::default();
    batch.streams.push(LabelSet::from_pairs([("app", app)]));
    for (second, line) in lines {
        batch.stream.push(0);
        batch.time.push(Nanos(second * SECOND));
        batch.severity.push(Severity::INFO);
        batch.trace_id.push(TraceId::NONE);
        batch.span_id.push(SpanId::NONE);
        batch.line.push(line);
    }
    batch
}

fn tenant() -> TenantId {
    TenantId::parse("t").expect("a tenant")
}

fn all() -> Asked {
    Asked {
        time: TimeRange::from_millis(Millis(i64::MIN / 2_000_000), Millis(i64::MAX / 2_000_000)),
        step_nanos: 60 * SECOND,
    }
}

fn mined(lines: &[&str], options: Options) -> Vec<PatternRow> {
    let mut miner = Miner::new(options);
    miner.feed(&tenant(), &batch("a", lines.iter().map(|line| (0, *line))), 1);
    miner.patterns(&tenant(), |_| true, all())
}

/// The definition of a line filter with a pattern, for patterns whose captures are all `<_>`: literals in order, the
/// first at the start, the last at the end.
fn matches(pattern: &str, line: &str) -> bool {
    let literals: Vec<&str> = pattern.split("<_>").collect();
    let [first, middle @ .., last] = literals.as_slice() else { return pattern == line };
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    for literal in middle {
        let Some(at) = rest.find(literal) else { return false };
        rest = &rest[at + literal.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn templates() {
    let check = |lines: &[&str], expect: &[(&str, u64)]| {
        let rows = mined(lines, Options::default());
        let found: Vec<(&str, u64)> = rows.iter().map(|row| (row.pattern.as_str(), row.lines)).collect();
        assert_eq!(found, expect, "{lines:?}");
    };
    check(&["took 5ms", "took 7ms"], &[("took <_>", 2)]);
    check(&["user anna logged in", "user bob logged in"], &[("user <_> logged in", 2)]);
    check(
        &[r#"{"level":"info","msg":"order 1 placed"}"#, r#"{"msg":"order 2 placed","level":"info"}"#],
        &[(r#"<_>"msg":"order <_> placed"<_>"#, 2)],
    );
    check(&["alpha beta", "gamma delta"], &[("alpha beta", 1), ("gamma delta", 1)]);
    check(&["kind <none> of 3", "kind <none> of 4"], &[("kind <_> of <_>", 2)]);
    check(&["level=info took=3 path=/a", "level=info took=9 path=/a"], &[("level=info took=<_> path=/a", 2)]);
    check(&[""], &[("", 1)]);
}

#[test]
fn long_lines_end_in_a_hole() {
    let options = Options { message_bytes: 12, words: 3, ..Options::default() };
    let pattern = |line: &str| mined(&[line], options)[0].pattern.clone();
    assert_eq!(pattern("one two three four"), "one two <_>");
    assert_eq!(pattern("a b c d"), "a b c <_>");
    assert_eq!(pattern("ééééééééééééééé"), "<_>");
}

#[test]
fn counts_by_step_and_what_is_new() {
    let mut miner = Miner::new(Options::default());
    miner.feed(&tenant(), &batch("a", [(5, "up 1"), (65, "up 2"), (66, "up 3"), (3, "up 4")]), 1);
    miner.feed(&tenant(), &batch("b", [(130, "down"), (131, "up 5")]), 1);
    let rows = miner.patterns(&tenant(), |_| true, all());
    assert_eq!(rows[0].pattern, "up <_>");
    let minutes: Vec<_> = rows[0].samples.iter().map(|(at, count)| (at.0 / SECOND, *count)).collect();
    assert_eq!(minutes, [(0, 2), (60, 2), (120, 1)]);
    assert_eq!(rows[1].first_seen, Nanos(130 * SECOND));
    let only_b = miner.patterns(&tenant(), |labels| labels.get("app") == "b", all());
    assert_eq!(only_b.iter().map(|row| row.lines).sum::<u64>(), 2);
    assert!(miner.patterns(&TenantId::parse("other").expect("a tenant"), |_| true, all()).is_empty());
}

#[test]
fn a_stride_keeps_totals() {
    let mut miner = Miner::new(Options::default());
    miner.feed(&tenant(), &batch("a", (0..10).map(|second| (second, "same"))), 4);
    assert_eq!(miner.patterns(&tenant(), |_| true, all())[0].lines, 10);
}

#[test]
fn limits_hold() {
    let few = Options { templates: 3, streams: 2, bytes: 20_000, ..Options::default() };
    let mut miner = Miner::new(few);
    let mut left_out = 0;
    for round in 0..2000_i64 {
        let line = format!(
            "{} only once",
            ["a", "b", "c", "d", "e"].map(|letter| letter.repeat(1 + round as usize % 7)).join("-")
        );
        let app = ["one", "two", "three"][round as usize % 3];
        left_out += miner.feed(&tenant(), &batch(app, [(round * 20, line.as_str())]), 1).too_many_streams;
        assert!(miner.bytes() < 21_000, "{} bytes", miner.bytes());
    }
    assert_eq!(left_out, 666);
}

/// Share of lines whose group, as mined, is exactly their group by the templates that people wrote (He's "grouping
/// accuracy").
#[test]
fn groups_of_real_logs() {
    let corpus = std::env::var_os("KENNING_CORPUS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"),
        PathBuf::from,
    );
    let logs = corpus.join("logql/logs/loghub");
    if !logs.is_dir() {
        eprintln!("SKIPPED: grouping of real logs; the corpus is not at {}", corpus.display());
        return;
    }
    let (mut sets, mut sum) = (0, 0.0);
    let mut names: Vec<_> =
        std::fs::read_dir(&logs).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    names.sort();
    for dir in names {
        let name = dir.file_name().expect("a name").to_string_lossy().into_owned();
        let bytes = std::fs::read(dir.join(format!("{name}_2k.log"))).expect("a log");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let rows =
            mined(&text.lines().collect::<Vec<_>>(), Options { templates: 2000, ..Options::default() });
        for line in text.lines() {
            assert!(rows.iter().any(|row| matches(&row.pattern, line)), "{name}: no pattern for {line}");
        }
        let templates =
            corpus.join(format!("logql/logs/loghub-templates/{name}/{name}_2k.log_templates.csv"));
        let truth = std::fs::read(templates).expect("templates");
        let accuracy = accuracy(&text, &rows, &String::from_utf8_lossy(&truth));
        println!("{name}: {} patterns, grouping accuracy {accuracy:.3}", rows.len());
        sets += 1;
        sum += accuracy;
    }
    let mean = sum / f64::from(sets);
    println!("mean {mean:.3}");
    assert!(mean > 0.7, "{mean}");
}

fn accuracy(text: &str, rows: &[PatternRow], csv: &str) -> f64 {
    // A template is the text after the first comma; longer ones are tried first, since they are the more special ones.
    let mut templates: Vec<String> =
        csv.lines().skip(1).filter_map(|line| Some(unquoted(line.split_once(',')?.1))).collect();
    templates.sort_by_key(|template| std::cmp::Reverse(template.replace("<*>", "").len()));
    let mut by_size: Vec<&PatternRow> = rows.iter().collect();
    by_size.sort_by_key(|row| std::cmp::Reverse(row.pattern.replace("<_>", "").len()));
    let lines: Vec<&str> = text.lines().collect();
    let truth: Vec<_> = lines
        .iter()
        .map(|line| {
            templates.iter().position(|template| {
                matches(&format!("<_>{}", template.replace("<*>", "<_>")), line.trim_end())
            })
        })
        .collect();
    let mined: Vec<_> =
        lines.iter().map(|line| by_size.iter().position(|row| matches(&row.pattern, line))).collect();
    let group = |of: &[Option<usize>], which: Option<usize>| -> Vec<usize> {
        of.iter().enumerate().filter(|(_, own)| **own == which).map(|(index, _)| index).collect()
    };
    let right = (0..lines.len())
        .filter(|line| truth[*line].is_some() && group(&truth, truth[*line]) == group(&mined, mined[*line]));
    right.count() as f64 / truth.iter().flatten().count() as f64
}

fn unquoted(field: &str) -> String {
    match field.strip_prefix('"').and_then(|inner| inner.trim_end().strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => field.trim_end().to_owned(),
    }
}

proptest! {
    #[test]
    fn every_line_matches_its_template_and_the_filter_takes_it(lines in proptest::collection::vec("[ab1 =<>_\"\\\\{:é]{0,24}", 1..20)) {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let rows = mined(&lines, Options { words: 5, message_bytes: 16, ..Options::default() });
        prop_assert_eq!(rows.iter().map(|row| row.lines).sum::<u64>(), lines.len() as u64);
        for line in lines {
            prop_assert!(rows.iter().any(|row| matches(&row.pattern, line)), "{line:?} {rows:?}");
        }
        for row in rows.iter().filter(|row| !row.pattern.is_empty()) {
            let query = format!("{{a=\"b\"}} |> {:?}", row.pattern);
            prop_assert!(kenning_logql::parse(&query).is_ok(), "{query}");
        }
    }
}
