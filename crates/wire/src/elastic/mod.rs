//! Elasticsearch's way in: the body of `_bulk`, single documents, and the answers to them.
//! Definition: Elasticsearch 8 REST API, "Bulk API" and "Index API"; error types and sentences are Elasticsearch's.
//!
//! A document is a log record: its JSON text, byte for byte, is the line; its index is the label `index`; what else
//! becomes a label or structured metadata is the document module's table. `@timestamp` is the time, else the time of
//! receipt. An id that was given is kept as metadata `_id`.
//!
//! Differs from Elasticsearch: records are append-only, so ids address nothing. `create` never conflicts, `update` finds no
//! document, `delete` is refused. The last line may lack its line end. `_type` is ignored as Elasticsearch 7 did.

mod action;
mod filter;
mod reply;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kenning_model::{LogBatch, Nanos, Reason, Rejected};

use crate::document::Document;
use crate::error::{DecodeError, Decoded, Fault};
use crate::limits::DecodeLimits;
use crate::records::{Entry, Records};

use action::Head;
pub use action::{Action, RequestError, index_name_problem};
pub use filter::{FilterPath, matches_wildcards};
pub use reply::{RefusedRow, Replying, encode_bulk_reply, encode_document_reply, encode_error};

/// Longest id that Elasticsearch takes.
const ID_BYTES_MAX: usize = 512;

/// The label that holds a document's index.
const INDEX: &str = "index";

/// What applies to every item of a request.
#[derive(Clone, Debug, Default)]
pub struct BulkOptions {
    /// The index of the path, for items that name none.
    pub index: Option<String>,
    /// `require_alias` of the query: no aliases exist here, so such items find no index.
    pub require_alias: bool,
    /// Time of receipt, for documents without a time of their own.
    pub now: Nanos,
    /// Where the ids of documents without one are counted from.
    pub id_seed: u64,
}

/// A decoded request.
#[derive(Debug, Default)]
pub struct Bulk {
    /// The records to store, in order of their items.
    pub batch: LogBatch,
    /// Items left out, counted by reason.
    pub rejected: Rejected,
    /// One per action, in order.
    pub items: Vec<Item>,
}

/// What became of one action.
#[derive(Debug)]
pub struct Item {
    /// What was asked for.
    pub action: Action,
    /// The index it names.
    pub index: Box<str>,
    /// Its id, given or made.
    pub id: Box<str>,
    /// A row of the batch, or why there is none.
    pub outcome: Result<(), ItemError>,
}

/// Why an item is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemError {
    /// HTTP status of the item.
    pub status: u16,
    /// Elasticsearch's name of the error.
    pub kind: &'static str,
    /// The sentence.
    pub reason: String,
}

impl ItemError {
    fn illegal(reason: impl Into<String>) -> Self {
        Self { status: 400, kind: "illegal_argument_exception", reason: reason.into() }
    }
}

/// Reads a decompressed bulk body: an action line, and a source line for all but `delete`, again and again. `rows` of the
/// batch belong to the items without an error, in order. `allows` says whether an index may be written to; the sentence
/// is for those that may not.
pub fn decode_bulk(
    body: &[u8],
    options: &BulkOptions,
    limits: &DecodeLimits,
    allows: impl Fn(&str) -> Result<(), ItemError>,
) -> Result<Bulk, RequestError> {
    let mut decoder = Decoder { options, limits, records: Records::new(limits), items: Vec::new() };
    let mut lines = Lines { rest: body, number: 0 };
    let mut without_index = 0;
    while let Some(line) = lines.next() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let head = action::parse(line, lines.number)?;
        let source = match head.action {
            Action::Delete => None,
            _ => Some(lines.next().ok_or_else(|| no_source(lines.number))?),
        };
        decoder.records.count_entry()?;
        if head.index.is_none() && options.index.is_none() {
            without_index += 1;
            continue;
        }
        decoder.item(head, source, &allows);
    }
    if without_index > 0 {
        return Err(RequestError::validation((1..=without_index).map(|_| "index is missing")));
    }
    if decoder.items.is_empty() {
        return Err(RequestError::validation(["no requests added"]));
    }
    let Decoded { batch, rejected } = decoder.records.finish();
    Ok(Bulk { batch, rejected, items: decoder.items })
}

/// Reads one document, as `POST /{index}/_doc` sends it.
pub fn decode_document(
    body: &[u8],
    action: Action,
    id: Option<&str>,
    options: &BulkOptions,
    limits: &DecodeLimits,
    allows: impl Fn(&str) -> Result<(), ItemError>,
) -> Bulk {
    let mut decoder = Decoder { options, limits, records: Records::new(limits), items: Vec::new() };
    let head = Head { action, index: None, id: id.map(Into::into), require_alias: None };
    decoder.item(head, Some(body), &allows);
    let Decoded { batch, rejected } = decoder.records.finish();
    Bulk { batch, rejected, items: decoder.items }
}

fn no_source(line: usize) -> RequestError {
    RequestError::illegal(format!("Malformed action/metadata line [{line}], no source line follows it"))
}

/// Lines without their ends, counted from one.
struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..).unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

struct Decoder<'l> {
    options: &'l BulkOptions,
    limits: &'l DecodeLimits,
    records: Records<'l>,
    items: Vec<Item>,
}

impl Decoder<'_> {
    fn item(&mut self, head: Head, source: Option<&[u8]>, allows: &impl Fn(&str) -> Result<(), ItemError>) {
        let index = head.index.as_deref().or(self.options.index.as_deref()).unwrap_or_default();
        let (index, given) = (Box::from(index), head.id.is_some());
        let id = head.id.unwrap_or_else(|| made_id(self.options, self.items.len()).into());
        let required = head.require_alias.unwrap_or(self.options.require_alias);
        let outcome = check(head.action, &index, &id, given, required)
            .and_then(|()| allows(&index))
            .and_then(|()| self.store(&index, given.then_some(&*id), source.unwrap_or_default()));
        if let Err(error) = &outcome {
            self.count(error);
        }
        self.items.push(Item { action: head.action, index, id, outcome });
    }

    fn store(&mut self, index: &str, id: Option<&str>, source: &[u8]) -> Result<(), ItemError> {
        let at = self.items.len();
        let text = std::str::from_utf8(source)
            .map_err(|_| parse_error("the document is not UTF-8".to_owned()))?
            .trim_matches([' ', '\t', '\r', '\n']);
        let document = Document::parse(text, self.limits).map_err(|fault| parse_error(fault.to_string()))?;
        if document.has_bad_time() {
            let told =
                "failed to parse field [@timestamp] of type [date]; send ISO 8601 or epoch milliseconds";
            return Err(parse_error(told.to_owned()));
        }
        let mut labels = document.labels((INDEX, index), dataset(index));
        let fault = |fault: Fault| ItemError::illegal(fault.to_string());
        let stream = self.records.stream(&mut labels, at).map_err(fault)?;
        let labels = self.records.labels(stream);
        let mut metadata = document.pairs();
        metadata.extend(id.map(|id| ("_id", id)));
        let time = document.time().unwrap_or(self.options.now);
        self.records.entry(stream, &labels, Entry { time, line: text, metadata, at }).map_err(fault)
    }

    /// Every item without a record is counted under a reason.
    fn count(&mut self, error: &ItemError) {
        let reason = match (error.kind, error.status) {
            (DOCUMENT_MISSING, _) | (_, 404) => Reason::Missing,
            (DOCUMENT_PARSING, _) => Reason::Malformed,
            _ if error.reason.starts_with(APPEND_ONLY) => Reason::Unsupported,
            _ => Reason::WrongType,
        };
        self.records.rejected.add(reason, 1, || error.reason.clone());
    }
}

const DOCUMENT_MISSING: &str = "document_missing_exception";
const DOCUMENT_PARSING: &str = "document_parsing_exception";
const APPEND_ONLY: &str = "log records are append-only";

fn parse_error(reason: String) -> ItemError {
    ItemError { status: 400, kind: DOCUMENT_PARSING, reason: format!("failed to parse: {reason}") }
}

/// What can be said about an item without its document.
fn check(action: Action, index: &str, id: &str, given: bool, require_alias: bool) -> Result<(), ItemError> {
    if given && id.is_empty() {
        return Err(ItemError::illegal("if _id is specified it must not be empty"));
    }
    if id.len() > ID_BYTES_MAX {
        let len = id.len();
        return Err(ItemError::illegal(format!(
            "id is too long, must be no longer than {ID_BYTES_MAX} bytes but was: {len}"
        )));
    }
    if let Some(problem) = index_name_problem(index) {
        let reason = format!("Invalid index name [{index}], {problem}");
        return Err(ItemError { status: 400, kind: "invalid_index_name_exception", reason });
    }
    if require_alias {
        let reason = format!(
            "no such index [{index}] and [require_alias] request flag is [true] and [{index}] is not an alias"
        );
        return Err(ItemError { status: 404, kind: "index_not_found_exception", reason });
    }
    match action {
        Action::Index | Action::Create => Ok(()),
        Action::Update => Err(ItemError {
            status: 404,
            kind: DOCUMENT_MISSING,
            reason: format!("[{id}]: document missing; {APPEND_ONLY}, so no id can be updated"),
        }),
        Action::Delete => Err(ItemError::illegal(format!(
            "{APPEND_ONLY}: only write ops with an op_type of create or index are allowed"
        ))),
    }
}

/// The middle of a data stream's name, `logs-<dataset>-<namespace>`: what Elastic's shippers call the source.
fn dataset(index: &str) -> Option<&str> {
    let rest = index.strip_prefix("logs-")?;
    let (dataset, _namespace) = rest.rsplit_once('-')?;
    (!dataset.is_empty()).then_some(dataset)
}

/// Twenty characters of base64url from the request's seed, its time and the item's place: unique as long as two seeds of
/// one nanosecond differ.
fn made_id(options: &BulkOptions, place: usize) -> String {
    let (time, seed, place) = (options.now.0 as u64, options.id_seed, place as u64);
    // 54 bits of time (half a year of nanoseconds), 42 of the seed, 24 of the place: 120 bits, six a character.
    let bits = u128::from(time & ((1 << 54) - 1)) << 66
        | u128::from(seed & ((1 << 42) - 1)) << 24
        | u128::from(place & ((1 << 24) - 1));
    let [_, id @ ..] = bits.to_be_bytes();
    URL_SAFE_NO_PAD.encode(id)
}

impl From<DecodeError> for RequestError {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

#[cfg(test)]
mod tests;
