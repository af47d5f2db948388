//! `/api/prom`: what clients of Loki before 1.0 still send. Same data, older shapes.

use chrono::DateTime;
use kenning_gotext::quote::quote;
use kenning_logql::Entry;
use kenning_model::{DistinctOf, Field, LabelSet, Nanos};

use super::answer::Shape;
use super::{meta, query};
use crate::asked::Asked;
use crate::error::ApiError;
use crate::json::Json;

/// `GET /api/prom/query`: log queries, with `regexp` as one more filter.
pub(super) async fn log_query(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let mut text = super::params::query(&asked).to_owned();
    if let Some(regexp) = asked.params.get("regexp") {
        text.push_str(&format!(" |~ {}", quote(regexp)));
    }
    if query::parsed(&text)?.is_metric() {
        return Err(ApiError::bad_request("legacy endpoints only support streams result type"));
    }
    query::evaluate(asked, text, Shape::Legacy).await
}

/// `GET /api/prom/label`
pub(super) async fn labels(asked: Asked) -> Result<Vec<u8>, ApiError> {
    values(asked, DistinctOf::Names).await
}

/// `GET /api/prom/label/{name}/values`
pub(super) async fn label_values(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let name = asked.path.first().map_or("", String::as_str).into();
    values(asked, DistinctOf::Values(Field::Label(name))).await
}

async fn values(asked: Asked, what: DistinctOf) -> Result<Vec<u8>, ApiError> {
    let texts = meta::texts(asked, what).await?;
    Ok(Json::build(|json| json.key("values").texts(&texts)))
}

/// A stream with its lines.
pub(super) fn write_stream(json: &mut Json, labels: &LabelSet, entries: &[Entry]) {
    json.object(|json| {
        json.key("labels").text(&labels_text(labels));
        json.key("entries").array(|json| {
            for entry in entries {
                json.object(|json| {
                    json.key("ts").text(&time_text(entry.time));
                    json.key("line").text(&entry.line);
                });
            }
        });
    });
}

/// `{app="a", job="b"}`
pub(super) fn labels_text(labels: &LabelSet) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={}", quote(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// RFC 3339 with as many digits of the second as it has.
pub(super) fn time_text(time: Nanos) -> String {
    let text = DateTime::from_timestamp_nanos(time.0).format("%Y-%m-%dT%H:%M:%S%.9f").to_string();
    format!("{}Z", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_digits_they_need() {
        let check = |nanos, expect| assert_eq!(time_text(Nanos(nanos)), expect);
        check(1_568_399_542_380_001_319, "2019-09-13T18:32:22.380001319Z");
        check(1_568_399_542_500_000_000, "2019-09-13T18:32:22.5Z");
        check(1_568_399_540_000_000_000, "2019-09-13T18:32:20Z");
    }
}
