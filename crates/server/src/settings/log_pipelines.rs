//! Stages for the records of receivers: `logs.pipeline` of `kenning.yaml`.

use std::sync::Arc;

use kenning_model::{Batch, TenantId};
use kenning_pipeline::Refusal;
use kenning_pipeline::process::{Origin, Processed, Processor};
use kenning_stages::{Context, Pipeline, Report, node_of};
use serde_json::Value;

/// The word for all receivers.
const ALL: &str = "all";
/// Receivers that stages can be written for.
const RECEIVERS: [&str; 8] =
    [ALL, "files", "loki", "otlp_http", "otlp_grpc", "elasticsearch", "fluent", "syslog"];

/// Stages by receiver. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct LogPipelines(Vec<(&'static str, Arc<Pipeline>)>);

impl LogPipelines {
    /// Reads a list of stages for all receivers, or a mapping of receivers to lists; every mistake otherwise, each with
    /// its place.
    pub(super) fn read(value: &Value, context: Context<'_>) -> Result<Self, Vec<String>> {
        let mut report = Report::default();
        let mut read = |at: &str, value| Arc::new(Pipeline::read(at, &node_of(value), context, &mut report));
        let mut unknown = Vec::new();
        let mut pipelines = Vec::new();
        match value {
            Value::Object(map) => {
                for (word, stages) in map {
                    match RECEIVERS.iter().find(|known| *known == word) {
                        Some(receiver) => pipelines.push((*receiver, read(receiver, stages))),
                        None => unknown
                            .push(format!("{word}: is not a receiver; known are {}", RECEIVERS.join(", "))),
                    }
                }
            }
            list => pipelines.push((ALL, read("", list))),
        }
        // Those for all come first.
        pipelines.sort_by_key(|(receiver, _)| *receiver != ALL);
        unknown.extend(report.problems);
        if unknown.is_empty() { Ok(Self(pipelines)) } else { Err(unknown) }
    }

    /// True when no stage is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, pipeline)| pipeline.is_empty())
    }
}

impl Processor for LogPipelines {
    fn process(&self, origin: &Origin<'_>, processed: Processed) -> Result<Processed, Refusal> {
        // What we say about ourselves is not the user's to change.
        if !matches!(processed.batch, Batch::Logs(_)) || *origin.tenant == TenantId::self_tenant() {
            return Ok(processed);
        }
        let wanted = self.0.iter().filter(|(receiver, _)| *receiver == ALL || *receiver == origin.receiver);
        wanted.into_iter().try_fold(processed, |processed, (_, pipeline)| pipeline.process(origin, processed))
    }
}

#[cfg(test)]
mod tests {
    use kenning_pipeline::geoip::GeoDatabases;
    use kenning_stages::LogMetrics;
    use kenning_stdx::files::RealFiles;

    use super::*;

    fn check(yaml: &str, expect: Result<usize, &str>) {
        let value = super::super::layer::parse_yaml(yaml).ok().flatten().unwrap_or_default();
        let (metrics, databases) = (LogMetrics::default(), GeoDatabases::default());
        let context = Context { metrics: &metrics, databases: &databases, files: &RealFiles };
        match (LogPipelines::read(&value, context), expect) {
            (Ok(read), Ok(count)) => assert_eq!(read.0.len(), count, "{yaml}"),
            (Err(problems), Err(part)) => {
                let told = problems.join("\n");
                assert!(told.contains(part), "{told}");
            }
            (outcome, _) => panic!("{yaml} gave {outcome:?}"),
        }
    }

    #[test]
    fn stages_are_read_for_all_or_for_some() {
        check("- drop: {expression: x}", Ok(1));
        check("syslog: [{labeldrop: [a]}]\nall: [{drop: {expression: x}}]", Ok(2));
        check("- drop: {}", Err("[0].drop: needs at least one of"));
        check("syslog: [{json: {}}]", Err("syslog[0].json.expressions"));
        check("gelf: []", Err("gelf: is not a receiver; known are all, files"));
        check("5", Err("must be a list of stages"));
    }
}
