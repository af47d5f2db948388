//! The arguments of a call, read by type.

use kenning_model::Nanos;

use crate::Value;

/// The arguments of a function call. Errors are Go's sentences about arguments of the wrong type.
pub struct Args(pub Vec<Value>);

impl Args {
    /// An argument; nothing where there is none.
    #[must_use]
    pub fn get(&self, index: usize) -> &Value {
        self.0.get(index).unwrap_or(&Value::Nil)
    }

    /// A text, HTML included.
    pub fn text(&self, index: usize) -> Result<&str, String> {
        match self.get(index) {
            Value::Str(text) | Value::Html(text) => Ok(text),
            other => Err(wrong_type("string", other)),
        }
    }

    /// A whole number.
    pub fn int(&self, index: usize) -> Result<i64, String> {
        match self.get(index) {
            Value::Int(number) => Ok(*number),
            other => Err(wrong_type("int", other)),
        }
    }

    /// An instant.
    pub fn time(&self, index: usize) -> Result<Nanos, String> {
        match self.get(index) {
            Value::Time(time) => Ok(*time),
            other => Err(wrong_type("time.Time", other)),
        }
    }
}

/// What is said about an argument that is not of the `expected` type.
#[must_use]
pub fn wrong_type(expected: &str, got: &Value) -> String {
    format!("wrong type for value; expected {expected}; got {}", got.type_name())
}
