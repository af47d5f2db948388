//! Whose data a request asks for.

use axum::http::HeaderMap;
use kenning_model::TenantId;

use crate::error::ApiError;

/// The header that Loki, Mimir and Tempo clients name their tenant in.
const TENANT_HEADER: &str = "x-scope-orgid";

/// The tenant of a request; the default one without the header. Two headers are refused, not chosen between.
pub fn of(headers: &HeaderMap) -> Result<TenantId, ApiError> {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(TenantId::default_tenant()),
        (Some(value), None) => {
            let name = value.to_str().unwrap_or("");
            TenantId::parse(name)
                .map_err(|error| ApiError::bad_request(format!("header {TENANT_HEADER}: {error}")))
        }
        (Some(_), Some(_)) => {
            Err(ApiError::bad_request(format!("header {TENANT_HEADER} is given more than once")))
        }
    }
}
