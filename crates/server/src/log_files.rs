//! Tailing as the settings say.

use std::sync::Arc;

use kenning_model::{Store, TenantId};
use kenning_pipeline::Intake;
use kenning_pipeline::telemetry::Registry;
use kenning_receivers::serve::Stop;
use kenning_receivers::tail::source::FileSource;
use kenning_receivers::tail::stats::TailStats;
use kenning_receivers::tail::{Tail, TailContext};
use kenning_stdx::watched::RealWatched;
use tokio::task::JoinSet;

use crate::server::{StartError, chain};
use crate::settings::Settings;

/// What tailing works with.
pub(crate) fn context(
    settings: &Settings,
    store: &Arc<dyn Store>,
    intake: Intake,
    registry: &Registry,
) -> Result<TailContext, StartError> {
    let tenant = TenantId::parse(&settings.tenant)
        .map_err(|error| StartError::new(format!("tenant = {}", settings.tenant), error))?;
    let (files, store) = (Arc::new(RealWatched), Arc::clone(store));
    Ok(TailContext { files, store, intake, tenant, stats: TailStats::new(registry) })
}

/// Tails sources until `stop`. Their own tasks read positions back, since that waits for what the store reads back.
pub(crate) fn serve(sources: &[FileSource], context: &TailContext, tasks: &mut JoinSet<()>, stop: &Stop) {
    for source in sources.iter().cloned() {
        tasks.spawn(run(source, context.clone(), stop.clone()));
    }
}

/// Tails one source until `stop`.
pub(crate) async fn run(source: FileSource, context: TailContext, stop: Stop) {
    match tokio::task::spawn_blocking(move || Tail::open(source, context)).await {
        Ok(Ok(tail)) => tail.run(stop).await,
        Ok(Err(error)) => tracing::error!(error = chain(&error), "files are not tailed until the next start"),
        Err(panic) => tracing::error!(error = %panic, "files are not tailed until the next start"),
    }
}
