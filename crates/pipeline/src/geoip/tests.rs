//! Files made here by the small writer of [`mmdb`].

use kenning_model::{LogBatch, Nanos, Severity, SpanId, TenantId, TraceId};
use proptest::prelude::*;

use super::mmdb::{V, encode, file};
use super::*;

fn city() -> Vec<u8> {
    let names = |name| V::M(vec![("de", V::S("x")), ("en", V::S(name))]);
    let mut data = encode(&names("Germany"));
    let country = V::M(vec![("geoname_id", V::U(1)), ("iso_code", V::S("DE")), ("names", V::P(0))]);
    let place = data.len();
    data.extend(encode(&V::M(vec![
        ("city", V::M(vec![("names", names("Berlin"))])),
        ("country", country),
        ("location", V::M(vec![("latitude", V::D(52.5)), ("time_zone", V::S("Europe/Berlin"))])),
        ("subdivisions", V::A(vec![V::S("no map"), V::M(vec![("iso_code", V::S("BE"))])])),
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
    GeoDatabase::new(file("Test-City", bits, 6, &networks, &data)).expect("a good file")
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
    let only_four = file("Test-City", 24, 4, &[(0x5102_4500_u128 << 96, 24, PLACE)], &city());
    let only_four = GeoDatabase::new(only_four).expect("a good file");
    assert_eq!(
        (shown(&only_four, "81.2.69.142").is_empty(), shown(&only_four, "2001:db8::1").is_empty()),
        (false, true)
    );
}

#[test]
fn all_of_a_record_can_be_seen() {
    let text = |text: &str| GeoValue::Scalar(Scalar::Text(text.to_owned()));
    let number = |number| GeoValue::Scalar(Scalar::Number(number));
    let map = |pairs: Vec<(&str, GeoValue)>| {
        GeoValue::Map(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    };
    let names = |name| map(vec![("de", text("x")), ("en", text(name))]);
    let latitude = GeoValue::Scalar(Scalar::Double(52.5));
    let expect = map(vec![
        ("city", map(vec![("names", names("Berlin"))])),
        (
            "country",
            map(vec![("geoname_id", number(1)), ("iso_code", text("DE")), ("names", names("Germany"))]),
        ),
        ("location", map(vec![("latitude", latitude), ("time_zone", text("Europe/Berlin"))])),
        ("subdivisions", GeoValue::List(vec![text("no map"), map(vec![("iso_code", text("BE"))])])),
        ("autonomous_system_number", number(64500)),
    ]);
    let record = |address: &str| database(28).record(address.parse().expect("an address"));
    assert_eq!(record("81.2.69.142"), Some(expect));
    assert_eq!((record("81.2.70.1"), record("10.0.0.1")), (None, None));
}

#[test]
fn records_beyond_the_bounds_are_none() {
    let nested = |depth: usize| (0..depth).fold(V::U(1), |inner, _| V::A(vec![inner]));
    let wide = |count| V::A((0..count).map(V::U).collect());
    for (value, is_there) in [(nested(10), true), (nested(30), false), (wide(200), true), (wide(6000), false)]
    {
        let data = encode(&V::M(vec![("x", value)]));
        let database = GeoDatabase::new(file("Test", 24, 6, &[(0x5102_4500, 120, 0)], &data)).expect("good");
        assert_eq!(database.record(Ipv4Addr::new(81, 2, 69, 1).into()).is_some(), is_there);
    }
}

#[test]
fn records_within_themselves_are_none() {
    let data = encode(&V::M(vec![("a", V::P(0)), ("b", V::P(0))]));
    let database = GeoDatabase::new(file("Test", 24, 6, &[(0x5102_4500, 120, 0)], &data)).expect("good");
    assert_eq!(database.record(Ipv4Addr::new(81, 2, 69, 1).into()), None);
}

#[test]
fn a_file_is_read_once() {
    use kenning_stdx::files::MemFiles;
    let (files, databases) = (MemFiles::default(), GeoDatabases::default());
    let good = file("Test-City", 24, 6, &[(0x5102_4500, 120, PLACE)], &city());
    for number in 0..9 {
        files.put(&format!("/{number}"), good.clone());
    }
    files.put("/bad", "no database");
    let told = |path: &str| databases.open(path, &files).map(drop).map_err(|error| error.to_string());
    assert!(told("/none").unwrap_err().starts_with("cannot be read: "));
    assert!(told("/bad").unwrap_err().starts_with("it is no MaxMind database"));
    let first = databases.open("/0", &files).expect("good");
    files.remove("/0");
    assert_eq!((databases.bytes(), databases.bytes_max()), (good.len(), 2 * good.len()));
    assert!(Arc::ptr_eq(&first, &databases.clone().open("/0", &files).expect("it is known")));
    (1..8).for_each(|number| assert_eq!(told(&format!("/{number}")), Ok(())));
    assert_eq!(told("/8"), Err("is one file too many; 8 different ones work".to_owned()));
}

#[test]
fn a_file_written_anew_is_taken_up_when_it_can_be_used() {
    use kenning_stdx::files::MemFiles;
    let (files, databases) = (MemFiles::default(), GeoDatabases::default());
    let country = |code| encode(&V::M(vec![("country", V::M(vec![("iso_code", V::S(code))]))]));
    let made = |kind, code| file(kind, 24, 6, &[(0x5102_4500, 120, 0)], &country(code));
    files.put("/db", made("Test-Country", "GB"));
    let held = databases.open("/db", &files).expect("good");
    let refresh = |room: usize| -> Vec<String> {
        let told = databases.refresh(&files, room);
        told.iter()
            .map(|one| one.outcome.as_ref().map_or_else(ToString::to_string, |()| "taken up".into()))
            .collect()
    };
    let room = databases.bytes_max() + 10;
    let check = |room, expect: &[&str], found: &str| {
        let told = refresh(room);
        assert!(
            told.len() == expect.len() && told.iter().zip(expect).all(|(t, e)| t.starts_with(e)),
            "{told:?}"
        );
        assert_eq!(shown(&held.current(), "81.2.69.142"), format!("country_code={found}"));
    };
    check(room, &[], "GB");
    files.put("/db", made("Test-Country", "DE"));
    check(room, &["taken up"], "DE");
    check(room, &[], "DE");
    files.put("/db", "no database");
    check(room, &["it is no MaxMind database"], "DE");
    check(room, &[], "DE");
    files.put("/db", made("Test-ASN", "FR"));
    check(room, &["was a Test-Country and is a Test-ASN now"], "DE");
    files.put("/db", made("Test-Country", "FR"));
    check(10, &["has "], "DE");
    files.remove("/db");
    check(room, &["cannot be read: "], "DE");
    check(room, &["cannot be read: "], "DE");
    files.put("/db", made("Test-Country", "ES"));
    check(room, &["taken up"], "ES");
}

#[test]
fn broken_files_are_refused() {
    let good = file("Test-City", 24, 6, &[(0x5102_4500, 120, PLACE)], &city());
    let refused = |bytes: Vec<u8>| GeoDatabase::new(bytes).err();
    assert_eq!(refused(Vec::new()), Some(DatabaseError::NoMetadata));
    assert_eq!(refused(good[..good.len() / 2].to_vec()), Some(DatabaseError::NoMetadata));
    assert_eq!(refused(good[300..].to_vec()), Some(DatabaseError::Truncated));
    assert_eq!(
        refused(b"\xab\xcd\xefMaxMind.com".to_vec()),
        Some(DatabaseError::BadMetadata("binary_format_major_version"))
    );
    assert_eq!(
        refused(file("Test-City", 24, 6, &[(0x5102_4500, 120, 9000)], &city())),
        Some(DatabaseError::Damaged)
    );
}

proptest! {
    #[test]
    fn damage_never_panics(at in prop::collection::vec((0usize..4000, any::<u8>()), 1..8), cut in 0usize..4000) {
        let mut bytes = file("Test-City", 28, 6, &[(0x5102_4500, 120, PLACE)], &city());
        for (at, byte) in at {
            let len = bytes.len();
            bytes[at % len] = byte;
        }
        bytes.drain(..cut % 8);
        if let Ok(database) = GeoDatabase::new(bytes) {
            let address = "81.2.69.142".parse().expect("an address");
            let _ = (database.fields(address), database.record(address));
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
    let (files, databases) = (kenning_stdx::files::MemFiles::default(), GeoDatabases::default());
    files.put("/db", file("Test-City", 24, 6, &[(0x5102_4500, 120, PLACE)], &city()));
    let processor = GeoIp::new(databases.open("/db", &files).expect("a good file"), "client");
    let tenant = TenantId::parse("t").expect("a tenant");
    let origin = Origin { tenant: &tenant, receiver: "", now: Nanos(0), steady: std::time::Duration::ZERO };
    let done = processor.process(&origin, Processed::untouched(Batch::Logs(batch))).expect("never refuses");
    let Batch::Logs(batch) = done.batch else { panic!() };
    let cities: Vec<_> =
        batch.metadata.iter().map(|metadata| metadata.get("geoip_city_name").to_owned()).collect();
    assert_eq!(cities, ["Berlin", "Berlin", "mine", "", ""]);
    assert_eq!(batch.metadata[2].get("geoip_country_code"), "DE");
}
