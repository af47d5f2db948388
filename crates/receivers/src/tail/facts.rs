//! What every record of Loki's has, for records that did not come through its API: a level, and a service's name.

use kenning_model::{Batch, LabelSet, LogBatch, Severity};
use kenning_pipeline::Refusal;
use kenning_pipeline::process::{Origin, Processed, Processor};
use kenning_wire::logs::{DETECTED_LEVEL, detect_level};
use kenning_wire::service_name;

/// Levels whose metadata is shared.
const WORDS_KEPT: usize = 16;
/// The label with the service's name.
const SERVICE_NAME: &str = "service_name";

/// Finds levels and names. Runs behind the stages of the source, which may have found better ones.
pub(super) struct Facts;

impl Processor for Facts {
    fn process(&self, _: &Origin<'_>, mut processed: Processed) -> Result<Processed, Refusal> {
        if let Batch::Logs(batch) = &mut processed.batch {
            levels(batch);
            names(batch);
        }
        Ok(processed)
    }
}

fn levels(batch: &mut LogBatch) {
    let LogBatch { streams, stream, severity, line, metadata, .. } = batch;
    // Most records have no other metadata, and share it by their level.
    let mut known: Vec<(String, LabelSet)> = Vec::new();
    let rows = severity.iter_mut().zip(metadata.iter_mut()).zip(stream.iter()).enumerate();
    for (row, ((severity, metadata), stream)) in rows {
        let Some(labels) = streams.get(*stream as usize) else { continue };
        if *severity != Severity::UNKNOWN && !metadata.get(DETECTED_LEVEL).is_empty() {
            continue;
        }
        let level = detect_level(labels, metadata, line.get(row));
        let (word, found) = (level.word.to_owned(), level.severity);
        if *severity == Severity::UNKNOWN {
            *severity = found;
        }
        *metadata = match known.iter().find(|(known, _)| metadata.is_empty() && *known == word) {
            Some((_, shared)) => shared.clone(),
            None => {
                let is_new = metadata.is_empty();
                let mut with_level = metadata.to_builder();
                with_level.set(DETECTED_LEVEL, &word);
                let made = with_level.build();
                if is_new && known.len() < WORDS_KEPT {
                    known.push((word, made.clone()));
                }
                made
            }
        };
    }
}

fn names(batch: &mut LogBatch) {
    for labels in &mut batch.streams {
        let Some(name) = service_name(labels) else { continue };
        let mut named = labels.to_builder();
        named.set(SERVICE_NAME, name);
        *labels = named.build();
    }
}
