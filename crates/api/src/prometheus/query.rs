//! Evaluating queries.

use std::time::Duration;

use kenning_model::{Block, Filter, Flow, LabelSet, Millis, Scan, Store, Table, TimeRange};
use kenning_promql as promql;
use kenning_query::QueryContext;

use super::Data;
use super::answer::{Cost, write_value};
use super::params::{self, invalid};
use crate::asked::Asked;
use crate::error::ApiError;
use crate::params::Params;

pub(super) async fn instant(asked: Asked) -> Result<Data, ApiError> {
    let how = How::of(&asked)?;
    let at = params::time_or(&asked.params, "time", Millis(asked.api.now_ms()))?;
    let query = asked.params.get("query").unwrap_or("").to_owned();
    let options = params::options(&asked.params)?;
    let job = move |store: &dyn Store, context: &QueryContext, query: &str| {
        promql::instant_with(store, context, query, at, &options)
    };
    evaluate(asked, query, how, job).await
}

pub(super) async fn range(asked: Asked) -> Result<Data, ApiError> {
    let how = How::of(&asked)?;
    let grid = grid(&asked.params, asked.api.limits.points_max)?;
    let query = asked.params.get("query").unwrap_or("").to_owned();
    let options = params::options(&asked.params)?;
    let job = move |store: &dyn Store, context: &QueryContext, query: &str| {
        promql::range_with(store, context, query, grid, &options)
    };
    evaluate(asked, query, how, job).await
}

/// What instant and range queries are told alike.
struct How {
    limit: Option<usize>,
    timeout: Option<Duration>,
    stats: Option<String>,
}

impl How {
    fn of(asked: &Asked) -> Result<Self, ApiError> {
        Ok(Self {
            limit: params::limit(&asked.params)?,
            timeout: params::timeout(&asked.params)?,
            stats: asked.params.get("stats").map(str::to_owned),
        })
    }
}

async fn evaluate(
    asked: Asked,
    query: String,
    how: How,
    job: impl FnOnce(&dyn Store, &QueryContext, &str) -> Result<promql::Answer, kenning_query::QueryError>
    + Send
    + 'static,
) -> Result<Data, ApiError> {
    let clock = std::sync::Arc::clone(&asked.api.clock);
    let (asked_at, timeout) = (clock.steady(), how.timeout.unwrap_or(Duration::MAX));
    let text = query.clone();
    // The answer is written where it was computed: a long one would hold up the reactor.
    let answered = move |store: &dyn Store, context: &QueryContext| {
        let started = clock.steady();
        let answer = job(store, context, &text)?;
        let now = clock.steady();
        let cost = Cost {
            stats: answer.stats,
            queued: started.saturating_sub(asked_at),
            evaluation: now.saturating_sub(started),
            total: now.saturating_sub(asked_at),
        };
        Ok(write(answer, how, &cost))
    };
    asked.api.run_within(timeout, asked.tenant, &query, params::explain, answered).await
}

fn write(mut answer: promql::Answer, how: How, cost: &Cost) -> Data {
    let truncated = how.limit.is_some_and(|limit| truncate(&mut answer.value, limit));
    let mut data = Data::new(|json| write_value(json, &answer.value, how.stats.is_some().then_some(cost)));
    data.warnings = answer.warnings;
    data.warnings.extend(answer.missing);
    data.infos = answer.infos;
    if truncated {
        data.warnings.push(super::TRUNCATED.to_owned());
    }
    if let Some(other) = how.stats.filter(|stats| !matches!(stats.as_str(), "true" | "all")) {
        data.warnings.push(format!(
            "value {other:?} for parameter \"stats\" is deprecated and will be rejected in the next major release, use \
             \"true\" or \"all\""
        ));
    }
    data
}

/// Keeps the first series; true when there were more.
fn truncate(value: &mut promql::Value, limit: usize) -> bool {
    let (before, after) = match value {
        promql::Value::Vector(samples) => (samples.len(), {
            samples.truncate(limit);
            samples.len()
        }),
        promql::Value::Matrix(series) => (series.len(), {
            series.truncate(limit);
            series.len()
        }),
        promql::Value::Scalar(..) | promql::Value::String(..) => (0, 0),
    };
    after < before
}

fn grid(params: &Params, points_max: u64) -> Result<promql::Grid, ApiError> {
    let start = params::time(params, "start")?;
    let end = params::time(params, "end")?;
    if end < start {
        return Err(invalid("end", "end timestamp must not be before start time"));
    }
    let step_ms =
        params::duration_ms(params.get("step").unwrap_or("")).map_err(|why| invalid("step", why))?;
    if step_ms <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(invalid("step", why));
    }
    let points = (i128::from(end.0) - i128::from(start.0)) / i128::from(step_ms);
    if points > i128::from(points_max) {
        let message = format!(
            "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)",
            with_thousands(points_max)
        );
        return Err(ApiError::bad_request(message));
    }
    Ok(promql::Grid { start, end, step_ms })
}

fn with_thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

pub(super) async fn format(asked: Asked) -> Result<Data, ApiError> {
    let expression = params::expression(&asked.params)?;
    Ok(Data::new(|json| json.text(&promql::format(&expression))))
}

pub(super) async fn parse(asked: Asked) -> Result<Data, ApiError> {
    let expression = params::expression(&asked.params)?;
    Ok(Data::new(|json| super::ast::write(json, &expression)))
}

/// Exemplars of every series that some selector of the query selects.
pub(super) async fn exemplars(asked: Asked) -> Result<Data, ApiError> {
    let time = params::range(&asked.params)?;
    if time.end < time.start {
        return Err(ApiError::bad_request("end timestamp must not be before start timestamp"));
    }
    let expression = params::expression(&asked.params)?;
    let selectors = promql::selectors(&expression);
    if selectors.is_empty() {
        return Ok(Data::nothing());
    }
    let query = asked.params.get("query").unwrap_or("").to_owned();
    let filter = Filter::Or(selectors);
    let job = move |store: &dyn Store, context: &QueryContext| exemplars_in(store, context, time, filter);
    let found = asked.api.run(asked.tenant, &query, job).await?;
    Ok(Data::new(|json| {
        json.array(|json| found.iter().for_each(|(labels, list)| write_exemplars(json, labels, list)))
    }))
}

type Exemplars = Vec<(LabelSet, Vec<kenning_model::Exemplar>)>;

fn exemplars_in(
    store: &dyn Store,
    context: &QueryContext,
    time: TimeRange,
    filter: Filter,
) -> Result<Exemplars, kenning_query::QueryError> {
    let mut scan = Scan::rows(context.tenant.clone(), Table::Exemplars, time, filter);
    scan.cancel = context.cancel.clone();
    scan.bytes_max = context.limits.memory_bytes_max;
    let mut found = Vec::new();
    store.scan(&scan, &mut |block| {
        if let Block::Exemplars(series) = block {
            found.extend(series);
        }
        Flow::More
    })?;
    Ok(found)
}

fn write_exemplars(json: &mut crate::json::Json, labels: &LabelSet, list: &[kenning_model::Exemplar]) {
    json.object(|json| {
        json.key("seriesLabels").pairs(labels.iter());
        json.key("exemplars").array(|json| {
            for exemplar in list {
                json.object(|json| {
                    json.key("labels").pairs(exemplar.labels.iter());
                    json.key("value").text(&promql::format_float(exemplar.value));
                    json.key("timestamp").number(exemplar.time.0 as f64 / 1000.0);
                });
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let check = |number, expect| assert_eq!(with_thousands(number), expect);
        check(11_000, "11,000");
        check(999, "999");
        check(1_234_567, "1,234,567");
    }
}
