//! A world of files, a store, and a process that dies.

use std::collections::BTreeMap;

use kenning_model::{
    Batch, BatchId, Block, Filter, Flow, LabelSet, Scan, Store, Table, TenantId, TimeRange, Write,
};
use kenning_pipeline::telemetry::Registry;
use kenning_query::MemoryStore;
use kenning_stdx::random::Random;
use kenning_stdx::watched::sim::SimWatched;

use super::super::source::{Encoding, Multiline};
use super::*;

const SECOND: i64 = 1_000_000_000;
const LOG: &str = "/l/app.log";

struct World {
    files: SimWatched,
    store: MemoryStore,
    source: FileSource,
    watch: Watch,
    commits: u64,
}

impl World {
    fn new(patterns: &[&str]) -> Self {
        let source = FileSource::new("s", patterns.iter().map(|pattern| (*pattern).to_owned()).collect());
        Self::of(source)
    }

    fn of(source: FileSource) -> Self {
        let files = SimWatched::default();
        files.pass(1000 * SECOND);
        let store = MemoryStore::default();
        let watch = open(&source, &files, &store);
        Self { files, store, source, watch, commits: 0 }
    }

    /// Kills the process and starts it again.
    fn restart(&mut self) {
        self.watch = open(&self.source, &self.files, &self.store);
    }

    fn poll(&mut self) -> Option<Offer> {
        self.files.pass(SECOND);
        let now = self.files.now();
        self.watch.poll(Nanos(now), Duration::from_nanos(now as u64))
    }

    fn commit(&mut self, offer: Offer) {
        self.commits += 1;
        let id = BatchId(self.commits);
        let own = positions::tenant().unwrap();
        let write = |tenant, batch| Write { id, tenant, batch: Batch::Logs(batch) };
        let unit = [write(TenantId::default_tenant(), offer.batch), write(own, offer.positions)];
        self.store.write(&unit).unwrap();
    }

    /// Reads until nothing new comes, over all waiting times.
    fn settle(&mut self) {
        for _ in 0..30 {
            while let Some(offer) = self.poll() {
                self.commit(offer);
            }
        }
    }

    /// What is stored: `<origin>|<line>`, by time of arrival.
    fn stored(&self) -> Vec<String> {
        let scan = Scan::rows(TenantId::default_tenant(), Table::Logs, TimeRange::ALL, Filter::All);
        let mut lines = Vec::new();
        let mut sink = |block| {
            if let Block::Logs(batch) = block {
                let line =
                    |row: kenning_model::LogRow<'_>| format!("{}|{}", row.stream.get("filename"), row.line);
                lines.extend(batch.rows().map(line));
            }
            Flow::More
        };
        self.store.scan(&scan, &mut sink).unwrap();
        lines
    }

    fn check(&mut self, expect: &[&str]) {
        self.settle();
        let lines: Vec<_> = self.stored().iter().map(|line| line.replace("/l/", "")).collect();
        assert_eq!(lines, expect);
    }
}

fn open(source: &FileSource, files: &SimWatched, store: &MemoryStore) -> Watch {
    let loaded = positions::load(store, &source.name).unwrap();
    Watch::new(source.clone(), Arc::new(files.clone()), &TailStats::new(&Registry::new()), loaded)
}

#[test]
fn lines_are_read_as_they_come() {
    let mut world = World::new(&["/l/*.log"]);
    world.files.append(LOG, "a\nb");
    world.files.append("/l/b.txt", "no\n");
    world.check(&["app.log|a"]);
    world.files.append(LOG, "b\n\nc\n");
    world.check(&["app.log|a", "app.log|bb", "app.log|", "app.log|c"]);
}

#[test]
fn files_are_left_out() {
    let mut source = FileSource::new("s", vec!["/l/*".into()]);
    source.exclude = vec!["/l/*.old".into()];
    let mut world = World::of(source);
    world.files.append("/l/a.old", "a\n");
    world.files.append("/l/b.gz", b"\x1f\x8b\x08\n\n");
    world.files.append("/l/c", "c\n");
    world.check(&["c|c"]);
}

#[test]
fn renamed_files_are_read_on() {
    for pattern in ["/l/app.log", "/l/app.log*"] {
        let mut world = World::new(&[pattern]);
        world.files.append(LOG, "a\n");
        world.settle();
        world.files.append(LOG, "b\n");
        world.files.rename(LOG, "/l/app.log.1");
        world.files.append("/l/app.log.1", "c\n");
        world.files.append(LOG, "d\n");
        world.check(&["app.log|a", "app.log|b", "app.log|c", "app.log|d"]);
    }
}

#[test]
fn rotation_while_nobody_looks_loses_nothing() {
    for pattern in ["/l/app.log", "/l/app.log*"] {
        let mut world = World::new(&[pattern]);
        world.files.append("/l/app.log.1", "old\n");
        world.files.pass(100 * SECOND);
        world.files.append(LOG, "a\n");
        world.settle();
        let old = world.stored().len() - 1;
        world.files.append(LOG, "b\n");
        world.files.rename("/l/app.log.1", "/l/app.log.3");
        world.files.rename(LOG, "/l/app.log.2");
        world.files.append(LOG, "c\n");
        world.files.rename(LOG, "/l/app.log.1");
        world.files.append(LOG, "d\n");
        world.restart();
        world.settle();
        let mut lines = world.stored().split_off(old);
        lines.iter_mut().for_each(|line| *line = line.split('|').next_back().unwrap().to_owned());
        assert_eq!(lines, ["a", "b", "c", "d"], "{pattern}");
    }
}

#[test]
fn truncated_files_begin_anew() {
    let mut world = World::new(&["/l/app.log"]);
    world.files.append(LOG, "a\nb\n");
    world.settle();
    world.files.truncate(LOG, 0);
    world.files.append(LOG, "c\n");
    world.check(&["app.log|a", "app.log|b", "app.log|c"]);
    // Longer than before when it is looked at again.
    world.files.truncate(LOG, 0);
    world.files.append(LOG, "d\ne\nf\n");
    world.check(&["app.log|a", "app.log|b", "app.log|c", "app.log|d", "app.log|e", "app.log|f"]);
    world.files.truncate(LOG, 0);
    world.files.append(LOG, "g\nh\ni\nj\n");
    world.restart();
    world.settle();
    assert_eq!(world.stored().len(), 10);
}

#[test]
fn copies_of_rotation_are_not_read_twice() {
    for killed in [false, true] {
        let mut world = World::new(&["/l/app.log*"]);
        world.files.append(LOG, "a\nb\n");
        world.settle();
        world.files.append(LOG, "c\n");
        world.files.copy(LOG, "/l/app.log.1");
        world.files.truncate(LOG, 0);
        world.files.append(LOG, "d\n");
        if killed {
            world.restart();
        }
        world.settle();
        let mut lines = world.stored();
        lines.sort();
        assert_eq!(lines, ["a", "b", "c", "d"].map(|line| format!("{LOG}|{line}")), "killed: {killed}");
    }
}

#[test]
fn a_copy_that_is_still_being_made_is_waited_for() {
    let mut world = World::new(&["/l/app.log*"]);
    world.files.append(LOG, "a\nb\nc\n");
    world.settle();
    world.files.append("/l/app.log.1", "a\n");
    let _ = world.poll();
    world.files.append("/l/app.log.1", "b\nc\nd\n");
    world.files.truncate(LOG, 0);
    world.check(&["app.log|a", "app.log|b", "app.log|c", "app.log|d"]);
    // One that ends before what was read of the original holds nothing new.
    let mut world = World::new(&["/l/app.log*"]);
    world.files.append(LOG, "a\nb\nc\n");
    world.settle();
    world.files.append("/l/app.log.1", "a\nb\n");
    world.check(&["app.log|a", "app.log|b", "app.log|c"]);
    world.files.append("/l/app.log.1", "x\n");
    world.check(&["app.log|a", "app.log|b", "app.log|c", "app.log|x"]);
}

#[test]
fn files_that_begin_alike_are_no_copies() {
    let mut world = World::new(&["/l/*.log"]);
    world.files.append(LOG, "started\n");
    world.settle();
    world.files.append("/l/b.log", "started\n");
    world.check(&["app.log|started", "b.log|started"]);
}

#[test]
fn removed_files_are_read_to_their_end() {
    let mut world = World::new(&["/l/*.log"]);
    world.files.append(LOG, "a\n");
    world.settle();
    world.files.append(LOG, "b\nc");
    world.files.remove(LOG);
    world.check(&["app.log|a", "app.log|b", "app.log|c"]);
    assert!(world.watch.tracked.is_empty() && world.watch.remembered.is_empty());
    // The number of the file is given to another.
    world.files.append("/l/b.log", "a\n");
    world.check(&["app.log|a", "app.log|b", "app.log|c", "b.log|a"]);
}

#[test]
fn numbers_of_removed_files_name_others_after_a_restart() {
    let mut world = World::new(&["/l/*.log"]);
    world.files.append(LOG, "a\n");
    world.settle();
    world.watch.tracked.clear();
    world.files.remove(LOG);
    world.files.append("/l/b.log", "b\nc\n");
    world.restart();
    world.check(&["app.log|a", "b.log|b", "b.log|c"]);
}

#[test]
fn reading_may_begin_at_the_end() {
    let mut source = FileSource::new("s", vec!["/l/*.log".into()]);
    source.start = Start::End;
    let mut world = World::of(source);
    world.files.append(LOG, "a\n");
    world.settle();
    world.files.append(LOG, "b\n");
    world.restart();
    world.files.append("/l/new.log", "c\n");
    world.check(&["app.log|b", "new.log|c"]);
}

#[test]
fn records_of_many_lines_survive_a_kill() {
    let mut source = FileSource::new("s", vec!["/l/*.log".into()]);
    source.multiline = Some(Multiline::new(regex::Regex::new(r"^\S").unwrap()));
    let mut world = World::of(source);
    world.files.append(LOG, "a\n 1\nb\n 2\n");
    let offer = world.poll().unwrap();
    world.commit(offer);
    world.restart();
    world.files.append(LOG, " 3\nc\n");
    world.check(&["app.log|a\n 1", "app.log|b\n 2\n 3", "app.log|c"]);
}

#[test]
fn pieces_of_two_streams_survive_a_kill() {
    let mut world = World::new(&["/l/*.log"]);
    let line = |stream, tag, text: &str| format!("2026-01-01T00:00:00Z {stream} {tag} {text}\n");
    world.files.append(LOG, line("stdout", "P", "a"));
    world.files.append(LOG, line("stderr", "F", "x"));
    let offer = world.poll().unwrap();
    assert_eq!(offer.batch.len(), 1);
    world.commit(offer);
    world.restart();
    world.files.append(LOG, line("stdout", "F", "b"));
    world.files.append(LOG, line("stderr", "F", "y"));
    world.settle();
    let mut lines = world.stored();
    lines.sort();
    assert_eq!(lines, ["ab", "x", "y"].map(|line| format!("{LOG}|{line}")));
}

#[test]
fn files_that_cannot_be_read_are_told_once_and_read_when_they_can_be() {
    let mut world = World::new(&["/l/*.log"]);
    world.files.append(LOG, "a\n");
    world.files.forbid(LOG, true);
    world.settle();
    let told: Vec<&String> = world.watch.unreadable.values().collect();
    assert_eq!(told, ["permission denied"]);
    world.files.forbid(LOG, false);
    world.check(&["app.log|a"]);
    assert!(world.watch.unreadable.is_empty());
    world.files.append("/l/other.log", "b\n");
    world.files.forbid("/l/other.log", true);
    world.settle();
    world.files.remove("/l/other.log");
    world.settle();
    assert!(world.watch.unreadable.is_empty());
}

#[test]
fn long_lines_are_cut_and_what_follows_is_read() {
    let mut source = FileSource::new("s", vec!["/l/*.log".into()]);
    source.line_bytes_max = 3;
    let mut world = World::of(source);
    world.files.append(LOG, "x".repeat(3 << 20) + "\nabcd\n");
    world.check(&["app.log|xxx", "app.log|abc"]);
}

#[test]
fn encodings() {
    let mut source = FileSource::new("s", vec!["/l/*.log".into()]);
    source.encoding = Encoding::Utf16Le;
    let mut world = World::of(source);
    let bytes: Vec<u8> = "\u{feff}ä\nb\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    world.files.append(LOG, bytes);
    world.check(&["app.log|ä", "app.log|b"]);
}

#[test]
fn labels_tell_the_file() {
    let mut source = FileSource::new("s", vec!["/l/*.log".into()]);
    source.labels = LabelSet::from_pairs([("job", "j")]);
    let mut world = World::of(source);
    world.files.append(LOG, "a\n");
    let offer = world.poll().unwrap();
    assert_eq!(offer.batch.streams, [LabelSet::from_pairs([("filename", LOG), ("job", "j")])]);
}

/// Random work of a program, of log rotation and of `kill -9`; each line is stored exactly once in the end.
#[test]
fn no_line_is_lost_or_doubled() {
    for seed in 0..300 {
        let mut random = Random::seeded(seed);
        let pattern = if random.next_u64().is_multiple_of(2) { "/l/app.log" } else { "/l/app.log*" };
        let copies = random.next_u64().is_multiple_of(3);
        let mut world = World::new(&[pattern]);
        world.settle();
        let (mut written, mut generation) = (0_u64, 0);
        for _ in 0..80 {
            match random.next_u64() % 10 {
                0..=4 => {
                    for _ in 0..random.next_u64() % 4 {
                        world.files.append(LOG, format!("{seed} line {written}\n"));
                        written += 1;
                    }
                }
                5 if copies => {
                    // What is not in the copy's pattern must have been read before it is cut off.
                    if pattern == "/l/app.log" {
                        while let Some(offer) = world.poll() {
                            world.commit(offer);
                        }
                    }
                    generation += 1;
                    world.files.copy(LOG, &format!("{LOG}.{generation}"));
                    world.files.truncate(LOG, 0);
                    while let Some(offer) = world.poll() {
                        world.commit(offer);
                    }
                }
                5 => {
                    generation += 1;
                    world.files.rename(LOG, &format!("{LOG}.{generation}"));
                }
                6 => world.restart(),
                7 => drop(world.poll().map(|_not_committed| world.restart())),
                _ => {
                    if let Some(offer) = world.poll() {
                        world.commit(offer);
                    }
                }
            }
        }
        world.settle();
        let mut seen = BTreeMap::new();
        // What was rotated before anyone looked is known by another name.
        let line = |stored: &String| stored.split_once('|').unwrap().1.to_owned();
        world.stored().iter().for_each(|stored| *seen.entry(line(stored)).or_insert(0) += 1);
        let expect = (0..written).map(|number| format!("{seed} line {number}"));
        let wrong: Vec<_> = expect.filter(|line| seen.get(line) != Some(&1)).collect();
        assert!(
            wrong.is_empty() && seen.len() as u64 == written,
            "seed {seed} {pattern} {copies}: {wrong:?}"
        );
    }
}
