//! Runs scripts in the language of Loki's declarative suite (`*.logqltest`), each evaluation against the in-memory store:
//! that suite, and our own scripts, whose language also has log queries (`eval logs`, see `docs/logql.md`).

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a missing corpus and the counts must be seen")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use kenning_logql::{RangeParams, Value, instant, merged, range};
use kenning_model::{
    Batch, BatchId, LabelSet, LogBatch, LogRow, Nanos, Severity, SpanId, Store, TenantId, TraceId, Write,
};
use kenning_query::{MemoryStore, QueryContext, QueryError};

/// Evaluations that still differ, as `file:line`, with the reason. The list may only shrink.
const KNOWN_FAILURES: &[(&str, &str)] = &[];

/// Scripts count time from here; any instant will do.
const EPOCH: i64 = 1_700_000_000_000_000_000;

fn corpus() -> Option<PathBuf> {
    let root = std::env::var("KENNING_CORPUS")
        .map_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"), PathBuf::from);
    let folder = root.join("logql/logqltest");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: the logqltest suite; {} is missing", folder.display());
    None
}

#[test]
fn logqltest_scripts() {
    if let Some(folder) = corpus() {
        run_folder(&folder, KNOWN_FAILURES);
    }
}

#[test]
fn our_scripts() {
    run_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts"), &[]);
}

fn run_folder(folder: &Path, known_failures: &[(&str, &str)]) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "logqltest"))
        .collect();
    files.sort();
    let (mut passed, mut failed) = (0, BTreeMap::new());
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        Script::new(&std::fs::read_to_string(&file).unwrap()).run(|line, result| match result {
            Ok(()) => passed += 1,
            Err(why) => drop(failed.insert(format!("{name}:{line}"), why)),
        });
    }
    let known = |place: &String| known_failures.iter().any(|(known, _)| known == place);
    let news: Vec<_> = failed.iter().filter(|(place, _)| !known(place)).collect();
    let report = news.iter().fold(String::new(), |mut out, (place, why)| {
        let _ = writeln!(out, "{place}: {why}");
        out
    });
    println!("{}: {passed} passed, {} failed", folder.display(), failed.len());
    assert!(passed > 0);
    assert!(news.is_empty(), "{} new failures\n{report}", news.len());
    for (place, _) in known_failures {
        assert!(failed.contains_key(*place), "{place} passes now; take it off the list");
    }
}

struct Script<'s> {
    lines: Vec<&'s str>,
    store: MemoryStore,
    batches: u64,
}

fn without_comment(line: &str) -> &str {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') => return line.get(..at).unwrap_or(""),
            (None, '"' | '`') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    line
}

impl<'s> Script<'s> {
    fn new(text: &'s str) -> Self {
        Self { lines: text.lines().map(without_comment).collect(), store: MemoryStore::new(), batches: 0 }
    }

    fn block(&self, from: usize) -> Vec<&'s str> {
        let indented = |line: &&&str| line.starts_with([' ', '\t']) && !line.trim().is_empty();
        // Comments may stand between the lines of a block.
        self.lines[from..].iter().take_while(indented).copied().collect()
    }

    fn run(mut self, mut report: impl FnMut(usize, Result<(), String>)) {
        let mut at = 0;
        while at < self.lines.len() {
            let line = self.lines[at].trim();
            let block = self.block(at + 1);
            match line.split_whitespace().next() {
                Some("clear") => self.store = MemoryStore::new(),
                Some("load") => {
                    let mut rest = at + 1;
                    // A comment line inside a load block is blank by now and must not end it.
                    while rest < self.lines.len()
                        && (self.lines[rest].starts_with([' ', '\t']) || self.lines[rest].is_empty())
                    {
                        if !self.lines[rest].trim().is_empty() {
                            self.load(self.lines[rest].trim());
                        }
                        rest += 1;
                    }
                    at = rest;
                    continue;
                }
                Some("eval") => report(at + 1, self.eval(line, &block)),
                _ => {}
            }
            at += 1;
        }
    }

    fn load(&mut self, line: &str) {
        let close = line.find('}').unwrap() + 1;
        let labels = labels(&line[1..close - 1]);
        let rest = line[close..].trim();
        let quote = rest.chars().next().unwrap();
        let end = rest[1..].find(quote).unwrap() + 1;
        let (text, rest) = (&rest[1..end], rest[end + 1..].trim());
        let rest = rest.strip_prefix('@').unwrap().trim();
        let (start, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let (mut step, mut count, mut metadata) = (0, 1, LabelSet::empty());
        while let Some(open) = rest.find('[') {
            let close = rest.find(']').unwrap();
            let option = &rest[open + 1..close];
            if let Some(repeat) = option.strip_prefix("repeat every ") {
                let (every, times) = repeat.split_once(" for ").unwrap();
                (step, count) = (duration(every.trim()), times.trim().parse().unwrap());
            } else if let Some(pairs) = option.strip_prefix("metadata ") {
                metadata = self::labels(pairs);
            }
            rest = &rest[close + 1..];
        }
        let mut batch = LogBatch::default();
        let stream = batch.add_stream(labels.clone());
        for i in 0..count {
            let line = text.replace("{{.i}}", &i.to_string());
            batch.push(
                stream,
                LogRow {
                    stream: &labels,
                    time: Nanos(EPOCH + duration(start) + i * step),
                    severity: Severity::UNKNOWN,
                    trace_id: TraceId::NONE,
                    span_id: SpanId::NONE,
                    line: &line,
                    metadata: &metadata,
                },
            );
        }
        self.batches += 1;
        let write = Write {
            id: BatchId(self.batches),
            tenant: TenantId::default_tenant(),
            batch: Batch::Logs(batch),
        };
        self.store.write(&[write]).unwrap();
    }

    fn eval(&self, line: &str, block: &[&str]) -> Result<(), String> {
        let ctx = QueryContext::new(TenantId::default_tenant());
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |n: usize| {
            let mut rest = line;
            for _ in 0..n {
                rest = rest.trim_start();
                rest = &rest[rest.find(char::is_whitespace).unwrap()..];
            }
            rest.trim()
        };
        let at = |text: &str| Nanos(EPOCH + duration(text));
        if words[1] == "logs" {
            return self.eval_logs(line, block);
        }
        if words[1] == "instant" {
            let answer = instant(&self.store, &ctx, after(4), at(words[3]), 100, true);
            return check(answer.map(|answer| answer.value), block, None);
        }
        let (start, end, step_ns) = (at(words[3]), at(words[5]), duration(words[7]));
        let params = RangeParams { start, end, step_ns, limit: 100, forward: true, interval_ns: 0 };
        let answer = range(&self.store, &ctx, after(8), &params);
        check(answer.map(|answer| answer.value), block, Some((start, end, step_ns)))
    }
}

impl Script<'_> {
    /// `eval logs from 0s to 10s [limit N] [backward] QUERY`, then a line `TIME {all labels} "text"` for each line of
    /// the answer in its order.
    fn eval_logs(&self, line: &str, block: &[&str]) -> Result<(), String> {
        let rest = line.strip_prefix("eval logs from ").unwrap();
        let (start, rest) = rest.split_once(" to ").unwrap();
        let (end, mut query) = rest.split_once(' ').unwrap();
        let at = |text: &str| Nanos(EPOCH + duration(text));
        let (mut limit, mut forward) = (100, true);
        if let Some((n, rest)) = query.strip_prefix("limit ").and_then(|rest| rest.split_once(' ')) {
            (limit, query) = (n.parse().unwrap(), rest);
        }
        if let Some(rest) = query.strip_prefix("backward ") {
            (forward, query) = (false, rest);
        }
        let params =
            RangeParams { start: at(start), end: at(end), step_ns: 1, limit, forward, interval_ns: 0 };
        let ctx = QueryContext::new(TenantId::default_tenant());
        let answer = range(&self.store, &ctx, query, &params).map(|answer| answer.value);
        if let Some(expectation) = block.first().and_then(|line| line.trim().strip_prefix("expect fail")) {
            return check_failure(answer, expectation.trim());
        }
        let Value::Streams(streams) = answer.map_err(|error| format!("failed: {error}"))? else {
            return Err("no lines".into());
        };
        let mut got: Vec<(i64, LabelSet, String)> = merged(streams, forward)
            .into_iter()
            .flat_map(|(labels, entries)| {
                entries.into_iter().map(move |entry| (entry.time.0 - EPOCH, labels.clone(), entry.line))
            })
            .collect();
        let key =
            |entry: &(i64, LabelSet, String)| (if forward { entry.0 } else { -entry.0 }, entry.1.clone());
        got.sort_by_key(key);
        let want: Vec<_> = block.iter().map(|line| expected_line(line.trim())).collect();
        if got == want { Ok(()) } else { Err(format!("got {got:#?}\n    want {want:#?}")) }
    }
}

/// `1s {a="b"} "text"`
fn expected_line(line: &str) -> (i64, LabelSet, String) {
    let (time, rest) = line.split_once(' ').unwrap();
    let close = rest.find(if rest.contains("} ") { "} " } else { "}" }).unwrap();
    let text = rest[close + 1..].trim();
    (duration(time), labels(&rest[1..close]), text[1..text.len() - 1].to_owned())
}

/// `a="x", b="y"`, separated by commas or spaces.
fn labels(text: &str) -> LabelSet {
    let mut builder = LabelSet::empty().to_builder();
    let mut rest = text.trim();
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start().strip_prefix('"').unwrap();
        let (value, tail) = after.split_once('"').unwrap();
        builder.set(name.trim().trim_matches('"'), value);
        rest = tail.trim_start_matches([',', ' ']);
    }
    builder.build_with_empty()
}

fn duration(text: &str) -> i64 {
    let (mut total, mut rest) = (0.0, text);
    if rest == "0" {
        return 0;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-')).unwrap();
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |n| digits + n);
        let scale = match &rest[digits..unit_end] {
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            unit => panic!("unit {unit}"),
        };
        total += rest[..digits].parse::<f64>().unwrap() * scale;
        rest = &rest[unit_end..];
    }
    total as i64
}

fn number(text: &str) -> f64 {
    match text {
        "NaN" => f64::NAN,
        "+Inf" | "Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().unwrap_or_else(|_| panic!("number {text}")),
    }
}

/// `1 _ 2+3x2`
fn points(text: &str) -> Vec<Option<f64>> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        let Some((head, count)) = word.split_once('x').filter(|(_, n)| n.parse::<usize>().is_ok()) else {
            out.push((word != "_").then(|| number(word)));
            continue;
        };
        let sign = head[1..].find(['+', '-']).map(|at| at + 1);
        let (base, step) = sign.map_or((head, 0.0), |at| (&head[..at], number(&head[at..])));
        for i in 0..=count.parse::<usize>().unwrap() {
            out.push(Some(number(base) + step * i as f64));
        }
    }
    out
}

fn same(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-9 * b.abs().max(1e-12)
}

type Grid = Option<(Nanos, Nanos, i64)>;

fn check(answer: Result<Value, QueryError>, block: &[&str], grid: Grid) -> Result<(), String> {
    let lines: Vec<&str> =
        block.iter().map(|line| line.trim()).filter(|line| !line.starts_with("skip ")).collect();
    let first = lines.first().copied().ok_or("no expectation")?;
    if let Some(rest) = first.strip_prefix("expect fail") {
        return check_failure(answer, rest.trim());
    }
    let value = answer.map_err(|error| format!("failed: {error}"))?;
    let ordered = first == "expect ordered";
    let expected: Vec<&str> = lines.into_iter().filter(|line| !line.starts_with("expect ")).collect();
    let got: Vec<(LabelSet, Vec<Option<f64>>)> = match value {
        Value::Scalar(_, value) => {
            let want = number(expected[0]);
            return if same(value, want) { Ok(()) } else { Err(format!("{value}, want {want}")) };
        }
        Value::Vector(vector) => vector.into_iter().map(|(l, _, v)| (l, vec![Some(v)])).collect(),
        Value::Matrix(matrix) => {
            let (start, end, step) = grid.unwrap();
            let steps = (end.0 - start.0) / step + 1;
            let time = |k: i64| Nanos(start.0 + k * step).to_millis();
            let at = |points: &[(kenning_model::Millis, f64)], k: i64| {
                points.iter().find(|(t, _)| *t == time(k)).map(|(_, v)| *v)
            };
            matrix.into_iter().map(|(l, points)| (l, (0..steps).map(|k| at(&points, k)).collect())).collect()
        }
        Value::Streams(_) => return Err("streams".into()),
    };
    let want: Vec<(LabelSet, Vec<Option<f64>>)> = expected
        .iter()
        .map(|line| {
            let close = line.find('}').unwrap();
            (labels(&line[1..close]), points(&line[close + 1..]))
        })
        .collect();
    compare(got, want, ordered)
}

fn check_failure(answer: Result<Value, QueryError>, expectation: &str) -> Result<(), String> {
    let Err(error) = answer else { return Err("succeeded, want failure".into()) };
    let text = error.to_string();
    let matches = if let Some(part) = expectation.strip_prefix("msg:") {
        text.contains(part.trim())
    } else if let Some(pattern) = expectation.strip_prefix("regex:") {
        regex::Regex::new(pattern.trim()).unwrap().is_match(&text)
    } else {
        true
    };
    if matches { Ok(()) } else { Err(format!("error {text:?}, want {expectation}")) }
}

fn compare(
    mut got: Vec<(LabelSet, Vec<Option<f64>>)>,
    mut want: Vec<(LabelSet, Vec<Option<f64>>)>,
    ordered: bool,
) -> Result<(), String> {
    if !ordered {
        got.sort_by(|a, b| a.0.cmp(&b.0));
        want.sort_by(|a, b| a.0.cmp(&b.0));
    }
    let point = |a: &Option<f64>, b: &Option<f64>| match (a, b) {
        (Some(a), Some(b)) => same(*a, *b),
        (None, None) => true,
        _ => false,
    };
    let equal = got.len() == want.len()
        && got.iter().zip(&want).all(|(g, w)| {
            g.0 == w.0 && g.1.len() == w.1.len() && g.1.iter().zip(&w.1).all(|(a, b)| point(a, b))
        });
    if equal { Ok(()) } else { Err(format!("got {got:?}\n    want {want:?}")) }
}
