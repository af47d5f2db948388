//! Evaluating queries.

use kenning_model::{Block, Filter, Flow, LabelSet, Millis, Scan, Table, TimeRange};
use kenning_promql as promql;

use super::Data;
use super::answer::write_value;
use crate::asked::Asked;
use crate::error::ApiError;

pub(super) async fn instant(asked: Asked) -> Result<Data, ApiError> {
    let query = asked.params.required("query")?.to_owned();
    let at = asked.params.prometheus_time("time")?.unwrap_or(Millis(asked.api.now_ms()));
    let text = query.clone();
    let job = move |store: &dyn kenning_model::Store, context: &kenning_query::QueryContext| {
        promql::instant(store, context, &text, at)
    };
    Ok(data_of(asked.api.run(asked.tenant, &query, job).await?))
}

pub(super) async fn range(asked: Asked) -> Result<Data, ApiError> {
    let params = &asked.params;
    let query = params.required("query")?.to_owned();
    let grid = grid(params, asked.api.limits.points_max)?;
    let text = query.clone();
    let job = move |store: &dyn kenning_model::Store, context: &kenning_query::QueryContext| {
        promql::range(store, context, &text, grid)
    };
    Ok(data_of(asked.api.run(asked.tenant, &query, job).await?))
}

fn grid(params: &crate::params::Params, points_max: u64) -> Result<promql::Grid, ApiError> {
    params.required("start")?;
    params.required("end")?;
    params.required("step")?;
    let start = params.prometheus_time("start")?.unwrap_or_default();
    let end = params.prometheus_time("end")?.unwrap_or_default();
    let step_ms = params.prometheus_duration("step")?.unwrap_or_default();
    if end < start {
        return Err(ApiError::bad_request(
            "invalid parameter \"end\": end timestamp must not be before start time",
        ));
    }
    if step_ms <= 0 {
        let message = "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. \
                       Try a positive integer";
        return Err(ApiError::bad_request(message));
    }
    let points = (i128::from(end.0) - i128::from(start.0)) / i128::from(step_ms);
    if points > i128::from(points_max) {
        let message = format!(
            "exceeded maximum resolution of {points_max} points per timeseries (limits.query.points). Try decreasing \
             the query resolution (?step=XX)"
        );
        return Err(ApiError::bad_request(message));
    }
    Ok(promql::Grid { start, end, step_ms })
}

fn data_of(answer: promql::Answer) -> Data {
    let mut data = Data::new(|json| write_value(json, &answer.value, answer.stats.samples));
    data.warnings = answer.warnings;
    data.warnings.extend(answer.missing);
    data.infos = answer.infos;
    data
}

pub(super) async fn format(asked: Asked) -> Result<Data, ApiError> {
    let query = asked.params.required("query")?;
    let expression = promql::parse(query);
    let invalid = |diagnostics| ApiError::of_query(&kenning_query::QueryError::Invalid(diagnostics), query);
    let expression = expression.map_err(invalid)?;
    Ok(Data::new(|json| json.text(&promql::format(&expression))))
}

/// Exemplars of every series that some selector of the query selects.
pub(super) async fn exemplars(asked: Asked) -> Result<Data, ApiError> {
    let query = asked.params.required("query")?.to_owned();
    let start = asked.params.prometheus_time("start")?.unwrap_or(Millis(i64::MIN));
    let end = asked.params.prometheus_time("end")?.unwrap_or(Millis(i64::MAX));
    let invalid = |diagnostics| ApiError::of_query(&kenning_query::QueryError::Invalid(diagnostics), &query);
    let expression = promql::parse(&query).map_err(invalid)?;
    let filter = Filter::Or(promql::selectors(&expression));
    let job = move |store: &dyn kenning_model::Store, context: &kenning_query::QueryContext| {
        let time = TimeRange::from_millis(start, end);
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
    };
    let found = asked.api.run(asked.tenant, &query, job).await?;
    Ok(Data::new(|json| {
        json.array(|json| found.iter().for_each(|(labels, list)| write_exemplars(json, labels, list)))
    }))
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
