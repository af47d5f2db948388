//! Files made here by a small writer of the format.

use kenning_model::{LogBatch, Nanos, Severity, SpanId, TenantId, TraceId};
use proptest::prelude::*;

use super::*;

enum V {
    S(&'static str),
    U(u32),
    D(f64),
    M(Vec<(&'static str, V)>),
    A(Vec<V>),
    /// A pointer to a place in the data.
    P(usize),
}

fn control(kind: u8, size: usize) -> Vec<u8> {
    let (small, more) = match size {
        0..29 => (size as u8, Vec::new()),
        29..285 => (29, vec![(size - 29) as u8]),
        _ => (30, ((size - 285) as u16).to_be_bytes().to_vec()),
    };
    let mut out = if kind > 7 { vec![small, kind - 7] } else { vec![kind << 5 | small] };
    out.extend(more);
    out
}

fn encode(value: &V) -> Vec<u8> {
    match value {
        V::S(text) => [control(2, text.len()), text.as_bytes().to_vec()].concat(),
        V::U(number) => [control(6, 4), number.to_be_bytes().to_vec()].concat(),
        V::D(number) => [control(3, 8), number.to_be_bytes().to_vec()].concat(),
        V::M(pairs) => {
            let pairs = pairs.iter().flat_map(|(key, value)| [encode(&V::S(key)), encode(value)]);
            [vec![control(7, 0)[0] | (pairs.clone().count() as u8 / 2)], pairs.flatten().collect()].concat()
        }
        V::A(items) => [control(11, items.len()), items.iter().flat_map(encode).collect()].concat(),
        V::P(place) => vec![1 << 5 | (place >> 8) as u8, *place as u8],
    }
}

/// A file that knows networks: address, bits of its prefix, and its place in `data`.
fn file(bits: u32, ip_version: u32, networks: &[(u128, u32, usize)], data: &[u8]) -> Vec<u8> {
    const NOTHING: usize = usize::MAX;
    let mut nodes = vec![[NOTHING; 2]];
    let mut leaves = std::collections::HashSet::new();
    for (address, prefix, place) in networks {
        let mut node = 0;
        for bit in 0..*prefix {
            let side = (address << bit >> 127) as usize;
            if bit + 1 == *prefix {
                nodes[node][side] = *place;
                leaves.insert((node, side));
            } else {
                if nodes[node][side] == NOTHING {
                    nodes.push([NOTHING; 2]);
                    nodes[node][side] = nodes.len() - 1;
                }
                node = nodes[node][side];
            }
        }
    }
    let count = nodes.len();
    let mut out = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let record = |side: usize| match node[side] {
            NOTHING => count,
            place if leaves.contains(&(at, side)) => count + 16 + place,
            next => next,
        };
        let (left, right) = (record(0) as u32, record(1) as u32);
        match bits {
            24 => [left, right].iter().for_each(|one| out.extend(&one.to_be_bytes()[1..])),
            28 => {
                out.extend(&left.to_be_bytes()[1..]);
                out.push((left >> 24 << 4 | right >> 24) as u8);
                out.extend(&right.to_be_bytes()[1..]);
            }
            _ => [left, right].iter().for_each(|one| out.extend(one.to_be_bytes())),
        }
    }
    out.extend([0; 16]);
    out.extend(data);
    out.extend(b"\xab\xcd\xefMaxMind.com");
    out.extend(encode(&V::M(vec![
        ("binary_format_major_version", V::U(2)),
        ("database_type", V::S("Test-City")),
        ("ip_version", V::U(ip_version)),
        ("node_count", V::U(count as u32)),
        ("record_size", V::U(bits)),
    ])));
    out
}

fn city() -> Vec<u8> {
    let names = |name| V::M(vec![("de", V::S("x")), ("en", V::S(name))]);
    let mut data = encode(&names("Germany"));
    let country = V::M(vec![("geoname_id", V::U(1)), ("iso_code", V::S("DE")), ("names", V::P(0))]);
    let place = data.len();
    data.extend(encode(&V::M(vec![
        ("city", V::M(vec![("names", names("Berlin"))])),
        ("country", country),
        ("location", V::M(vec![("latitude", V::D(52.5)), ("time_zone", V::S("Europe/Berlin"))])),
        ("subdivisions", V::A(vec![V::M(vec![("iso_code", V::S("BE"))]), V::S("no map")])),
        ("autonomous_system_number", V::U(64500)),
    ])));
    assert!(place < 256);
    data
}

const PLACE: usize = 17;

fn database(bits: u32) -> GeoDatabase {
    let data = city();
    let four = |a: u32| u128::from(a);
    let networks = [(four(0x5102_4500), 96 + 24, PLACE), (0x2001_0db8_u128 << 96, 32, PLACE)];
    GeoDatabase::new(file(bits, 6, &networks, &data)).expect("a good file")
}

fn shown(database: &GeoDatabase, address: &str) -> String {
    let fields = database.fields(address.parse().expect("an address"));
    fields
        .iter()
        .map(|(name, value)| format!("{}={value}", name.trim_start_matches("geoip_")))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn addresses_are_found_in_records_of_any_size() {
    assert_eq!(encode(&V::M(vec![("de", V::S("x")), ("en", V::S("Germany"))])).len(), PLACE);
    let all = "city_name=Berlin country_name=Germany country_code=DE location_latitude=52.5 timezone=Europe/Berlin \
               subdivision_code=BE autonomous_system_number=64500";
    for bits in [24, 28, 32] {
        let database = database(bits);
        assert_eq!(shown(&database, "81.2.69.142"), all, "{bits}");
        assert_eq!(shown(&database, "::ffff:81.2.69.1"), all);
        assert_eq!(shown(&database, "2001:db8::1"), all);
        for nowhere in [
            "81.2.70.1",
            "2002::1",
            "10.0.0.1",
            "127.0.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "fe80::1",
            "fd00::1",
        ] {
            assert_eq!(shown(&database, nowhere), "", "{nowhere}");
        }
        assert_eq!(database.kind(), "Test-City");
    }
    let only_four = file(24, 4, &[(0x5102_4500_u128 << 96, 24, PLACE)], &city());
    let only_four = GeoDatabase::new(only_four).expect("a good file");
    assert_eq!(
        (shown(&only_four, "81.2.69.142").is_empty(), shown(&only_four, "2001:db8::1").is_empty()),
        (false, true)
    );
}

#[test]
fn broken_files_are_refused() {
    let good = file(24, 6, &[(0x5102_4500, 120, PLACE)], &city());
    let refused = |bytes: Vec<u8>| GeoDatabase::new(bytes).err();
    assert_eq!(refused(Vec::new()), Some(DatabaseError::NoMetadata));
    assert_eq!(refused(good[..good.len() / 2].to_vec()), Some(DatabaseError::NoMetadata));
    assert_eq!(refused(good[300..].to_vec()), Some(DatabaseError::Truncated));
    assert_eq!(
        refused(b"\xab\xcd\xefMaxMind.com".to_vec()),
        Some(DatabaseError::BadMetadata("binary_format_major_version"))
    );
    assert_eq!(refused(file(24, 6, &[(0x5102_4500, 120, 9000)], &city())), Some(DatabaseError::Damaged));
}

proptest! {
    #[test]
    fn damage_never_panics(at in prop::collection::vec((0usize..4000, any::<u8>()), 1..8), cut in 0usize..4000) {
        let mut bytes = file(28, 6, &[(0x5102_4500, 120, PLACE)], &city());
        for (at, byte) in at {
            let len = bytes.len();
            bytes[at % len] = byte;
        }
        bytes.drain(..cut % 8);
        if let Ok(database) = GeoDatabase::new(bytes) {
            let _ = database.fields("81.2.69.142".parse().expect("an address"));
        }
    }
}

#[test]
fn records_are_told_where_they_come_from() {
    let labels = LabelSet::from_pairs([("app", "a")]);
    let mut batch = LogBatch::default();
    let stream = batch.add_stream(labels.clone());
    let named = LabelSet::from_pairs([("client", "81.2.69.142:5678"), ("geoip_city_name", "mine")]);
    for (line, metadata) in [
        (r#"{"client":"81.2.69.142"}"#, LabelSet::empty()),
        ("client=81.2.69.142 x=1", LabelSet::empty()),
        ("x", named),
        ("client=10.0.0.1 x=1", LabelSet::empty()),
        ("client unknown", LabelSet::empty()),
    ] {
        let row = LogRow {
            stream: &labels,
            time: Nanos(1),
            severity: Severity::UNKNOWN,
            trace_id: TraceId::NONE,
            span_id: SpanId::NONE,
            line,
            metadata: &metadata,
        };
        batch.push(stream, row);
    }
    let processor = GeoIp::new(Arc::new(database(24)), "client");
    let tenant = TenantId::parse("t").expect("a tenant");
    let origin = Origin { tenant: &tenant, receiver: "", now: Nanos(0), steady: std::time::Duration::ZERO };
    let done = processor.process(&origin, Processed::untouched(Batch::Logs(batch))).expect("never refuses");
    let Batch::Logs(batch) = done.batch else { panic!() };
    let cities: Vec<_> =
        batch.metadata.iter().map(|metadata| metadata.get("geoip_city_name").to_owned()).collect();
    assert_eq!(cities, ["Berlin", "Berlin", "mine", "", ""]);
    assert_eq!(batch.metadata[2].get("geoip_country_code"), "DE");
}
