//! `/api/v1/read`: remote read, by which a Prometheus (or Thanos) reads our series as its own.
//!
//! Both forms of answer. An answer is made whole before it is sent, within the limits of queries
//! (`limits.query.memory`, `limits.query.samples`), and counts as one query at the gate.

use axum::body::to_bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use kenning_model::{Block, Filter, Flow, Scan, SeriesRows, Store, Table, TimeRange};
use kenning_promql::{MatchOp, Matcher};
use kenning_query::{LimitKind, QueryContext, QueryError};
use kenning_wire::DecodeError;
use kenning_wire::compression::{Encoding, decompress};
use kenning_wire::prometheus::remote_read::{
    ReadForm, ReadMatch, ReadQuery, ReadRequest, ReadResponse, decode_read_request, write_frames,
};

use crate::error::ApiError;
use crate::reply;
use crate::routes::Call;
use crate::tenant;

/// Largest request, compressed or not. Prometheus: 32 MiB.
const REQUEST_LEN_MAX: usize = 32 << 20;

pub(super) async fn read(call: Call) -> Response {
    answer(call).await.unwrap_or_else(ApiError::into_plain)
}

async fn answer(call: Call) -> Result<Response, ApiError> {
    let Call { api, request, .. } = call;
    let tenant = tenant::of(request.headers())?;
    let body = to_bytes(request.into_body(), REQUEST_LEN_MAX).await;
    let body =
        body.map_err(|_| ApiError::too_large(format!("read request exceeds {REQUEST_LEN_MAX} bytes")))?;
    let wrong = |error: DecodeError| ApiError::bad_request(error.to_string());
    let plain = decompress(Encoding::Snappy, &body, REQUEST_LEN_MAX).map_err(wrong)?;
    let request = decode_read_request(&plain).map_err(wrong)?;
    let form = request.form().map_err(wrong)?;
    let external = api.external_labels();
    let scans = scans_of(&request, &external).map_err(ApiError::bad_request)?;
    let samples_max = api.limits.samples_max;
    let job = move |store: &dyn Store, context: &QueryContext| match form {
        ReadForm::Samples => samples(store, context, &scans, &external, samples_max),
        ReadForm::Chunks => chunks(store, context, &scans, &external, samples_max),
    };
    let bytes = api.run(tenant, "", job).await?;
    Ok(response(form, bytes))
}

fn response(form: ReadForm, bytes: Vec<u8>) -> Response {
    match form {
        ReadForm::Samples => {
            let mut response = reply::with_type(StatusCode::OK, "application/x-protobuf", bytes);
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("snappy"));
            response
        }
        ReadForm::Chunks => {
            let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
            reply::with_type(StatusCode::OK, kind, bytes)
        }
    }
}

type Question = (TimeRange, Filter);

fn scans_of(request: &ReadRequest, external: &[(String, String)]) -> Result<Vec<Question>, String> {
    request
        .queries
        .iter()
        .map(|query| Ok((TimeRange::from_millis(query.start, query.end), filter_of(query, external)?)))
        .collect()
}

/// A condition that a label of this server fulfils asks for series without that label: stored series have none of it.
fn filter_of(query: &ReadQuery, external: &[(String, String)]) -> Result<Filter, String> {
    let mut filter = Filter::All;
    for matcher in &query.matchers {
        let own = external.iter().find(|(name, _)| *name == matcher.name).map(|(_, value)| value.as_str());
        let is_own = matcher.op == ReadMatch::Equal && own == Some(matcher.value.as_str());
        let value = if is_own { "" } else { matcher.value.as_str() };
        let op = match matcher.op {
            ReadMatch::Equal => MatchOp::Eq,
            ReadMatch::NotEqual => MatchOp::Ne,
            ReadMatch::Matches => MatchOp::Re,
            ReadMatch::MatchesNot => MatchOp::NotRe,
        };
        filter = filter.and(Matcher::new(&matcher.name, op, value)?.filter());
    }
    Ok(filter)
}

/// Hands the series of a question to `take`, and counts samples over all questions.
fn each_series(
    store: &dyn Store,
    context: &QueryContext,
    (time, filter): &Question,
    left: &mut u64,
    take: &mut dyn FnMut(Vec<SeriesRows>),
) -> Result<(), QueryError> {
    let mut scan = Scan::rows(context.tenant.clone(), Table::Samples, *time, filter.clone());
    scan.cancel = context.cancel.clone();
    scan.bytes_max = context.limits.memory_bytes_max;
    let mut too_many = false;
    store.scan(&scan, &mut |block| {
        if let Block::Series(rows) = block {
            let samples: u64 = rows.iter().map(|row| (row.samples.len() + row.histograms.len()) as u64).sum();
            if samples > *left {
                too_many = true;
                return Flow::Stop;
            }
            *left -= samples;
            take(rows);
        }
        Flow::More
    })?;
    if too_many {
        return Err(QueryError::Limit { kind: LimitKind::Samples, limit: context.limits.samples_max });
    }
    Ok(())
}

fn samples(
    store: &dyn Store,
    context: &QueryContext,
    questions: &[Question],
    external: &[(String, String)],
    mut left: u64,
) -> Result<Vec<u8>, QueryError> {
    let mut response = ReadResponse::default();
    for question in questions {
        let mut found = Vec::new();
        each_series(store, context, question, &mut left, &mut |rows| found.extend(rows))?;
        response.push(&found, external);
    }
    Ok(response.finish())
}

fn chunks(
    store: &dyn Store,
    context: &QueryContext,
    questions: &[Question],
    external: &[(String, String)],
    mut left: u64,
) -> Result<Vec<u8>, QueryError> {
    let mut out = Vec::new();
    for (place, question) in questions.iter().enumerate() {
        let mut write =
            |rows: Vec<SeriesRows>| rows.iter().for_each(|row| write_frames(row, place, external, &mut out));
        each_series(store, context, question, &mut left, &mut write)?;
    }
    Ok(out)
}
