//! `geoip`: where an address is, from a file of MaxMind's format.
//!
//! Definition: Promtail's stage of that name for `city` and `asn`, Alloy's for `country` and `custom_lookups`. What is
//! found becomes labels, as there, and extracted fields besides, so that `labeldrop` and `structured_metadata` can put
//! it where it makes no streams. Addresses of private networks are not looked up.

use std::net::IpAddr;
use std::sync::Arc;

use kenning_pipeline::geoip::{GeoDatabase, GeoFile, GeoValue, Scalar, address_in};
use kenning_yaml::Node;
use serde_json::Value as Json;

use super::Builder;
use crate::config::{Fields, is_label_name};
use crate::entry::{Entry, Value};
use crate::jmespath::Expression;

/// Lookups of the user's own, of one stage.
const LOOKUPS_MAX: usize = 32;
/// They are told together or not at all.
const COORDINATES: [&str; 2] = ["geoip_location_latitude", "geoip_location_longitude"];

/// What a database is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    City,
    Country,
    Asn,
}

impl About {
    const WORDS: [(&'static str, Self); 3] =
        [("city", Self::City), ("asn", Self::Asn), ("country", Self::Country)];

    /// The labels that it makes.
    const fn labels(self) -> &'static [&'static str] {
        match self {
            Self::City => &[
                "geoip_city_name",
                "geoip_country_name",
                "geoip_continent_name",
                "geoip_continent_code",
                COORDINATES[0],
                COORDINATES[1],
                "geoip_postal_code",
                "geoip_timezone",
                "geoip_subdivision_name",
                "geoip_subdivision_code",
            ],
            Self::Country => {
                &["geoip_country_name", "geoip_country_code", "geoip_continent_name", "geoip_continent_code"]
            }
            Self::Asn => &["geoip_autonomous_system_number", "geoip_autonomous_system_organization"],
        }
    }

    /// False for a file that is certainly about something else.
    fn is_told_by(self, kind: &str) -> bool {
        let (is_of_networks, is_of_places) =
            (kind.ends_with("-ASN"), kind.contains("City") || kind.contains("Country"));
        match self {
            Self::City | Self::Country => !is_of_networks,
            Self::Asn => !is_of_places,
        }
    }
}

/// The stage.
#[derive(Debug)]
pub(crate) struct GeoIp {
    file: Arc<GeoFile>,
    source: String,
    about: About,
    /// Label and expression.
    lookups: Vec<(String, Expression)>,
}

impl GeoIp {
    pub fn read(at: &str, node: &Node, builder: &mut Builder<'_>) -> Option<Self> {
        let context = builder.context;
        let mut fields = Fields::open(at, node, builder.report);
        let source = fields.required("source", "name the extracted field that holds the address");
        let about = about(&mut fields);
        let path = fields.required("db", "name a file of MaxMind's format, such as GeoLite2-City.mmdb");
        let opened = (!path.is_empty()).then(|| context.databases.open(&path, context.files));
        let file = opened
            .and_then(|opened| opened.map_err(|error| fields.wrong("db", format!("{path}: {error}"))).ok());
        let lookups = lookups(&mut fields);
        if let (Some(database), Some(about)) = (file.as_ref().map(|file| file.current()), about)
            && !about.is_told_by(database.kind())
        {
            let kind = database.kind();
            fields.wrong("db_type", format!("does not go with {path}, which is a {kind}"));
        }
        fields.finish();
        Some(Self { file: file?, source, about: about?, lookups })
    }

    pub fn run(&self, entry: &mut Entry<'_>) {
        let address = entry.extracted.text(&self.source).and_then(|text| address_in(&text));
        let Some(address) = address else { return };
        let database = self.file.current();
        let mut found = database.fields(address);
        found.retain(|(name, value)| !value.is_empty() && (value != "0" || COORDINATES.contains(name)));
        if COORDINATES.iter().any(|name| !found.iter().any(|(known, _)| known == name)) {
            found.retain(|(name, _)| !COORDINATES.contains(name));
        }
        for (name, value) in found {
            if self.about.labels().contains(&name) {
                entry.labels.set(name, &value);
            }
            entry.extracted.set_text(name, value);
        }
        self.look_up(&database, address, entry);
    }

    fn look_up(&self, database: &GeoDatabase, address: IpAddr, entry: &mut Entry<'_>) {
        if self.lookups.is_empty() {
            return;
        }
        let Some(record) = database.record(address).map(json_of) else { return };
        for (name, expression) in &self.lookups {
            let value = Value::of_json(&expression.search(&record));
            if let Some(text) = value.text().filter(|text| !text.is_empty()) {
                entry.labels.set(name, &text);
                entry.extracted.set_text(name, text.into_owned());
            }
        }
    }
}

/// As the expressions want it. The nesting of records is bounded by their reader.
fn json_of(value: GeoValue) -> Json {
    match value {
        GeoValue::Other => Json::Null,
        GeoValue::Scalar(Scalar::Text(text)) => text.into(),
        GeoValue::Scalar(Scalar::Number(number)) => number.into(),
        GeoValue::Scalar(Scalar::Signed(number)) => number.into(),
        GeoValue::Scalar(Scalar::Double(number)) => number.into(),
        GeoValue::Scalar(Scalar::Bool(flag)) => flag.into(),
        GeoValue::List(items) => items.into_iter().map(json_of).collect(),
        GeoValue::Map(pairs) => pairs.into_iter().map(|(name, value)| (name, json_of(value))).collect(),
    }
}

fn about(fields: &mut Fields<'_, '_>) -> Option<About> {
    let word = fields.required("db_type", "write city, asn or country");
    let found = About::WORDS.iter().find(|(known, _)| *known == word).map(|(_, about)| *about);
    if found.is_none() && !word.is_empty() {
        fields.wrong("db_type", format!("{word:?} must be city, asn or country"));
    }
    found
}

fn lookups(fields: &mut Fields<'_, '_>) -> Vec<(String, Expression)> {
    let written = fields.names("custom_lookups");
    if written.len() > LOOKUPS_MAX {
        fields.wrong("custom_lookups", format!("has {} lookups; at most {LOOKUPS_MAX} work", written.len()));
    }
    let mut lookups = Vec::new();
    for (name, text) in written.into_iter().take(LOOKUPS_MAX) {
        match Expression::parse(&text) {
            _ if !is_label_name(&name) => {
                fields.wrong("custom_lookups", super::label::not_a_name(&name));
            }
            Ok(expression) => lookups.push((name, expression)),
            Err(problem) => fields.wrong(&format!("custom_lookups.{name}"), problem),
        }
    }
    lookups
}
