//! `delete`: log lines by selector and line filters, gone from every answer at once.
//!
//! Definition: Loki's "Compactor log deletion" API. Where Loki waits a day in which a request can be taken back, the
//! store hides the lines before the request is answered, so a request that was answered is `processed`. The list of
//! requests is kept in memory, the newest [`REQUESTS_MAX`] of them: it is a log for people, not what makes the delete
//! durable.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{Method, StatusCode};
use axum::response::Response;
use chrono::DateTime;
use kenning_gotext::duration;
use kenning_model::{Delete, DeleteError, Nanos, Table, TenantId, TimeRange};

use crate::asked::Asked;
use crate::error::ApiError;
use crate::json::Json;
use crate::reply;
use crate::routes::Call;

/// Requests that are remembered.
const REQUESTS_MAX: usize = 1_000;
/// Loki's `delete_max_interval`.
const INTERVAL_MAX_NS: i64 = 24 * 3_600 * SECOND_NS;
const SECOND_NS: i64 = 1_000_000_000;
const SECOND_MS: i64 = 1_000;

/// The requests of all tenants, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Deletes(Mutex<Requests>);

#[derive(Debug, Default)]
struct Requests {
    list: VecDeque<Request>,
    next: u64,
}

#[derive(Clone, Debug)]
struct Request {
    tenant: TenantId,
    id: String,
    start_ms: i64,
    end_ms: i64,
    query: String,
    processed: bool,
    created_ms: i64,
}

impl Deletes {
    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a request; its id.
    fn add(&self, mut request: Request) -> String {
        let mut requests = self.lock();
        // Loki's ids are eight hexadecimal digits too.
        request.id = format!("{:08x}", requests.next);
        requests.next += 1;
        if requests.list.len() >= REQUESTS_MAX {
            requests.list.pop_front();
        }
        let id = request.id.clone();
        requests.list.push_back(request);
        id
    }

    fn end(&self, id: &str, done: bool) {
        let mut requests = self.lock();
        match done {
            true => requests.list.iter_mut().filter(|one| one.id == id).for_each(|one| one.processed = true),
            false => requests.list.retain(|one| one.id != id),
        }
    }

    fn of(&self, tenant: &TenantId) -> Vec<Request> {
        self.lock().list.iter().filter(|request| request.tenant == *tenant).cloned().collect()
    }
}

/// `POST`, `PUT`: delete; `GET`: the requests; `DELETE`: take one back.
pub(super) async fn delete(call: Call) -> Response {
    if !call.api.web.admin_api {
        let text = "deletion is not available for this tenant: the setting web.enable_admin_api is false\n";
        return reply::text_with(StatusCode::FORBIDDEN, text);
    }
    let method = call.request.method().clone();
    let asked = match Asked::of(call).await {
        Ok(asked) => asked,
        Err(error) => return error.into_loki(),
    };
    let outcome = match method {
        Method::GET => Ok(reply::json(list(&asked))),
        Method::DELETE => take_back(&asked).map(|()| reply::no_content()),
        _ => add(asked).await.map(|()| reply::no_content()),
    };
    outcome.unwrap_or_else(ApiError::into_loki)
}

async fn add(asked: Asked) -> Result<(), ApiError> {
    let now_ms = asked.api.now_ms();
    let query = asked.params.get("query").ok_or_else(|| ApiError::bad_request("query not set"))?.to_owned();
    let wanted =
        kenning_logql::line_selector(&query).map_err(|errors| ApiError::of_logql_text(&query, &errors))?;
    let (start_ms, end_ms) = bounds(&asked, now_ms)?;
    if wanted.has_line_filters {
        check_interval(asked.params.get("max_interval"), (end_ms - start_ms).saturating_mul(1_000_000))?;
    }
    // The end is a millisecond, and that whole millisecond goes.
    let time = TimeRange {
        start: Nanos(start_ms.saturating_mul(1_000_000)),
        end: Nanos(end_ms.saturating_mul(1_000_000).saturating_add(999_999)),
    };
    let tenant = asked.tenant.clone();
    let delete = Delete { tenant: tenant.clone(), table: Table::Logs, time, filter: wanted.filter };
    let request =
        Request { tenant, id: String::new(), start_ms, end_ms, query, processed: false, created_ms: now_ms };
    let id = asked.api.deletes.add(request);
    let (store, deletes) = (Arc::clone(&asked.api.store), Arc::clone(&asked.api.deletes));
    // Once begun it is not cancelled, whether or not the client waits.
    let done = tokio::task::spawn_blocking(move || {
        let done = store.delete(&delete);
        deletes.end(&id, done.is_ok());
        done
    });
    match done.await {
        Ok(Ok(())) => {
            tracing::info!(tenant = %asked.tenant, "log lines were deleted over the API");
            Ok(())
        }
        Ok(Err(error @ DeleteError::Refused { .. })) => Err(ApiError::bad_request(error.to_string())),
        Ok(Err(error @ DeleteError::Unavailable { .. })) => Err(ApiError::internal(error.to_string())),
        Err(_) => Err(ApiError::internal("the delete panicked; this is a bug of Kenning")),
    }
}

fn bounds(asked: &Asked, now_ms: i64) -> Result<(i64, i64), ApiError> {
    let bad = |which: &str| {
        ApiError::bad_request(format!("invalid {which} time: require unix seconds or RFC3339 format"))
    };
    let start = asked.params.get("start").ok_or_else(|| ApiError::bad_request("start time not set"))?;
    let start_ms = time_ms(start).ok_or_else(|| bad("start"))?;
    let end_ms =
        asked.params.get("end").map_or(Ok(now_ms), |text| time_ms(text).ok_or_else(|| bad("end")))?;
    if end_ms > now_ms {
        return Err(ApiError::bad_request("deletes in the future are not allowed"));
    }
    if start_ms > end_ms {
        return Err(ApiError::bad_request("start time can't be greater than end time"));
    }
    Ok((start_ms, end_ms))
}

/// RFC 3339, or seconds of ten digits.
fn time_ms(text: &str) -> Option<i64> {
    const SECONDS_DIGITS: usize = 10;
    match DateTime::parse_from_rfc3339(text) {
        Ok(at) => Some(at.timestamp_millis()),
        Err(_) if text.len() == SECONDS_DIGITS => text.parse::<i64>().ok()?.checked_mul(SECOND_MS),
        Err(_) => None,
    }
}

/// `max_interval` cuts requests for Loki's compactor. Nothing is cut here; it is read so that mistakes are told.
fn check_interval(text: Option<&str>, range_ns: i64) -> Result<(), ApiError> {
    let bad = |message: String| Err(ApiError::bad_request(message));
    let Some(text) = text else {
        return match range_ns < SECOND_NS {
            true => bad("difference between start time and end time must be at least one second".to_owned()),
            false => Ok(()),
        };
    };
    match duration::parse_go(text) {
        Ok(interval) if interval > INTERVAL_MAX_NS => {
            bad("max_interval can't be greater than 24h0m0s".to_owned())
        }
        Ok(interval) if interval > range_ns => bad(format!(
            "max_interval can't be greater than the interval to be deleted ({})",
            duration::format_go(range_ns)
        )),
        Ok(interval) if interval >= SECOND_NS => Ok(()),
        _ => bad("invalid max_interval: valid time units are 's', 'm', 'h'".to_owned()),
    }
}

fn list(asked: &Asked) -> Vec<u8> {
    let mut json = Json::new();
    json.array(|json| {
        for request in asked.api.deletes.of(&asked.tenant) {
            let seconds = |ms: i64| ms as f64 / 1000.0;
            json.object(|json| {
                json.key("request_id").text(&request.id);
                json.key("start_time").number(seconds(request.start_ms));
                json.key("end_time").number(seconds(request.end_ms));
                json.key("query").text(&request.query);
                json.key("status").text(if request.processed { "processed" } else { "received" });
                json.key("created_at").number(seconds(request.created_ms));
            });
        }
    });
    json.finish()
}

/// Refuses, in Loki's words: a request either is not there or is under way.
fn take_back(asked: &Asked) -> Result<(), ApiError> {
    let id = asked.params.get("request_id").unwrap_or("");
    match asked.api.deletes.of(&asked.tenant).iter().any(|request| request.id == id) {
        false => Err(ApiError::not_found("could not find delete request with given id")),
        true => Err(ApiError::bad_request(
            "deletion of request which is in process or already processed is not allowed",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_of_ten_digits_or_rfc_3339() {
        let check = |text, expect| assert_eq!(time_ms(text), expect, "{text}");
        check("1591616227", Some(1_591_616_227_000));
        check("2020-06-08T11:37:07.5Z", Some(1_591_616_227_500));
        check("1591616227000", None);
        check("yesterday", None);
    }
}
