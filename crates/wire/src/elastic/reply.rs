//! Elasticsearch's answers as JSON.

use std::fmt::Write;

use super::{Action, FilterPath, Item, ItemError};
use crate::json::quote;

/// A record of the batch that the pipeline did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// Row of the batch.
    pub row: usize,
    /// Why.
    pub reason: String,
}

/// What an answer needs beside the items.
#[derive(Clone, Debug, Default)]
pub struct Replying {
    /// Milliseconds that the request took.
    pub took_millis: u64,
    /// Sequence number of the first stored document.
    pub first_seq_no: u64,
    /// Rows that were not stored after all, in order.
    pub refused: Vec<RefusedRow>,
}

/// Members of an item's answer, with their places in it.
const MEMBERS: [&[&str]; 13] = [
    &["_index"],
    &["_id"],
    &["_version"],
    &["result"],
    &["_shards", "total"],
    &["_shards", "successful"],
    &["_shards", "failed"],
    &["_seq_no"],
    &["_primary_term"],
    &["status"],
    &["error", "type"],
    &["error", "reason"],
    &["error", "index"],
];

const INDEX: usize = 0;
const ID: usize = 1;
const VERSION: usize = 2;
const RESULT: usize = 3;
const TOTAL: usize = 4;
const SUCCESSFUL: usize = 5;
const FAILED: usize = 6;
const SEQ_NO: usize = 7;
const PRIMARY_TERM: usize = 8;
const STATUS: usize = 9;
const ERROR_TYPE: usize = 10;
const ERROR_REASON: usize = 11;
const ERROR_INDEX: usize = 12;

/// Which members of the items of one action are shown.
type Shown = [bool; MEMBERS.len()];

fn shown(filter: &FilterPath, prefix: &[&str]) -> Shown {
    MEMBERS.map(|member| filter.is_open() || filter.shows(&[prefix, member].concat()))
}

/// A row that the pipeline refused, as an item's error.
fn refused_error(row: &RefusedRow) -> ItemError {
    ItemError { status: 400, kind: "illegal_argument_exception", reason: row.reason.clone() }
}

/// Items with what finally became of them: the index of each stored row is counted through.
fn outcomes<'a>(
    items: &'a [Item],
    replying: &'a Replying,
) -> impl Iterator<Item = (&'a Item, Result<u64, ItemError>)> {
    let mut refused = replying.refused.iter().peekable();
    let (mut row, mut seq_no) = (0, replying.first_seq_no);
    items.iter().map(move |item| {
        let outcome = item.outcome.clone().and_then(|()| {
            row += 1;
            match refused.next_if(|refused| refused.row + 1 == row) {
                Some(refused) => Err(refused_error(refused)),
                None => {
                    seq_no += 1;
                    Ok(seq_no - 1)
                }
            }
        });
        (item, outcome)
    })
}

/// The answer to a bulk request.
#[must_use]
pub fn encode_bulk_reply(items: &[Item], replying: &Replying, filter: &FilterPath) -> Vec<u8> {
    let shows = |name: &str| filter.is_open() || filter.shows(&[name]);
    let per_action = Action::ALL.map(|action| (action, shown(filter, &["items", action.as_str()])));
    let (mut list, mut errors) = (String::new(), false);
    for (item, outcome) in outcomes(items, replying) {
        errors |= outcome.is_err();
        let shown = per_action.iter().find(|(action, _)| *action == item.action).map(|(_, shown)| shown);
        let Some(body) = shown.and_then(|shown| members(item, &outcome, shown)) else { continue };
        let comma = if list.is_empty() { "" } else { "," };
        let _ = write!(list, "{comma}{{\"{}\":{body}}}", item.action.as_str());
    }
    let mut parts = Vec::new();
    if shows("errors") {
        parts.push(format!("\"errors\":{errors}"));
    }
    if shows("took") {
        parts.push(format!("\"took\":{}", replying.took_millis));
    }
    if !list.is_empty() {
        parts.push(format!("\"items\":[{list}]"));
    }
    format!("{{{}}}", parts.join(",")).into_bytes()
}

/// The answer to a single document, and its HTTP status.
#[must_use]
pub fn encode_document_reply(items: &[Item], replying: &Replying, filter: &FilterPath) -> (u16, Vec<u8>) {
    let mut shown = shown(filter, &[]);
    if let Some(status) = shown.get_mut(STATUS) {
        *status = false;
    }
    match outcomes(items, replying).next() {
        Some((item, outcome @ Ok(_))) => {
            (201, members(item, &outcome, &shown).unwrap_or_else(|| "{}".to_owned()).into_bytes())
        }
        Some((_, Err(error))) => (error.status, encode_error(error.status, error.kind, &error.reason)),
        None => (400, encode_error(400, "illegal_argument_exception", "no document was sent")),
    }
}

/// The object of one item; `None` when the filter leaves nothing of it.
fn members(item: &Item, outcome: &Result<u64, ItemError>, shown: &Shown) -> Option<String> {
    let mut out = Object::default();
    let is = |member: usize| shown.get(member).copied().unwrap_or(false);
    out.text("_index", &item.index, is(INDEX));
    out.text("_id", &item.id, is(ID));
    match outcome {
        Ok(seq_no) => {
            out.number("_version", 1, is(VERSION));
            out.text("result", "created", is(RESULT));
            let mut shards = Object::default();
            shards.number("total", 1, is(TOTAL));
            shards.number("successful", 1, is(SUCCESSFUL));
            shards.number("failed", 0, is(FAILED));
            out.object("_shards", shards);
            out.number("_seq_no", *seq_no, is(SEQ_NO));
            out.number("_primary_term", 1, is(PRIMARY_TERM));
            out.number("status", 201, is(STATUS));
        }
        Err(error) => {
            out.number("status", u64::from(error.status), is(STATUS));
            let mut object = Object::default();
            object.text("type", error.kind, is(ERROR_TYPE));
            object.text("reason", &error.reason, is(ERROR_REASON));
            object.text("index", &item.index, is(ERROR_INDEX));
            out.object("error", object);
        }
    }
    out.close()
}

/// An answer that is an error alone.
#[must_use]
pub fn encode_error(status: u16, kind: &str, reason: &str) -> Vec<u8> {
    let cause = format!("\"type\":{},\"reason\":{}", quote(kind), quote(reason));
    format!("{{\"error\":{{\"root_cause\":[{{{cause}}}],{cause}}},\"status\":{status}}}").into_bytes()
}

/// Writes an object member by member.
#[derive(Default)]
struct Object(String);

impl Object {
    fn name(&mut self, name: &str) {
        let comma = if self.0.is_empty() { "" } else { "," };
        let _ = write!(self.0, "{comma}\"{name}\":");
    }

    fn text(&mut self, name: &str, value: &str, shown: bool) {
        if shown {
            self.name(name);
            self.0.push_str(&quote(value));
        }
    }

    fn number(&mut self, name: &str, value: u64, shown: bool) {
        if shown {
            self.name(name);
            let _ = write!(self.0, "{value}");
        }
    }

    fn object(&mut self, name: &str, inner: Self) {
        if let Some(inner) = inner.close() {
            self.name(name);
            self.0.push_str(&inner);
        }
    }

    fn close(self) -> Option<String> {
        (!self.0.is_empty()).then(|| format!("{{{}}}", self.0))
    }
}
