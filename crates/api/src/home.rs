//! The UI's first page: is anything wrong now?

use std::collections::BTreeMap;

use axum::response::Response;
use kenning_model::{
    Agg, DistinctOf, Field, Filter, Flow, Group, Millis, Order, Scan, Shape, Store, Table, TimeRange,
};
use kenning_promql as promql;
use kenning_query::{QueryContext, QueryError, operators};

use crate::error::ApiError;
use crate::json::Json;
use crate::params::Params;
use crate::routes::{Call, GET, Permission, Routes};
use crate::{Api, reply, tenant};

/// The range looked at when the request gives none.
const RANGE_DEFAULT_MS: i64 = 5 * 60_000;
/// Entry spans whose durations make the 95th percentile of each service.
const DURATION_SAMPLES_MAX: usize = 20_000;

pub(crate) fn routes() -> Routes {
    Routes::new().add(Permission::Query, GET, "/api/ui/v1/home", home)
}

async fn home(call: Call) -> Response {
    let Call { api, request, .. } = call;
    match overview(api, request).await {
        Ok(body) => reply::json(body),
        Err(error) => error.into_prometheus(),
    }
}

async fn overview(api: Api, request: axum::extract::Request) -> Result<Vec<u8>, ApiError> {
    let tenant = tenant::of(request.headers())?;
    let params = Params::of(request).await?;
    let end = params.prometheus_time("end")?.unwrap_or(Millis(api.now_ms()));
    let start = params.prometheus_time("start")?.unwrap_or(Millis(end.0.saturating_sub(RANGE_DEFAULT_MS)));
    let time = TimeRange::from_millis(start, end);
    let job = move |store: &dyn Store, context: &QueryContext| services_in(store, context, time);
    let services = api.run(tenant, "", job).await?;
    Ok(body_of(&api, &services))
}

/// What is known of a service in the range looked at.
#[derive(Default)]
struct Service {
    in_metrics: bool,
    in_logs: bool,
    in_traces: bool,
    up: Option<bool>,
    health: Vec<(String, bool)>,
    requests: f64,
    errors: f64,
    durations_ns: Vec<i64>,
    requests_per_second: Option<f64>,
    last_seen_ns: i64,
}

impl Service {
    fn error_ratio(&self) -> Option<f64> {
        (self.requests > 0.0).then(|| self.errors / self.requests)
    }

    /// The nearest-rank 95th percentile.
    fn p95_seconds(&self) -> Option<f64> {
        let mut sorted = self.durations_ns.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * 95).div_ceil(100).checked_sub(1)?;
        sorted.get(rank).map(|nanos| *nanos as f64 / 1e9)
    }
}

type Services = BTreeMap<String, Service>;

fn services_in(store: &dyn Store, context: &QueryContext, time: TimeRange) -> Result<Services, QueryError> {
    let mut services = Services::new();
    from_logs(store, context, time, &mut services)?;
    from_spans(store, context, time, &mut services)?;
    from_metrics(store, context, time, &mut services)?;
    Ok(services)
}

fn scan_of(context: &QueryContext, table: Table, time: TimeRange, filter: Filter, shape: Shape) -> Scan {
    Scan {
        shape,
        bytes_max: context.limits.memory_bytes_max,
        cancel: context.cancel.clone(),
        ..Scan::rows(context.tenant.clone(), table, time, filter)
    }
}

fn from_logs(
    store: &dyn Store,
    context: &QueryContext,
    time: TimeRange,
    services: &mut Services,
) -> Result<(), QueryError> {
    let names = Shape::Distinct(DistinctOf::Values(Field::Label("service_name".into())));
    let (names, _) =
        operators::distinct_texts(store, &scan_of(context, Table::Logs, time, Filter::All, names))?;
    for name in names {
        services.entry(name.into()).or_default().in_logs = true;
    }
    Ok(())
}

/// Spans by which a service takes work in: what its callers see.
fn entry_spans() -> Filter {
    Filter::OneOf(Field::Kind, vec!["server".into(), "consumer".into()])
}

fn from_spans(
    store: &dyn Store,
    context: &QueryContext,
    time: TimeRange,
    services: &mut Services,
) -> Result<(), QueryError> {
    let service_name = || Field::Resource("service.name".into());
    let names = Shape::Distinct(DistinctOf::Values(service_name()));
    let (names, _) =
        operators::distinct_texts(store, &scan_of(context, Table::Spans, time, Filter::All, names))?;
    for name in names {
        services.entry(name.into()).or_default().in_traces = true;
    }
    let by_status =
        Group { step: None, by: vec![service_name(), Field::Status], aggs: vec![Agg::Count], top: None };
    let counting = scan_of(context, Table::Spans, time, entry_spans(), Shape::Group(by_status));
    let seconds = ((time.end.0.saturating_sub(time.start.0)) as f64 / 1e9).max(1.0);
    for row in operators::groups(store, &counting)?.0 {
        let (Some(name), Some(status)) = (row.key.first(), row.key.get(1)) else { continue };
        let count = row.values.first().copied().unwrap_or(0.0);
        let service = services.entry(name.to_string()).or_default();
        service.requests += count;
        service.requests_per_second = Some(service.requests / seconds);
        if &**status == "error" {
            service.errors += count;
        }
    }
    durations(store, context, time, services)
}

fn durations(
    store: &dyn Store,
    context: &QueryContext,
    time: TimeRange,
    services: &mut Services,
) -> Result<(), QueryError> {
    let mut latest = scan_of(context, Table::Spans, time, entry_spans(), Shape::Rows);
    latest.order = Order::NewestFirst;
    latest.limit = Some(DURATION_SAMPLES_MAX);
    store.scan(&latest, &mut |block| {
        if let kenning_model::Block::Spans(batch) = block {
            for span in &batch.spans {
                let Some(source) = batch.source_of(span) else { continue };
                let service = services.entry(source.service_name().to_owned()).or_default();
                service.durations_ns.push(span.duration_nanos());
                service.last_seen_ns = service.last_seen_ns.max(span.end.0);
            }
        }
        Flow::More
    })?;
    Ok(())
}

/// `up` and the SDK's health gauge. A service is known by its `job`, as scraping names it.
fn from_metrics(
    store: &dyn Store,
    context: &QueryContext,
    time: TimeRange,
    services: &mut Services,
) -> Result<(), QueryError> {
    let at = time.end.to_millis();
    for sample in vector(promql::instant(store, context, "up", at)?) {
        let service = services.entry(sample.labels.get("job").to_owned()).or_default();
        service.in_metrics = true;
        service.up = Some(service.up.unwrap_or(true) && is_one(&sample.value));
        service.last_seen_ns = service.last_seen_ns.max(sample.time.to_nanos().0);
    }
    for sample in vector(promql::instant(store, context, "kenning_health_status", at)?) {
        let service = services.entry(sample.labels.get("job").to_owned()).or_default();
        service.health.push((sample.labels.get("check").to_owned(), is_one(&sample.value)));
    }
    services.remove("");
    Ok(())
}

fn vector(answer: promql::Answer) -> Vec<promql::VectorSample> {
    match answer.value {
        promql::Value::Vector(samples) => samples,
        _ => Vec::new(),
    }
}

fn is_one(point: &promql::Point) -> bool {
    matches!(point, promql::Point::Float(number) if *number == 1.0)
}

fn body_of(api: &Api, services: &Services) -> Vec<u8> {
    let ingest = (api.ingest)();
    let uptime = (api.now_ms() / 1000 - api.started_at).max(1) as f64;
    Json::build(|json| {
        json.key("version").text(api.version);
        json.key("started_at").int(api.started_at);
        json.key("services").array(|json| {
            services.iter().for_each(|(name, service)| write_service(json, name, service));
        });
        json.key("ingest").object(|json| {
            json.key("samples_per_second").number(ingest.samples as f64 / uptime);
            json.key("log_records_per_second").number(ingest.log_records as f64 / uptime);
            json.key("spans_per_second").number(ingest.spans as f64 / uptime);
            json.key("rejected").array(|json| {
                for refused in &ingest.refused {
                    json.object(|json| {
                        json.key("signal").text(&refused.signal);
                        json.key("reason").text(&refused.reason);
                        json.key("count").int(refused.count as i64);
                    });
                }
            });
        });
        json.key("storage").object(|json| {
            json.key("bytes_on_disk").int(ingest.bytes_on_disk as i64);
            json.key("active_series").int(ingest.active_series as i64);
        });
    })
}

fn write_service(json: &mut Json, name: &str, service: &Service) {
    let optional =
        |json: &mut Json, key: &str, number: Option<f64>| json.key(key).number(number.unwrap_or(f64::NAN));
    json.object(|json| {
        json.key("name").text(name);
        let sources =
            [("metrics", service.in_metrics), ("logs", service.in_logs), ("traces", service.in_traces)];
        json.key("sources").texts(sources.iter().filter(|(_, there)| *there).map(|(source, _)| source));
        match service.up {
            Some(up) => json.key("up").bool(up),
            None => json.key("up").raw("null"),
        }
        json.key("health").array(|json| {
            for (check, ok) in &service.health {
                json.object(|json| {
                    json.key("check").text(check);
                    json.key("ok").bool(*ok);
                });
            }
        });
        optional(json, "requests_per_second", service.requests_per_second);
        optional(json, "error_ratio", service.error_ratio());
        optional(json, "p95_seconds", service.p95_seconds());
        let last_seen = (service.last_seen_ns > 0).then_some(service.last_seen_ns as f64 / 1e9);
        optional(json, "last_seen", last_seen);
    });
}
