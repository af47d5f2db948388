//! What the server says about itself in Prometheus's words.

use chrono::{DateTime, SecondsFormat};

use super::Data;
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
    Ok(Data::new(|json| {
        json.object(|json| {
            json.key("startTime").text(&rfc3339_ms(asked.api.started_at.saturating_mul(1000)));
            json.key("reloadConfigSuccess").bool(true);
            json.key("timeSeriesCount").int(ingest.active_series as i64);
            json.key("serverTime").text(&rfc3339_ms(asked.api.now_ms()));
        });
    }))
}

pub(super) async fn config(asked: Asked) -> Result<Data, ApiError> {
    Ok(Data::new(|json| json.object(|json| json.key("yaml").text(&asked.api.config))))
}

/// No rules exist yet; the shape is what clients expect of a server without any.
pub(super) async fn rules(_: Asked) -> Result<Data, ApiError> {
    Ok(Data::new(|json| json.object(|json| json.key("groups").array(|_| ()))))
}

/// No alerts exist while there are no rules.
pub(super) async fn alerts(_: Asked) -> Result<Data, ApiError> {
    Ok(Data::new(|json| json.object(|json| json.key("alerts").array(|_| ()))))
}

pub(super) async fn targets(asked: Asked) -> Result<Data, ApiError> {
    let targets = (asked.api.targets)();
    Ok(Data::new(|json| {
        json.object(|json| {
            json.key("activeTargets")
                .array(|json| targets.iter().for_each(|target| write_target(json, target)));
            json.key("droppedTargets").array(|_| ());
        });
    }))
}

fn write_target(json: &mut Json, target: &ScrapeTarget) {
    json.object(|json| {
        json.key("discoveredLabels").pairs([("__address__", &target.instance), ("job", &target.job)]);
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
        json.key("scrapeInterval").text(&format!("{}s", target.interval_seconds));
        json.key("scrapeTimeout").text(&format!("{}s", target.timeout_seconds));
    });
}

fn rfc3339_ms(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms)
        .map_or_else(String::new, |at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
}
