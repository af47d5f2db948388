//! The processors that the settings ask for, in their order: what is received goes through them before limits.

use std::sync::Arc;
use std::time::Duration;

use kenning_model::{Batch, Rejected};
use kenning_pipeline::Intake;
use kenning_pipeline::geoip::{FILE_BYTES_MAX, GeoDatabase, GeoIp};
use kenning_pipeline::process::Chain;
use kenning_pipeline::redact::{Redaction, Redactor};
use kenning_pipeline::telemetry::Registry;
use kenning_pipeline::throttle::{Throttle, ThrottleOptions};
use kenning_receivers::serve::Stop;
use kenning_stdx::clock::Clock;
use kenning_stdx::files::{Files, RealFiles};

use crate::server::StartError;
use crate::settings::Settings;

/// How often is looked for windows of throttling that are over.
const SUMMARIES_EVERY: Duration = Duration::from_secs(1);

/// The chain for everyone; processors of single receivers (a tailed source's stages) run before it. Of what it holds
/// back, the throttle tells later.
pub(crate) fn chain(
    settings: &Settings,
    registry: &Registry,
) -> Result<(Chain, Option<Throttle>), StartError> {
    let mut chain = Chain::default();
    if !settings.log_pipelines.is_empty() {
        chain.push(Arc::new(settings.log_pipelines.clone()));
    }
    let throttle = settings.throttle_lines.map(|lines| {
        let throttle = Throttle::new(ThrottleOptions { lines, window: settings.throttle_window });
        chain.push(Arc::new(throttle.clone()));
        throttle
    });
    if !settings.geoip_database.is_empty() {
        chain.push(Arc::new(GeoIp::new(Arc::new(geo_database(settings)?), &settings.geoip_source)));
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
    Ok((chain, throttle))
}

fn geo_database(settings: &Settings) -> Result<GeoDatabase, StartError> {
    let path = &settings.geoip_database;
    let what = || format!("cannot use geoip.database = {path}");
    let bytes = RealFiles.read(path, FILE_BYTES_MAX).map_err(|error| StartError::new(what(), error))?;
    GeoDatabase::new(bytes).map_err(|error| StartError::new(what(), error))
}

/// Stores the summaries of what was held back as their windows end; all of them at `stop`.
pub(crate) async fn sum_up(throttle: Throttle, intake: Intake, clock: Arc<dyn Clock>, mut stop: Stop) {
    loop {
        let stops = tokio::select! {
            () = tokio::time::sleep(SUMMARIES_EVERY) => false,
            () = stop.wait() => true,
        };
        for summary in throttle.due(if stops { Duration::MAX } else { clock.steady() }) {
            let batch = Batch::Logs(summary.batch.clone());
            if let Err(refusal) = intake.submit(&summary.tenant, batch, Rejected::default()).await {
                tracing::warn!(?refusal, "a summary of throttled lines was refused; it is offered again");
                throttle.give_back(summary);
            }
        }
        if stops {
            return;
        }
    }
}
