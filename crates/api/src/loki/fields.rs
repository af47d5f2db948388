//! What is in the lines and labels of a selection: detected labels, detected fields and their values.
//!
//! Definition: Loki's handlers of these names. Counts of distinct values are exact here, over the lines sampled.

use std::collections::{BTreeMap, BTreeSet};

use kenning_logql::{self as logql, Entry, Value};
use kenning_model::{DistinctOf, LabelSet, Shape, Store};
use kenning_query::{QueryContext, operators};

use super::meta::{scan_of, selector};
use super::params;
use crate::asked::Asked;
use crate::error::ApiError;
use crate::json::Json;

/// Fields, or values of one, in an answer that does not say how many.
const LIMIT_DEFAULT: usize = 1_000;
/// Lines looked at when the request does not say how many.
const LINES_DEFAULT: usize = 1_000;
/// Labels that are listed whatever their values are.
const STATIC_LABELS: [&str; 4] = ["cluster", "namespace", "instance", "pod"];

/// `GET /loki/api/v1/detected_labels`: stream labels with their number of values. Labels whose every value is a number
/// or a UUID tell nobody anything and are left out.
pub(super) async fn labels(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let filter = selector(params::query(&asked))?;
    let asking = scan_of(&asked, filter, Shape::Distinct(DistinctOf::LabelSets))?;
    let found = asked.api.run(asked.tenant, "", move |store, context| {
        let scan = kenning_model::Scan { cancel: context.cancel.clone(), ..asking };
        Ok(operators::label_sets(store, &scan)?)
    });
    let (sets, _) = found.await?;
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in sets.iter().flat_map(LabelSet::iter) {
        values.entry(name).or_default().insert(value);
    }
    values.retain(|name, values| STATIC_LABELS.contains(name) || !are_ids(values));
    Ok(Json::build(|json| {
        json.key("detectedLabels").array(|json| {
            for (name, values) in &values {
                json.object(|json| {
                    json.key("label").text(name);
                    json.key("cardinality").int(values.len() as i64);
                });
            }
        });
    }))
}

fn are_ids(values: &BTreeSet<&str>) -> bool {
    let are_flags = values.len() <= 2 && values.iter().all(|value| matches!(*value, "0" | "1"));
    !are_flags && values.iter().all(|value| value.parse::<f64>().is_ok() || is_uuid(value))
}

/// A UUID in one of the forms that people write: with hyphens, without, in braces, as a URN.
fn is_uuid(text: &str) -> bool {
    let bare = text.strip_prefix("urn:uuid:").unwrap_or(text);
    let bare = bare.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(bare);
    let hyphens: Vec<usize> = bare.match_indices('-').map(|(at, _)| at).collect();
    let is_placed = hyphens.is_empty() || (hyphens == [8, 13, 18, 23] && bare.len() == 36);
    is_placed && bare.len() - hyphens.len() == 32 && bare.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

/// A field of lines.
#[derive(Debug, Default)]
struct Field {
    kind: &'static str,
    values: BTreeSet<String>,
    /// Stages that find it; none for structured metadata.
    parsers: Vec<&'static str>,
    json_path: Vec<String>,
}

/// Fields by name, no more of them than asked for.
#[derive(Debug, Default)]
struct Fields {
    limit: usize,
    known: BTreeMap<String, Field>,
}

impl Fields {
    fn see(&mut self, name: &str, value: &str) -> Option<&mut Field> {
        if !self.known.contains_key(name) {
            if self.known.len() >= self.limit {
                return None;
            }
            self.known.insert(name.to_owned(), Field::default());
        }
        let field = self.known.get_mut(name)?;
        field.kind = logql::detected_type(value);
        if !field.values.contains(value) {
            field.values.insert(value.to_owned());
        }
        Some(field)
    }

    /// Takes the structured metadata of a line, what the query parsed, and what a parser would find.
    fn see_entry(&mut self, stream: &LabelSet, entry: &Entry) {
        for (name, value) in entry.structured_metadata.iter() {
            self.see(name, value);
        }
        let detected = logql::detected_fields(stream, &entry.line);
        let parser = detected.as_ref().map(|detected| detected.parser);
        let none = LabelSet::empty();
        let found = detected.as_ref().map_or(&none, |detected| &detected.fields);
        for (name, value) in entry.parsed.iter().chain(found.iter()) {
            if name.starts_with("__") {
                continue;
            }
            let Some(field) = self.see(name, value) else { continue };
            field.parsers.extend(parser.filter(|parser| !field.parsers.contains(parser)));
            if parser == Some("json") && field.json_path.is_empty() {
                field.json_path = logql::detected_json_path(name, &entry.line);
            }
        }
    }
}

/// The fields of a sample of the lines that the request's query selects.
async fn sample(asked: Asked, limit: usize) -> Result<Fields, ApiError> {
    let query = params::query(&asked).to_owned();
    let (start, end) = params::range(&asked)?;
    let lines = params::limit_of(&asked, "line_limit", LINES_DEFAULT)?;
    if lines > params::LIMIT_MAX {
        return Err(ApiError::bad_request(format!(
            "max entries limit per query exceeded, limit > max_entries_limit ({lines} > {})",
            params::LIMIT_MAX
        )));
    }
    if super::query::parsed(&query)?.is_metric() {
        return Err(ApiError::bad_request("only log selector is supported"));
    }
    let asking = logql::RangeParams { start, end, step_ns: 1, limit: lines, forward: false, interval_ns: 0 };
    let text = query.clone();
    let job = move |store: &dyn Store, context: &QueryContext| {
        let answer = logql::range(store, context, &text, &asking)?;
        let mut fields = Fields { limit, known: BTreeMap::new() };
        if let Value::Streams(streams) = answer.value {
            for (labels, entries) in logql::categorized(streams, false) {
                entries.iter().for_each(|entry| fields.see_entry(&labels, entry));
            }
        }
        Ok(fields)
    };
    asked.api.run_within(asked.api.limits.timeout, asked.tenant, &query, ApiError::of_logql, job).await
}

fn field_limit(asked: &Asked) -> Result<usize, ApiError> {
    let name = if asked.params.get("limit").is_some() { "limit" } else { "field_limit" };
    params::limit_of(asked, name, LIMIT_DEFAULT)
}

/// `GET /loki/api/v1/detected_fields`
pub(super) async fn fields(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let limit = field_limit(&asked)?;
    let fields = sample(asked, limit).await?;
    Ok(Json::build(|json| {
        json.key("fields").array(|json| {
            fields.known.iter().for_each(|(name, field)| json.object(|json| write(json, name, field)));
        });
        json.key("limit").int(limit as i64);
    }))
}

fn write(json: &mut Json, name: &str, field: &Field) {
    json.key("label").text(name);
    json.key("type").text(field.kind);
    json.key("cardinality").int(field.values.len() as i64);
    json.key("parsers");
    // Structured metadata needs no parser, which clients tell by the missing list.
    if field.parsers.is_empty() {
        json.raw("null")
    } else {
        json.texts(&field.parsers)
    }
    if !field.json_path.is_empty() {
        json.key("jsonPath").texts(&field.json_path);
    }
}

/// `GET /loki/api/v1/detected_field/{name}/values`
pub(super) async fn values(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let name = asked.path.first().cloned().unwrap_or_default();
    let limit = field_limit(&asked)?;
    let mut fields = sample(asked, usize::MAX).await?;
    let found = fields.known.remove(&name).unwrap_or_default();
    Ok(Json::build(|json| {
        json.key("values").texts(found.values.iter().take(limit));
        json.key("limit").int(limit as i64);
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_names() {
        let check = |values: &[&str], expect| {
            assert_eq!(are_ids(&values.iter().copied().collect()), expect, "{values:?}");
        };
        check(&["0", "1"], false);
        check(&["0", "2"], true);
        check(&["api", "7"], false);
        check(&["f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "12"], true);
        check(&["f81d4fae7dec11d0a76500a0c91e6bf6"], true);
        check(&["f81d4fae-7dec-11d0-a765-00a0c91e6bfx"], false);
    }
}
