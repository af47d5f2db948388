//! Indices, templates, policies and pipelines that clients set up before they send: kept in memory and shown again.
//!
//! Bounds: [`ENTRIES_MAX`] entries of [`ENTRY_BYTES_MAX`] each, [`BYTES_MAX`] in all; beyond them 429, as Elasticsearch's
//! circuit breaker. Names of indices that were only written to are remembered up to [`ENTRIES_MAX`]. Absent: any effect
//! but that of `action.auto_create_index`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{Method, StatusCode};
use kenning_wire::elastic::{ItemError, index_name_problem, matches_wildcards};
use serde_json::{Map, Value, json};

use super::{Asked, Reply, error, warn};

/// Entries of all kinds.
const ENTRIES_MAX: usize = 1024;
/// Bytes of one definition.
pub(super) const ENTRY_BYTES_MAX: usize = 512 * 1024;
/// Bytes of all definitions.
const BYTES_MAX: usize = 8 << 20;

/// The setting that says which indices come into being by being written to.
const AUTO_CREATE: &str = "action.auto_create_index";

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<(Kind, String), Entry>,
    bytes: usize,
    /// Indices that have documents.
    written: BTreeSet<String>,
    settings: BTreeMap<String, Value>,
}

#[derive(Debug)]
struct Entry {
    definition: Value,
    bytes: usize,
}

/// Kinds of definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Index,
    IndexTemplate,
    ComponentTemplate,
    LegacyTemplate,
    Policy,
    Pipeline,
    DataStream,
}

impl Kind {
    /// The kind that a path is about, and the name in it.
    fn of(segments: &[String]) -> Option<(Self, Option<&str>)> {
        let words: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (kind, name) = match words.as_slice() {
            ["_index_template", name @ ..] => (Self::IndexTemplate, name),
            ["_component_template", name @ ..] => (Self::ComponentTemplate, name),
            ["_template", name @ ..] => (Self::LegacyTemplate, name),
            ["_ilm", "policy", name @ ..] => (Self::Policy, name),
            ["_ingest", "pipeline", name @ ..] => (Self::Pipeline, name),
            ["_data_stream", name @ ..] => (Self::DataStream, name),
            [name] if !name.starts_with('_') => return Some((Self::Index, Some(name))),
            _ => return None,
        };
        match name {
            [] => Some((kind, None)),
            [name] => Some((kind, Some(name))),
            _ => None,
        }
    }

    /// The answer that shows definitions.
    fn shown(self, found: Vec<(String, Value)>) -> Value {
        let listed = |list: &str, member: &str| {
            let entry = |(name, definition): (String, Value)| json!({ "name": name, member: definition });
            json!({ list: found.clone().into_iter().map(entry).collect::<Vec<_>>() })
        };
        match self {
            Self::IndexTemplate => listed("index_templates", "index_template"),
            Self::ComponentTemplate => listed("component_templates", "component_template"),
            Self::DataStream => {
                let stream = |(name, _): (String, Value)| {
                    json!({ "name": name, "timestamp_field": { "name": "@timestamp" }, "indices": [],
                            "generation": 1, "status": "GREEN" })
                };
                json!({ "data_streams": found.into_iter().map(stream).collect::<Vec<_>>() })
            }
            Self::Policy => {
                let policy = |(name, definition): (String, Value)| {
                    let policy = definition.get("policy").cloned().unwrap_or(definition);
                    (name, json!({ "version": 1, "policy": policy }))
                };
                Value::Object(found.into_iter().map(policy).collect())
            }
            Self::Index => {
                let index = |(name, definition): (String, Value)| {
                    let part = |part: &str| definition.get(part).cloned().unwrap_or_else(|| json!({}));
                    let shown = json!({ "aliases": part("aliases"), "mappings": part("mappings"),
                                        "settings": part("settings") });
                    (name, shown)
                };
                Value::Object(found.into_iter().map(index).collect())
            }
            Self::LegacyTemplate | Self::Pipeline => Value::Object(found.into_iter().collect()),
        }
    }

    /// What is said about definitions that are kept and not followed.
    const fn warning(self) -> Option<&'static str> {
        match self {
            Self::Pipeline => {
                Some("ingest pipelines are kept and not run; documents are stored as they were sent")
            }
            Self::Policy => Some("lifecycle policies are kept and not followed; retention.logs decides"),
            _ => None,
        }
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All indices, created or written to.
    pub fn indices(&self) -> BTreeSet<String> {
        let state = self.lock();
        let created = state.entries.keys().filter(|(kind, _)| *kind == Kind::Index).map(|(_, name)| name);
        created.chain(&state.written).cloned().collect()
    }

    /// Whether an index may be written to: it exists, or `action.auto_create_index` lets it come into being.
    pub fn allows(&self, index: &str) -> Result<(), ItemError> {
        let state = self.lock();
        let Some(setting) = state.settings.get(AUTO_CREATE) else { return Ok(()) };
        if state.exists(index) || auto_creates(setting, index) {
            return Ok(());
        }
        let reason = format!("no such index [{index}] and [{AUTO_CREATE}] does not let it be created");
        Err(ItemError { status: 404, kind: "index_not_found_exception", reason })
    }

    /// Remembers that documents were sent to these indices.
    pub fn note_written<'a>(&self, indices: impl Iterator<Item = &'a str>) {
        let mut state = self.lock();
        for index in indices {
            if state.written.len() < ENTRIES_MAX && !state.written.contains(index) {
                state.written.insert(index.to_owned());
            }
        }
    }

    /// Answers a request for a definition; `None` for paths of other things.
    pub fn answer(&self, asked: &Asked, body: &[u8]) -> Option<Reply> {
        let segments: Vec<&str> = asked.segments.iter().map(String::as_str).collect();
        if let ["_cluster", "settings"] = segments.as_slice() {
            return Some(self.settings(asked, body));
        }
        if let [index, part] = segments.as_slice()
            && let Some(member) = part_of_index(index, part)
        {
            return self.part(asked, index, member);
        }
        let (kind, name) = Kind::of(&asked.segments)?;
        match (asked.method.clone(), name) {
            (Method::HEAD, Some(name)) => {
                let found = self.lock().exists_as(kind, name);
                Some(super::json(if found { StatusCode::OK } else { StatusCode::NOT_FOUND }, Vec::new()))
            }
            (Method::GET, name) => Some(self.get(kind, name.unwrap_or("*"))),
            (Method::PUT | Method::POST, Some(name)) => Some(self.put(kind, name, body)),
            (Method::DELETE, Some(name)) => Some(self.delete(kind, name, asked)),
            _ => None,
        }
    }

    fn get(&self, kind: Kind, pattern: &str) -> Reply {
        let state = self.lock();
        let found = state.matching(kind, pattern);
        // As in Elasticsearch, a pattern may match nothing and a name may not.
        if found.is_empty() && !pattern.contains('*') {
            return not_found(kind, pattern);
        }
        super::json(StatusCode::OK, kind.shown(found).to_string().into_bytes())
    }

    fn put(&self, kind: Kind, name: &str, body: &[u8]) -> Reply {
        if let Some(problem) =
            index_name_problem(name).filter(|_| matches!(kind, Kind::Index | Kind::DataStream))
        {
            let reason = format!("Invalid index name [{name}], {problem}");
            return error(StatusCode::BAD_REQUEST, "invalid_index_name_exception", &reason);
        }
        let definition = if body.iter().all(u8::is_ascii_whitespace) {
            Ok(Value::Object(Map::new()))
        } else {
            serde_json::from_slice::<Value>(body)
        };
        let definition = match definition {
            Ok(definition @ Value::Object(_)) => definition,
            Ok(_) => {
                return error(StatusCode::BAD_REQUEST, "parse_exception", "request body must be an object");
            }
            Err(broken) => return error(StatusCode::BAD_REQUEST, "parse_exception", &broken.to_string()),
        };
        let mut state = self.lock();
        if matches!(kind, Kind::Index | Kind::DataStream) && state.exists_as(kind, name) {
            let reason = format!("index [{name}] already exists");
            return error(StatusCode::BAD_REQUEST, "resource_already_exists_exception", &reason);
        }
        if !state.keep(kind, name, Entry { definition, bytes: body.len() }) {
            let reason =
                format!("no more than {ENTRIES_MAX} definitions and {BYTES_MAX} bytes of them are kept");
            return error(StatusCode::TOO_MANY_REQUESTS, "circuit_breaking_exception", &reason);
        }
        let body = match kind {
            Kind::Index => json!({ "acknowledged": true, "shards_acknowledged": true, "index": name }),
            _ => json!({ "acknowledged": true }),
        };
        let mut reply = super::json(StatusCode::OK, body.to_string().into_bytes());
        if let Some(warning) = kind.warning() {
            warn(&mut reply, warning);
        }
        reply
    }

    /// Definitions go; an index that has documents stays, since records are append-only.
    fn delete(&self, kind: Kind, names: &str, asked: &Asked) -> Reply {
        let mut state = self.lock();
        let lenient = asked.flag("ignore_unavailable");
        let names: Vec<&str> = names.split(',').collect();
        let missing = names.iter().find(|name| !name.contains('*') && !state.exists_as(kind, name));
        if let Some(missing) = missing.filter(|_| !lenient) {
            return not_found(kind, missing);
        }
        let written = |state: &State, pattern: &str| state.written.iter().any(|name| fits(pattern, name));
        if matches!(kind, Kind::Index | Kind::DataStream) && names.iter().any(|name| written(&state, name)) {
            let reason = "an index that has documents cannot be deleted: log records are append-only and go by retention";
            return error(StatusCode::BAD_REQUEST, "unsupported_operation_exception", reason);
        }
        for name in names {
            state.remove(kind, name);
        }
        super::json(StatusCode::OK, json!({ "acknowledged": true }).to_string().into_bytes())
    }

    /// Records have no schema, so a mapping has no effect that it could lack.
    fn part(&self, asked: &Asked, index: &str, member: &str) -> Option<Reply> {
        let state = self.lock();
        if !index.contains('*') && !state.exists(index) {
            return Some(not_found(Kind::Index, index));
        }
        let body = match asked.method {
            Method::GET => {
                let shown = state.matching(Kind::Index, index).into_iter().map(|(name, definition)| {
                    let part = definition.get(member).cloned().unwrap_or_else(|| json!({}));
                    (name, json!({ member: part }))
                });
                Value::Object(shown.collect())
            }
            Method::HEAD => json!({}),
            Method::PUT | Method::POST if member != "aliases" => json!({ "acknowledged": true }),
            _ => return None,
        };
        Some(super::json(StatusCode::OK, body.to_string().into_bytes()))
    }

    fn settings(&self, asked: &Asked, body: &[u8]) -> Reply {
        let mut state = self.lock();
        if asked.method == Method::PUT {
            let Ok(Value::Object(sections)) = serde_json::from_slice(body) else {
                return error(StatusCode::BAD_REQUEST, "parse_exception", "request body must be an object");
            };
            let mut flat = BTreeMap::new();
            for (section, values) in &sections {
                if !matches!(section.as_str(), "persistent" | "transient") {
                    let reason = format!("unknown section [{section}]; known are persistent, transient");
                    return error(StatusCode::BAD_REQUEST, "parse_exception", &reason);
                }
                flatten("", values, &mut flat);
            }
            if state.settings.len() + flat.len() > ENTRIES_MAX {
                return error(
                    StatusCode::TOO_MANY_REQUESTS,
                    "circuit_breaking_exception",
                    "too many settings",
                );
            }
            for (key, value) in flat {
                match value {
                    Value::Null => drop(state.settings.remove(&key)),
                    value => drop(state.settings.insert(key, value)),
                }
            }
        }
        let kept: Map<String, Value> = state.settings.clone().into_iter().collect();
        let body = match asked.method {
            Method::PUT => json!({ "acknowledged": true, "persistent": kept, "transient": {} }),
            _ => json!({ "persistent": kept, "transient": {} }),
        };
        super::json(StatusCode::OK, body.to_string().into_bytes())
    }
}

impl State {
    fn exists(&self, index: &str) -> bool {
        self.written.contains(index)
            || self.entries.contains_key(&(Kind::Index, index.to_owned()))
            || self.entries.contains_key(&(Kind::DataStream, index.to_owned()))
    }

    fn exists_as(&self, kind: Kind, name: &str) -> bool {
        let named = |name: &str| match kind {
            Kind::Index => self.exists(name),
            _ => self.entries.contains_key(&(kind, name.to_owned())),
        };
        name.split(',')
            .all(|name| if name.contains('*') { !self.matching(kind, name).is_empty() } else { named(name) })
    }

    fn matching(&self, kind: Kind, patterns: &str) -> Vec<(String, Value)> {
        let is_asked = |name: &str| patterns.split(',').any(|pattern| fits(pattern, name));
        let kept = self.entries.iter().filter(|((known, name), _)| *known == kind && is_asked(name));
        let mut found: BTreeMap<String, Value> =
            kept.map(|((_, name), entry)| (name.clone(), entry.definition.clone())).collect();
        if kind == Kind::Index {
            for name in self.written.iter().filter(|name| is_asked(name)) {
                found.entry(name.clone()).or_insert_with(|| json!({}));
            }
        }
        found.into_iter().collect()
    }

    /// False when there is no room.
    fn keep(&mut self, kind: Kind, name: &str, entry: Entry) -> bool {
        let key = (kind, name.to_owned());
        let before = self.entries.get(&key).map_or(0, |entry| entry.bytes);
        let bytes = self.bytes - before + entry.bytes;
        let is_new = !self.entries.contains_key(&key);
        if bytes > BYTES_MAX || (is_new && self.entries.len() >= ENTRIES_MAX) {
            return false;
        }
        self.bytes = bytes;
        self.entries.insert(key, entry);
        true
    }

    fn remove(&mut self, kind: Kind, pattern: &str) {
        self.entries.retain(|(known, name), _| *known != kind || !fits(pattern, name));
        self.bytes = self.entries.values().map(|entry| entry.bytes).sum();
    }
}

/// The member of an index's definition that a path `/{index}/{part}` is about.
fn part_of_index(index: &str, part: &str) -> Option<&'static str> {
    if index.starts_with('_') {
        return None;
    }
    match part {
        "_mapping" | "_mappings" => Some("mappings"),
        "_settings" => Some("settings"),
        "_alias" | "_aliases" => Some("aliases"),
        _ => None,
    }
}

fn not_found(kind: Kind, name: &str) -> Reply {
    let (error_kind, reason) = match kind {
        Kind::Index | Kind::DataStream => ("index_not_found_exception", format!("no such index [{name}]")),
        _ => ("resource_not_found_exception", format!("[{name}] is not kept here")),
    };
    error(StatusCode::NOT_FOUND, error_kind, &reason)
}

/// Nested settings as dotted keys; objects below the JSON parser's own limit of depth.
fn flatten(prefix: &str, value: &Value, out: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let dot = if prefix.is_empty() { "" } else { "." };
                flatten(&format!("{prefix}{dot}{name}"), value, out);
            }
        }
        value => drop(out.insert(prefix.to_owned(), value.clone())),
    }
}

/// `true`, `false`, or patterns of which the first that fits decides: `+logs-*,-*`.
fn auto_creates(setting: &Value, index: &str) -> bool {
    let text = setting.as_str().map_or_else(|| setting.to_string(), str::to_owned);
    match text.as_str() {
        "true" => return true,
        "false" => return false,
        _ => {}
    }
    text.split(',')
        .map(str::trim)
        .find_map(|pattern| {
            let (allowed, pattern) = match pattern.strip_prefix('-') {
                Some(pattern) => (false, pattern),
                None => (true, pattern.strip_prefix('+').unwrap_or(pattern)),
            };
            fits(pattern, index).then_some(allowed)
        })
        .unwrap_or(false)
}

/// Matches a name with `*` for any characters; `_all` is every name.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    pattern == "_all" || matches_wildcards(pattern, name)
}
