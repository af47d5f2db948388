//! Random telemetry, random questions, and answers in a form that can be compared.
#![allow(dead_code, clippy::print_stderr, reason = "each test file uses its part; seeds are printed")]

use std::sync::Arc;

use kenning_model::{
    Agg, Attributes, Batch, Block, BucketSpan, Compare, CounterReset, DistinctOf, Exemplar, Field, Filter,
    Flow, Group, Histogram, HistogramSample, LabelSet, LineSyntax, Literal, LogBatch, LogRow, METRIC_NAME,
    MetricBatch, MetricKind, MetricMetadata, Millis, Nanos, NumberRow, Order, Pattern, Sample, Scan,
    ScanError, ScanSummary, Severity, Shape, Span, SpanBatch, SpanEvent, SpanId, SpanKind, SpanLink,
    SpanSource, StatusCode, Store, Table, TenantId, TimeRange, TraceId, Value,
};
use kenning_stdx::random::Random;

/// Where time starts in tests: some hours around it, so that partitions are crossed.
pub const EPOCH_MS: i64 = 1_700_000_000_000;

/// Chance with the shapes that tests need.
pub struct Chance(pub Random);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(Random::seeded(seed))
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.0.chance(1, n)
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }

    /// Times cluster, repeat, cross partitions, and now and then are absurd.
    pub fn millis(&mut self) -> i64 {
        match self.below(40) {
            0 => self.pick(&[0, -1, i64::MIN, i64::MAX, 4_000_000_000_000]),
            1..=4 => EPOCH_MS - self.below(9 * 3_600_000) as i64,
            _ => EPOCH_MS + self.below(60) as i64 * 1000,
        }
    }

    pub fn nanos(&mut self) -> i64 {
        self.millis().saturating_mul(1_000_000).saturating_add(self.below(3) as i64)
    }

    pub fn value(&mut self) -> f64 {
        match self.below(12) {
            0 => f64::from_bits(0x7ff0_0000_0000_0002),
            1 => -0.0,
            2 => f64::INFINITY,
            3 => self.0.unit(),
            4 | 5 => self.below(10_000) as f64 / 100.0,
            _ => self.below(1000) as f64,
        }
    }

    pub fn tenant(&mut self) -> TenantId {
        if self.one_in(4) { TenantId::self_tenant() } else { TenantId::default_tenant() }
    }

    pub fn labels(&mut self) -> LabelSet {
        let metric = self.pick(&["up", "requests_total", "latency"]);
        let mut pairs = vec![(METRIC_NAME, metric)];
        for name in ["job", "zone"] {
            if !self.one_in(3) {
                pairs.push((
                    name,
                    self.pick(&["a", "b", "é", "a longer value, so that texts differ in length"]),
                ));
            }
        }
        LabelSet::from_pairs(pairs)
    }

    fn stream(&mut self) -> LabelSet {
        LabelSet::from_pairs([("app", self.pick(&["web", "db", ""])), ("job", self.pick(&["a", "b"]))])
    }

    /// Plain words, JSON and logfmt: most of them plain in the sense of the model, some with everything that makes a
    /// line not so.
    fn line(&mut self) -> String {
        match self.below(4) {
            0 => self.json_line(),
            1 => self.logfmt_line(),
            _ => self.word_line(),
        }
    }

    fn json_line(&mut self) -> String {
        let word = self.pick(&["error", "ok", "größe", "a b", "", "x\\\"y", "\u{fffd}", "\u{1}", "7"]);
        let word = if self.one_in(3) { word } else { "error in job 7" };
        let status = self.pick(&["200", "404", "500", "\"500\"", "null", "5e2", "0500"]);
        let status = if self.one_in(3) { status } else { "500" };
        let user = self.below(50);
        let took = self.below(4000) as f64 / 8.0;
        let trace = format!("{:016x}", self.below(9).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        match self.below(6) {
            0 => format!("{{\"msg\":\"{word}\",\"status\":{status}}}"),
            1 => format!("{{\"a\":{{\"status\":{status}}},\"status\":{user},\"l\":[1,\"{user}\"]}}"),
            2 => format!("{{ \"app\" : \"{word}\", \"n\": {user} , \"job\":\"{user}\"}}"),
            3 => format!("{{\"status\":{status},\"status\":{user}"),
            _ => format!(
                "{{\"status\":{status},\"user\":\"u-{user}\",\"took\":{took},\"trace\":\"{trace}\",\"msg\":\"{word}\"}}"
            ),
        }
    }

    fn logfmt_line(&mut self) -> String {
        let (word, user) = (self.pick(&["error", "a b", "", "x\\ty"]), self.below(50));
        match self.below(3) {
            0 => format!("msg=\"{word}\" status={user} took={}s", self.below(9)),
            1 => format!("status={user} user=u-{user} level=error"),
            _ => format!("status={user} {word}"),
        }
    }

    fn word_line(&mut self) -> String {
        let words: Vec<_> =
            (0..self.below(4)).map(|_| self.pick(&["error", "GET /", "user=7", "ü\n"])).collect();
        words.join(" ")
    }

    fn trace(&mut self) -> TraceId {
        TraceId([self.below(5) as u8; 16])
    }

    fn span_id(&mut self) -> SpanId {
        SpanId([self.below(4) as u8; 8])
    }

    fn attributes(&mut self) -> Attributes {
        let mut pairs = Vec::new();
        for name in ["http.status_code", "user", "ok"] {
            if self.one_in(2) {
                let value = match self.below(4) {
                    0 => Value::Int(self.below(600) as i64),
                    1 => Value::Str(self.pick(&["x", "y"]).to_owned()),
                    2 => Value::Bool(true),
                    _ => Value::Double(self.below(9) as f64),
                };
                pairs.push((name, value));
            }
        }
        pairs.into_iter().collect()
    }

    fn histogram(&mut self) -> Histogram {
        let buckets = self.below(4) as usize;
        Histogram {
            reset: self.pick(&[
                CounterReset::Unknown,
                CounterReset::Yes,
                CounterReset::No,
                CounterReset::Gauge,
            ]),
            schema: self.below(9) as i32 - 4,
            count: self.below(50) as f64,
            sum: self.value_not_nan(),
            positive_spans: vec![BucketSpan { offset: -3, length: buckets as u32 }; buckets.min(1)],
            positive: (0..buckets).map(|n| n as f64).collect(),
            negative: vec![2.5; self.below(2) as usize],
            custom_bounds: vec![0.1; self.below(3) as usize],
            ..Histogram::default()
        }
    }

    /// Histograms are compared as values, and NaN equals nothing.
    fn value_not_nan(&mut self) -> f64 {
        let value = self.value();
        if value.is_nan() { 1.0 } else { value }
    }

    pub fn metrics(&mut self) -> MetricBatch {
        let mut batch = MetricBatch::default();
        for _ in 0..=self.below(4) {
            let labels = self.labels();
            if !batch.series.contains(&labels) {
                batch.add_series(labels);
            }
        }
        let count = batch.series.len() as u64;
        // Now and then an index points nowhere.
        let reach = count + u64::from(self.one_in(20));
        for _ in 0..self.below(30) {
            let (series, time) = (self.below(reach) as u32, Millis(self.millis()));
            batch.samples.push(Sample { series, time, value: self.value() });
        }
        for _ in 0..self.below(4) {
            let (series, time) = (self.below(reach) as u32, Millis(self.millis()));
            batch.histograms.push(HistogramSample { series, time, histogram: self.histogram() });
        }
        for _ in 0..self.below(3) {
            let (series, time) = (self.below(reach) as u32, Millis(self.millis()));
            let labels = LabelSet::from_pairs([("trace_id", self.pick(&["1", "2"]))]);
            batch.exemplars.push(Exemplar { series, time, value: self.value_not_nan(), labels });
        }
        if self.one_in(3) {
            let metric = self.pick(&["up", "requests_total"]).to_owned();
            let (kind, help) = (self.pick(&MetricKind::ALL), self.pick(&["", "Help."]).to_owned());
            batch.metadata.push(MetricMetadata { metric, kind, help, unit: String::new() });
        }
        batch
    }

    pub fn logs(&mut self) -> LogBatch {
        let mut batch = LogBatch::default();
        for _ in 0..=self.below(2) {
            let stream = self.stream();
            if !batch.streams.contains(&stream) {
                batch.add_stream(stream);
            }
        }
        let reach = batch.streams.len() as u64 + u64::from(self.one_in(20));
        let rows = if self.one_in(15) { 1100 } else { self.below(20) };
        for _ in 0..rows {
            let metadata = LabelSet::from_pairs([("n", self.pick(&["", "1", "20"]))]);
            let (line, stream) = (self.line(), self.below(reach) as u32);
            let row = LogRow {
                stream: &metadata,
                time: Nanos(self.nanos()),
                severity: self.pick(&[Severity::UNKNOWN, Severity::INFO, Severity::ERROR]),
                trace_id: self.trace(),
                span_id: self.span_id(),
                line: &line,
                metadata: &metadata,
            };
            batch.push(stream, row);
        }
        batch
    }

    /// A text of few wordings, now and then another.
    fn message(&mut self) -> String {
        let (a, b) = (self.below(10_000), self.below(10_000));
        match self.below(40) {
            0 => format!("needle-{a:x} in the hay"),
            1 => String::new(),
            2..8 => format!("retry {} after a timeout of {b} ms", a % 5),
            8..12 => "nothing to do".to_owned(),
            12..14 => format!("code 00{}", a % 10),
            _ => format!("did {a} of {b}"),
        }
    }

    /// Lines of one shape with columns of every kind, and often few of another.
    pub fn many_lines(&mut self, rows: usize) -> LogBatch {
        let shapes = if self.one_in(3) { 0 } else { 2 };
        let mut batch = LogBatch::default();
        let services = ["", "cart", "shop"];
        let labels = |n: usize| {
            [("app", "web".into()), ("job", n.to_string()), ("service_name", services[n % 3].into())]
        };
        let streams: Vec<LabelSet> = (0..20).map(|n| LabelSet::from_pairs::<_, String>(labels(n))).collect();
        // None, one pair on every row, or none to two.
        let metadata = self.below(3);
        for stream in &streams {
            batch.add_stream(stream.clone());
        }
        for row in 0..rows {
            let stream = self.below(20) as u32;
            let message = self.message();
            let line = match self.below(50) {
                0 if shapes > 0 => self.line(),
                1 if shapes > 0 => {
                    format!("whole line {} with needle-{}", self.below(1000), self.below(10_000))
                }
                _ => format!(
                    "{{\"status\":{},\"user\":\"u-{}\",\"took\":{}.5,\"trace\":\"{:016x}\",\"msg\":\"{message}\"}}",
                    self.pick(&[200, 404, 500]),
                    self.below(5000),
                    self.below(900),
                    self.0.next_u64(),
                ),
            };
            let n = self.pick(&["1", "20", "300"]);
            let pairs = match metadata {
                0 => vec![],
                1 => vec![("n", n)],
                _ => vec![("m", self.pick(&["", "x"])), ("n", self.pick(&["", n]))],
            };
            let row = LogRow {
                stream: &streams[stream as usize],
                time: Nanos(EPOCH_MS * 1_000_000 + row as i64 * 5_000_000),
                severity: self.pick(&[Severity::INFO, Severity::ERROR]),
                trace_id: if metadata == 2 { self.trace() } else { TraceId::NONE },
                span_id: if metadata == 2 { self.span_id() } else { SpanId::NONE },
                line: &line,
                metadata: &LabelSet::from_pairs(pairs),
            };
            batch.push(stream, row);
        }
        batch
    }

    pub fn log_scan(&mut self) -> Scan {
        let filter = self.filter(Table::Logs, 2);
        let mut scan = Scan::rows(TenantId::default_tenant(), Table::Logs, TimeRange::ALL, filter);
        if self.one_in(2) {
            let start = EPOCH_MS * 1_000_000 + self.below(50_000) as i64 * 1_000_000;
            scan.time = TimeRange { start: Nanos(start), end: Nanos(start + 20_000_000_000) };
        }
        scan.shape = self.shape(Table::Logs);
        scan.order = self.pick(&[Order::OldestFirst, Order::NewestFirst]);
        let limit = self.pick(&[Some(0), Some(7), Some(100)]);
        scan.limit = limit.filter(|_| !matches!(scan.shape, Shape::Numbers { .. }));
        scan
    }

    pub fn spans(&mut self) -> SpanBatch {
        let mut batch = SpanBatch::default();
        for _ in 0..=self.below(2) {
            let resource = [("service.name", Value::Str(self.pick(&["shop", "cart"]).to_owned()))];
            let source = SpanSource {
                resource: if self.one_in(4) { Attributes::default() } else { resource.into_iter().collect() },
                scope_name: self.pick(&["", "lib"]).to_owned(),
                scope_version: String::new(),
                scope: self.attributes(),
            };
            if !batch.sources.iter().any(|known| **known == source) {
                batch.add_source(Arc::new(source));
            }
        }
        let reach = batch.sources.len() as u64 + u64::from(self.one_in(20));
        for _ in 0..self.below(15) {
            let span = self.span(reach);
            batch.spans.push(span);
        }
        batch
    }

    fn span(&mut self, sources: u64) -> Span {
        let start = self.nanos();
        let event = |chance: &mut Self| SpanEvent {
            time: Nanos(start),
            name: chance.pick(&["exception", "retry"]).to_owned(),
            attributes: chance.attributes(),
        };
        let link = |chance: &mut Self| SpanLink {
            trace_id: chance.trace(),
            span_id: chance.span_id(),
            trace_state: String::new(),
            attributes: chance.attributes(),
        };
        Span {
            trace_id: self.trace(),
            span_id: self.span_id(),
            parent_span_id: self.span_id(),
            trace_state: self.pick(&["", "k=v"]).to_owned(),
            name: self.pick(&["GET /", "query"]).to_owned(),
            kind: SpanKind::from_number(self.below(6)),
            start: Nanos(start),
            end: Nanos(start.saturating_add(self.below(1_000_000) as i64)),
            status: StatusCode::from_number(self.below(3)),
            status_message: self.pick(&["", "boom"]).to_owned(),
            attributes: self.attributes(),
            events: (0..self.below(2)).map(|_| event(self)).collect(),
            links: (0..self.below(2)).map(|_| link(self)).collect(),
            source: self.below(sources) as u32,
        }
    }

    pub fn batch(&mut self) -> Batch {
        match self.below(3) {
            0 => Batch::Metrics(self.metrics()),
            1 => Batch::Logs(self.logs()),
            _ => Batch::Spans(self.spans()),
        }
    }

    fn field(&mut self, table: Table) -> Field {
        let of_series =
            [Field::Label(METRIC_NAME.into()), Field::Label("job".into()), Field::Label("nope".into())];
        match table {
            Table::Samples | Table::Exemplars | Table::Metadata => self.pick(&of_series),
            Table::Logs => self.pick(&[
                Field::Label("app".into()),
                Field::Label("job".into()),
                Field::Metadata("n".into()),
                Field::Line,
                Field::Parsed(LineSyntax::Json, "status".into()),
                Field::Parsed(LineSyntax::Json, "took".into()),
                Field::Parsed(LineSyntax::Json, "user".into()),
                Field::Parsed(LineSyntax::Json, "trace".into()),
                Field::Parsed(LineSyntax::Json, "msg".into()),
                Field::Parsed(LineSyntax::Json, "app".into()),
                Field::Parsed(LineSyntax::Json, "n".into()),
                Field::Parsed(LineSyntax::Logfmt, "status".into()),
                Field::Plain(LineSyntax::Json),
                Field::Plain(LineSyntax::Logfmt),
                Field::Severity,
                Field::TraceId,
                Field::SpanId,
            ]),
            Table::Spans => self.pick(&[
                Field::TraceId,
                Field::SpanId,
                Field::ParentSpanId,
                Field::Name,
                Field::Kind,
                Field::Status,
                Field::StatusMessage,
                Field::Duration,
                Field::Resource("service.name".into()),
                Field::Attribute("http.status_code".into()),
                Field::ScopeName,
                Field::Scope("user".into()),
                Field::EventName,
                Field::Event("user".into()),
                Field::Link("ok".into()),
            ]),
        }
    }

    fn text(&mut self) -> Box<str> {
        let trace = TraceId([self.below(5) as u8; 16]).to_string();
        self.pick(&["up", "a", "web", "error", "1", "", "shop", "exception", "server", "x", &trace]).into()
    }

    /// Parts of lines: inside of values, inside of what is between them, and over the edges.
    fn needle(&mut self) -> String {
        let line = self.line();
        let chars: Vec<char> = line.chars().collect();
        let start = self.below(chars.len() as u64 + 1) as usize;
        let len_max = self.pick(&[3, 6, 30]);
        let len = self.below(len_max) as usize;
        let part: String = chars.iter().skip(start).take(len).collect();
        let message = self.message();
        let start = self.below(message.len() as u64 + 1) as usize;
        let of_message: String = message.chars().skip(start).take(len).collect();
        self.pick(&[
            "e",
            "é",
            "",
            "error",
            "500",
            "\":500",
            "status\":",
            "u-7\",\"took",
            &part,
            &part,
            &part,
            &of_message,
            &of_message,
        ])
        .to_owned()
    }

    pub fn filter(&mut self, table: Table, depth: u32) -> Filter {
        if depth > 0 && self.one_in(2) {
            let parts = (0..self.below(3)).map(|_| self.filter(table, depth - 1)).collect();
            return match self.below(3) {
                0 => Filter::And(parts),
                1 => Filter::Or(parts),
                _ => Filter::Not(Box::new(self.filter(table, depth - 1))),
            };
        }
        let field = self.field(table);
        let compare = self.pick(&[Compare::Eq, Compare::Ne, Compare::Lt, Compare::Ge]);
        match self.below(9) {
            0 => Filter::All,
            8 => Filter::Number(field, compare, self.pick(&[500.0, 12.5, 7.0, -1.0])),
            1 => Filter::Compare(field, compare, Literal::Str(self.text())),
            2 => Filter::Compare(field, compare, Literal::Int(self.below(600) as i64)),
            3 => Filter::OneOf(field, (0..self.below(3)).map(|_| self.text()).collect()),
            4 if field == Field::Line || self.one_in(4) => {
                Filter::Matches(field, LINE_PATTERNS[self.below(LINE_PATTERNS.len() as u64) as usize].clone())
            }
            4 => Filter::Matches(field, Pattern::whole(self.pick(&["a|up", ".*", "", "re.*"])).unwrap()),
            5 => Filter::Contains(field, self.needle().into()),
            6 => Filter::eq(field, &self.text()),
            _ => Filter::Exists(field),
        }
    }

    fn shape(&mut self, table: Table) -> Shape {
        let field = self.field(table);
        match self.below(8) {
            0 => Shape::Distinct(DistinctOf::LabelSets),
            1 => Shape::Distinct(DistinctOf::Names),
            2 => Shape::Distinct(DistinctOf::Values(field)),
            3 | 4 | 6 if matches!(table, Table::Logs | Table::Spans) => {
                let aggs = match self.below(3) {
                    0 => vec![Agg::Count],
                    1 => vec![Agg::Count, Agg::LineBytes],
                    _ => vec![
                        Agg::Count,
                        Agg::LineBytes,
                        Agg::Sum(self.field(table)),
                        Agg::Min(self.field(table)),
                        Agg::Max(self.field(table)),
                    ],
                };
                Shape::Group(Group {
                    step: self.pick(&[None, Some((Nanos(EPOCH_MS * 1_000_000), 10_000_000_000))]),
                    by: (0..self.below(3)).map(|_| self.field(table)).collect(),
                    // Sums of doubles differ in their last digits, so that ties would too.
                    top: self.pick(&[None, None, Some(1), Some(3)]).filter(|_| aggs.len() <= 2),
                    aggs,
                })
            }
            5 if table == Table::Logs => {
                let by = (0..self.below(3)).map(|_| self.field(table)).collect();
                Shape::Numbers { by, of: field, is_timed: self.one_in(2) }
            }
            3..6 if table == Table::Samples => Shape::Columns,
            _ => Shape::Rows,
        }
    }

    /// Stores may answer a question for numbers with rows, which a limit would cut.
    fn limit_for(&mut self, shape: &Shape) -> Option<usize> {
        match shape {
            Shape::Numbers { .. } => None,
            _ => self.pick(&[None, None, Some(0), Some(1), Some(5), Some(100)]),
        }
    }

    pub fn scan(&mut self) -> Scan {
        let table = self.pick(&[
            Table::Samples,
            Table::Samples,
            Table::Exemplars,
            Table::Metadata,
            Table::Logs,
            Table::Spans,
        ]);
        let time = match self.below(3) {
            0 => TimeRange::ALL,
            _ => {
                let (a, b) = (self.nanos(), self.nanos());
                TimeRange { start: Nanos(a.min(b)), end: Nanos(a.max(b)) }
            }
        };
        let shape = self.shape(table);
        let limit = self.limit_for(&shape);
        Scan {
            shape,
            limit,
            order: self.pick(&[Order::OldestFirst, Order::NewestFirst]),
            ..Scan::rows(self.tenant(), table, time, self.filter(table, 2))
        }
    }
}

/// What a store answers, line by line.
pub fn ask(store: &dyn Store, scan: &Scan) -> Result<(Vec<String>, ScanSummary), ScanError> {
    let mut lines = Vec::new();
    let mut sink = |block: Block| {
        lines.extend(describe(block));
        Flow::More
    };
    let summary = store.scan(scan, &mut sink)?;
    Ok((lines, summary))
}

/// A block as lines that are equal when its rows are: indices resolved, doubles as bits.
pub fn describe(block: Block) -> Vec<String> {
    match block {
        Block::Series(rows) => rows
            .into_iter()
            .map(|row| {
                let floats: Vec<_> = row.samples.iter().map(|s| (s.time.0, s.value.to_bits())).collect();
                let histograms: Vec<_> = row.histograms.iter().map(|h| (h.time.0, &h.histogram)).collect();
                format!("{:?} {floats:?} {histograms:?}", row.labels)
            })
            .collect(),
        Block::Columns(columns) => describe(Block::Series(columns.into_rows())),
        Block::Logs(batch) => batch.rows().map(|row| format!("{row:?}")).collect(),
        Block::Spans(batch) => {
            let resolved =
                |span: &Span| format!("{:?} {:?}", Span { source: 0, ..span.clone() }, batch.source_of(span));
            batch.spans.iter().map(resolved).collect()
        }
        Block::Groups(rows) => rows
            .into_iter()
            .map(|row| {
                // Sums depend on the order of summing in their last digits.
                let values: Vec<_> = row.values.iter().map(|value| format!("{value:.9e}")).collect();
                format!("{} {:?} {values:?}", row.time, row.key)
            })
            .collect(),
        Block::Numbers(rows) => rows
            .into_iter()
            .map(|mut row| {
                sort_numbers(&mut row);
                format!("{row:?}")
            })
            .collect(),
        Block::Exemplars(rows) => rows.into_iter().map(|row| format!("{row:?}")).collect(),
        Block::Metadata(rows) => rows.into_iter().map(|row| format!("{row:?}")).collect(),
        Block::LabelSets(rows) => rows.into_iter().map(|row| format!("{row:?}")).collect(),
        Block::Texts(rows) => rows.into_iter().map(|row| format!("{row:?}")).collect(),
        Block::Grid(rows) => rows.into_iter().map(|row| format!("{row:?}")).collect(),
    }
}

/// The seeds to run: all below `count` (or below `KENNING_SIM_SEEDS`), or the one that `KENNING_SIM_SEED` names.
pub fn seeds(count: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    match number("KENNING_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("KENNING_SIM_SEEDS").unwrap_or(count)).collect(),
    }
}

/// Runs a scenario per seed; a failing one is named so that it can be run alone.
pub fn for_seeds(count: u64, run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in seeds(count) {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("seed {seed} failed; run it alone with KENNING_SIM_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Expressions for lines; compiled once, for that takes longer than most scans here.
static LINE_PATTERNS: std::sync::LazyLock<Vec<Pattern>> = std::sync::LazyLock::new(|| {
    const SOURCES: [&str; 9] = [
        "timeout",
        "did 1.* of 7",
        "(?i)TIMEOUT of",
        "needle-[a-f]+ in|ms\"",
        "(retry|did) [0-9]{2}",
        "x*",
        "status\":5.*(err|do)",
        "^whole line",
        "h[ai]y\"",
    ];
    SOURCES.iter().map(|source| Pattern::anywhere(source).unwrap()).collect()
});

/// Puts the numbers of a group, which come in no particular order, in order of time and value.
pub fn sort_numbers(row: &mut NumberRow) {
    let times = row.times.iter().copied().map(Some).chain(std::iter::repeat(None));
    let mut pairs: Vec<(Option<Nanos>, f64)> = times.zip(row.numbers.iter().copied()).collect();
    pairs.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    row.times = pairs.iter().filter_map(|(time, _)| *time).collect();
    row.numbers = pairs.into_iter().map(|(_, number)| number).collect();
}
