//! What clients send.

use serde::{Deserialize, Serialize};

/// One event of a client.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Its name, of letters, digits, `-` and `_`.
    pub id: String,
    /// What kind of event it is.
    pub kind: String,
    /// A measured value; consumers refuse one that is not finite or is negative.
    pub value: f64,
    /// Free text of the client.
    #[serde(default)]
    pub note: String,
}

/// Longest id, in bytes.
const ID_LEN_MAX: usize = 64;

impl Event {
    /// Reads an event; the error names what is wrong.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let event: Self =
            serde_json::from_slice(body).map_err(|error| format!("body is not an event: {error}"))?;
        let id_fits = (1..=ID_LEN_MAX).contains(&event.id.len())
            && event.id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if !id_fits {
            return Err(format!("\"id\" must be 1 to {ID_LEN_MAX} characters of A-Z a-z 0-9 - _"));
        }
        Ok(event)
    }

    /// What a consumer checks beyond the form.
    pub fn validate(&self) -> Result<(), String> {
        if self.value.is_finite() && self.value >= 0.0 {
            Ok(())
        } else {
            Err(format!("value {} is negative", self.value))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_events_are_told_why() {
        let check = |body: &str, expect: &str| {
            let error = Event::parse(body.as_bytes()).err().unwrap_or_default();
            assert!(error.contains(expect), "{body}: {error}");
        };
        check("{", "not an event");
        check(r#"{"id":"a b","kind":"k","value":1}"#, "\"id\"");
        check(r#"{"id":"a","kind":"k","value":1,"extra":2}"#, "extra");
        assert!(
            Event::parse(br#"{"id":"a-1","kind":"k","value":-1}"#)
                .is_ok_and(|event| event.validate().is_err())
        );
    }
}
