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

/// The same for a WebSocket, which scripts in browsers cannot give headers: the parameter `tenant` may name it instead.
pub fn of_socket(headers: &HeaderMap, parameter: Option<&str>) -> Result<TenantId, ApiError> {
    let by_header = of(headers)?;
    let Some(name) = parameter.filter(|name| !name.is_empty()) else { return Ok(by_header) };
    let tenant = TenantId::parse(name)
        .map_err(|error| ApiError::bad_request(format!("invalid parameter \"tenant\": {error}")))?;
    if headers.contains_key(TENANT_HEADER) && tenant != by_header {
        let message = format!("header {TENANT_HEADER} and parameter \"tenant\" differ; give one of them");
        return Err(ApiError::bad_request(message));
    }
    Ok(tenant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_name_tenants_in_a_parameter() {
        let check = |header: Option<&str>, parameter: Option<&str>, expect: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(TENANT_HEADER, header.parse().unwrap());
            }
            let tenant = of_socket(&headers, parameter).ok();
            assert_eq!(tenant.as_ref().map(TenantId::as_str), expect, "{header:?} {parameter:?}");
        };
        check(None, None, Some(TenantId::default_tenant().as_str()));
        check(None, Some(""), Some(TenantId::default_tenant().as_str()));
        check(None, Some("blue"), Some("blue"));
        check(Some("blue"), None, Some("blue"));
        check(Some("blue"), Some("blue"), Some("blue"));
        check(Some("blue"), Some("red"), None);
        check(None, Some("../x"), None);
    }
}
