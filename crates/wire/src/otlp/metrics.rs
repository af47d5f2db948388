//! `ExportMetricsServiceRequest` to series, translated as Prometheus' OTLP receiver does. Definition:
//! opentelemetry-proto `metrics.proto`; OpenTelemetry specification "Prometheus and OpenMetrics Compatibility".
//!
//! An item is a data point. Differs from Prometheus: `target_info` gets one sample a request (at the latest stamp of
//! its resource) instead of one every 2.5 minutes of the request's span; a number point without a value is refused.

mod point;

use std::borrow::Cow;
use std::collections::HashSet;

use kenning_model::{
    BucketSpan, CounterReset, Exemplar, Histogram, HistogramSample, LabelSet, METRIC_NAME, MetricBatch,
    MetricKind, MetricMetadata, Millis, Reason, Rejected, Sample, ValueRef,
};

use super::OtlpOptions;
use super::common::{Pairs, Scope, count_item, for_each_resource, for_each_scope};
use super::naming::{NameKind, label_name, metric_name, unit_name};
use crate::error::{DecodeError, Decoded, Fault};
use crate::intern::{LabelTable, check_labels};
use crate::limits::DecodeLimits;
use crate::prometheus::STALE_NAN;
use crate::protobuf::{Field, Reader};
use crate::text::cut;
use point::{Buckets, ExponentialPoint, HistogramPoint, NumberPoint, PointExemplar, SummaryPoint};

/// Width of the zero bucket where the sender names none, as Prometheus assumes.
const ZERO_THRESHOLD_DEFAULT: f64 = 1e-128;
/// Native histograms resolve no finer than this.
const SCALE_MAX: i32 = 8;
/// And no coarser.
const SCALE_MIN: i32 = -4;
/// Runs of empty buckets up to this long are written out instead of starting a new span.
const GAP_FILLED_MAX: i64 = 2;
/// Most characters of exemplar labels with filtered attributes; OpenMetrics' limit.
const EXEMPLAR_CHARS_MAX: usize = 128;

type Labels<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

pub(super) fn decode(
    body: &[u8],
    limits: &DecodeLimits,
    options: &OtlpOptions,
) -> Result<Decoded<MetricBatch>, DecodeError> {
    let mut decoder = Decoder {
        limits,
        options,
        table: LabelTable::default(),
        batch: MetricBatch::default(),
        described: HashSet::new(),
        rejected: Rejected::default(),
        seen: 0,
    };
    for_each_resource(body, limits, |resource, group| {
        let mut target = resource.map(|pairs| Target::new(pairs, options));
        for_each_scope(group, limits, |scope, items| decoder.scope(&mut target, &scope, items))?;
        if let Ok(target) = &target {
            decoder.target_info(target, group.offset());
        }
        Ok(())
    })?;
    decoder.batch.series = decoder.table.into_sets();
    Ok(Decoded { batch: decoder.batch, rejected: decoder.rejected })
}

struct Decoder<'l> {
    limits: &'l DecodeLimits,
    options: &'l OtlpOptions,
    table: LabelTable,
    batch: MetricBatch,
    described: HashSet<String>,
    rejected: Rejected,
    seen: usize,
}

/// What a resource gives to all its series.
struct Target<'a> {
    /// `job` and `instance`; what identifies the resource.
    identity: Vec<(&'static str, String)>,
    /// Promoted attributes under their label names.
    promoted: Labels<'a>,
    /// Attributes that describe without identifying, for `target_info`.
    descriptive: Pairs<'a>,
    /// Latest stamp of a stored point.
    latest: Option<Millis>,
}

/// A metric without its points.
struct Metric<'a> {
    name: String,
    help: &'a str,
    unit: &'a str,
    kind: MetricKind,
    data: Data<'a>,
    /// Labels of the scope, when promoted.
    scope: Labels<'a>,
}

#[derive(Clone, Copy)]
struct Data<'a> {
    form: Form,
    points: Reader<'a>,
    temporality: u64,
    monotonic: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
}

impl<'a> Target<'a> {
    fn new(resource: Pairs<'a>, options: &OtlpOptions) -> Self {
        let text = |name: &str| {
            let found = resource.iter().rev().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.to_string()).filter(|text| !text.is_empty())
        };
        let (name, namespace) = (text("service.name"), text("service.namespace"));
        let mut identity = Vec::new();
        if let Some(name) = name {
            identity.push(("job", namespace.map_or(name.clone(), |space| format!("{space}/{name}"))));
        }
        if let Some(instance) = text("service.instance.id") {
            identity.push(("instance", instance));
        }
        let promoted =
            resource.iter().filter(|(key, _)| options.promote_resource_attributes.iter().any(|p| p == key));
        let promoted = promoted
            .filter_map(|(key, value)| Some((label_name(key, options.naming)?, text_of(value.clone()))));
        let promoted = promoted.collect();
        let identifies =
            |key: &str| matches!(key, "service.name" | "service.namespace" | "service.instance.id");
        let descriptive = resource.into_iter().filter(|(key, _)| !identifies(key)).collect();
        Self { identity, promoted, descriptive, latest: None }
    }

    fn saw(&mut self, time: Millis) {
        self.latest = self.latest.max(Some(time));
    }
}

impl Decoder<'_> {
    fn scope<'a>(
        &mut self,
        target: &mut Result<Target<'a>, Fault>,
        scope: &Result<Scope<'a>, Fault>,
        mut items: Reader<'a>,
    ) -> Result<(), DecodeError> {
        while let Some(field) = items.next()? {
            if field.number != 2 {
                continue;
            }
            match (target.as_mut().map_err(|fault| *fault), scope.as_ref().map_err(|fault| *fault)) {
                (Ok(target), Ok(scope)) => match read_metric(&field, scope, self.options) {
                    Ok(metric) => self.metric(target, &metric)?,
                    Err(fault) => self.refuse_all(fault, &field)?,
                },
                (Err(fault), _) | (_, Err(fault)) => self.refuse_all(fault, &field)?,
            }
        }
        Ok(())
    }

    /// Counts every point of a metric that cannot be used.
    fn refuse_all(&mut self, fault: Fault, field: &Field<'_>) -> Result<(), DecodeError> {
        let points = count_points(field).unwrap_or(1);
        for _ in 0..points {
            count_item(&mut self.seen, self.limits)?;
        }
        fault.count(&mut self.rejected, points);
        Ok(())
    }

    fn metric<'a>(&mut self, target: &mut Target<'a>, metric: &Metric<'a>) -> Result<(), DecodeError> {
        let mut points = metric.data.points;
        let mut stored = false;
        while let Some(field) = points.next()? {
            if field.number != 1 {
                continue;
            }
            count_item(&mut self.seen, self.limits)?;
            let before = self.mark();
            match self.point(target, metric, &field) {
                Ok(time) => {
                    target.saw(time);
                    stored = true;
                }
                Err(fault) => {
                    self.roll_back(before);
                    fault.count(&mut self.rejected, 1);
                }
            }
            self.charge_buckets()?;
        }
        if stored {
            self.describe(metric);
        }
        Ok(())
    }

    fn mark(&self) -> [usize; 3] {
        [self.batch.samples.len(), self.batch.histograms.len(), self.batch.exemplars.len()]
    }

    fn roll_back(&mut self, [samples, histograms, exemplars]: [usize; 3]) {
        self.batch.samples.truncate(samples);
        self.batch.histograms.truncate(histograms);
        self.batch.exemplars.truncate(exemplars);
    }

    /// A point of a histogram becomes many samples; the limit on items holds for these too.
    fn charge_buckets(&self) -> Result<(), DecodeError> {
        count_item(&mut self.batch.len().saturating_sub(1), self.limits)
    }

    fn describe(&mut self, metric: &Metric<'_>) {
        if self.described.insert(metric.name.clone()) {
            self.batch.metadata.push(MetricMetadata {
                metric: metric.name.clone(),
                kind: metric.kind,
                help: cut(metric.help, self.limits.help_bytes).to_owned(),
                unit: unit_name(metric.unit),
            });
        }
    }

    fn point<'a>(
        &mut self,
        target: &Target<'a>,
        metric: &Metric<'a>,
        field: &Field<'a>,
    ) -> Result<Millis, Fault> {
        match metric.data.form {
            Form::Gauge | Form::Sum => self.number(target, metric, field),
            Form::Histogram => self.histogram(target, metric, field),
            Form::Exponential => self.exponential(target, metric, field),
            Form::Summary => self.summary(target, metric, field),
        }
    }

    fn number<'a>(
        &mut self,
        target: &Target<'a>,
        metric: &Metric<'a>,
        field: &Field<'a>,
    ) -> Result<Millis, Fault> {
        let point = NumberPoint::read(field, self.limits)?;
        let value = match (point.common.no_value, point.value) {
            (true, _) => STALE_NAN,
            (false, Some(value)) => value,
            (false, None) => {
                return Err(Fault::new(Reason::Missing, field.at, "data_point.value", "is missing"));
            }
        };
        let labels = self.labels(target, metric, point.common.attributes);
        let series = self.series(&labels, &metric.name, None, field.at)?;
        self.sample(series, point.common.time, value);
        for exemplar in &point.common.exemplars {
            self.exemplar(series, exemplar, field.at)?;
        }
        Ok(point.common.time)
    }

    fn histogram<'a>(
        &mut self,
        target: &Target<'a>,
        metric: &Metric<'a>,
        field: &Field<'a>,
    ) -> Result<Millis, Fault> {
        let point = HistogramPoint::read(field, self.limits)?;
        let (time, stale) = (point.common.time, point.common.no_value);
        let shown = |value: f64| if stale { STALE_NAN } else { value };
        let labels = self.labels(target, metric, point.common.attributes);
        if let Some(sum) = point.sum {
            let series = self.series(&labels, &format!("{}_sum", metric.name), None, field.at)?;
            self.sample(series, time, shown(sum));
        }
        let series = self.series(&labels, &format!("{}_count", metric.name), None, field.at)?;
        self.sample(series, time, shown(point.count as f64));
        let name = format!("{}_bucket", metric.name);
        let mut below = 0u64;
        let mut buckets = Vec::with_capacity(point.bounds.len() + 1);
        for (bound, count) in point.bounds.iter().map(|bits| f64::from_bits(*bits)).zip(&point.counts) {
            below = below.saturating_add(*count);
            let series = self.series(&labels, &name, Some(("le", &float_text(bound))), field.at)?;
            self.sample(series, time, shown(below as f64));
            buckets.push((bound, series));
        }
        let series = self.series(&labels, &name, Some(("le", "+Inf")), field.at)?;
        self.sample(series, time, shown(point.count as f64));
        for exemplar in &point.common.exemplars {
            let bucket = buckets.iter().find(|(bound, _)| exemplar.value <= *bound);
            self.exemplar(bucket.map_or(series, |(_, series)| *series), exemplar, field.at)?;
        }
        Ok(time)
    }

    fn exponential<'a>(
        &mut self,
        target: &Target<'a>,
        metric: &Metric<'a>,
        field: &Field<'a>,
    ) -> Result<Millis, Fault> {
        let point = ExponentialPoint::read(field, self.limits)?;
        let histogram = native(&point, field.at)?;
        let labels = self.labels(target, metric, point.common.attributes);
        let series = self.series(&labels, &metric.name, None, field.at)?;
        let time = point.common.time;
        self.batch.histograms.push(HistogramSample { series, time, histogram });
        for exemplar in &point.common.exemplars {
            self.exemplar(series, exemplar, field.at)?;
        }
        Ok(time)
    }

    fn summary<'a>(
        &mut self,
        target: &Target<'a>,
        metric: &Metric<'a>,
        field: &Field<'a>,
    ) -> Result<Millis, Fault> {
        let point = SummaryPoint::read(field, self.limits)?;
        let (time, stale) = (point.common.time, point.common.no_value);
        let shown = |value: f64| if stale { STALE_NAN } else { value };
        let labels = self.labels(target, metric, point.common.attributes);
        let series = self.series(&labels, &format!("{}_sum", metric.name), None, field.at)?;
        self.sample(series, time, shown(point.sum));
        let series = self.series(&labels, &format!("{}_count", metric.name), None, field.at)?;
        self.sample(series, time, shown(point.count as f64));
        for (quantile, value) in &point.quantiles {
            let quantile = float_text(*quantile);
            let series = self.series(&labels, &metric.name, Some(("quantile", &quantile)), field.at)?;
            self.sample(series, time, shown(*value));
        }
        Ok(time)
    }

    fn sample(&mut self, series: u32, time: Millis, value: f64) {
        self.batch.samples.push(Sample { series, time, value });
    }

    /// All labels of a point but the metric's name. Attributes whose names become the same are joined by `;` in the
    /// order of their names, as Prometheus does.
    fn labels<'t>(
        &self,
        target: &'t Target<'_>,
        metric: &'t Metric<'_>,
        mut attributes: Pairs<'t>,
    ) -> Labels<'t> {
        attributes.sort_by(|a, b| a.0.cmp(b.0));
        let others = target.promoted.len() + metric.scope.len() + target.identity.len();
        let mut labels = Labels::with_capacity(attributes.len() + others);
        for (key, value) in attributes {
            let Some(name) = label_name(key, self.options.naming) else { continue };
            match labels.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = Cow::Owned(format!("{known};{value}")),
                None => labels.push((name, text_of(value))),
            }
        }
        for (name, value) in &target.promoted {
            if !labels.iter().any(|(known, _)| known == name) {
                labels.push((Cow::Borrowed(name), Cow::Borrowed(value)));
            }
        }
        labels.extend(metric.scope.iter().map(|(n, v)| (Cow::Borrowed(&**n), Cow::Borrowed(&**v))));
        // Later pairs of the same name win when the set is built.
        labels.extend(target.identity.iter().map(|(n, v)| (Cow::Borrowed(*n), Cow::Borrowed(v.as_str()))));
        labels
    }

    fn series(
        &mut self,
        labels: &Labels<'_>,
        name: &str,
        extra: Option<(&str, &str)>,
        at: usize,
    ) -> Result<u32, Fault> {
        let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(labels.len() + 2);
        pairs.extend(labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref())));
        pairs.push((METRIC_NAME, name));
        pairs.extend(extra);
        check_labels(&pairs, self.limits, at)?;
        Ok(self.table.intern(&mut pairs))
    }

    fn exemplar(&mut self, series: u32, exemplar: &PointExemplar<'_>, at: usize) -> Result<(), Fault> {
        let (trace_id, span_id) = (exemplar.trace_id.to_string(), exemplar.span_id.to_string());
        let mut ids = Vec::new();
        if !exemplar.trace_id.is_none() {
            ids.push(("trace_id", trace_id.as_str()));
        }
        if !exemplar.span_id.is_none() {
            ids.push(("span_id", span_id.as_str()));
        }
        let others: Vec<_> =
            exemplar.attributes.iter().map(|(key, value)| (*key, value.to_string())).collect();
        let chars = |pairs: &[(&str, &str)]| -> usize {
            pairs.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum()
        };
        let others: Vec<_> = others.iter().map(|(key, value)| (*key, value.as_str())).collect();
        if chars(&ids) + chars(&others) <= EXEMPLAR_CHARS_MAX {
            ids.splice(0..0, others.iter().copied().filter(|(key, _)| !key.is_empty()));
        }
        check_labels(&ids, self.limits, at)?;
        let labels = LabelSet::from_borrowed(&mut ids);
        self.batch.exemplars.push(Exemplar { series, time: exemplar.time, value: exemplar.value, labels });
        Ok(())
    }

    /// The series that carries what a resource's labels leave out.
    fn target_info(&mut self, target: &Target<'_>, at: usize) {
        let Some(time) = target.latest else { return };
        if target.identity.is_empty() || target.descriptive.is_empty() {
            return;
        }
        let bare = Metric {
            name: String::new(),
            help: "",
            unit: "",
            kind: MetricKind::Info,
            data: Data { form: Form::Gauge, points: Reader::new(&[]), temporality: 0, monotonic: false },
            scope: Labels::new(),
        };
        let alone = Target {
            identity: target.identity.clone(),
            promoted: Labels::new(),
            descriptive: Pairs::new(),
            latest: None,
        };
        let labels = self.labels(&alone, &bare, target.descriptive.clone());
        match self.series(&labels, "target_info", None, at) {
            Ok(series) => self.sample(series, time, 1.0),
            // Not a data point of the sender's, so it must not count as one; the loss is told in words.
            Err(fault) => self.rejected.add(fault.reason, 0, || format!("target_info was left out: {fault}")),
        }
    }
}

/// Text as it is, anything else as it prints.
fn text_of(value: ValueRef<'_>) -> Cow<'_, str> {
    match value {
        ValueRef::Str(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// A bound or quantile as Prometheus writes it in labels of translated metrics.
fn float_text(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

fn read_metric<'a>(field: &Field<'a>, scope: &Scope<'a>, options: &OtlpOptions) -> Result<Metric<'a>, Fault> {
    let mut message = field.message("metric")?;
    let (mut name, mut help, mut unit) = ("", "", "");
    let mut data = None;
    while let Some(field) = message.next()? {
        match field.number {
            1 => name = field.text("metric.name")?,
            2 => help = field.text("metric.description")?,
            3 => unit = field.text("metric.unit")?,
            5 => data = Some(read_data(&field, Form::Gauge)?),
            7 => data = Some(read_data(&field, Form::Sum)?),
            9 => data = Some(read_data(&field, Form::Histogram)?),
            10 => data = Some(read_data(&field, Form::Exponential)?),
            11 => data = Some(read_data(&field, Form::Summary)?),
            _ => {}
        }
    }
    let data = data.ok_or_else(|| Fault::new(Reason::Missing, field.at, "metric.data", "is missing"))?;
    check_temporality(&data, field.at)?;
    let (naming, kind) = kinds(&data);
    let name = metric_name(name, unit, naming, options.naming).ok_or_else(|| {
        Fault::new(Reason::Missing, field.at, "metric.name", "is empty or has no letter or digit")
    })?;
    let mut labels = Labels::new();
    if options.promote_scope && !scope.name.is_empty() {
        labels.push((Cow::Borrowed("otel_scope_name"), Cow::Borrowed(scope.name)));
        labels.push((Cow::Borrowed("otel_scope_version"), Cow::Borrowed(scope.version)));
    }
    Ok(Metric { name, help, unit, kind, data, scope: labels })
}

fn read_data<'a>(field: &Field<'a>, form: Form) -> Result<Data<'a>, Fault> {
    let points = field.message("metric.data")?;
    let mut data = Data { form, points, temporality: 0, monotonic: false };
    let mut message = points;
    while let Some(field) = message.next()? {
        match field.number {
            2 if form != Form::Gauge && form != Form::Summary => {
                data.temporality = field.varint("aggregation_temporality")?;
            }
            3 if form == Form::Sum => data.monotonic = field.varint("sum.is_monotonic")? != 0,
            _ => {}
        }
    }
    Ok(data)
}

fn check_temporality(data: &Data<'_>, at: usize) -> Result<(), Fault> {
    let field = "aggregation_temporality";
    match (data.form, data.temporality) {
        (Form::Gauge | Form::Summary, _) | (_, 2) => Ok(()),
        (_, 1) => {
            let problem = "is delta, which is not supported; set the exporter to cumulative temporality";
            Err(Fault::new(Reason::Unsupported, at, field, problem))
        }
        _ => Err(Fault::new(Reason::Missing, at, field, "is not told; it must be cumulative")),
    }
}

fn kinds(data: &Data<'_>) -> (NameKind, MetricKind) {
    match data.form {
        Form::Gauge => (NameKind::Gauge, MetricKind::Gauge),
        Form::Sum if data.monotonic => (NameKind::Counter, MetricKind::Counter),
        Form::Sum => (NameKind::Other, MetricKind::Gauge),
        Form::Histogram | Form::Exponential => (NameKind::Other, MetricKind::Histogram),
        Form::Summary => (NameKind::Other, MetricKind::Summary),
    }
}

fn count_points(field: &Field<'_>) -> Result<u64, Fault> {
    let mut message = field.message("metric")?;
    let mut points = 0;
    while let Some(field) = message.next()? {
        if matches!(field.number, 5 | 7 | 9 | 10 | 11) {
            let mut data = field.message("metric.data")?;
            while let Some(field) = data.next()? {
                points += u64::from(field.number == 1);
            }
        }
    }
    Ok(points)
}

/// A native histogram of the same observations; scales finer than Prometheus' are merged down.
fn native(point: &ExponentialPoint<'_>, at: usize) -> Result<Histogram, Fault> {
    if point.scale < SCALE_MIN {
        let problem = "is coarser than -4, the coarsest that native histograms have";
        return Err(Fault::new(Reason::Unsupported, at, "data_point.scale", problem));
    }
    let down = point.scale.saturating_sub(SCALE_MAX).max(0);
    let (positive_spans, positive) = sparse(&point.positive, down, at)?;
    let (negative_spans, negative) = sparse(&point.negative, down, at)?;
    let in_buckets: f64 = positive.iter().chain(&negative).sum::<f64>() + point.zero_count as f64;
    if in_buckets > point.count as f64 {
        let problem = "is less than the sum of the buckets";
        return Err(Fault::new(Reason::Malformed, at, "data_point.count", problem));
    }
    let stale = point.common.no_value;
    Ok(Histogram {
        reset: CounterReset::Unknown,
        schema: point.scale.min(SCALE_MAX),
        zero_threshold: if point.zero_threshold > 0.0 {
            point.zero_threshold
        } else {
            ZERO_THRESHOLD_DEFAULT
        },
        zero_count: point.zero_count as f64,
        count: if stale { STALE_NAN } else { point.count as f64 },
        sum: if stale { STALE_NAN } else { point.sum },
        positive_spans,
        positive,
        negative_spans,
        negative,
        custom_bounds: Vec::new(),
    })
}

/// Dense buckets to spans. OpenTelemetry's bucket 0 is `(1, base]`, Prometheus' is `(1/base, 1]`, hence the one.
fn sparse(buckets: &Buckets, down: i32, at: usize) -> Result<(Vec<BucketSpan>, Vec<f64>), Fault> {
    let (mut spans, mut counts): (Vec<BucketSpan>, Vec<f64>) = (Vec::new(), Vec::new());
    // The index behind the last bucket written.
    let mut next = 0i64;
    for (i, count) in buckets.counts.iter().enumerate().filter(|(_, count)| **count != 0) {
        let index = ((i64::from(buckets.offset) + i as i64) >> down.min(63)) + 1;
        match spans.last_mut() {
            Some(_) if index < next => {
                if let Some(last) = counts.last_mut() {
                    *last += *count as f64;
                }
                continue;
            }
            Some(span) if index - next <= GAP_FILLED_MAX => {
                let gap = (index - next) as usize;
                counts.resize(counts.len() + gap, 0.0);
                span.length += gap as u32 + 1;
            }
            _ => {
                let offset = i32::try_from(index - next);
                let offset = offset.map_err(|_| {
                    Fault::new(
                        Reason::Malformed,
                        at,
                        "buckets.offset",
                        "is outside the range of bucket indices",
                    )
                })?;
                spans.push(BucketSpan { offset, length: 1 });
            }
        }
        counts.push(*count as f64);
        next = index + 1;
    }
    Ok((spans, counts))
}
