//! The processors that the settings ask for, in their order: what is received goes through them before limits.

use std::sync::Arc;

use kenning_pipeline::process::Chain;
use kenning_pipeline::redact::{Redaction, Redactor};
use kenning_pipeline::telemetry::Registry;

use crate::server::StartError;
use crate::settings::Settings;

/// The chain for everyone; processors of single receivers (a tailed source's stages) run before it.
pub(crate) fn chain(settings: &Settings, registry: &Registry) -> Result<Chain, StartError> {
    let mut chain = Chain::default();
    if !settings.log_pipelines.is_empty() {
        chain.push(Arc::new(settings.log_pipelines.clone()));
    }
    let scope = settings.redact_scope();
    if !scope.is_empty() {
        let redactor = Redactor::new(&settings.redact.options()).map_err(|mistakes| {
            let told: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
            StartError::new("cannot redact", told.join("; "))
        })?;
        // Last of all: nothing that another processor adds may bring a secret back.
        chain.push(Arc::new(Redaction::new(redactor, scope, registry)));
    }
    Ok(chain)
}
