//! The built web interface, embedded.
