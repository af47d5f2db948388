//! The messages of data points, field by field. Definition: opentelemetry-proto `metrics.proto`.

use kenning_model::{Millis, Reason, SpanId, TraceId};

use crate::error::Fault;
use crate::limits::DecodeLimits;
use crate::otlp::common::{Pairs, nanos, push_attribute};
use crate::protobuf::{Field, Reader};

/// `DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`
const NO_RECORDED_VALUE: u64 = 1;

/// What every kind of point has.
#[derive(Default)]
pub(super) struct Common<'a> {
    pub attributes: Pairs<'a>,
    /// When counting began; zero when not told.
    pub start: Millis,
    pub time: Millis,
    /// The series ends here.
    pub no_value: bool,
    pub exemplars: Vec<PointExemplar<'a>>,
}

#[derive(Default)]
pub(super) struct PointExemplar<'a> {
    pub attributes: Pairs<'a>,
    pub time: Millis,
    pub value: f64,
    pub trace_id: TraceId,
    pub span_id: SpanId,
}

pub(super) struct NumberPoint<'a> {
    pub common: Common<'a>,
    pub value: Option<f64>,
}

pub(super) struct HistogramPoint<'a> {
    pub common: Common<'a>,
    pub count: u64,
    pub sum: Option<f64>,
    pub counts: Vec<u64>,
    /// Bits of doubles.
    pub bounds: Vec<u64>,
}

#[derive(Default)]
pub(super) struct Buckets {
    pub offset: i32,
    pub counts: Vec<u64>,
}

pub(super) struct ExponentialPoint<'a> {
    pub common: Common<'a>,
    pub count: u64,
    pub sum: f64,
    pub scale: i32,
    pub zero_count: u64,
    pub zero_threshold: f64,
    pub positive: Buckets,
    pub negative: Buckets,
}

pub(super) struct SummaryPoint<'a> {
    pub common: Common<'a>,
    pub count: u64,
    pub sum: f64,
    pub quantiles: Vec<(f64, f64)>,
}

/// When counting began, and when the value was read.
#[derive(Clone, Copy)]
pub(super) struct Stamps {
    pub start: Millis,
    pub time: Millis,
}

impl<'a> Common<'a> {
    pub fn stamps(&self) -> Stamps {
        Stamps { start: self.start, time: self.time }
    }

    fn exemplar(&mut self, field: &Field<'a>, limits: &DecodeLimits) -> Result<(), Fault> {
        if self.exemplars.len() >= limits.events {
            let limit = limits.events;
            return Err(Fault::over(Reason::TooLong, field.at, "data_point.exemplars", limit, "entries"));
        }
        self.exemplars.push(PointExemplar::read(field, limits)?);
        Ok(())
    }
}

fn millis(field: &Field<'_>) -> Result<Millis, Fault> {
    Ok(nanos(field.fixed64("data_point.time_unix_nano")?).to_millis())
}

fn no_value(field: &Field<'_>) -> Result<bool, Fault> {
    Ok(field.varint("data_point.flags")? & NO_RECORDED_VALUE != 0)
}

impl<'a> NumberPoint<'a> {
    pub fn read(field: &Field<'a>, limits: &DecodeLimits) -> Result<Self, Fault> {
        let mut message = field.message("data_point")?;
        let mut point = Self { common: Common::default(), value: None };
        while let Some(field) = message.next()? {
            match field.number {
                2 => point.common.start = millis(&field)?,
                3 => point.common.time = millis(&field)?,
                4 => point.value = Some(field.double("data_point.as_double")?),
                5 => point.common.exemplar(&field, limits)?,
                6 => point.value = Some(field.fixed64("data_point.as_int")? as i64 as f64),
                7 => push_attribute(&mut point.common.attributes, &field, limits)?,
                8 => point.common.no_value = no_value(&field)?,
                _ => {}
            }
        }
        Ok(point)
    }
}

impl<'a> HistogramPoint<'a> {
    pub fn read(field: &Field<'a>, limits: &DecodeLimits) -> Result<Self, Fault> {
        let mut message = field.message("data_point")?;
        let (counts, bounds) = (Vec::new(), Vec::new());
        let mut point = Self { common: Common::default(), count: 0, sum: None, counts, bounds };
        while let Some(field) = message.next()? {
            match field.number {
                2 => point.common.start = millis(&field)?,
                3 => point.common.time = millis(&field)?,
                4 => point.count = field.fixed64("data_point.count")?,
                5 => point.sum = Some(field.double("data_point.sum")?),
                6 => field.fixed64s("data_point.bucket_counts", limits.buckets, &mut point.counts)?,
                7 => field.fixed64s("data_point.explicit_bounds", limits.buckets, &mut point.bounds)?,
                8 => point.common.exemplar(&field, limits)?,
                9 => push_attribute(&mut point.common.attributes, &field, limits)?,
                10 => point.common.no_value = no_value(&field)?,
                _ => {}
            }
        }
        Ok(point)
    }
}

impl<'a> ExponentialPoint<'a> {
    pub fn read(field: &Field<'a>, limits: &DecodeLimits) -> Result<Self, Fault> {
        let mut message = field.message("data_point")?;
        let mut point = Self {
            common: Common::default(),
            count: 0,
            sum: 0.0,
            scale: 0,
            zero_count: 0,
            zero_threshold: 0.0,
            positive: Buckets::default(),
            negative: Buckets::default(),
        };
        while let Some(field) = message.next()? {
            match field.number {
                1 => push_attribute(&mut point.common.attributes, &field, limits)?,
                2 => point.common.start = millis(&field)?,
                3 => point.common.time = millis(&field)?,
                4 => point.count = field.fixed64("data_point.count")?,
                5 => point.sum = field.double("data_point.sum")?,
                6 => point.scale = int32(&field, "data_point.scale")?,
                7 => point.zero_count = field.fixed64("data_point.zero_count")?,
                8 => point.positive.read(field.message("data_point.positive")?, limits)?,
                9 => point.negative.read(field.message("data_point.negative")?, limits)?,
                10 => point.common.no_value = no_value(&field)?,
                11 => point.common.exemplar(&field, limits)?,
                14 => point.zero_threshold = field.double("data_point.zero_threshold")?,
                _ => {}
            }
        }
        Ok(point)
    }
}

fn int32(field: &Field<'_>, name: &'static str) -> Result<i32, Fault> {
    let value = field.zigzag(name)?;
    i32::try_from(value).map_err(|_| Fault::new(Reason::Malformed, field.at, name, "does not fit 32 bits"))
}

impl Buckets {
    fn read(&mut self, mut message: Reader<'_>, limits: &DecodeLimits) -> Result<(), Fault> {
        while let Some(field) = message.next()? {
            match field.number {
                1 => self.offset = int32(&field, "buckets.offset")?,
                2 => field.varints("buckets.bucket_counts", limits.buckets, &mut self.counts)?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'a> SummaryPoint<'a> {
    pub fn read(field: &Field<'a>, limits: &DecodeLimits) -> Result<Self, Fault> {
        let mut message = field.message("data_point")?;
        let mut point = Self { common: Common::default(), count: 0, sum: 0.0, quantiles: Vec::new() };
        while let Some(field) = message.next()? {
            match field.number {
                2 => point.common.start = millis(&field)?,
                3 => point.common.time = millis(&field)?,
                4 => point.count = field.fixed64("data_point.count")?,
                5 => point.sum = field.double("data_point.sum")?,
                6 if point.quantiles.len() >= limits.buckets => {
                    let (name, limit) = ("data_point.quantile_values", limits.buckets);
                    return Err(Fault::over(Reason::TooLong, field.at, name, limit, "entries"));
                }
                6 => point.quantiles.push(quantile(field.message("data_point.quantile_values")?)?),
                7 => push_attribute(&mut point.common.attributes, &field, limits)?,
                8 => point.common.no_value = no_value(&field)?,
                _ => {}
            }
        }
        Ok(point)
    }
}

fn quantile(mut message: Reader<'_>) -> Result<(f64, f64), Fault> {
    let (mut quantile, mut value) = (0.0, 0.0);
    while let Some(field) = message.next()? {
        match field.number {
            1 => quantile = field.double("quantile_value.quantile")?,
            2 => value = field.double("quantile_value.value")?,
            _ => {}
        }
    }
    Ok((quantile, value))
}

impl<'a> PointExemplar<'a> {
    fn read(field: &Field<'a>, limits: &DecodeLimits) -> Result<Self, Fault> {
        let mut message = field.message("exemplar")?;
        let mut exemplar = Self::default();
        let mut value = None;
        while let Some(field) = message.next()? {
            match field.number {
                2 => exemplar.time = nanos(field.fixed64("exemplar.time_unix_nano")?).to_millis(),
                3 => value = Some(field.double("exemplar.as_double")?),
                4 => {
                    exemplar.span_id =
                        SpanId::from_slice(field.bytes("exemplar.span_id")?).unwrap_or_default()
                }
                5 => {
                    exemplar.trace_id =
                        TraceId::from_slice(field.bytes("exemplar.trace_id")?).unwrap_or_default()
                }
                6 => value = Some(field.fixed64("exemplar.as_int")? as i64 as f64),
                7 => push_attribute(&mut exemplar.attributes, &field, limits)?,
                _ => {}
            }
        }
        exemplar.value =
            value.ok_or_else(|| Fault::new(Reason::Missing, field.at, "exemplar.value", "is missing"))?;
        Ok(exemplar)
    }
}
