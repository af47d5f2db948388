//! The action lines of a bulk body, and names of indices.

use std::fmt;

use crate::error::{DecodeError, Fault};
use crate::json::{Json, Kind};

/// Levels of JSON in an action line that are read.
const LEVELS_MAX: usize = 4;

/// What a bulk item asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Store, replacing a document of the same id.
    Index,
    /// Store, unless a document of the same id is there.
    Create,
    /// Change a document.
    Update,
    /// Remove a document.
    Delete,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 4] = [Self::Index, Self::Create, Self::Update, Self::Delete];

    /// The word in requests and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Why nothing of a request is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The body cannot be read.
    Decode(DecodeError),
    /// The body is not a bulk request.
    Refused {
        /// Elasticsearch's name of the error.
        kind: &'static str,
        /// The sentence.
        reason: String,
    },
}

impl RequestError {
    pub(super) fn illegal(reason: impl Into<String>) -> Self {
        Self::Refused { kind: "illegal_argument_exception", reason: reason.into() }
    }

    /// Problems numbered as Elasticsearch numbers them; the first ten are told.
    pub(super) fn validation<'a>(problems: impl IntoIterator<Item = &'a str>) -> Self {
        const TOLD_MAX: usize = 10;
        let told = problems.into_iter().take(TOLD_MAX).enumerate();
        let told: String = told.map(|(place, problem)| format!(" {}: {problem};", place + 1)).collect();
        Self::Refused {
            kind: "action_request_validation_exception",
            reason: format!("Validation Failed:{told}"),
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode(error) => error.fmt(f),
            Self::Refused { reason, .. } => f.write_str(reason),
        }
    }
}

impl std::error::Error for RequestError {}

/// An action line.
pub(super) struct Head {
    pub action: Action,
    pub index: Option<Box<str>>,
    pub id: Option<Box<str>>,
    pub require_alias: Option<bool>,
}

/// Members that are understood by Elasticsearch and mean nothing for append-only records.
const IGNORED: [&str; 18] = [
    "_type",
    "routing",
    "_routing",
    "parent",
    "_parent",
    "version",
    "_version",
    "version_type",
    "_version_type",
    "if_seq_no",
    "if_primary_term",
    "retry_on_conflict",
    "_retry_on_conflict",
    "pipeline",
    "_source",
    "require_data_stream",
    "list_executed_pipelines",
    "dynamic_templates",
];

/// Members whose value may be an object or a list.
const COMPOUND: [&str; 2] = ["_source", "dynamic_templates"];

/// Reads an action line; `number` is its place in the body.
pub(super) fn parse(line: &[u8], number: usize) -> Result<Head, RequestError> {
    let malformed = |detail: String| {
        RequestError::illegal(format!("Malformed action/metadata line [{number}], {detail}"))
    };
    let broken = |fault: Fault| malformed(fault.to_string());
    let text = std::str::from_utf8(line).map_err(|_| malformed("it is not UTF-8".to_owned()))?;
    let mut json = Json::new(text, LEVELS_MAX);
    let start = json.peek().map_err(broken)?;
    if start != Kind::Object {
        return Err(malformed(format!("expected START_OBJECT but found [{}]", token_name(start))));
    }
    json.open(b'{').map_err(broken)?;
    let mut first = true;
    let Some(word) = json.key(&mut first).map_err(broken)? else {
        return Err(malformed("expected FIELD_NAME but found [END_OBJECT]".to_owned()));
    };
    let known = Action::ALL.into_iter().find(|action| action.as_str() == word);
    let Some(action) = known else {
        return Err(malformed(format!("expected one of [create, delete, index, update] but found [{word}]")));
    };
    let start = json.peek().map_err(broken)?;
    if start != Kind::Object {
        return Err(malformed(format!("expected START_OBJECT but found [{}]", token_name(start))));
    }
    let mut head = Head { action, index: None, id: None, require_alias: None };
    json.open(b'{').map_err(broken)?;
    let mut first_member = true;
    while let Some(name) = json.key(&mut first_member).map_err(broken)? {
        let kind = json.peek().map_err(broken)?;
        if matches!(kind, Kind::Object | Kind::Array) && !COMPOUND.contains(&&*name) {
            let found = token_name(kind);
            return Err(malformed(format!("expected a simple value for field [{name}] but found [{found}]")));
        }
        member(&mut head, &name, kind, &mut json).map_err(broken)?.ok_or_else(|| {
            RequestError::illegal(format!(
                "Action/metadata line [{number}] contains an unknown parameter [{name}]"
            ))
        })?;
    }
    match json.key(&mut first).map_err(broken)? {
        None => json.end().map_err(broken).map(|()| head),
        Some(_) => Err(malformed("expected END_OBJECT but found [FIELD_NAME]".to_owned())),
    }
}

/// Takes one member; `None` when it is not known.
fn member(head: &mut Head, name: &str, kind: Kind, json: &mut Json<'_>) -> Result<Option<()>, Fault> {
    let simple = |json: &mut Json<'_>| -> Result<Option<Box<str>>, Fault> {
        match kind {
            Kind::Null => json.skip().map(|()| None),
            Kind::Text => json.text().map(|text| Some(text.into())),
            _ => json.raw().map(|text| Some(text.into())),
        }
    };
    match name {
        "_index" => head.index = simple(json)?,
        "_id" => head.id = simple(json)?,
        "op_type" => {
            if simple(json)?.as_deref() == Some("create") && head.action == Action::Index {
                head.action = Action::Create;
            }
        }
        "require_alias" => head.require_alias = simple(json)?.map(|text| &*text == "true"),
        _ if IGNORED.contains(&name) => json.skip()?,
        _ => return Ok(None),
    }
    Ok(Some(()))
}

/// Elasticsearch's name of the token that starts a value.
fn token_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "VALUE_NULL",
        Kind::Bool => "VALUE_BOOLEAN",
        Kind::Number => "VALUE_NUMBER",
        Kind::Text => "VALUE_STRING",
        Kind::Array => "START_ARRAY",
        Kind::Object => "START_OBJECT",
    }
}

/// What is wrong with an index's name, in Elasticsearch's words. Definition: its "Create index API", path parameters.
#[must_use]
pub fn index_name_problem(name: &str) -> Option<&'static str> {
    const FORBIDDEN: [char; 12] = ['\\', '/', '*', '?', '"', '<', '>', '|', ' ', ',', '#', ':'];
    match name {
        "" => Some("must not be empty"),
        "." | ".." => Some("must not be '.' or '..'"),
        _ if name.contains(FORBIDDEN) => Some(
            "must not contain the following characters ['\\','/','*','?','\"','<','>','|',' ',',','#',':']",
        ),
        _ if name.starts_with(['_', '-', '+']) => Some("must not start with '_', '-', or '+'"),
        _ if name.len() > 255 => Some("index name is too long, (more than 255 bytes)"),
        _ if name.chars().any(char::is_uppercase) => Some("must be lowercase"),
        _ => None,
    }
}
