//! The processors that the settings ask for, in their order: what is received goes through them before limits.

use kenning_pipeline::process::Chain;
use kenning_pipeline::telemetry::Registry;

use crate::server::StartError;
use crate::settings::Settings;

/// The chain for everyone; processors of single receivers (a tailed source's stages) run before it.
pub(crate) fn chain(_settings: &Settings, _registry: &Registry) -> Result<Chain, StartError> {
    Ok(Chain::default())
}
