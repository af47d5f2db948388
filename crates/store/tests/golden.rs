//! A data directory of every released format must open for ever and give the answers it gave.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Chance, ask};
use kenning_model::{Batch, BatchId, Filter, Scan, Store, Table, TenantId, TimeRange, Write};
use kenning_stdx::clock::SimClock;
use kenning_stdx::random::Random;
use kenning_stdx::vfs::sim::SimVfs;
use kenning_store::wal::WalOptions;
use kenning_store::{Engine, Options};

const ANSWERS: &str = "answers.txt";

fn folder(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../testdata/formats/store-v{version}"))
}

fn open(vfs: &SimVfs) -> Engine {
    let wal = WalOptions { segment_bytes: 8 << 10, ..WalOptions::default() };
    let options = Options { wal, ..Options::default() };
    Engine::open(Arc::new(vfs.clone()), Arc::new(SimClock::new(0)), Random::seeded(1), options).unwrap()
}

/// Everything in the engine, line by line.
fn answers(engine: &Engine) -> String {
    let mut text = String::new();
    for table in [Table::Samples, Table::Exemplars, Table::Metadata, Table::Logs, Table::Spans] {
        let scan = Scan::rows(TenantId::default_tenant(), table, TimeRange::ALL, Filter::All);
        let (lines, summary) = ask(engine, &scan).unwrap();
        assert_eq!(summary.missing, [""; 0]);
        text.push_str(&format!("{table:?}\n"));
        lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    }
    let mut scan = Scan::rows(many(), Table::Logs, TimeRange::ALL, Filter::All);
    scan.limit = Some(MANY);
    let (lines, summary) = ask(engine, &scan).unwrap();
    assert_eq!(summary.missing, [""; 0]);
    if !lines.is_empty() {
        let sum = lines.iter().fold(0, |sum, line| crc32c::crc32c_append(sum, line.as_bytes()));
        text.push_str(&format!("{} lines of many, {sum:08x}\n", lines.len()));
    }
    text
}

/// Lines enough for columns that few do not make. Only their sum is kept.
const MANY: usize = 2000;
/// So many at a time, for the log's groups are small here.
const MANY_EACH: usize = 8;

/// The tenant of many lines.
fn many() -> TenantId {
    TenantId::parse("many").unwrap()
}

/// Data of every kind in parts, and some in the log.
fn write_golden(folder: &Path) {
    let vfs = SimVfs::new(1);
    let engine = open(&vfs);
    let mut chance = Chance::new(14);
    for id in 1..=9 {
        let batch = match id % 3 {
            0 => Batch::Metrics(chance.metrics()),
            1 => Batch::Logs(chance.logs()),
            _ => Batch::Spans(chance.spans()),
        };
        engine.write(&[Write { id: BatchId(1000 * id), tenant: TenantId::default_tenant(), batch }]).unwrap();
        if id == 6 {
            for part in 1..=MANY / MANY_EACH {
                let batch = Batch::Logs(chance.many_lines(MANY_EACH));
                let write = Write { id: BatchId(1000 * id + part as u64), tenant: many(), batch };
                engine.write(&[write]).unwrap();
            }
            engine.flush().unwrap();
        }
    }
    let text = answers(&engine);
    assert!(text.contains("lines of many"));
    assert!(engine.stats().tables.iter().all(|table| table.parts > 0), "a part of every table");
    for (path, bytes) in vfs.tree() {
        if let Some(bytes) = bytes.filter(|_| path != Path::new("LOCK")) {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    fs::write(folder.join(ANSWERS), text).unwrap();
}

fn install(vfs: &SimVfs, root: &Path, folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            install(vfs, root, &path);
        } else if !path.ends_with(ANSWERS) {
            vfs.install(path.strip_prefix(root).unwrap(), &fs::read(&path).unwrap());
        }
    }
}

fn check(version: u32) {
    let (vfs, folder) = (SimVfs::new(2), folder(version));
    install(&vfs, &folder, &folder);
    assert_eq!(answers(&open(&vfs)), fs::read_to_string(folder.join(ANSWERS)).unwrap());
}

#[test]
fn the_first_format_opens() {
    check(1);
}

/// Logs with columns of fields.
#[test]
fn the_second_format_opens() {
    check(2);
}

/// Metrics in the log as records of kind 2.
#[test]
fn the_third_format_opens() {
    check(3);
}

/// Row groups of logs in the order of time.
#[test]
fn the_fourth_format_opens() {
    check(4);
}

/// Texts of logs as phrases.
#[test]
fn the_fifth_format_opens() {
    check(5);
}

/// Samples with a row per series. `KENNING_WRITE_GOLDEN=1` writes the directory of a new version; that of a released
/// version is never written again.
#[test]
fn the_sixth_format_opens() {
    if std::env::var_os("KENNING_WRITE_GOLDEN").is_some() {
        write_golden(&folder(6));
    }
    check(6);
}
