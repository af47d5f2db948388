use sha2::{Digest, Sha512};

use super::*;
use crate::msgpack::Framer;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_str(&mut out, text);
    out
}

/// `[tag, …]`.
fn frame(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![0x90 | parts.len() as u8];
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

/// `{message: text}`.
fn record(message: &str) -> Vec<u8> {
    [vec![0x81], text("message"), text(message)].concat()
}

const TIME: [u8; 5] = [0xce, 0x55, 0xec, 0xe6, 0xf8];

#[track_caller]
fn check(frame: &[u8], chunk: Option<&str>, lines: &[(i64, &str)]) -> Decoded<LogBatch> {
    let limits = DecodeLimits::default();
    let mut decoder = FluentDecoder::new(&limits, Nanos(5), 1 << 20);
    assert_eq!(decoder.message(frame), Ok(chunk.map(str::to_owned)));
    let decoded = decoder.finish();
    let got: Vec<_> = decoded.batch.rows().map(|row| (row.time.0, row.line)).collect();
    assert_eq!(got, lines, "{}", decoded.rejected);
    decoded
}

#[track_caller]
fn refused(frame: &[u8], cause: &str) {
    let limits = DecodeLimits::default();
    let error = FluentDecoder::new(&limits, Nanos(5), 1 << 16).message(frame).unwrap_err();
    assert_eq!(error.cause(), cause, "{error}");
}

#[test]
fn modes_and_options() {
    let at = 1_441_588_984_000_000_000;
    let tag = text("a.b");
    let options = [vec![0x82], text("chunk"), text("c1"), text("size"), vec![1]].concat();
    check(&frame(&[&tag, &TIME, &record("m")]), None, &[(at, "m")]);
    check(&frame(&[&tag, &TIME, &record("m"), &options]), Some("c1"), &[(at, "m")]);
    check(&frame(&[&tag, &TIME, &record("m"), &[0xc0]]), None, &[(at, "m")]);
    let event_time = [&[0xd7, 0x00][..], &[0, 0, 0, 9, 0, 0, 0, 7]].concat();
    check(&frame(&[&tag, &event_time, &record("m")]), None, &[(9_000_000_007, "m")]);
    check(
        &frame(&[&tag, &[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], &record("m")]),
        None,
        &[(1_500_000_000, "m")],
    );
    let entry = [&[0x92][..], &TIME, &record("e")].concat();
    let two = [&[0x92][..], &entry, &entry].concat();
    check(&frame(&[&tag, &two, &options]), Some("c1"), &[(at, "e"), (at, "e")]);
    let with_metadata = [&[0x91, 0x92, 0x92][..], &TIME, &record("meta"), &record("e")].concat();
    check(&frame(&[&tag, &with_metadata]), None, &[(at, "e")]);
    let mut packed = vec![0xc4, 2 * entry.len() as u8];
    packed.extend([entry.clone(), entry.clone()].concat());
    check(&frame(&[&tag, &packed, &options]), Some("c1"), &[(at, "e"), (at, "e")]);
    let group = [&[0x91, 0x92, 0xd7, 0x00][..], &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], &record("g")].concat();
    check(&frame(&[&tag, &group]), None, &[]);
    check(&[0xc0], None, &[]);
}

#[test]
fn records_become_lines_and_labels() {
    let tag = text("kube.app");
    let decoded = check(&frame(&[&tag, &TIME, &record("m\r\n")]), None, &[(1_441_588_984_000_000_000, "m")]);
    let row = decoded.batch.row(0).unwrap();
    assert_eq!(row.stream.iter().collect::<Vec<_>>(), [("service_name", "kube.app"), ("tag", "kube.app")]);
    // {user: "u", n: -5, ok: true, pi: 1.5, none: nil, list: [1, b"\xff"]}
    let odd = [
        vec![0x86],
        text("user"),
        text("u"),
        text("n"),
        vec![0xfb],
        text("ok"),
        vec![0xc3],
        text("pi"),
        vec![0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0],
        text("none"),
        vec![0xc0],
        text("list"),
        vec![0x92, 1, 0xc4, 1, 0xff],
    ]
    .concat();
    let line = r#"{"user":"u","n":-5,"ok":true,"pi":1.5,"none":null,"list":[1,"ff"]}"#;
    let decoded = check(&frame(&[&tag, &TIME, &odd]), None, &[(1_441_588_984_000_000_000, line)]);
    let row = decoded.batch.row(0).unwrap();
    assert_eq!((row.metadata.get("n"), row.metadata.get("list")), ("-5", r#"[1,"ff"]"#));
}

#[test]
fn bad_events_are_left_out_and_bad_frames_refused() {
    let tag = text("t");
    let good = [&[0x92][..], &TIME, &record("e")].concat();
    let reasons = |bad: &[u8]| {
        let entries = [&[0x92][..], bad, &good].concat();
        let decoded = check(&frame(&[&tag, &entries]), None, &[(1_441_588_984_000_000_000, "e")]);
        decoded.rejected.iter().map(|(reason, ..)| reason).collect::<Vec<_>>()
    };
    assert_eq!(reasons(&[0xc0]), [Reason::WrongType]);
    assert_eq!(reasons(&[0x92, 0xc3, 0x80]), [Reason::WrongType]);
    assert_eq!(reasons(&[&[0x92][..], &TIME, &text("no map")].concat()), [Reason::WrongType]);
    let deep = [&[0x92][..], &TIME, &[0x91].repeat(100_000), &[0xc0]].concat();
    assert_eq!(reasons(&deep), [Reason::TooDeep]);
    refused(&[0x01], "bad_frame");
    refused(&frame(&[&tag]), "bad_frame");
    refused(&frame(&[&[0x01], &TIME, &record("m")]), "bad_frame");
    refused(&frame(&[&tag, &TIME]), "bad_frame");
    refused(&frame(&[&tag, &TIME, &record("m"), &[0x01]]), "bad_frame");
    refused(&frame(&[&tag, &[0xc4, 2, 0x92, 0x01]]), "not_msgpack");
    let gzip = [vec![0x81], text("compressed"), text("gzip")].concat();
    refused(&frame(&[&tag, &[0xc4, 2, 0x1f, 0x8b], &gzip]), "bad_packed_events");
    let zstd = [vec![0x81], text("compressed"), text("zstd")].concat();
    refused(&frame(&[&tag, &[0xc4, 0], &zstd]), "bad_packed_events");
}

#[test]
fn cut_and_twisted_frames_never_panic() {
    let options = [vec![0x81], text("chunk"), text("c1")].concat();
    let entry = [&[0x91, 0x92][..], &TIME, &record("e")].concat();
    let whole = frame(&[&text("t"), &entry, &options]);
    let limits = DecodeLimits::default();
    for cut in 0..whole.len() {
        assert_eq!(Framer::default().advance(&whole[..cut]), Ok(None), "{cut}");
        assert!(FluentDecoder::new(&limits, Nanos(5), 64).message(&whole[..cut]).is_err(), "{cut}");
    }
    for at in 0..whole.len() {
        for byte in 0..=255 {
            let mut twisted = whole.clone();
            twisted[at] = byte;
            let _ = FluentDecoder::new(&limits, Nanos(5), 64).message(&twisted);
        }
    }
}

fn digest(parts: &[&[u8]]) -> String {
    render::hex(&Sha512::digest(parts.concat()))
}

fn ping(parts: [&str; 5]) -> Vec<u8> {
    let mut out = vec![0x96];
    out.extend(text("PING"));
    parts.iter().for_each(|part| out.extend(text(part)));
    out
}

#[test]
fn handshakes() {
    let server = Handshake {
        shared_key: "key".into(),
        hostname: "kenning".into(),
        users: vec![("ann".into(), "secret".into())],
        nonce: [1; 16],
        auth_salt: [2; 16],
    };
    let helo = server.helo();
    assert!(helo.starts_with(&[0x92]) && helo.ends_with(&[0xc3]), "{helo:?}");
    let proof = |key: &str| digest(&[b"salt", b"client", &[1; 16], key.as_bytes()]);
    let password = |password: &str| digest(&[&[2; 16], b"ann", password.as_bytes()]);
    let check = |parts: [&str; 5], trusted| {
        let answer = server.answer(&ping(parts)).unwrap();
        assert_eq!(answer.is_trusted, trusted, "{parts:?}");
        answer.pong
    };
    let pong = check(["client", "salt", &proof("key"), "ann", &password("secret")], true);
    let expected = digest(&[b"salt", b"kenning", &[1; 16], b"key"]);
    assert!(pong.windows(expected.len()).any(|window| window == expected.as_bytes()));
    check(["client", "salt", &proof("other"), "ann", &password("secret")], false);
    check(["client", "salt", &proof("key"), "ann", &password("wrong")], false);
    check(["client", "salt", &proof("key"), "eve", &password("secret")], false);
    check(["other", "salt", &proof("key"), "ann", &password("secret")], false);
    for bad in [vec![], vec![0xc0], frame(&[&text("PING")]), hex("96a4504f4e47a0a0a0a0a0")] {
        assert!(server.answer(&bad).is_err(), "{bad:?}");
    }
}
