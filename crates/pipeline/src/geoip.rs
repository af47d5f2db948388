//! Where an address is, from a file of MaxMind's format (GeoLite2, GeoIP2, DB-IP and others), and a processor that writes
//! it beside log records. The stage `geoip` of pipelines uses the same [`GeoDatabases`].
//!
//! Fields are named as Promtail's stage `geoip` names them. Promises: a file that is broken or no such file is refused
//! with the reason when it is opened; a look-up never panics and takes bounded work; addresses of private networks are
//! not looked up; a file that is written anew is taken up when [`GeoDatabases::refresh`] looks. Lacking: fields beyond
//! those of [`GeoDatabase::fields`].

mod databases;
#[cfg(test)]
mod mmdb;
mod reader;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use kenning_model::{Batch, LabelSet, LineSyntax, LogRow, field_of_line};

use crate::intake::Refusal;
use crate::process::{Origin, Processed, Processor};

pub use databases::{GeoDatabases, GeoFile, OpenError, Refreshed};
pub use reader::{DatabaseError, GeoValue, Scalar};

use reader::{Reader, Step};

/// Largest file that is read into memory.
pub const FILE_BYTES_MAX: usize = 512 << 20;

/// A database in memory.
pub struct GeoDatabase(Reader);

impl fmt::Debug for GeoDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GeoDatabase").field(&self.0.kind).finish()
    }
}

const fn key(name: &'static str) -> Step {
    Step::Key(name)
}

/// Fields, and the ways to them in files about places and about networks.
const FIELDS: &[(&str, &[Step])] = &[
    ("geoip_city_name", &[key("city"), key("names"), key("en")]),
    ("geoip_country_name", &[key("country"), key("names"), key("en")]),
    ("geoip_country_code", &[key("country"), key("iso_code")]),
    ("geoip_continent_name", &[key("continent"), key("names"), key("en")]),
    ("geoip_continent_code", &[key("continent"), key("code")]),
    ("geoip_location_latitude", &[key("location"), key("latitude")]),
    ("geoip_location_longitude", &[key("location"), key("longitude")]),
    ("geoip_postal_code", &[key("postal"), key("code")]),
    ("geoip_timezone", &[key("location"), key("time_zone")]),
    // The last of them is the most specific one.
    ("geoip_subdivision_name", &[key("subdivisions"), Step::Last, key("names"), key("en")]),
    ("geoip_subdivision_code", &[key("subdivisions"), Step::Last, key("iso_code")]),
    ("geoip_autonomous_system_number", &[key("autonomous_system_number")]),
    ("geoip_autonomous_system_organization", &[key("autonomous_system_organization")]),
];

impl GeoDatabase {
    /// Takes the bytes of a file.
    pub fn new(bytes: Vec<u8>) -> Result<Self, DatabaseError> {
        let database = Self(Reader::new(bytes)?);
        // Looked up once, so that a damaged file is refused now.
        for address in
            [Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(81, 2, 69, 142), Ipv4Addr::new(216, 160, 83, 56)]
        {
            if database.0.lookup(address.into()).is_some_and(|place| !database.0.is_map(place)) {
                return Err(DatabaseError::Damaged);
            }
        }
        Ok(database)
    }

    /// The file's type, such as `GeoLite2-City`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.0.kind
    }

    /// Bytes that it takes in memory.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// What is known of an address: names and values, coordinates in degrees. Nothing for addresses of private networks.
    #[must_use]
    pub fn fields(&self, address: IpAddr) -> Vec<(&'static str, String)> {
        let Some(place) = self.place(address) else { return Vec::new() };
        let value = |path| Some(self.0.find(place, path)?.to_string());
        FIELDS.iter().filter_map(|(name, path)| Some((*name, value(path)?))).collect()
    }

    /// All that the file says of an address, under the file's own names; `None` for addresses of private networks.
    #[must_use]
    pub fn record(&self, address: IpAddr) -> Option<GeoValue> {
        self.0.value(self.place(address)?)
    }

    fn place(&self, address: IpAddr) -> Option<usize> {
        let address = match address {
            IpAddr::V6(six) => six.to_ipv4_mapped().map_or(address, IpAddr::V4),
            four => four,
        };
        if is_private(address) { None } else { self.0.lookup(address) }
    }
}

/// Addresses that nobody outside has. Definition: IANA's registries of special-purpose addresses.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => {
            let [a, b, ..] = four.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            four.is_private()
                || four.is_loopback()
                || four.is_link_local()
                || four.is_unspecified()
                || four.is_multicast()
                || is_shared
        }
        IpAddr::V6(six) => {
            six.is_loopback()
                || six.is_unspecified()
                || six.is_multicast()
                || six.is_unique_local()
                || six.is_unicast_link_local()
                || six == Ipv6Addr::LOCALHOST
        }
    }
}

/// Writes where an address is into structured metadata.
#[derive(Debug)]
pub struct GeoIp {
    file: Arc<GeoFile>,
    /// The name under which records have their address.
    source: String,
}

impl GeoIp {
    /// Looks at `source`: structured metadata, a label of the stream, or a field of a line of JSON or logfmt, whichever
    /// is there first.
    #[must_use]
    pub fn new(file: Arc<GeoFile>, source: &str) -> Self {
        Self { file, source: source.to_owned() }
    }

    fn address(&self, row: &LogRow<'_>) -> Option<IpAddr> {
        let told = [row.metadata.get(&self.source), row.stream.get(&self.source)];
        let text = told.into_iter().find(|value| !value.is_empty());
        let text = text.or_else(|| {
            let syntax = if row.line.starts_with('{') { LineSyntax::Json } else { LineSyntax::Logfmt };
            row.line
                .contains(&self.source)
                .then(|| field_of_line(syntax, row.line, &self.source))
                .flatten()
                .flatten()
        })?;
        address_in(text)
    }
}

/// The first address of a text such as `1.2.3.4`, `1.2.3.4:5678`, `[::1]:80` or `1.2.3.4, 10.0.0.1`.
#[must_use]
pub fn address_in(text: &str) -> Option<IpAddr> {
    let first = text.split(',').next()?.trim().trim_matches('"');
    if let Ok(address) = first.parse() {
        return Some(address);
    }
    let socket: Result<std::net::SocketAddr, _> = first.parse();
    socket.map(|socket| socket.ip()).ok()
}

impl Processor for GeoIp {
    fn process(&self, _: &Origin<'_>, mut processed: Processed) -> Result<Processed, Refusal> {
        let Batch::Logs(batch) = &mut processed.batch else { return Ok(processed) };
        let database = self.file.current();
        let mut last: Option<(IpAddr, Vec<(&'static str, String)>)> = None;
        for at in 0..batch.len() {
            let Some(address) = batch.row(at).and_then(|row| self.address(&row)) else { continue };
            let (_, fields) = match last.take().filter(|(before, _)| *before == address) {
                Some(known) => last.insert(known),
                None => last.insert((address, database.fields(address))),
            };
            if let Some(metadata) = batch.metadata.get_mut(at).filter(|_| !fields.is_empty()) {
                *metadata = with_fields(metadata, fields);
            }
        }
        Ok(processed)
    }
}

/// What the record says itself stays.
fn with_fields(metadata: &LabelSet, fields: &[(&'static str, String)]) -> LabelSet {
    let mut builder = metadata.to_builder();
    for (name, value) in fields.iter().filter(|(name, _)| metadata.get(name).is_empty()) {
        builder.set(name, value);
    }
    builder.build()
}
