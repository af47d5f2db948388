//! Sockets and scrapes: bytes in, replies out, batches to the pipeline.
