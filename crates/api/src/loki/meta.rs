//! Labels, streams and their sizes.

use kenning_model::{Agg, DistinctOf, Field, Filter, Group, Scan, Shape, Table, TimeRange};
use kenning_query::{QueryError, operators};

use super::params;
use crate::asked::Asked;
use crate::error::ApiError;
use crate::json::Json;

pub(super) fn scan_of(asked: &Asked, selector: Filter, shape: Shape) -> Result<Scan, ApiError> {
    let (start, end) = params::range(asked)?;
    let mut scan = Scan::rows(asked.tenant.clone(), Table::Logs, TimeRange { start, end }, selector);
    scan.shape = shape;
    scan.bytes_max = asked.api.limits.memory_bytes_max;
    Ok(scan)
}

pub(super) fn selector(text: &str) -> Result<Filter, ApiError> {
    // Explore's empty selector means everything.
    let inner = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    if inner.unwrap_or(text).trim().is_empty() {
        return Ok(Filter::All);
    }
    kenning_logql::selector(text)
        .map_err(|diagnostics| ApiError::of_logql(&QueryError::Invalid(diagnostics), text))
}

/// Distinct texts of the streams that the request's query selects.
pub(super) async fn texts(asked: Asked, what: DistinctOf) -> Result<Vec<Box<str>>, ApiError> {
    let filter = selector(asked.params.get("query").unwrap_or(""))?;
    let asking = scan_of(&asked, filter, Shape::Distinct(what))?;
    let found = asked.api.run(asked.tenant, "", move |store, context| {
        let scan = Scan { cancel: context.cancel.clone(), ..asking };
        Ok(operators::distinct_texts(store, &scan)?)
    });
    let (texts, _) = found.await?;
    Ok(texts)
}

pub(super) async fn labels(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let texts = texts(asked, DistinctOf::Names).await?;
    Ok(success(|json| json.texts(&texts)))
}

pub(super) async fn label_values(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let name = asked.path.first().map_or("", String::as_str);
    let field = Field::Label(name.into());
    let texts = texts(asked, DistinctOf::Values(field)).await?;
    Ok(success(|json| json.texts(&texts)))
}

pub(super) async fn series(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let mut selectors = Vec::new();
    for text in asked.params.all("match[]").chain(asked.params.all("match")) {
        selectors.push(selector(text)?);
    }
    let filter = if selectors.is_empty() { Filter::All } else { Filter::Or(selectors) };
    let asking = scan_of(&asked, filter, Shape::Distinct(DistinctOf::LabelSets))?;
    let found = asked.api.run(asked.tenant, "", move |store, context| {
        let scan = Scan { cancel: context.cancel.clone(), ..asking };
        Ok(operators::label_sets(store, &scan)?)
    });
    let (sets, _) = found.await?;
    Ok(success(|json| json.array(|json| sets.iter().for_each(|labels| json.pairs(labels.iter())))))
}

/// Streams, entries and bytes that a selector selects. Chunks are Loki's; a stream counts as one.
pub(super) async fn index_stats(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let filter = selector(params::query(&asked))?;
    let count = Group { step: None, by: Vec::new(), aggs: vec![Agg::Count, Agg::LineBytes], top: None };
    let counting = scan_of(&asked, filter.clone(), Shape::Group(count))?;
    let listing = scan_of(&asked, filter, Shape::Distinct(DistinctOf::LabelSets))?;
    let found = asked.api.run(asked.tenant, "", move |store, context| {
        let with_cancel = |scan: Scan| Scan { cancel: context.cancel.clone(), ..scan };
        let (rows, _) = operators::groups(store, &with_cancel(counting))?;
        let (streams, _) = operators::label_sets(store, &with_cancel(listing))?;
        Ok((rows.first().map(|row| row.values.clone()).unwrap_or_default(), streams.len()))
    });
    let (values, streams) = found.await?;
    let number = |place: usize| values.get(place).copied().unwrap_or(0.0) as i64;
    Ok(Json::build(|json| {
        json.key("streams").int(streams as i64);
        json.key("chunks").int(streams as i64);
        json.key("entries").int(number(0));
        json.key("bytes").int(number(1));
    }))
}

pub(super) async fn buildinfo(asked: Asked) -> Result<Vec<u8>, ApiError> {
    Ok(Json::build(|json| {
        json.key("version").text("3.7.6");
        json.key("revision").text(asked.api.version);
        for empty in ["branch", "buildUser", "buildDate", "goVersion"] {
            json.key(empty).text("");
        }
    }))
}

pub(super) fn success(fill: impl FnOnce(&mut Json)) -> Vec<u8> {
    Json::build(|json| {
        json.key("status").text("success");
        json.key("data");
        fill(json);
    })
}
