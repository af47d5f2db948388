//! Query results in Prometheus's JSON.

use std::time::Duration;

use kenning_model::{Histogram, Millis};
use kenning_promql::{Point, Stats, Value, format_float, histogram_buckets, write_float, write_integer};

use crate::json::Json;

/// What a query cost.
pub(super) struct Cost {
    pub stats: Stats,
    /// Time spent waiting for a place.
    pub queued: Duration,
    /// Time spent evaluating.
    pub evaluation: Duration,
    /// From the request to the value.
    pub total: Duration,
}

/// Writes `{"resultType":...,"result":...}`, with `stats` when a cost is given.
pub(super) fn write_value(json: &mut Json, value: &Value, cost: Option<&Cost>) {
    json.object(|json| {
        json.key("resultType").text(match value {
            Value::Scalar(..) => "scalar",
            Value::String(..) => "string",
            Value::Vector(_) => "vector",
            Value::Matrix(_) => "matrix",
        });
        json.key("result");
        write_result(json, value);
        if let Some(cost) = cost {
            json.key("stats").object(|json| write_cost(json, cost));
        }
    });
}

fn write_cost(json: &mut Json, cost: &Cost) {
    json.key("timings").object(|json| {
        // Parsing, preparation and sorting are part of the evaluation here and not told apart.
        json.key("evalTotalTime").number(cost.evaluation.as_secs_f64());
        json.key("resultSortTime").int(0);
        json.key("queryPreparationTime").int(0);
        json.key("innerEvalTime").number(cost.evaluation.as_secs_f64());
        json.key("execQueueTime").number(cost.queued.as_secs_f64());
        json.key("execTotalTime").number(cost.total.as_secs_f64());
    });
    json.key("samples").object(|json| {
        json.key("totalQueryableSamples").int(cost.stats.samples as i64);
        // What the store handed over is what was held.
        json.key("peakSamples").int(cost.stats.samples_loaded as i64);
    });
}

fn write_result(json: &mut Json, value: &Value) {
    match value {
        Value::Scalar(time, number) => write_number(json, *time, *number),
        Value::String(time, text) => write_pair(json, *time, text),
        Value::Vector(samples) => json.array(|json| {
            for sample in samples {
                json.object(|json| {
                    json.key("metric").pairs(sample.labels.iter());
                    match &sample.value {
                        Point::Float(number) => {
                            json.key("value");
                            write_number(json, sample.time, *number);
                        }
                        Point::Histogram(histogram) => {
                            json.key("histogram");
                            write_histogram(json, sample.time, histogram);
                        }
                    }
                });
            }
        }),
        Value::Matrix(series) => {
            let points: usize = series.iter().map(|one| one.points.len()).sum();
            json.reserve(points * POINT_BYTES + series.len() * SERIES_BYTES);
            let mut openings = Openings::default();
            json.array(|json| {
                for one in series {
                    json.object(|json| {
                        json.key("metric").pairs(one.labels.iter());
                        write_points(json, &one.points, &mut openings);
                    });
                }
            });
        }
    }
}

fn write_points(json: &mut Json, points: &[(Millis, Point)], openings: &mut Openings) {
    let is_float = |point: &Point| matches!(point, Point::Float(_));
    if points.iter().any(|(_, point)| is_float(point)) {
        openings.restart();
        json.key("values").array(|json| {
            for (time, point) in points {
                if let Point::Float(number) = point {
                    json.raw_with(|out| {
                        openings.write(out, *time);
                        write_float(out, *number);
                        out.extend_from_slice(b"\"]");
                    });
                }
            }
        });
    }
    if points.iter().any(|(_, point)| !is_float(point)) {
        json.key("histograms").array(|json| {
            for (time, point) in points {
                if let Point::Histogram(histogram) = point {
                    write_histogram(json, *time, histogram);
                }
            }
        });
    }
}

/// Bytes of a point and of a series beside its points, as they mostly are.
const POINT_BYTES: usize = 24;
const SERIES_BYTES: usize = 200;

/// Most times whose texts are kept.
const OPENINGS_MAX: usize = 16 << 10;

/// How points begin, `[time,"`: the series of an answer have the same times, whose digits are put together once.
#[derive(Default)]
struct Openings {
    times: Vec<Millis>,
    /// Where the text of each time ends.
    ends: Vec<usize>,
    text: Vec<u8>,
    /// The first time that may be asked for next.
    next: usize,
}

impl Openings {
    /// Another series begins.
    fn restart(&mut self) {
        self.next = 0;
    }

    /// Writes the beginning of a point, whose time is after those before in its series.
    fn write(&mut self, out: &mut Vec<u8>, time: Millis) {
        while self.times.get(self.next).is_some_and(|known| *known < time) {
            self.next += 1;
        }
        if self.next == self.times.len() && self.next < OPENINGS_MAX {
            write_opening(&mut self.text, time);
            self.times.push(time);
            self.ends.push(self.text.len());
        }
        if self.times.get(self.next) != Some(&time) {
            return write_opening(out, time);
        }
        let start = self.next.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(self.next).copied().unwrap_or(start);
        out.extend_from_slice(self.text.get(start..end).unwrap_or_default());
    }
}

fn write_opening(out: &mut Vec<u8>, time: Millis) {
    out.push(b'[');
    write_seconds(out, time);
    out.extend_from_slice(b",\"");
}

fn write_pair(json: &mut Json, time: Millis, text: &str) {
    json.array(|json| {
        json.raw_with(|out| write_seconds(out, time));
        json.text(text);
    });
}

fn write_number(json: &mut Json, time: Millis, number: f64) {
    json.array(|json| {
        json.raw_with(|out| write_seconds(out, time));
        json.plain_text_with(|out| write_float(out, number));
    });
}

/// Seconds with as many of three decimals as are needed, exact for every millisecond.
fn write_seconds(out: &mut Vec<u8>, Millis(ms): Millis) {
    if ms < 0 {
        out.push(b'-');
    }
    let (whole, part) = (ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
    write_integer(out, whole);
    if part > 0 {
        let digits = [part / 100, part / 10 % 10, part % 10].map(|digit| b'0' + digit as u8);
        let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
        out.push(b'.');
        out.extend(digits.iter().take(digits.len() - zeros));
    }
}

/// `[time, {"count","sum","buckets":[[boundary rule, lower, upper, count]]}]`; empty buckets are left out.
fn write_histogram(json: &mut Json, time: Millis, histogram: &Histogram) {
    json.array(|json| {
        json.raw_with(|out| write_seconds(out, time));
        json.object(|json| {
            json.key("count").text(&format_float(histogram.count));
            json.key("sum").text(&format_float(histogram.sum));
            let buckets: Vec<_> =
                histogram_buckets(histogram).into_iter().filter(|b| b.count != 0.0).collect();
            if !buckets.is_empty() {
                json.key("buckets").array(|json| {
                    for bucket in &buckets {
                        json.array(|json| {
                            json.int(bucket.boundaries());
                            json.text(&format_float(bucket.lower));
                            json.text(&format_float(bucket.upper));
                            json.text(&format_float(bucket.count));
                        });
                    }
                });
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact_seconds() {
        let check = |ms, expect: &str| {
            let mut out = Vec::new();
            write_seconds(&mut out, Millis(ms));
            assert_eq!(String::from_utf8_lossy(&out), expect);
        };
        check(1_435_781_430_781, "1435781430.781");
        check(1_435_781_430_000, "1435781430");
        check(-1, "-0.001");
        check(1_500, "1.5");
        check(i64::MAX, "9223372036854775.807");
    }

    #[test]
    fn points_begin_with_their_times_whatever_the_series_before_had() {
        let mut openings = Openings::default();
        let mut check = |times: &[i64]| {
            openings.restart();
            for time in times.iter().copied().map(Millis) {
                let (mut out, mut expect) = (Vec::new(), Vec::new());
                openings.write(&mut out, time);
                write_opening(&mut expect, time);
                assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expect), "{times:?}");
            }
        };
        check(&[]);
        check(&[1_000, 2_500, 3_000]);
        check(&[1_000, 2_500, 3_000]);
        check(&[-5, 2_500, 2_501, 9_000]);
        check(&[9_000, 10_000]);
        check(&(0..2 * OPENINGS_MAX as i64).collect::<Vec<_>>());
    }
}
