//! Every HTTP shape a client or the UI reads. The only crate that knows axum and JSON answers.
