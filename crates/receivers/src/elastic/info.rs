//! What clients ask about the server itself.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::registry::Registry;
use super::{Asked, Reply};

/// The version whose API is spoken. Clients compare it with their own; 8 takes those of 7.14 and later, 8 and 9.
const VERSION: &str = "8.19.0";

/// The one node.
const NODE: &str = "kenning";

/// Last segments that ask for documents.
const QUERIES: [&str; 17] = [
    "_search",
    "_msearch",
    "_count",
    "_mget",
    "_source",
    "_async_search",
    "_sql",
    "_eql",
    "_query",
    "_field_caps",
    "_validate",
    "_explain",
    "_termvectors",
    "_update_by_query",
    "_delete_by_query",
    "_reindex",
    "_pit",
];

/// True for queries, and for documents by id.
pub(super) fn is_query(asked: &Asked) -> bool {
    let is_query = |segment: &String| QUERIES.contains(&segment.as_str());
    let is_document = matches!(asked.segments.get(1).map(String::as_str), Some("_doc" | "_update"));
    asked.segments.iter().take(2).any(is_query) || is_document
}

/// Answers what needs no state but the list of indices; `None` for other paths.
pub(super) fn answer(asked: &Asked, registry: &Registry) -> Option<Reply> {
    if asked.method != Method::GET && asked.method != Method::HEAD {
        return refresh(asked);
    }
    let segments: Vec<&str> = asked.segments.iter().map(String::as_str).collect();
    let body = match segments.as_slice() {
        [] => root(),
        ["_license"] => json!({ "license": license() }),
        ["_xpack"] => json!({
            "build": { "hash": "kenning", "date": "2026-01-01T00:00:00.000Z" },
            "license": license(),
            "features": { "ilm": { "available": true, "enabled": true } },
            "tagline": "You know, for X",
        }),
        ["_cluster", "health", ..] => health(registry.indices().len()),
        ["_nodes"] | ["_nodes", "http" | "_all" | "_local" | "stats"] | ["_nodes", _, "http"] => {
            nodes(&asked.host)
        }
        ["_cat", what, ..] => return Some(cat(what, asked, registry)),
        ["_resolve", "index", pattern] => resolve(pattern, registry),
        _ => return None,
    };
    Some(super::json(StatusCode::OK, body.to_string().into_bytes()))
}

/// What is committed is visible, so there is nothing to refresh or to flush.
fn refresh(asked: &Asked) -> Option<Reply> {
    let last = asked.segments.last().map(String::as_str);
    let done = asked.method == Method::POST && matches!(last, Some("_refresh" | "_flush" | "_forcemerge"));
    let body = json!({ "_shards": { "total": 1, "successful": 1, "failed": 0 } });
    done.then(|| super::json(StatusCode::OK, body.to_string().into_bytes()))
}

fn root() -> Value {
    json!({
        "name": NODE,
        "cluster_name": "kenning",
        "cluster_uuid": "a2VubmluZy1zaW5nbGUtMQ",
        "version": {
            "number": VERSION,
            "build_flavor": "default",
            "build_type": "kenning",
            "build_hash": "kenning",
            "build_date": "2026-01-01T00:00:00.000Z",
            "build_snapshot": false,
            "lucene_version": "9.12.2",
            "minimum_wire_compatibility_version": "7.17.0",
            "minimum_index_compatibility_version": "7.0.0",
        },
        "tagline": "You Know, for Search",
    })
}

fn license() -> Value {
    json!({
        "status": "active",
        "uid": "00000000-0000-0000-0000-000000000000",
        "type": "basic",
        "mode": "basic",
        "issue_date_in_millis": 1_767_225_600_000_u64,
        "issue_date": "2026-01-01T00:00:00.000Z",
        "max_nodes": 1000,
        "issued_to": "kenning",
        "issuer": "kenning",
        "start_date_in_millis": -1,
    })
}

fn health(indices: usize) -> Value {
    json!({
        "cluster_name": "kenning",
        "status": "green",
        "timed_out": false,
        "number_of_nodes": 1,
        "number_of_data_nodes": 1,
        "active_primary_shards": indices,
        "active_shards": indices,
        "relocating_shards": 0,
        "initializing_shards": 0,
        "unassigned_shards": 0,
        "delayed_unassigned_shards": 0,
        "number_of_pending_tasks": 0,
        "number_of_in_flight_fetch": 0,
        "task_max_waiting_in_queue_millis": 0,
        "active_shards_percent_as_number": 100.0,
    })
}

/// Clients that sniff connect to the address told here, so it is the one they used.
fn nodes(host: &str) -> Value {
    json!({
        "_nodes": { "total": 1, "successful": 1, "failed": 0 },
        "cluster_name": "kenning",
        "nodes": { NODE: {
            "name": NODE,
            "host": host,
            "version": VERSION,
            "build_flavor": "default",
            "roles": ["data", "ingest", "master"],
            "http": { "bound_address": [host], "publish_address": host, "max_content_length_in_bytes": 8 << 20 },
        } },
    })
}

fn cat(what: &str, asked: &Asked, registry: &Registry) -> Reply {
    let rows: Vec<Value> = match what {
        "health" => vec![json!({ "cluster": "kenning", "status": "green", "node.total": "1" })],
        "nodes" => vec![json!({ "name": NODE, "node.role": "dim", "master": "*" })],
        "indices" => {
            let row = |name: &String| json!({ "health": "green", "status": "open", "index": name });
            registry.indices().iter().map(row).collect()
        }
        _ => {
            let reason = format!("no handler found for uri [/_cat/{what}]; known are health, indices, nodes");
            return super::error(StatusCode::BAD_REQUEST, "illegal_argument_exception", &reason);
        }
    };
    if asked.parameter("format") == Some("json") {
        return super::json(StatusCode::OK, Value::Array(rows).to_string().into_bytes());
    }
    let line = |row: &Value| {
        let cells = row.as_object().into_iter().flatten().map(|(_, cell)| cell.as_str().unwrap_or(""));
        cells.collect::<Vec<_>>().join(" ") + "\n"
    };
    let mut reply = super::json(StatusCode::OK, rows.iter().map(line).collect::<String>().into_bytes());
    let plain = http::HeaderValue::from_static("text/plain; charset=UTF-8");
    reply.headers_mut().insert(http::header::CONTENT_TYPE, plain);
    reply
}

fn resolve(pattern: &str, registry: &Registry) -> Value {
    let names = registry.indices();
    let fitting = names.iter().filter(|name| super::registry::fits(pattern, name));
    let indices: Vec<Value> = fitting.map(|name| json!({ "name": name, "attributes": ["open"] })).collect();
    json!({ "indices": indices, "aliases": [], "data_streams": [] })
}
