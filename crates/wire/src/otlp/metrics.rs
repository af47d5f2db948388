//! `ExportMetricsServiceRequest` to series, translated as Prometheus' OTLP receiver does. Definition:
//! opentelemetry-proto `metrics.proto`; OpenTelemetry specification "Prometheus and OpenMetrics Compatibility".
//!
//! An item is a data point. Differs from Prometheus: a number point without a value is refused; a point with an
//! attribute whose name has no letter or digit is refused alone, not with its whole metric; exemplars without a time get
//! that of their point; `target_info` gets samples for the last day of a request's span, not for all of it.

mod point;

use std::borrow::Cow;
use std::collections::HashSet;

use kenning_model::{
    BucketSpan, BucketWriter, CounterReset, DeltaData, DeltaPoint, Exemplar, Histogram, HistogramSample,
    LabelSet, METRIC_NAME, MetricBatch, MetricKind, MetricMetadata, Millis, Reason, Rejected, Sample,
    UNKNOWN_START, ValueRef,
};

use super::OtlpOptions;
use super::common::{Pairs, Scope, count_item, for_each_resource, for_each_scope};
use super::naming::{NameKind, label_name_with, metric_name, unit_name};
use crate::error::{DecodeError, Decoded, Fault};
use crate::intern::{LabelTable, check_labels};
use crate::limits::DecodeLimits;
use crate::prometheus::STALE_NAN;
use crate::protobuf::{Field, Reader};
use crate::text::cut;
use point::{
    Buckets, Common, ExponentialPoint, HistogramPoint, NumberPoint, PointExemplar, Stamps, SummaryPoint,
};

/// Width of the zero bucket where the sender names none, as Prometheus assumes.
const ZERO_THRESHOLD_DEFAULT: f64 = 1e-128;
/// Native histograms resolve no finer than this.
const SCALE_MAX: i32 = 8;
/// And no coarser.
const SCALE_MIN: i32 = -4;
/// Distance between samples of `target_info` within one request: half of the time that a query looks back.
const TARGET_INFO_EVERY_MS: i64 = 150_000;
/// Most samples of `target_info` of one resource in one request: a day of them. A stray stamp must not cost millions.
const TARGET_INFO_MAX: i64 = 576;
/// `AGGREGATION_TEMPORALITY_DELTA`
const DELTA: u64 = 1;
/// `AGGREGATION_TEMPORALITY_CUMULATIVE`
const CUMULATIVE: u64 = 2;
/// Most characters of exemplar labels with filtered attributes; OpenMetrics' limit.
const EXEMPLAR_CHARS_MAX: usize = 128;

/// What becomes of points that say what was counted since the point before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeltaTemporality {
    /// They are marked, and the pipeline adds them up to totals.
    #[default]
    Cumulate,
    /// They are counted as `unsupported`, as Prometheus does by default.
    Reject,
    /// They are stored as they are, of unknown type (Prometheus' feature `otlp-native-delta-ingestion`).
    AsIs,
}

impl DeltaTemporality {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Cumulate, Self::Reject, Self::AsIs];

    /// The word of the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cumulate => "cumulate",
            Self::Reject => "reject",
            Self::AsIs => "as_is",
        }
    }
}

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
        informed: HashSet::new(),
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
    /// Samples of `target_info`, since resources that come twice must not have them twice.
    informed: HashSet<(u32, Millis)>,
    rejected: Rejected,
    seen: usize,
}

/// What a resource gives to all its series.
struct Target<'a> {
    /// `job` and `instance`; what identifies the resource.
    identity: Vec<(&'static str, String)>,
    /// Promoted attributes under their label names.
    promoted: Labels<'a>,
    /// Attributes for `target_info`; empty when nothing but the identity is known.
    descriptive: Pairs<'a>,
    /// Earliest and latest stamp of a stored point.
    span: Option<(Millis, Millis)>,
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
        let promoted = resource.iter().filter(|(key, _)| options.promotes(key));
        let promoted = promoted
            .filter_map(|(key, value)| Some((options.label_name(key)?, text_of(value.clone()))))
            .collect();
        let identifies =
            |key: &str| matches!(key, "service.name" | "service.namespace" | "service.instance.id");
        let mut descriptive = resource;
        if descriptive.iter().all(|(key, _)| identifies(key)) {
            descriptive.clear();
        } else if !options.keep_identifying_resource_attributes {
            descriptive.retain(|(key, _)| !identifies(key));
        }
        Self { identity, promoted, descriptive, span: None }
    }

    fn saw(&mut self, time: Millis) {
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
    }
}

impl OtlpOptions {
    fn promotes(&self, key: &str) -> bool {
        let listed = |list: &[String]| list.iter().any(|name| name == key);
        if self.promote_all_resource_attributes {
            !listed(&self.ignore_resource_attributes)
        } else {
            listed(&self.promote_resource_attributes)
        }
    }

    fn label_name<'k>(&self, key: &'k str) -> Option<Cow<'k, str>> {
        label_name_with(key, self.naming, self.label_naming)
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
                Ok(common) => {
                    target.saw(common.time);
                    self.mark_delta(metric, &common, before);
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
        self.batch.starts.truncate(samples);
        self.batch.histograms.truncate(histograms);
        self.batch.histogram_starts.truncate(histograms);
        self.batch.exemplars.truncate(exemplars);
    }

    /// Tells the pipeline that what was stored since `before` holds changes.
    fn mark_delta(&mut self, metric: &Metric<'_>, common: &Common<'_>, [samples, histograms, _]: [usize; 3]) {
        if metric.data.temporality != DELTA || self.options.delta != DeltaTemporality::Cumulate {
            return;
        }
        let count = (self.batch.samples.len() - samples) as u32;
        let data = if self.batch.histograms.len() > histograms {
            DeltaData::Histogram(histograms as u32)
        } else {
            DeltaData::Samples { first: samples as u32, count }
        };
        self.batch.deltas.push(DeltaPoint { start: common.start, data });
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
    ) -> Result<Common<'a>, Fault> {
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
    ) -> Result<Common<'a>, Fault> {
        let point = NumberPoint::read(field, self.limits)?;
        let value = match (point.common.no_value, point.value) {
            (true, _) => STALE_NAN,
            (false, Some(value)) => value,
            (false, None) => {
                return Err(Fault::new(Reason::Missing, field.at, "data_point.value", "is missing"));
            }
        };
        let labels = self.labels(target, metric, &point.common, field.at)?;
        let series = self.series(&labels, &metric.name, None, field.at)?;
        let stamps = match metric.data.form {
            // What is not counted has not begun.
            Form::Gauge => Stamps { start: UNKNOWN_START, ..point.common.stamps() },
            _ => point.common.stamps(),
        };
        self.sample(series, stamps, value);
        self.exemplars(&point.common, field.at, |_| series)?;
        Ok(point.common)
    }

    fn histogram<'a>(
        &mut self,
        target: &Target<'a>,
        metric: &Metric<'a>,
        field: &Field<'a>,
    ) -> Result<Common<'a>, Fault> {
        let point = HistogramPoint::read(field, self.limits)?;
        if self.options.convert_histograms_to_nhcb {
            let histogram = custom_buckets(&point, field.at)?;
            return self.native(target, metric, point.common, histogram, field.at);
        }
        let (common, stale) = (&point.common, point.common.no_value);
        let shown = |value: f64| if stale { STALE_NAN } else { value };
        let labels = self.labels(target, metric, common, field.at)?;
        if let Some(sum) = point.sum {
            let series = self.series(&labels, &format!("{}_sum", metric.name), None, field.at)?;
            self.sample(series, common.stamps(), shown(sum));
        }
        let series = self.series(&labels, &format!("{}_count", metric.name), None, field.at)?;
        self.sample(series, common.stamps(), shown(point.count as f64));
        let name = format!("{}_bucket", metric.name);
        let mut below = 0u64;
        let mut buckets = Vec::with_capacity(point.bounds.len() + 1);
        for (bound, count) in point.bounds.iter().map(|bits| f64::from_bits(*bits)).zip(&point.counts) {
            below = below.saturating_add(*count);
            let series = self.series(&labels, &name, Some(("le", &float_text(bound))), field.at)?;
            self.sample(series, common.stamps(), shown(below as f64));
            buckets.push((bound, series));
        }
        let last = self.series(&labels, &name, Some(("le", "+Inf")), field.at)?;
        self.sample(last, common.stamps(), shown(point.count as f64));
        self.exemplars(common, field.at, |value| {
            buckets.iter().find(|(bound, _)| value <= *bound).map_or(last, |(_, series)| *series)
        })?;
        Ok(point.common)
    }

    fn exponential<'a>(
        &mut self,
        target: &Target<'a>,
        metric: &Metric<'a>,
        field: &Field<'a>,
    ) -> Result<Common<'a>, Fault> {
        let point = ExponentialPoint::read(field, self.limits)?;
        let histogram = native(&point, field.at)?;
        self.native(target, metric, point.common, histogram, field.at)
    }

    fn native<'a>(
        &mut self,
        target: &Target<'a>,
        metric: &Metric<'a>,
        common: Common<'a>,
        mut histogram: Histogram,
        at: usize,
    ) -> Result<Common<'a>, Fault> {
        let labels = self.labels(target, metric, &common, at)?;
        let series = self.series(&labels, &metric.name, None, at)?;
        if metric.data.temporality == DELTA && self.options.delta == DeltaTemporality::AsIs {
            // It goes up and down, and no drop is a reset.
            histogram.reset = CounterReset::Gauge;
        }
        let sample = HistogramSample { series, time: common.time, histogram };
        self.batch.push_histogram(sample, common.start);
        self.exemplars(&common, at, |_| series)?;
        Ok(common)
    }

    fn summary<'a>(
        &mut self,
        target: &Target<'a>,
        metric: &Metric<'a>,
        field: &Field<'a>,
    ) -> Result<Common<'a>, Fault> {
        let point = SummaryPoint::read(field, self.limits)?;
        let (common, stale) = (&point.common, point.common.no_value);
        let shown = |value: f64| if stale { STALE_NAN } else { value };
        let labels = self.labels(target, metric, common, field.at)?;
        let series = self.series(&labels, &format!("{}_sum", metric.name), None, field.at)?;
        self.sample(series, common.stamps(), shown(point.sum));
        let series = self.series(&labels, &format!("{}_count", metric.name), None, field.at)?;
        self.sample(series, common.stamps(), shown(point.count as f64));
        for (quantile, value) in &point.quantiles {
            let quantile = float_text(*quantile);
            let series = self.series(&labels, &metric.name, Some(("quantile", &quantile)), field.at)?;
            self.sample(series, common.stamps(), shown(*value));
        }
        Ok(point.common)
    }

    fn sample(&mut self, series: u32, stamps: Stamps, value: f64) {
        let Stamps { start, time } = stamps;
        self.batch.push_sample(Sample { series, time, value }, start);
    }

    /// All labels of a point but the metric's name. Attributes whose names become the same are joined by `;` in the
    /// order of their names, as Prometheus does.
    fn labels<'t>(
        &self,
        target: &'t Target<'_>,
        metric: &'t Metric<'_>,
        common: &Common<'t>,
        at: usize,
    ) -> Result<Labels<'t>, Fault> {
        let mut attributes = common.attributes.clone();
        attributes.sort_by(|a, b| a.0.cmp(b.0));
        let others = target.promoted.len() + metric.scope.len() + target.identity.len();
        let mut labels = Labels::with_capacity(attributes.len() + others);
        for (key, value) in attributes {
            let problem = "has no letter or digit, so that no label can be named after it";
            let name = self.options.label_name(key);
            let name = name.ok_or_else(|| Fault::new(Reason::BadLabelName, at, "attribute.key", problem))?;
            join_label(&mut labels, name, value);
        }
        for (name, value) in &target.promoted {
            if !labels.iter().any(|(known, _)| known == name) {
                labels.push((Cow::Borrowed(name), Cow::Borrowed(value)));
            }
        }
        // Later pairs of the same name win when the set is built.
        labels.extend(target.identity.iter().map(|(n, v)| (Cow::Borrowed(*n), Cow::Borrowed(v.as_str()))));
        labels.extend(metric.scope.iter().map(|(n, v)| (Cow::Borrowed(&**n), Cow::Borrowed(&**v))));
        Ok(labels)
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

    /// Adds a point's exemplars, each to the series that `series_of` names for its value.
    fn exemplars(
        &mut self,
        common: &Common<'_>,
        at: usize,
        series_of: impl Fn(f64) -> u32,
    ) -> Result<(), Fault> {
        for exemplar in &common.exemplars {
            let time = if exemplar.time == Millis(0) { common.time } else { exemplar.time };
            self.exemplar(series_of(exemplar.value), time, exemplar, at)?;
        }
        Ok(())
    }

    fn exemplar(
        &mut self,
        series: u32,
        time: Millis,
        exemplar: &PointExemplar<'_>,
        at: usize,
    ) -> Result<(), Fault> {
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
        self.batch.exemplars.push(Exemplar { series, time, value: exemplar.value, labels });
        Ok(())
    }

    /// The series that carries what a resource's labels leave out: a sample every half look-back from the earliest to
    /// the latest stamp, and one at the latest.
    fn target_info(&mut self, target: &Target<'_>, at: usize) {
        let Some((first, last)) = target.span else { return };
        if target.identity.is_empty() || target.descriptive.is_empty() {
            return;
        }
        match self.target_info_series(target, at) {
            Ok(series) => {
                let span = last.0.saturating_sub(first.0) / TARGET_INFO_EVERY_MS;
                let left_out = (span - TARGET_INFO_MAX).max(0);
                let steps = (left_out..=span).map(|step| first.0.saturating_add(step * TARGET_INFO_EVERY_MS));
                for time in steps.chain([last.0]).map(Millis) {
                    if self.informed.insert((series, time)) {
                        self.sample(series, Stamps { start: UNKNOWN_START, time }, 1.0);
                    }
                }
            }
            // Not a data point of the sender's, so it must not count as one; the loss is told in words.
            Err(fault) => self.rejected.add(fault.reason, 0, || format!("target_info was left out: {fault}")),
        }
    }

    fn target_info_series(&mut self, target: &Target<'_>, at: usize) -> Result<u32, Fault> {
        let mut attributes = target.descriptive.clone();
        attributes.sort_by(|a, b| a.0.cmp(b.0));
        let mut labels = Labels::new();
        for (key, value) in attributes {
            if let Some(name) = self.options.label_name(key) {
                join_label(&mut labels, name, value);
            }
        }
        labels.extend(target.identity.iter().map(|(n, v)| (Cow::Borrowed(*n), Cow::Borrowed(v.as_str()))));
        self.series(&labels, "target_info", None, at)
    }
}

/// Adds a label, or its value to that of the same name.
fn join_label<'a>(labels: &mut Labels<'a>, name: Cow<'a, str>, value: ValueRef<'a>) {
    match labels.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = Cow::Owned(format!("{known};{value}")),
        None => labels.push((name, text_of(value))),
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
    check_temporality(&data, options.delta, field.at)?;
    let (naming, mut kind) = kinds(&data);
    if data.temporality == DELTA && options.delta == DeltaTemporality::AsIs {
        // No type of Prometheus' means this.
        kind = MetricKind::Unknown;
    }
    let name = metric_name(name, unit, naming, options.naming).ok_or_else(|| {
        Fault::new(Reason::Missing, field.at, "metric.name", "is empty or has no letter or digit")
    })?;
    Ok(Metric { name, help, unit, kind, data, scope: scope_labels(scope, options) })
}

fn scope_labels<'a>(scope: &Scope<'a>, options: &OtlpOptions) -> Labels<'a> {
    let mut labels = Labels::new();
    if !options.promote_scope_metadata || scope.name.is_empty() {
        return labels;
    }
    for (key, value) in &scope.attributes {
        if let Some(name) = options.label_name(&format!("otel_scope_{key}")) {
            labels.push((Cow::Owned(name.into_owned()), text_of(value.clone())));
        }
    }
    // After the attributes, so that none of them can pose as these.
    for (name, value) in [
        ("otel_scope_name", scope.name),
        ("otel_scope_version", scope.version),
        ("otel_scope_schema_url", scope.schema_url),
    ] {
        labels.push((Cow::Borrowed(name), Cow::Borrowed(value)));
    }
    labels
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

fn check_temporality(data: &Data<'_>, delta: DeltaTemporality, at: usize) -> Result<(), Fault> {
    let field = "aggregation_temporality";
    match (data.form, data.temporality) {
        (Form::Gauge | Form::Summary, _) | (_, CUMULATIVE) => Ok(()),
        (_, DELTA) if delta != DeltaTemporality::Reject => Ok(()),
        (_, DELTA) => {
            let problem = "is delta, which the setting otlp.delta refuses; set the exporter to cumulative";
            Err(Fault::new(Reason::Unsupported, at, field, problem))
        }
        _ => Err(Fault::new(Reason::Missing, at, field, "is not told; it must be cumulative or delta")),
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
    let index = |i: usize| ((i64::from(buckets.offset) + i as i64) >> down.min(63)) + 1;
    write_buckets(&buckets.counts, index, at)
}

fn write_buckets(
    counts: &[u64],
    index: impl Fn(usize) -> i64,
    at: usize,
) -> Result<(Vec<BucketSpan>, Vec<f64>), Fault> {
    let mut writer = BucketWriter::default();
    for (i, count) in counts.iter().enumerate().filter(|(_, count)| **count != 0) {
        if !writer.push(index(i), *count as f64) {
            let problem = "is outside the range of bucket indices";
            return Err(Fault::new(Reason::Malformed, at, "buckets.offset", problem));
        }
    }
    Ok(writer.finish())
}

/// A native histogram with the boundaries of an explicit one.
fn custom_buckets(point: &HistogramPoint<'_>, at: usize) -> Result<Histogram, Fault> {
    let malformed = |field, problem| Err(Fault::new(Reason::Malformed, at, field, problem));
    let bounds: Vec<f64> = point.bounds.iter().map(|bits| f64::from_bits(*bits)).collect();
    let finite = bounds.iter().all(|bound| !bound.is_nan() && *bound != f64::INFINITY);
    if !finite || !bounds.windows(2).all(|pair| matches!(pair, [a, b] if a < b)) {
        return malformed("data_point.explicit_bounds", "must ascend, without NaN and +Inf");
    }
    // Without buckets all that is known is that everything lies below infinity.
    let unknown = [point.count];
    let (counts, first) = match point.counts.len() {
        0 => (&unknown[..], bounds.len()),
        n if n == bounds.len() + 1 => (point.counts.as_slice(), 0),
        _ => return malformed("data_point.bucket_counts", "must be one more than explicit_bounds"),
    };
    let in_buckets = counts.iter().fold(0u64, |sum, count| sum.saturating_add(*count));
    if in_buckets != point.count && !point.common.no_value {
        return malformed("data_point.count", "is not the sum of the buckets");
    }
    let (positive_spans, positive) = write_buckets(counts, |i| (first + i) as i64, at)?;
    let stale = point.common.no_value;
    Ok(Histogram {
        schema: Histogram::CUSTOM_BUCKETS,
        count: if stale { STALE_NAN } else { point.count as f64 },
        sum: if stale { STALE_NAN } else { point.sum.unwrap_or(0.0) },
        positive_spans,
        positive,
        custom_bounds: bounds,
        ..Histogram::default()
    })
}
