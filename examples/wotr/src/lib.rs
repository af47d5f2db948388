//! Reference service: ingest API, object store, queue, consumer, database; instrumented only through the SDK.
