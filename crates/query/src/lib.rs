//! What the query languages share: source spans, diagnostics, limits, cancellation, the in-memory oracle store.
