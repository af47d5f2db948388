//! What the server says about itself in Prometheus's words.

use chrono::{DateTime, SecondsFormat};
use kenning_model::LabelSet;

use super::Data;
use super::params::{self, invalid};
use crate::asked::Asked;
use crate::error::ApiError;
use crate::json::Json;
use crate::state::ScrapeTarget;

/// The Prometheus version whose API this is. Grafana turns features on by it.
const PROMETHEUS_VERSION: &str = "3.14.0";

pub(super) async fn buildinfo(asked: Asked) -> Result<Data, ApiError> {
    Ok(Data::new(|json| {
        json.object(|json| {
            json.key("version").text(PROMETHEUS_VERSION);
            json.key("revision").text(asked.api.version);
            for empty in ["branch", "buildUser", "buildDate", "goVersion"] {
                json.key(empty).text("");
            }
            json.key("application").text("Kenning");
        });
    }))
}

pub(super) async fn runtimeinfo(asked: Asked) -> Result<Data, ApiError> {
    let ingest = (asked.api.ingest)();
    let loaded = asked.api.scraping.loaded();
    let started_ms = asked.api.started_at.saturating_mul(1000);
    Ok(Data::new(|json| {
        json.object(|json| {
            json.key("startTime").text(&rfc3339_ms(asked.api.started_at.saturating_mul(1000)));
            json.key("CWD").text("");
            json.key("hostname").text("");
            json.key("serverTime").text(&rfc3339_ms(asked.api.now_ms()));
            json.key("reloadConfigSuccess").bool(!loaded.failed);
            json.key("lastConfigTime").text(&rfc3339_ms(loaded.at_ms.max(started_ms)));
            json.key("corruptionCount").int(0);
            json.key("goroutineCount").int(0);
            json.key("GOMAXPROCS").int(cores() as i64);
            json.key("GOMEMLIMIT").int(0);
            json.key("GOGC").text("");
            json.key("GODEBUG").text("");
            json.key("storageRetention").text(&ingest.retention);
            json.key("timeSeriesCount").int(ingest.active_series as i64);
        });
    }))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The `prometheus.yml` in force without its secrets; without such a file, the server's own settings.
pub(super) async fn config(asked: Asked) -> Result<Data, ApiError> {
    let yaml = asked.api.scraping.loaded().yaml.unwrap_or_else(|| asked.api.config.clone());
    Ok(Data::new(|json| json.object(|json| json.key("yaml").text(&yaml))))
}

/// No rules exist yet; the shape is what clients expect of a server without any, and what they ask for is checked.
pub(super) async fn rules(asked: Asked) -> Result<Data, ApiError> {
    let params = &asked.params;
    params::selectors(params).map_err(ApiError::bad_request)?;
    let kind = params.get("type").unwrap_or("").to_lowercase();
    if !matches!(kind.as_str(), "" | "alert" | "record") {
        return Err(invalid("type", format!("not supported value {kind:?}")));
    }
    if let Some(text) = params.get("exclude_alerts").map(str::to_lowercase)
        && params::bool_of(&text).is_none()
    {
        let why =
            format!("error converting exclude_alerts: strconv.ParseBool: parsing {text:?}: invalid syntax");
        return Err(invalid("exclude_alerts", why));
    }
    let token = params.get("group_next_token");
    match (params.get("group_limit"), token) {
        (None, Some(_)) => {
            let why = "group_limit needs to be present in order to paginate over the groups";
            return Err(invalid("group_next_token", why));
        }
        (Some(text), _) => match params::whole_number(text) {
            Ok(limit) if limit <= 0 => {
                return Err(invalid("group_limit", "group_limit needs to be greater than 0"));
            }
            Ok(_) => {}
            Err(why) => {
                let why = why.replace("Atoi", "ParseInt");
                return Err(invalid("group_limit", format!("group_limit needs to be a valid number: {why}")));
            }
        },
        (None, None) => {}
    }
    if let Some(token) = token {
        // No group has been there that a token could have come from.
        let why = format!("invalid group_next_token '{token}'. were rule groups changed?");
        return Err(invalid("group_next_token", why));
    }
    Ok(Data::new(|json| json.object(|json| json.key("groups").array(|_| ()))))
}

/// No alerts exist while there are no rules.
pub(super) async fn alerts(_: Asked) -> Result<Data, ApiError> {
    Ok(Data::new(|json| json.object(|json| json.key("alerts").array(|_| ()))))
}

/// Alerts go nowhere yet.
pub(super) async fn alertmanagers(_: Asked) -> Result<Data, ApiError> {
    Ok(Data::new(|json| {
        json.object(|json| {
            json.key("activeAlertmanagers").array(|_| ());
            json.key("droppedAlertmanagers").array(|_| ());
        });
    }))
}

/// Segments of the write-ahead log that the start reads back. Answered meanwhile, too.
pub(super) async fn walreplay(asked: Asked) -> Result<Data, ApiError> {
    let [min, max, current] = (asked.api.ingest)().replay;
    Ok(Data::new(|json| {
        json.object(|json| {
            for (key, segment) in [("min", min), ("max", max), ("current", current)] {
                json.key(key).int(segment as i64);
            }
        });
    }))
}

/// Nothing that an operator would have to be told is known here yet.
pub(super) async fn notifications(_: Asked) -> Result<Data, ApiError> {
    Ok(Data::new(|json| json.array(|_| ())))
}

/// The experimental search of names, which Prometheus has off by default, too.
pub(super) async fn no_search(_: Asked) -> Result<Data, ApiError> {
    Err(ApiError::disabled("search API disabled"))
}

/// Prometheus answers 204 when it takes no more listeners; clients then ask [`notifications`] now and again.
pub(super) async fn no_news(_: Asked) -> Result<Data, ApiError> {
    Ok(Data::nothing())
}

/// Targets in force and dropped; `state` and `scrapePool` choose among them.
pub(super) async fn targets(asked: Asked) -> Result<Data, ApiError> {
    let state = asked.params.get("state").unwrap_or("any").to_lowercase();
    let pool = asked.params.get("scrapePool").unwrap_or_default().to_owned();
    let wanted = |job: &str| pool.is_empty() || pool == job;
    let scraping = &asked.api.scraping;
    let active = if state == "dropped" { Vec::new() } else { scraping.targets() };
    let dropped = if state == "active" { Vec::new() } else { scraping.dropped() };
    let counts = if state == "active" { Vec::new() } else { scraping.pools() };
    Ok(Data::new(|json| {
        json.object(|json| {
            json.key("activeTargets").array(|json| {
                active
                    .iter()
                    .filter(|target| wanted(&target.job))
                    .for_each(|target| write_target(json, target));
            });
            json.key("droppedTargets").array(|json| {
                for (job, labels) in dropped.iter().filter(|(job, _)| wanted(job)) {
                    json.object(|json| {
                        json.key("discoveredLabels").pairs(labels.iter().map(|(name, value)| (name, value)));
                        json.key("scrapePool").text(job);
                    });
                }
            });
            json.key("droppedTargetCounts").object(|json| {
                for (job, count) in counts.iter().filter(|(job, _)| wanted(job)) {
                    json.key(job).int(*count as i64);
                }
            });
        });
    }))
}

/// What targets say of their metrics: `match_target` chooses targets, `metric` one metric, `limit` bounds the answer.
pub(super) async fn targets_metadata(asked: Asked) -> Result<Data, ApiError> {
    let matchers = match asked.params.get("match_target").filter(|text| !text.is_empty()) {
        Some(text) => {
            let invalid = |found| ApiError::of_query(&kenning_query::QueryError::Invalid(found), text);
            Some(kenning_promql::matchers(text).map_err(invalid)?)
        }
        None => None,
    };
    let metric = asked.params.get("metric").unwrap_or_default().to_owned();
    let limit = asked.params.count("limit")?.unwrap_or(usize::MAX);
    let all = asked.api.scraping.metadata();
    let targets = all.iter().filter(|(labels, _)| {
        let labels = LabelSet::from_pairs(labels.iter().map(|(name, value)| (name, value)));
        matchers.as_ref().is_none_or(|filter| filter.matches(&labels))
    });
    let rows = targets.flat_map(|(labels, known)| known.iter().map(move |one| (labels, one)));
    let rows: Vec<_> =
        rows.filter(|(_, one)| metric.is_empty() || one.metric == metric).take(limit).collect();
    Ok(Data::new(|json| {
        json.array(|json| {
            for (labels, one) in &rows {
                json.object(|json| {
                    json.key("target").pairs(labels.iter().map(|(name, value)| (name, value)));
                    if metric.is_empty() {
                        json.key("metric").text(&one.metric);
                    }
                    json.key("type").text(one.kind.as_str());
                    json.key("help").text(&one.help);
                    json.key("unit").text(&one.unit);
                });
            }
        });
    }))
}

/// The names of all jobs.
pub(super) async fn scrape_pools(asked: Asked) -> Result<Data, ApiError> {
    let mut pools: Vec<_> = asked.api.scraping.pools().into_iter().map(|(job, _)| job).collect();
    pools.sort();
    Ok(Data::new(|json| json.object(|json| json.key("scrapePools").texts(&pools))))
}

fn write_target(json: &mut Json, target: &ScrapeTarget) {
    json.object(|json| {
        json.key("discoveredLabels").pairs(target.discovered.iter().map(|(name, value)| (name, value)));
        json.key("labels").pairs(target.labels.iter().map(|(name, value)| (name, value)));
        json.key("scrapePool").text(&target.job);
        json.key("scrapeUrl").text(&target.url);
        json.key("globalUrl").text(&target.url);
        json.key("lastError").text(&target.last_error);
        json.key("lastScrape").text(&rfc3339_ms(target.last_scrape_ms));
        json.key("lastScrapeDuration").number(target.last_duration_seconds);
        json.key("health").text(match target.up {
            Some(true) => "up",
            Some(false) => "down",
            None => "unknown",
        });
        json.key("scrapeInterval").text(&target.interval);
        json.key("scrapeTimeout").text(&target.timeout);
    });
}

fn rfc3339_ms(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms)
        .map_or_else(String::new, |at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
}
