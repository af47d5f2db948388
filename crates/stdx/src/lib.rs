//! What the standard library lacks for a server that can be replayed from one seed: clock, disk, randomness and
//! network as interfaces, each with a real and a simulated twin.
//!
//! Everything above this crate receives time, files, chance and connections as arguments of these types, so a test
//! can own them. Absent on purpose: any knowledge of telemetry, and any process-wide default instance.

pub mod bytesize;
pub mod clock;
pub mod files;
#[cfg(feature = "net")]
pub mod net;
pub mod process;
#[cfg(feature = "net")]
pub mod queue;
pub mod random;
pub mod vfs;
pub mod watched;
