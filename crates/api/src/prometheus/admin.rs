//! What changes data: deletes, cleaning, snapshots. Off unless the operator says otherwise.

use chrono::DateTime;
use kenning_model::{Delete, DeleteError, SnapshotError, Table};

use super::Data;
use super::params::{self, invalid};
use crate::asked::Asked;
use crate::error::ApiError;

fn check_enabled(asked: &Asked) -> Result<(), ApiError> {
    if asked.api.web.admin_api { Ok(()) } else { Err(ApiError::disabled("admin APIs disabled")) }
}

/// Runs a change off the reactor. Once begun it is not cancelled.
async fn run<T: Send + 'static>(
    asked: &Asked,
    job: impl FnOnce(&dyn kenning_model::Store) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let store = std::sync::Arc::clone(&asked.api.store);
    let done = tokio::task::spawn_blocking(move || job(&*store)).await;
    done.unwrap_or_else(|_| Err(ApiError::internal("the change panicked; this is a bug of Kenning")))
}

pub(super) async fn delete(asked: Asked) -> Result<Data, ApiError> {
    check_enabled(&asked)?;
    if asked.params.all("match[]").next().is_none() {
        return Err(ApiError::bad_request("no match[] parameter provided"));
    }
    let time = params::range(&asked.params)?;
    let filters = params::selectors(&asked.params).map_err(|why| invalid("match[]", why))?;
    let tenant = asked.tenant.clone();
    run(&asked, move |store| {
        for filter in filters {
            let delete = Delete { tenant: tenant.clone(), table: Table::Samples, time, filter };
            store.delete(&delete).map_err(|error| delete_error(&error))?;
        }
        Ok(())
    })
    .await?;
    tracing::info!(tenant = %asked.tenant, "series were deleted over the API");
    Ok(Data::nothing())
}

fn delete_error(error: &DeleteError) -> ApiError {
    match error {
        DeleteError::Refused { .. } => ApiError::bad_request(error.to_string()),
        DeleteError::Unavailable { .. } => ApiError::internal(error.to_string()),
    }
}

pub(super) async fn clean(asked: Asked) -> Result<Data, ApiError> {
    check_enabled(&asked)?;
    run(&asked, |store| store.clean().map_err(|error| ApiError::internal(error.to_string()))).await?;
    Ok(Data::nothing())
}

pub(super) async fn snapshot(asked: Asked) -> Result<Data, ApiError> {
    check_enabled(&asked)?;
    let skip_head = match asked.params.get("skip_head") {
        None => false,
        Some(text) => params::bool_of(text).ok_or_else(|| {
            let why = format!("unable to parse boolean: strconv.ParseBool: parsing {text:?}: invalid syntax");
            invalid("skip_head", why)
        })?,
    };
    let name = name_of(asked.api.clock.unix_nanos());
    let given = name.clone();
    run(&asked, move |store| store.snapshot(&given, !skip_head).map_err(|error| snapshot_error(&error)))
        .await?;
    tracing::info!(name, "a snapshot was made");
    Ok(Data::new(|json| json.object(|json| json.key("name").text(&name))))
}

fn snapshot_error(error: &SnapshotError) -> ApiError {
    match error {
        SnapshotError::Refused { .. } => ApiError::bad_request(error.to_string()),
        SnapshotError::Unavailable { .. } => ApiError::internal(format!("create snapshot: {error}")),
    }
}

/// `20171210T211224Z-2be650b6d019eb54`: the second for people, the nanosecond so that no two are alike.
fn name_of(unix_nanos: i64) -> String {
    let at = DateTime::from_timestamp_nanos(unix_nanos);
    format!("{}-{:016x}", at.format("%Y%m%dT%H%M%SZ"), unix_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_time() {
        assert_eq!(name_of(1_512_940_344_000_000_000), "20171210T211224Z-14ff0b3a1a7a3000");
    }
}
