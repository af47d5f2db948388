//! `prometheus.yml` as it is: read strictly, checked as Prometheus 3.14 checks it, with its messages.
//!
//! [`load`] gives the [`Config`] of a text, or every mistake in it at once (Prometheus stops at the first); [`check`] is
//! the verdict of `promtool check config` on a file with everything that it names: rule files, files of targets,
//! certificates. What Kenning does not act on is read and checked all the same and listed in [`Config::unused`].
//!
//! Promises: never panics, whatever the text; nesting, aliases, files and problems are bounded; secrets do not show in
//! `Debug`, nor in [`show`]. Absent: running any of it (the receivers' to do), the contents of rule files, and environment
//! variables anywhere but in external labels, as upstream.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]

mod check;
mod config;
mod discovery;
mod fields;
mod http;
mod remote;
mod scrape;
mod shown;
pub mod targets;
pub mod units;
mod yaml;

pub use check::{Checked, check, directory_of, scrape_configs, target_groups};
pub use config::{Config, Global, Storage, load, load_sections};
pub use discovery::{
    Discovery, DnsDiscovery, DockerDiscovery, FileDiscovery, HttpDiscovery, StaticGroup, WORKING,
    read_group_checked,
};
pub use fields::Problem;
pub use http::{Authorization, BasicAuth, Header, HttpClient, OAuth2, Proxy, Secret, Source, Tls};
pub use scrape::{EscapingScheme, ScrapeConfig, ScrapeProtocol};
pub use shown::show;
