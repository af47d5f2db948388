//! `retention.streams`: how long log streams are kept that are not kept as long as others, in the manner of Loki's
//! `retention_stream`: of the rules that take a stream the one with the highest priority holds, among equals the shortest.

use std::cmp::Reverse;
use std::time::Duration;

use kenning_model::{Filter, Nanos, Retention, StreamRetention, StreamRule, TenantId};
use kenning_stdx::bytesize::TimeSpan;
use serde_json::{Value, json};

use super::kind::Kind;
use super::{Settings, set};

/// Most rules, and the longest selector. All rules together must fit into what the store keeps of a delete.
const RULES_MAX: usize = 64;
const SELECTOR_LEN_MAX: usize = 512;
/// The settings of a tenant that say how long its logs are kept.
const KEYS: [&str; 2] = ["retention.logs", "retention.streams"];

/// A rule.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamsKept {
    /// LogQL's stream selector.
    pub selector: String,
    /// Of rules that take a stream, the one with the highest holds.
    pub priority: i64,
    /// For how long; `None` for ever.
    pub period: Option<Duration>,
    filter: Filter,
}

/// Mappings with `selector`, `period` and `priority`.
pub(super) struct Streams;

impl Kind<Vec<StreamsKept>> for Streams {
    fn parse(text: &str) -> Result<Vec<StreamsKept>, String> {
        let list = match text {
            "" => Vec::new(),
            text => serde_json::from_str::<Vec<Value>>(text)
                .map_err(|_| format!("cannot read {text} as a list of mappings with selector and period"))?,
        };
        if list.len() > RULES_MAX {
            return Err(format!("has {} entries; at most {RULES_MAX} work", list.len()));
        }
        list.iter()
            .enumerate()
            .map(|(place, entry)| rule(entry).map_err(|e| format!("[{place}]{e}")))
            .collect()
    }

    fn show(rules: &Vec<StreamsKept>) -> String {
        let one = |rule: &StreamsKept| {
            let period = rule.period.map_or("unlimited".to_owned(), |period| TimeSpan(period).to_string());
            json!({"selector": rule.selector, "priority": rule.priority, "period": period})
        };
        Value::Array(rules.iter().map(one).collect()).to_string()
    }
}

fn rule(entry: &Value) -> Result<StreamsKept, String> {
    const KNOWN: [&str; 3] = ["selector", "period", "priority"];
    let Some(fields) = entry.as_object() else { return Err(": must be a mapping".to_owned()) };
    if let Some(other) = fields.keys().find(|field| !KNOWN.contains(&field.as_str())) {
        return Err(format!(".{other}: is not a field; known are {}", KNOWN.join(", ")));
    }
    let text = |field: &str| match fields.get(field) {
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(_) => Err(format!(".{field}: must be a text")),
        None => Err(format!(".{field}: is missing")),
    };
    let selector = text("selector")?.to_owned();
    if selector.len() > SELECTOR_LEN_MAX {
        return Err(format!(".selector: has {} bytes; at most {SELECTOR_LEN_MAX} work", selector.len()));
    }
    let filter = kenning_logql::selector(&selector).map_err(|diagnostics| {
        let told: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.message.clone()).collect();
        format!(".selector: {}", told.join("; "))
    })?;
    // As in Loki, nothing ever goes after no time.
    let period = match text("period")? {
        "unlimited" | "0" | "0s" => None,
        text => {
            let TimeSpan(span) = text.parse::<TimeSpan>().map_err(|error| format!(".period: {error}"))?;
            Some(span).filter(|span| !span.is_zero())
        }
    };
    let priority = match fields.get("priority") {
        None => 0,
        Some(value) => value.as_i64().ok_or(".priority: must be a whole number")?,
    };
    Ok(StreamsKept { selector, priority, period, filter })
}

impl Settings {
    /// The rules for log streams, in their order; none when all logs are kept for the same time.
    #[must_use]
    pub fn stream_retention(&self, now: Nanos) -> StreamRetention {
        let own = self.own_retention();
        let mut rules = Vec::new();
        if !own.is_empty() || !self.retention_streams.is_empty() {
            own.iter().for_each(|(tenant, settings)| settings.push_rules(Some(tenant), &mut rules));
            self.push_rules(None, &mut rules);
        }
        StreamRetention { now, rules }
    }

    /// Has whole files of logs go only when no rule wants rows of them kept.
    pub fn lengthen(&self, retention: &mut Retention) {
        let own = self.own_retention();
        let of = |tenant: &TenantId| {
            own.iter().find(|(one, _)| one == tenant).map_or(self, |(_, settings)| settings)
        };
        for (tenant, kept) in &mut retention.tenants {
            kept.logs = of(tenant).longest_logs();
        }
        retention.logs = self.longest_logs();
    }

    fn longest_logs(&self) -> Option<Duration> {
        let mut periods = self.retention_streams.iter().map(|rule| rule.period).chain([self.retention_logs]);
        periods.try_fold(Duration::ZERO, |longest, period| Some(longest.max(period?)))
    }

    /// The settings of tenants that keep their logs otherwise than others.
    fn own_retention(&self) -> Vec<(TenantId, Self)> {
        let own = self.tenants.iter().filter_map(|(name, pairs)| {
            let pairs: Vec<_> = pairs.iter().filter(|(key, _)| KEYS.contains(&key.as_str())).collect();
            let tenant = TenantId::parse(name).ok().filter(|_| !pairs.is_empty())?;
            let mut settings = self.clone();
            // Checked when they were read.
            pairs.iter().for_each(|(key, value)| drop(set(&mut settings, key, value)));
            Some((tenant, settings))
        });
        own.collect()
    }

    fn push_rules(&self, tenant: Option<&TenantId>, rules: &mut Vec<StreamRule>) {
        let mut kept: Vec<_> = self.retention_streams.iter().collect();
        kept.sort_by_key(|rule| (Reverse(rule.priority), rule.period));
        let all = (Filter::All, self.retention_logs);
        let each = kept.into_iter().map(|rule| (rule.filter.clone(), rule.period)).chain([all]);
        rules.extend(each.map(|(filter, age)| StreamRule { tenant: tenant.cloned(), filter, age }));
    }
}
