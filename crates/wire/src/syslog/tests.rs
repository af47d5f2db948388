use super::*;

/// 2026-11-21T12:00:00Z.
const NOW: i64 = 1_795_262_400_000_000_000;
const DAY: Duration = Duration::from_secs(86_400);

fn decode(message: &[u8], options: SyslogOptions) -> (LogBatch, Oddities) {
    let limits = DecodeLimits::default();
    let mut decoder = SyslogDecoder::new(&limits, options);
    decoder.message(message, Origin { peer: "10.0.0.9", is_spoofable: false }).unwrap();
    let (decoded, oddities) = decoder.finish();
    assert!(decoded.rejected.is_empty(), "{}", decoded.rejected);
    (decoded.batch, oddities)
}

fn window() -> SyslogOptions {
    SyslogOptions {
        now: Nanos(NOW),
        past: Some(30 * DAY),
        future: Some(Duration::from_secs(600)),
        ..SyslogOptions::default()
    }
}

#[track_caller]
fn check(message: &str, line: &str, seconds: i64, labels: [&str; 3], metadata: &[(&str, &str)]) {
    let (batch, oddities) = decode(message.as_bytes(), window());
    let row = batch.row(0).unwrap();
    assert_eq!((row.line, (row.time.0 - NOW) / 1_000_000_000), (line, seconds), "{message}");
    let names = ["service_name", "host_name", "facility"];
    assert_eq!(names.map(|name| row.stream.get(name)), labels, "{message}");
    let told: Vec<_> = row.metadata.iter().filter(|(name, _)| *name != "detected_level").collect();
    assert_eq!(told, metadata, "{message}");
    assert_eq!(oddities, [], "{message}");
}

#[track_caller]
fn odd(message: &str, oddity: &str) {
    let (batch, oddities) = decode(message.as_bytes(), window());
    let row = batch.row(0).unwrap();
    assert_eq!((row.line, row.time.0), (message, NOW), "{message}");
    assert_eq!(row.stream.get("host_name"), "10.0.0.9");
    assert_eq!(oddities.iter().map(|(what, _)| *what).collect::<Vec<_>>(), [oddity], "{message}");
}

#[test]
fn rfc5424_messages() {
    check(
        "<34>1 2026-11-21T11:59:50.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed",
        "'su root' failed",
        -9,
        ["su", "mymachine.example.com", "auth"],
        &[("msg_id", "ID47"), ("severity", "crit")],
    );
    check(
        r#"<165>1 2026-11-21T13:00:00+01:00 h app 8710 - [exampleSDID@32473 iut="3" eventSource="a\"b\]\\c\d"][x@1 y="z"] an event"#,
        "an event",
        0,
        ["app", "h", "local4"],
        &[
            ("exampleSDID_32473_eventSource", "a\"b]\\c\\d"),
            ("exampleSDID_32473_iut", "3"),
            ("proc_id", "8710"),
            ("severity", "notice"),
            ("x_1_y", "z"),
        ],
    );
    check("<0>1 - - - - - -", "", 0, ["unknown_service", "10.0.0.9", "kern"], &[("severity", "emerg")]);
    check("<7>1 - h a - - [id] m\n", "m", 0, ["a", "h", "kern"], &[("severity", "debug")]);
}

#[test]
fn rfc3164_messages() {
    let su = [("proc_id", "123"), ("severity", "crit")];
    check("<34>Nov 21 11:59:00 box su[123]: 'su' failed", "'su' failed", -60, ["su", "box", "auth"], &su);
    let plain = [("severity", "info")];
    check(
        "<14>Nov  1 12:00:00 box app: text: more",
        "text: more",
        -20 * 86_400,
        ["app", "box", "user"],
        &plain,
    );
    check("<14>Nov 21 12:00:00 app: no host", "no host", 0, ["app", "10.0.0.9", "user"], &plain);
    check(
        "<14>Nov 21 12:00:00 box just words here",
        "just words here",
        0,
        ["unknown_service", "box", "user"],
        &plain,
    );
    check("<14>2026-11-21T12:00:01.5+00:00 box app: x", "x", 1, ["app", "box", "user"], &plain);
    check("<14>Nov 21 2026 12:00:02 box app: x", "x", 2, ["app", "box", "user"], &plain);
    check("<14>Nov 21 12:00:03.250 box app: x\r\n", "x", 3, ["app", "box", "user"], &plain);
}

#[test]
fn years_and_zones_are_found() {
    let time = |message: &str, now: i64, utc_offset| {
        let options = SyslogOptions { now: Nanos(now), utc_offset, ..SyslogOptions::default() };
        decode(message.as_bytes(), options).0.row(0).unwrap().time
    };
    // 2027-01-01T00:00:05Z
    let new_year = 1_798_761_605_000_000_000;
    assert_eq!(time("<1>Dec 31 23:59:55 h a: x", new_year, 0).0, new_year - 10_000_000_000);
    assert_eq!(time("<1>Jan  1 00:00:10 h a: x", new_year - 10_000_000_000, 0).0, new_year + 5_000_000_000);
    assert_eq!(time("<1>Feb 29 00:00:00 h a: x", NOW, 0).0, 1_709_164_800_000_000_000);
    assert_eq!(time("<1>Nov 21 13:00:00 h a: x", NOW, 3600).0, NOW);
}

#[test]
fn what_is_odd_is_kept_whole() {
    odd("just text", "no_priority");
    odd("<x>text", "bad_priority");
    odd("<192>1 - - - - - - x", "bad_priority");
    odd("<1234>x", "bad_priority");
    odd("<13>no stamp", "no_timestamp");
    odd("<13>Nov 41 soon", "no_timestamp");
    odd("<13>1 yesterday h a - - - x", "bad_rfc5424");
    odd("<13>1 - h a - - [id x=\"y x", "bad_rfc5424");
    odd("<13>1 - h a - - -x", "bad_rfc5424");
    odd("<13>1 - h", "bad_rfc5424");
    let (batch, oddities) = decode(b"<13>Nov 21 12:00:00 h a: \xff", window());
    assert_eq!((batch.row(0).unwrap().line, oddities), ("\u{fffd}", vec![("not_utf8", 1)]));
    let (batch, oddities) = decode(b"<13>1 1970-01-01T00:00:01Z h a - - - x", window());
    let row = batch.row(0).unwrap();
    assert_eq!((row.line, row.time.0, oddities), ("x", NOW, vec![("outside_window", 1)]));
    assert_eq!(row.metadata.get("syslog_timestamp"), "1970-01-01T00:00:01Z");
    let (batch, oddities) = decode(&[b'x'; 300_000], window());
    assert_eq!((batch.row(0).unwrap().line.len(), oddities.len()), (256 * 1024, 2));
    assert!(decode(b"\n\0", window()).0.is_empty());
}

#[test]
fn cut_and_twisted_messages_never_panic() {
    for message in [
        r#"<165>1 2026-11-21T13:00:00+01:00 h app 8710 - [e@1 iut="3\""][x y="z"] an évent"#,
        "<34>Nov 21 11:59:00 box su[123]: 'su' failed",
    ] {
        for cut in 0..message.len() {
            decode(&message.as_bytes()[..cut], window());
        }
        for at in 0..message.len() {
            for byte in [0, b' ', b'"', b']', b'\\', b'<', 0xff] {
                let mut twisted = message.as_bytes().to_vec();
                twisted[at] = byte;
                decode(&twisted, window());
            }
        }
    }
}
