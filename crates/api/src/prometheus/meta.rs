//! Labels, series and metadata.

use std::collections::BTreeMap;

use kenning_model::{Block, DistinctOf, Field, Filter, Flow, Scan, Shape, Table, TimeRange};
use kenning_query::operators;

use super::{Data, params};
use crate::asked::Asked;
use crate::dotted;
use crate::error::ApiError;

/// A scan of the series that any `match[]` selects in the range asked for; of all without `match[]`.
fn scan_of(asked: &Asked, shape: Shape) -> Result<Scan, ApiError> {
    let filter = params::any_selector(&asked.params)?;
    let limit = params::limit(&asked.params)?;
    let time = params::range(&asked.params)?;
    let mut scan = Scan::rows(asked.tenant.clone(), Table::Samples, time, filter);
    scan.shape = shape;
    // One more than asked for tells whether something was left out.
    scan.limit = limit.map(|limit| limit.saturating_add(1));
    scan.bytes_max = asked.api.limits.memory_bytes_max;
    Ok(scan)
}

/// Cuts a list to the limit asked for and says so, as Prometheus does.
fn cut<T>(list: &mut Vec<T>, scan: &Scan, mut warnings: Vec<String>) -> Vec<String> {
    if let Some(limit) = scan.limit.map(|more| more - 1).filter(|limit| list.len() > *limit) {
        list.truncate(limit);
        warnings.push(super::TRUNCATED.to_owned());
    }
    warnings
}

async fn texts(asked: Asked, what: DistinctOf) -> Result<Data, ApiError> {
    let scan = scan_of(&asked, Shape::Distinct(what))?;
    let asking = scan.clone();
    let found = asked.api.run(asked.tenant, "", move |store, context| {
        let scan = Scan { cancel: context.cancel.clone(), ..asking };
        Ok(operators::distinct_texts(store, &scan)?)
    });
    let (mut texts, summary) = found.await?;
    let warnings = cut(&mut texts, &scan, summary.missing);
    Ok(Data::new(|json| json.texts(&texts)).with_warnings(warnings))
}

pub(super) async fn labels(asked: Asked) -> Result<Data, ApiError> {
    texts(asked, DistinctOf::Names).await
}

pub(super) async fn label_values(asked: Asked) -> Result<Data, ApiError> {
    let name = unescape_name(asked.path.first().map_or("", String::as_str));
    // A path that is not UTF-8 was decoded with replacements.
    if name.is_empty() || name.contains(char::REPLACEMENT_CHARACTER) {
        return Err(ApiError::bad_request(format!("invalid label name: {name:?}")));
    }
    let field = Field::Label(name.into());
    texts(asked, DistinctOf::Values(field)).await
}

/// Undoes Prometheus's `U__` escaping, by which clients put UTF-8 names into paths: `__` is `_`, `_hex_` a character.
/// A text that is not a whole escape stays as it is.
fn unescape_name(name: &str) -> String {
    fn unescape(mut rest: &str) -> Option<String> {
        let mut plain = String::new();
        while let Some(at) = rest.find('_') {
            plain.push_str(rest.get(..at)?);
            let tail = rest.get(at + 1..)?;
            let end = tail.find('_')?;
            match tail.get(..end)? {
                "" => plain.push('_'),
                hex => plain.push(char::from_u32(u32::from_str_radix(hex, 16).ok()?)?),
            }
            rest = tail.get(end + 1..)?;
        }
        plain.push_str(rest);
        Some(plain)
    }
    name.strip_prefix("U__").and_then(unescape).unwrap_or_else(|| name.to_owned())
}

pub(super) async fn series(asked: Asked) -> Result<Data, ApiError> {
    if asked.params.all("match[]").next().is_none() {
        return Err(ApiError::bad_request("no match[] parameter provided"));
    }
    params::selectors(&asked.params).map_err(|why| params::invalid("match[]", why))?;
    let scan = scan_of(&asked, Shape::Distinct(DistinctOf::LabelSets))?;
    let asking = scan.clone();
    let found = asked.api.run(asked.tenant, "", move |store, context| {
        let scan = Scan { cancel: context.cancel.clone(), ..asking };
        Ok(operators::label_sets(store, &scan)?)
    });
    let (mut sets, summary) = found.await?;
    let warnings = cut(&mut sets, &scan, summary.missing);
    let data = Data::new(|json| json.array(|json| sets.iter().for_each(|labels| json.pairs(labels.iter()))));
    Ok(data.with_warnings(warnings))
}

pub(super) async fn metadata(asked: Asked) -> Result<Data, ApiError> {
    let number = |name| match asked.params.get(name).map(params::whole_number) {
        None => Ok(usize::MAX),
        // Less than none is no limit.
        Some(Ok(number)) => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
        Some(Err(_)) => Err(ApiError::bad_request(format!("{name} must be a number"))),
    };
    let limit = number("limit")?;
    let per_metric = Some(number("limit_per_metric")?).filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let only = asked.params.get("metric").map(str::to_owned);
    let found = asked.api.run(asked.tenant, "", move |store, context| {
        let mut scan = Scan::rows(context.tenant.clone(), Table::Metadata, TimeRange::ALL, Filter::All);
        scan.cancel = context.cancel.clone();
        // An instrument's own name stands for what its series may be called.
        let names: Option<Vec<String>> = only.as_ref().map(|name| dotted::names_of(name));
        let asked_for =
            |metric: &str| names.as_ref().is_none_or(|names| names.iter().any(|name| name == metric));
        let mut by_metric: BTreeMap<String, Vec<kenning_model::MetricMetadata>> = BTreeMap::new();
        store.scan(&scan, &mut |block| {
            if let Block::Metadata(list) = block {
                for one in list.into_iter().filter(|one| asked_for(&one.metric)) {
                    by_metric.entry(one.metric.clone()).or_default().push(one);
                }
            }
            Flow::More
        })?;
        if let Some(name) = &only {
            dotted::only_stored(name, &mut by_metric);
        }
        Ok(by_metric)
    });
    let by_metric = found.await?;
    Ok(Data::new(|json| {
        json.object(|json| {
            for (metric, list) in by_metric.iter().take(limit) {
                json.key(metric).array(|json| {
                    for one in list.iter().take(per_metric) {
                        json.object(|json| {
                            json.key("type").text(one.kind.as_str());
                            json.key("help").text(&one.help);
                            json.key("unit").text(&one.unit);
                        });
                    }
                });
            }
        });
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_read_back() {
        let check = |escaped, plain| assert_eq!(unescape_name(escaped), plain);
        check("job", "job");
        check("U__http_2e_status", "http.status");
        check("U__a__b", "a_b");
        check("U__broken_zz", "U__broken_zz");
    }
}
