//! Configuration, wiring and life cycle of the whole server.
