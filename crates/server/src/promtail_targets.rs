//! Files to tail that other files name (`file_sd_configs` of a Promtail configuration): looked at every few seconds, begun
//! and ended as they come and go.

use std::collections::HashMap;
use std::time::Duration;

use kenning_receivers::serve::{Stop, Stopper, stop_pair};
use kenning_receivers::tail::TailContext;
use kenning_stages::Report;
use kenning_stages::promtail::{FileTargets, NamedByFiles, PromtailSource};
use kenning_stdx::files::RealFiles;
use tokio::task::JoinHandle;

use crate::log_files;
use crate::settings::promtail::source;

/// How often the files are looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(2);

/// A source that is tailed.
struct Tailed {
    identity: Identity,
    stopper: Stopper,
    task: JoinHandle<()>,
}

/// What makes two sources of one name the same: labels and paths that are left out.
type Identity = (Vec<(String, String)>, Vec<String>);

fn identity(source: &PromtailSource) -> Identity {
    let labels = source.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    (labels.collect(), source.exclude.clone())
}

/// Tails what the files name until `stop`.
pub(crate) async fn follow(targets: FileTargets, context: TailContext, mut stop: Stop) {
    let (mut named, mut tailed) = (NamedByFiles::new(), HashMap::new());
    let mut told = Vec::new();
    loop {
        let look = {
            let targets = targets.clone();
            move || {
                let problems = targets.look(&RealFiles, &mut named);
                (named, problems)
            }
        };
        let Ok((looked, problems)) = tokio::task::spawn_blocking(look).await else {
            return tracing::error!(
                job = targets.job(),
                "looking for targets panicked; this is a bug of Kenning"
            );
        };
        named = looked;
        tell(&targets, &problems, &mut told);
        follow_named(&named, &mut tailed, &context).await;
        tokio::select! {
            () = tokio::time::sleep(LOOKED_AT_EVERY) => {}
            () = stop.wait() => break,
        }
    }
    let tasks: Vec<Tailed> = tailed.into_values().collect();
    tasks.iter().for_each(|one| one.stopper.stop());
    for one in tasks {
        let _ = one.task.await;
    }
}

/// Each mistake once, until it is another.
fn tell(targets: &FileTargets, problems: &[String], told: &mut Vec<String>) {
    for problem in problems.iter().filter(|problem| !told.contains(problem)) {
        tracing::warn!(job = targets.job(), problem, "targets that files name are left as they were");
    }
    *told = problems.to_vec();
}

/// Ends what is not named any more, then begins what is new: a source of the same name reads on where its last reader ended.
async fn follow_named(named: &NamedByFiles, tailed: &mut HashMap<String, Tailed>, context: &TailContext) {
    let is_named = |name: &str, one: &Tailed| {
        named.values().flatten().any(|source| source.name == name && identity(source) == one.identity)
    };
    let over: Vec<(String, Tailed)> = tailed.extract_if(|name, one| !is_named(name, one)).collect();
    over.iter().for_each(|(_, one)| one.stopper.stop());
    for (name, one) in over {
        let _ = one.task.await;
        tracing::info!(source = name, "files are not named any more and not tailed");
    }
    for found in named.values().flatten() {
        if tailed.contains_key(&found.name) {
            continue;
        }
        tracing::info!(source = found.name, "files are named and tailed");
        let (name, identity) = (found.name.clone(), identity(found));
        let (stopper, stop) = stop_pair();
        let source = source(found.clone(), &mut Report::default());
        let task = tokio::spawn(log_files::run(source, context.clone(), stop));
        tailed.insert(name, Tailed { identity, stopper, task });
    }
}
