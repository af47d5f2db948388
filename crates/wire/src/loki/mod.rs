//! Loki's push request, in its three forms. Definition: Loki HTTP API "Ingest logs" and `logproto.PushRequest`.
//!
//! Every record gets a severity and `detected_level` ([`crate::logs`]); streams without a `service_name` get one as Loki
//! finds it. A protobuf body arrives in the snappy block format, which the receiver undoes first.

mod json;
mod labels;
mod legacy;
mod protobuf;

pub use json::decode_push_json;
pub use labels::parse_labels;
pub use legacy::decode_push_legacy_json;
pub use protobuf::{decode_push_protobuf, decode_push_protobuf_cached};
