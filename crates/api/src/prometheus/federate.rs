//! `/federate`: the latest sample of each selected series in an exposition format, for another Prometheus to scrape.
//!
//! Text 0.0.4, OpenMetrics 1.0 and protobuf, as the `Accept` header prefers. Every metric is untyped, every sample has its time,
//! stale series are left out, labels of this server are added where a series has none of the name (and an empty
//! `instance`, so that the scraping side keeps ours). Native histograms cannot be written in text: those with custom
//! boundaries become classic histograms in every format, others go out in protobuf alone.

use std::fmt::Write;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use kenning_model::{
    Block, CounterReset, Filter, Flow, Histogram, LabelSet, METRIC_NAME, Millis, Scan, SeriesRows, Store,
    Table, TimeRange,
};
use kenning_promql::{Options, format_float, is_stale};
use kenning_query::{QueryContext, QueryError};
use kenning_wire::prometheus::{FamilyMetric, FamilyValue, encode_family};

use super::params;
use crate::asked::Asked;
use crate::error::ApiError;
use crate::reply;
use crate::routes::Call;

pub(super) async fn federate(call: Call) -> Response {
    let outcome = async { answer(Asked::of(call).await?).await };
    outcome.await.unwrap_or_else(ApiError::into_plain)
}

/// The latest value of a series.
struct Latest {
    labels: LabelSet,
    time: Millis,
    value: Found,
}

enum Found {
    Float(f64),
    Histogram(Histogram),
}

async fn answer(asked: Asked) -> Result<Response, ApiError> {
    let selectors = params::selectors(&asked.params).map_err(ApiError::bad_request)?;
    let format = Format::of(&asked.headers);
    let end = asked.api.now_ms();
    let start = end.saturating_sub(Options::default().lookback_ms);
    let time = TimeRange::from_millis(Millis(start), Millis(end));
    let job = move |store: &dyn Store, context: &QueryContext| latest(store, context, time, selectors);
    let mut found = asked.api.run(asked.tenant.clone(), "", job).await?;
    found.sort_by(|a, b| a.labels.metric_name().cmp(b.labels.metric_name()));
    let mut external = asked.api.external_labels();
    if !external.iter().any(|(name, _)| name == "instance") {
        external.push(("instance".to_owned(), String::new()));
    }
    external.sort();
    let body = match format {
        Format::Protobuf => families(&found, &external),
        _ => expose(&found, &external, format).into_bytes(),
    };
    Ok(reply::with_type(StatusCode::OK, format.content_type(), body))
}

/// Without a selector there is nothing to say.
fn latest(
    store: &dyn Store,
    context: &QueryContext,
    time: TimeRange,
    selectors: Vec<Filter>,
) -> Result<Vec<Latest>, QueryError> {
    let mut scan = Scan::rows(context.tenant.clone(), Table::Samples, time, Filter::Or(selectors));
    scan.cancel = context.cancel.clone();
    scan.bytes_max = context.limits.memory_bytes_max;
    let mut found = Vec::new();
    store.scan(&scan, &mut |block| {
        if let Block::Series(rows) = block {
            found.extend(rows.into_iter().filter_map(latest_of));
        }
        Flow::More
    })?;
    Ok(found)
}

fn latest_of(mut rows: SeriesRows) -> Option<Latest> {
    let float = rows.samples.last().map(|sample| (sample.time, sample.value));
    let histogram = rows.histograms.pop();
    let is_float = match (&float, &histogram) {
        (Some((time, _)), Some(histogram)) => *time >= histogram.time,
        (float, _) => float.is_some(),
    };
    let (time, value) = match (float, histogram) {
        (Some((time, value)), _) if is_float => (time, Found::Float(value)),
        (_, Some(sample)) => (sample.time, Found::Histogram(sample.histogram)),
        _ => return None,
    };
    let stale = match &value {
        Found::Float(value) => is_stale(*value),
        Found::Histogram(histogram) => is_stale(histogram.sum),
    };
    (!stale && !rows.labels.metric_name().is_empty()).then_some(Latest { labels: rows.labels, time, value })
}

/// The formats that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    OpenMetrics,
    Protobuf,
}

impl Format {
    /// What the client likes best of what is spoken.
    fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
        let mut best = (0.0, Self::Text);
        for clause in accept.split(',') {
            let mut parts = clause.split(';').map(str::trim);
            let format = match parts.next().unwrap_or("") {
                "application/openmetrics-text" => Self::OpenMetrics,
                "application/vnd.google.protobuf" => Self::Protobuf,
                "text/plain" | "text/*" | "*/*" => Self::Text,
                _ => continue,
            };
            let (mut quality, mut known) = (1.0, true);
            for part in parts {
                match part.split_once('=') {
                    Some(("q", q)) => quality = q.parse().unwrap_or(0.0),
                    Some(("version", version)) => {
                        known = matches!(version, "0.0.4" | "1.0.0" | "0.0.1");
                    }
                    Some(("proto", message)) => known &= message == "io.prometheus.client.MetricFamily",
                    Some(("encoding", encoding)) => known &= encoding == "delimited",
                    _ => {}
                }
            }
            if known && quality > best.0 {
                best = (quality, format);
            }
        }
        best.1
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8",
            Self::OpenMetrics => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
            }
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; \
                 escaping=allow-utf-8"
            }
        }
    }
}

/// Delimited families. Numbers and histograms of one name are families of their own.
fn families(found: &[Latest], external: &[(String, String)]) -> Vec<u8> {
    let kind = |latest: &Latest| match &latest.value {
        Found::Float(_) => 0,
        Found::Histogram(histogram) if histogram.reset == CounterReset::Gauge => 1,
        Found::Histogram(_) => 2,
    };
    let same =
        |a: &Latest, b: &Latest| a.labels.metric_name() == b.labels.metric_name() && kind(a) == kind(b);
    let mut out = Vec::new();
    for family in found.chunk_by(same) {
        let metrics: Vec<_> = family.iter().map(|latest| metric_of(latest, external)).collect();
        let name = family.first().map_or("", |latest| latest.labels.metric_name());
        out.extend(encode_family(name, &metrics));
    }
    out
}

fn metric_of<'a>(latest: &'a Latest, external: &'a [(String, String)]) -> FamilyMetric<'a> {
    let value = match &latest.value {
        Found::Float(value) => FamilyValue::Untyped(*value),
        Found::Histogram(histogram) if histogram.schema == Histogram::CUSTOM_BUCKETS => {
            FamilyValue::Classic {
                count: histogram.count,
                sum: histogram.sum,
                buckets: cumulative(histogram),
            }
        }
        Found::Histogram(histogram) => FamilyValue::Native(histogram),
    };
    let own = latest.labels.iter().filter(|(label, _)| *label != METRIC_NAME);
    let added = external.iter().filter(|(label, _)| latest.labels.get(label).is_empty());
    let added = added.map(|(label, value)| (label.as_str(), value.as_str()));
    FamilyMetric { labels: own.chain(added).collect(), value, time: latest.time }
}

struct Page<'a> {
    out: String,
    format: Format,
    external: &'a [(String, String)],
}

fn expose(found: &[Latest], external: &[(String, String)], format: Format) -> String {
    let mut page = Page { out: String::new(), format, external };
    let mut described: Option<(&str, bool)> = None;
    for latest in found {
        let name = latest.labels.metric_name();
        let is_histogram = matches!(latest.value, Found::Histogram(_));
        if let Found::Histogram(histogram) = &latest.value
            && histogram.schema != Histogram::CUSTOM_BUCKETS
        {
            continue;
        }
        if described != Some((name, is_histogram)) {
            page.describe(name, is_histogram);
            described = Some((name, is_histogram));
        }
        match &latest.value {
            Found::Float(value) => page.sample(name, &latest.labels, None, *value, latest.time),
            Found::Histogram(histogram) => page.classic(name, latest, histogram),
        }
    }
    if format == Format::OpenMetrics {
        page.out.push_str("# EOF\n");
    }
    page.out
}

impl Page<'_> {
    fn describe(&mut self, name: &str, is_histogram: bool) {
        let kind = match (is_histogram, self.format) {
            (true, _) => "histogram",
            (false, Format::Text) => "untyped",
            (false, Format::OpenMetrics | Format::Protobuf) => "unknown",
        };
        // Writing into a text cannot fail.
        let _ = writeln!(self.out, "# TYPE {} {kind}", written_name(name));
    }

    fn sample(&mut self, name: &str, labels: &LabelSet, le: Option<&str>, value: f64, time: Millis) {
        let is_plain = is_plain_name(name);
        if is_plain {
            self.out.push_str(name);
        }
        let own = labels.iter().filter(|(label, _)| *label != METRIC_NAME);
        let added = self.external.iter().filter(|(label, _)| labels.get(label).is_empty());
        let added = added.map(|(label, value)| (label.as_str(), value.as_str()));
        let pairs: Vec<_> = own.chain(added).chain(le.map(|le| ("le", le))).collect();
        if !pairs.is_empty() || !is_plain {
            self.out.push('{');
            let mut separator = "";
            if !is_plain {
                self.out.push_str(&quoted(name));
                separator = ",";
            }
            for (label, value) in pairs {
                self.out.push_str(separator);
                separator = ",";
                self.out.push_str(&written_label(label));
                self.out.push('=');
                self.out.push_str(&quoted(value));
            }
            self.out.push('}');
        }
        self.out.push(' ');
        self.out.push_str(&format_float(value));
        self.out.push(' ');
        match self.format {
            Format::Text => self.out.push_str(&time.0.to_string()),
            Format::OpenMetrics | Format::Protobuf => {
                self.out.push_str(&(time.0 as f64 / 1000.0).to_string());
            }
        }
        self.out.push('\n');
    }

    /// A histogram with boundaries of its own, as the buckets it was made of.
    fn classic(&mut self, name: &str, latest: &Latest, histogram: &Histogram) {
        let labels = &latest.labels;
        let buckets = format!("{name}_bucket");
        for (bound, count) in cumulative(histogram) {
            self.sample(&buckets, labels, Some(&format_float(bound)), count, latest.time);
        }
        self.sample(&buckets, labels, Some("+Inf"), histogram.count, latest.time);
        self.sample(&format!("{name}_sum"), labels, None, histogram.sum, latest.time);
        self.sample(&format!("{name}_count"), labels, None, histogram.count, latest.time);
    }
}

/// Upper boundaries and the observations up to each.
fn cumulative(histogram: &Histogram) -> Vec<(f64, f64)> {
    let mut counts = vec![0.0; histogram.custom_bounds.len()];
    let (mut index, mut values) = (0i64, histogram.positive.iter());
    for span in &histogram.positive_spans {
        index += i64::from(span.offset);
        for _ in 0..span.length {
            let Some(value) = values.next() else { break };
            if let Some(count) = usize::try_from(index).ok().and_then(|index| counts.get_mut(index)) {
                *count = *value;
            }
            index += 1;
        }
    }
    let mut total = 0.0;
    let sums = counts.into_iter().map(|count| {
        total += count;
        total
    });
    histogram.custom_bounds.iter().copied().zip(sums).collect()
}

fn is_plain_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':'))
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'))
}

fn written_name(name: &str) -> String {
    if is_plain_name(name) { name.to_owned() } else { quoted(name) }
}

fn written_label(name: &str) -> String {
    if is_plain_name(name) && !name.contains(':') { name.to_owned() } else { quoted(name) }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_known_format_is_chosen() {
        let check = |accept: &'static str, expect| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().expect("a header"));
            assert_eq!(Format::of(&headers), expect, "{accept}");
        };
        check("", Format::Text);
        check(
            "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4",
            Format::OpenMetrics,
        );
        check("application/openmetrics-text;version=2.0.0,*/*;q=0.1", Format::Text);
        let family =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        check(family, Format::Protobuf);
        check("application/vnd.google.protobuf;proto=other;encoding=delimited", Format::Text);
    }

    #[test]
    fn samples_have_times_and_the_labels_of_the_server() {
        let found = [
            Latest {
                labels: LabelSet::from_pairs([("__name__", "up"), ("job", "a\"b")]),
                time: Millis(1_500),
                value: Found::Float(1.0),
            },
            Latest {
                labels: LabelSet::from_pairs([("__name__", "http.requests"), ("instance", "i")]),
                time: Millis(2_000),
                value: Found::Float(f64::INFINITY),
            },
        ];
        let external = [("instance".to_owned(), String::new()), ("zone".to_owned(), "z".to_owned())];
        let text = expose(&found, &external, Format::Text);
        let expect = "# TYPE up untyped\n\
            up{job=\"a\\\"b\",instance=\"\",zone=\"z\"} 1 1500\n\
            # TYPE \"http.requests\" untyped\n\
            {\"http.requests\",instance=\"i\",zone=\"z\"} +Inf 2000\n";
        assert_eq!(text, expect);
        let open = expose(&found[..1], &[], Format::OpenMetrics);
        assert_eq!(open, "# TYPE up unknown\nup{job=\"a\\\"b\"} 1 1.5\n# EOF\n");
    }

    #[test]
    fn families_hold_what_text_cannot() {
        let histogram =
            Histogram { count: 1.0, sum: 1.0, zero_count: 1.0, zero_threshold: 0.1, ..Histogram::default() };
        let latest = |value| Latest {
            labels: LabelSet::from_pairs([("__name__", "h"), ("job", "a")]),
            time: Millis(5),
            value,
        };
        let found = [latest(Found::Float(1.0)), latest(Found::Histogram(histogram))];
        let external = [("instance".to_owned(), String::new()), ("zone".to_owned(), "z".to_owned())];
        let body = families(&found, &external);
        let options = kenning_wire::prometheus::ScrapeOptions::new(Millis(0), LabelSet::empty());
        let format = kenning_wire::prometheus::Exposition::Protobuf;
        let limits = kenning_wire::DecodeLimits::default();
        let read = kenning_wire::prometheus::decode(&body, format, &limits, &options).expect("it reads back");
        assert_eq!((read.batch.samples.len(), read.batch.histograms.len()), (1, 1));
        assert_eq!(read.batch.series[0].get("zone"), "z");
    }

    #[test]
    fn custom_buckets_become_classic_ones() {
        let histogram = Histogram {
            schema: Histogram::CUSTOM_BUCKETS,
            count: 6.0,
            sum: 9.5,
            positive_spans: vec![
                kenning_model::BucketSpan { offset: 0, length: 1 },
                kenning_model::BucketSpan { offset: 1, length: 1 },
            ],
            positive: vec![2.0, 3.0],
            custom_bounds: vec![0.5, 1.0, 2.0],
            ..Histogram::default()
        };
        assert_eq!(cumulative(&histogram), [(0.5, 2.0), (1.0, 2.0), (2.0, 5.0)]);
    }
}
