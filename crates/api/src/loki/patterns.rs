//! Patterns of log lines with counts over time.

use kenning_model::{LabelSet, TenantId, TimeRange};
use kenning_patterns::{Asked as Question, PatternRow};

use super::meta::selector;
use super::range_of;
use crate::asked::Asked;
use crate::error::ApiError;
use crate::json::Json;

/// Most patterns in an answer, the most frequent first.
const PATTERNS_MAX: usize = 1_000;
/// Samples per pattern that the default step aims at.
const SAMPLES: i64 = 240;

/// Asks whoever mines patterns.
pub type AskPatterns =
    dyn Fn(&TenantId, &dyn Fn(&LabelSet) -> bool, Question) -> Vec<PatternRow> + Send + Sync;

/// `GET /loki/api/v1/patterns`. Beside Loki's own fields each pattern says since when it is known (`firstSeen`,
/// seconds), when it was last seen, and how many lines it has in the range.
pub(super) async fn patterns(asked: Asked) -> Result<Vec<u8>, ApiError> {
    let Some(ask) = asked.api.patterns.clone() else {
        return Err(ApiError::not_found("patterns are switched off: `patterns.memory` is 0".to_owned()));
    };
    let filter = selector(asked.params.required("query")?)?;
    let (start, end) = range_of(&asked)?;
    let step = match asked.params.prometheus_duration("step")? {
        Some(ms) => ms.saturating_mul(1_000_000),
        None => end.0.saturating_sub(start.0) / SAMPLES,
    };
    let question = Question { time: TimeRange { start, end }, step_nanos: step };
    let rows = ask(&asked.tenant, &|labels| filter.matches(labels), question);
    Ok(Json::build(|json| {
        json.key("status").text("success");
        json.key("data")
            .array(|json| rows.iter().take(PATTERNS_MAX).for_each(|row| json.object(|json| one(json, row))));
    }))
}

fn one(json: &mut Json, row: &PatternRow) {
    let seconds = |nanos: i64| nanos.div_euclid(1_000_000_000);
    json.key("pattern").text(&row.pattern);
    json.key("level").text(row.level.as_str());
    json.key("firstSeen").int(seconds(row.first_seen.0));
    json.key("lastSeen").int(seconds(row.last_seen.0));
    json.key("lines").int(row.lines as i64);
    json.key("samples").array(|json| {
        for (at, count) in &row.samples {
            json.array(|json| {
                json.int(seconds(at.0));
                json.int(*count as i64);
            });
        }
    });
}
