//! The bounds that every decoder keeps. Sizes written by strangers are claims; these are the answers to them.

/// What one request may contain. Lift a limit by setting it to `usize::MAX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Levels of nested lists and maps in attributes, log bodies and JSON documents.
    pub depth: usize,
    /// Samples, records or spans in one request; beyond it the whole request is refused.
    pub items: usize,
    /// Labels of a metric series or a log stream.
    pub labels: usize,
    /// Bytes of a label's name.
    pub label_name_bytes: usize,
    /// Bytes of a label's value.
    pub label_value_bytes: usize,
    /// Attributes of a span, an event, a link, a resource or a scope; structured metadata of a log record.
    pub attributes: usize,
    /// Bytes of an attribute's or a structured metadata's value.
    pub attribute_bytes: usize,
    /// Bytes of a log line.
    pub line_bytes: usize,
    /// Events of a span, and links of a span.
    pub events: usize,
    /// Buckets of one histogram.
    pub buckets: usize,
    /// Bytes of a metric's help text; longer ones are cut, since help is not data.
    pub help_bytes: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            depth: 32,
            items: 500_000,
            labels: 64,
            label_name_bytes: 256,
            label_value_bytes: 4 * 1024,
            attributes: 128,
            attribute_bytes: 64 * 1024,
            line_bytes: 256 * 1024,
            events: 1024,
            buckets: 1024,
            help_bytes: 4 * 1024,
        }
    }
}
