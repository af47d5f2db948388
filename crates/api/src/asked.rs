//! A request taken apart, the same for every protocol that is read.

use axum::http::HeaderMap;
use kenning_model::TenantId;

use crate::error::ApiError;
use crate::params::Params;
use crate::routes::Call;
use crate::state::Api;
use crate::tenant;

/// What handlers look at.
pub struct Asked {
    pub api: Api,
    pub tenant: TenantId,
    pub params: Params,
    pub headers: HeaderMap,
    /// The values of the path's `{name}` parts, decoded, in order.
    pub path: Vec<String>,
}

impl Asked {
    /// Reads tenant and parameters.
    pub async fn of(call: Call) -> Result<Self, ApiError> {
        let Call { api, request, path } = call;
        let tenant = tenant::of(request.headers())?;
        let headers = request.headers().clone();
        let params = Params::of(request).await?;
        Ok(Self { api, tenant, params, headers, path })
    }
}
