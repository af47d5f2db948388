//! Which files there are, which of them is which, and what they bring.
//!
//! A file is followed by device and inode while it is held open; across restarts by inode and by what its beginning and
//! the bytes before its position look like, since inodes are given out again. What happens to files:
//!
//! * *renamed*: same file; read on under its first name, also when the patterns do not find it any more (beside its old
//!   place, after a restart).
//! * *truncated or overwritten*: shorter than its position, or other bytes before it; begins anew.
//! * *copied, then truncated*: before a truncated file begins anew, the directory is listed; a new file that begins like
//!   it and is named like its rotation is its copy and goes on at its position.
//! * *removed, or renamed out of reach*: read to its end; when nothing more came for a while, what has no newline at its
//!   end is a line too, and the file is let go.
//! * *rotated more than once between two looks*: files named like rotations of a known path that are younger than what
//!   was read last are read as well.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use kenning_model::{LogBatch, Nanos};
use kenning_stdx::watched::{FileId, FileState, Watched, WatchedFile, path_matches};

use super::gather::Gather;
use super::positions::{self, About, Loaded, Position};
use super::source::{FileSource, Start};
use super::stats::{SourceStats, TailStats};
use super::tracked::{Env, Hold, Tracked, Turn, begins_like, print_before};

/// Most files of a source that are watched; more are counted and left alone.
const FILES_MAX: usize = 4096;
/// Most files that are held open though they are idle.
const OPEN_MAX: usize = 256;
/// Files that nothing was written to for so long are closed.
const IDLE: Duration = Duration::from_secs(60);
/// How long a file is read on after it was removed or renamed out of reach and nothing more came.
const GRACE: Duration = Duration::from_secs(10);
/// Time after which it is looked whether a file that was let go is still there; its position goes with it.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// Time between listings.
const LISTED_EVERY: Duration = Duration::from_millis(500);
/// Commits between two full records of positions.
const COMMITS_BETWEEN_FULL: u32 = 256;
/// Time between two full records of positions.
const FULL_EVERY: Duration = Duration::from_secs(600);
/// How much a file's stamp may lag behind the wall clock, in nanoseconds.
const CLOCKS_DIFFER: i64 = 1_000_000_000;
/// The first bytes of gzip, zstd, xz and bzip2.
const COMPRESSED: [&[u8]; 4] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], b"\xfd7zXZ", b"BZh"];

/// Records and how far they reach.
#[derive(Debug)]
pub(super) struct Offer {
    pub batch: LogBatch,
    pub positions: LogBatch,
}

/// The position of a file that is not watched now.
struct Remembered {
    position: Position,
    since: Duration,
}

/// The files of one source.
pub(super) struct Watch {
    source: FileSource,
    files: Arc<dyn Watched>,
    stats: SourceStats,
    tracked: Vec<Tracked>,
    remembered: Vec<Remembered>,
    /// Files that are known and left alone.
    ignored: HashSet<FileId>,
    /// Files that cannot be read, and why: told once, and again when the reason is another.
    unreadable: HashMap<FileId, String>,
    /// That there are more than [`FILES_MAX`] was told.
    told_too_many: bool,
    gather: Gather,
    /// The file whose turn it is.
    next: usize,
    listed: Option<Duration>,
    /// Nothing was ever committed for this source.
    is_new: bool,
    newest: Nanos,
    /// When rotated files were looked for last, by the wall clock; before the first time: when positions were committed
    /// last.
    looked_at: Option<Nanos>,
    since_full: u32,
    full_at: Option<Duration>,
    /// Positions to commit of files that were let go.
    finished: Vec<Position>,
}

impl Watch {
    pub fn new(source: FileSource, files: Arc<dyn Watched>, stats: &TailStats, loaded: Loaded) -> Self {
        let stats = SourceStats::new(stats, &source.name);
        let remember = |position| Remembered { position, since: Duration::ZERO };
        Self {
            source,
            files,
            stats,
            tracked: Vec::new(),
            remembered: loaded.positions.into_iter().map(remember).collect(),
            ignored: HashSet::new(),
            unreadable: HashMap::new(),
            told_too_many: false,
            gather: Gather::default(),
            next: 0,
            listed: None,
            is_new: loaded.newest.is_none(),
            newest: loaded.newest.unwrap_or(Nanos(i64::MIN)),
            looked_at: loaded.looked_at,
            since_full: 0,
            full_at: None,
            finished: Vec::new(),
        }
    }

    /// Looks at the files; gives what they bring. The offer must have been taken before the next call.
    pub fn poll(&mut self, wall: Nanos, now: Duration) -> Option<Offer> {
        if self.listed.is_none_or(|at| now.saturating_sub(at) >= LISTED_EVERY) {
            self.list(false, wall, now);
        }
        let rewritten = self.read(wall, now);
        if !rewritten.is_empty() {
            // Before anything of them is forgotten: their copies are known by what was read of them.
            self.list(true, wall, now);
            self.begin_anew(&rewritten, wall, now);
        }
        self.let_go(wall, now);
        self.stats.files.set(self.tracked.len() as u64);
        self.stats.behind.set(self.tracked.iter().map(Tracked::behind).sum());
        self.offer(wall, now)
    }

    pub fn count_refused(&self, batch: &LogBatch) {
        self.stats.event("refused", batch.len() as u64);
    }

    fn offer(&mut self, wall: Nanos, now: Duration) -> Option<Offer> {
        let batch = self.gather.take_batch();
        let is_full = self.full_at.is_none_or(|at| now.saturating_sub(at) >= FULL_EVERY)
            || self.since_full >= COMMITS_BETWEEN_FULL;
        // Progress without records is made again after a crash.
        if batch.is_empty() && self.finished.is_empty() && !is_full {
            return None;
        }
        self.newest = Nanos(wall.0.max(self.newest.0.saturating_add(1)));
        let mut changed = std::mem::take(&mut self.finished);
        let wanted = self.tracked.iter_mut().filter(|file| file.hold.is_none());
        for file in wanted.filter(|file| is_full || file.is_touched) {
            file.is_touched = false;
            changed.push(file.position());
        }
        if is_full {
            (self.since_full, self.full_at) = (0, Some(now));
            let known: HashSet<FileId> = changed.iter().map(|position| position.id).collect();
            let others = self.remembered.iter().map(|other| &other.position);
            changed.extend(others.filter(|other| !known.contains(&other.id)).cloned().collect::<Vec<_>>());
        }
        self.since_full += 1;
        let about = About { is_full, stamp: self.newest, looked_at: self.looked_at.unwrap_or(wall) };
        let positions = positions::record(&self.source.name, changed.iter(), about);
        Some(Offer { batch, positions })
    }

    /// Gives every file its turn; tells which hold something else than before.
    fn read(&mut self, wall: Nanos, now: Duration) -> Vec<FileId> {
        let (source, files, stats) = (&self.source, &*self.files, &self.stats);
        let env = Env { source, files, stats, now, wall };
        let (count, mut rewritten) = (self.tracked.len(), Vec::new());
        let first = self.next;
        for step in 0..count {
            let place = (first + step) % count;
            let Some(file) = self.tracked.get_mut(place) else { continue };
            if self.gather.is_full() {
                self.next = place;
                break;
            }
            let was_renamed = file.path != file.origin || file.gone.is_some();
            let is_last = was_renamed && now.saturating_sub(file.changed) >= GRACE;
            if file.turn(&env, &mut self.gather, is_last) == Turn::Rewritten {
                rewritten.push(file.id);
            }
        }
        self.close_idle(now);
        rewritten
    }

    fn close_idle(&mut self, now: Duration) {
        let mut open = self.tracked.iter().filter(|file| file.is_open()).count();
        for file in self.tracked.iter_mut().filter(|file| file.is_open() && file.gone.is_none()) {
            let is_idle = now.saturating_sub(file.changed) >= IDLE;
            if file.behind() == 0 && !file.waits() && (is_idle || open > OPEN_MAX) {
                file.close();
                open -= 1;
            }
        }
    }

    fn begin_anew(&mut self, which: &[FileId], wall: Nanos, now: Duration) {
        let env = Env { source: &self.source, files: &*self.files, stats: &self.stats, now, wall };
        for file in self.tracked.iter_mut().filter(|file| which.contains(&file.id)) {
            file.reset(&env, &mut self.gather);
        }
    }

    /// Lets files go that are gone and bring nothing more.
    fn let_go(&mut self, wall: Nanos, now: Duration) {
        let env = Env { source: &self.source, files: &*self.files, stats: &self.stats, now, wall };
        let is_over = |file: &Tracked| {
            let since = file.gone?.max(file.changed);
            Some(now.saturating_sub(since) >= GRACE)
        };
        for place in (0..self.tracked.len()).rev() {
            let Some(file) = self.tracked.get_mut(place) else { continue };
            if is_over(file) != Some(true) || self.gather.is_full() {
                continue;
            }
            let is_read = file.turn(&env, &mut self.gather, true) == Turn::End && file.behind() == 0;
            if !is_read && file.is_open() {
                continue;
            }
            file.flush(&env, &mut self.gather);
            let file = self.tracked.swap_remove(place);
            self.finished.push(file.position());
            if !file.is_deleted() {
                self.remembered.push(Remembered { position: file.position(), since: now });
            }
        }
    }
}

/// Finding files.
impl Watch {
    /// `was_cut`: a file was, so there may be a copy of it.
    fn list(&mut self, was_cut: bool, wall: Nanos, now: Duration) {
        let is_first = self.listed.is_none();
        self.listed = Some(now);
        let mut found = self.found();
        if is_first && found.is_empty() {
            let (source, patterns) = (&*self.source.name, self.source.include.join(", "));
            tracing::info!(
                source,
                patterns,
                "no file is there to be tailed yet; they are looked for all the time"
            );
        }
        let mut went = false;
        for file in &mut self.tracked {
            match found.remove(&file.id) {
                Some((path, _)) => (file.path, file.gone) = (path, None),
                None if file.gone.is_none() => {
                    (file.gone, went) = (Some(now), true);
                    if !file.is_open() {
                        // Something may still be written to it under its new name.
                        let is_it = |(_, state): &(String, FileState)| state.id == file.id;
                        let moved = rotations(&*self.files, &file.origin).into_iter().find(is_it);
                        file.path = moved.map_or(file.path.clone(), |(path, _)| path);
                    }
                }
                None => {}
            }
        }
        self.ignored.retain(|id| found.contains_key(id));
        self.unreadable.retain(|id, _| found.contains_key(id));
        let mut new: Vec<_> =
            found.into_values().filter(|(_, state)| !self.ignored.contains(&state.id)).collect();
        // Older ones first: what rotation moved away comes before what follows it.
        new.sort_by(|(a, x), (b, y)| (x.modified, a).cmp(&(y.modified, b)));
        let found: HashSet<FileId> = new.iter().map(|(_, state)| state.id).collect();
        let has_news = is_first || was_cut || went || !new.is_empty();
        if has_news {
            self.adopt_rotated(&found, wall, now);
        }
        for (path, state) in new {
            self.adopt(&path, None, state, is_first, wall, now);
        }
        if has_news {
            self.adopt_rotated(&found, wall, now);
            self.looked_at = Some(wall);
        }
        self.forget(now);
    }

    /// Forgets positions of files that are nowhere. What is still there under a rotation's name must not be taken for new.
    fn forget(&mut self, now: Duration) {
        let files = &*self.files;
        let is_there = |position: &Position| {
            let beside =
                || rotations(files, &position.origin).iter().any(|(_, state)| state.id == position.id);
            files.state(&position.path).is_ok_and(|state| state.id == position.id) || beside()
        };
        self.remembered.retain_mut(|other| {
            if now.saturating_sub(other.since) >= REMEMBERED && is_there(&other.position) {
                other.since = now;
            }
            now.saturating_sub(other.since) < REMEMBERED
        });
    }

    /// The files that the patterns find, each under one path.
    fn found(&mut self) -> HashMap<FileId, (String, FileState)> {
        let mut found = HashMap::new();
        let paths = self.source.include.iter().flat_map(|pattern| self.files.find(pattern, FILES_MAX));
        let paths: Vec<String> = paths.filter(|path| !self.is_excluded(path)).collect();
        for path in paths {
            let Ok(state) = self.files.state(&path) else { continue };
            if found.len() >= FILES_MAX && !found.contains_key(&state.id) {
                self.stats.event("too_many_files", 1);
                if !std::mem::replace(&mut self.told_too_many, true) {
                    let source = &*self.source.name;
                    tracing::warn!(
                        source,
                        path,
                        limit = FILES_MAX,
                        "a source finds more files than are watched; give it narrower patterns or split it"
                    );
                }
                continue;
            }
            found.entry(state.id).or_insert((path, state));
        }
        found
    }

    fn is_excluded(&self, path: &str) -> bool {
        self.source.exclude.iter().any(|pattern| path_matches(pattern, path))
    }

    /// Takes a file in that is not watched yet.
    fn adopt(
        &mut self,
        path: &str,
        rotated_from: Option<&str>,
        state: FileState,
        is_first: bool,
        wall: Nanos,
        now: Duration,
    ) {
        let env = Env { source: &self.source, files: &*self.files, stats: &self.stats, now, wall };
        let opened = match self.resumed(&env, path, state) {
            Some(resumed) => resumed,
            None => self.begun(&env, path, rotated_from, state, is_first),
        };
        // A file that vanished meanwhile is found again under its next name, if it has one.
        match opened {
            Ok(Some(file)) if file.is_unwanted() => _ = self.ignored.insert(state.id),
            Ok(Some(mut file)) => {
                // Where no pattern finds it, it is let go when it brings nothing more.
                file.gone = rotated_from.map(|_| now);
                self.remembered.retain(|other| other.position.id != file.id);
                self.unreadable.remove(&file.id);
                self.tracked.push(file);
            }
            Ok(None) => _ = self.ignored.insert(state.id),
            Err(error) => {
                env.stats.event("unreadable", 1);
                self.tell_unreadable(path, state.id, &error);
            }
        }
    }

    fn tell_unreadable(&mut self, path: &str, id: FileId, error: &std::io::Error) {
        // What vanished meanwhile needs no word.
        if error.kind() == std::io::ErrorKind::NotFound {
            return;
        }
        let why = error.to_string();
        if self.unreadable.get(&id) != Some(&why) {
            let source = &*self.source.name;
            tracing::warn!(
                source,
                path,
                error = why,
                "a file cannot be read; it is tried again all the time"
            );
            self.unreadable.insert(id, why);
        }
    }

    /// A file that was read before this start.
    fn resumed(
        &self,
        env: &Env<'_>,
        path: &str,
        state: FileState,
    ) -> Option<std::io::Result<Option<Tracked>>> {
        let same = |position: &Position| {
            let id = position.id;
            id == state.id || (id.inode == state.id.inode && position.path == path)
        };
        let position = self.remembered.iter().map(|other| &other.position).find(|position| same(position))?;
        let file = env.files.open(path).ok()?;
        let looks = |offset, print: positions::Print| {
            print_before(&*file, offset, print.len).is_ok_and(|found| found == Some(print))
        };
        if !looks(position.head.len, position.head) {
            return None;
        }
        if state.len >= position.offset && looks(position.offset, position.tail) {
            return Some(Tracked::resume(env, path, state, position).map(Some));
        }
        env.stats.event("truncated", 1);
        Some(Tracked::new(env, path, &position.origin, state, 0).map(Some))
    }

    /// A file that was never read, or whose content was read in another.
    fn begun(
        &self,
        env: &Env<'_>,
        path: &str,
        rotated_from: Option<&str>,
        state: FileState,
        is_first: bool,
    ) -> std::io::Result<Option<Tracked>> {
        let file = env.files.open(path)?;
        let mut head = [0; 8];
        let got = file.read_at(&mut head, 0)?;
        let head = head.get(..got).unwrap_or_default();
        if COMPRESSED.iter().any(|magic| head.starts_with(magic)) {
            env.stats.event("compressed", 1);
            tracing::info!(source = &*self.source.name, path, "a compressed file is left alone");
            return Ok(None);
        }
        if let Some((origin, hold)) = self.copied(&*file, path, state) {
            env.stats.event("copied", 1);
            let mut copy = Tracked::new(env, path, &origin, state, 0)?;
            copy.hold = Some(hold);
            return Ok(Some(copy));
        }
        let from_end = is_first && self.is_new && self.source.start == Start::End;
        let offset = if from_end { state.len } else { 0 };
        Tracked::new(env, path, rotated_from.unwrap_or(path), state, offset).map(Some)
    }

    /// What a file is a copy of, which log rotation made or is making: the original's first name, and where to go on.
    fn copied(&self, file: &dyn WatchedFile, path: &str, state: FileState) -> Option<(String, Hold)> {
        let may_be =
            |known: &Position| known.id != state.id && known.offset > 0 && is_rotation_of(path, &known.path);
        let hold = |known: Position, head: Vec<u8>| {
            (known.origin, Hold { offset: known.offset, tail: known.tail, head })
        };
        let watched = self.tracked.iter().filter(|known| known.hold.is_none() && known.gone.is_none());
        let mut watched = watched.map(|known| (known.position(), known.head()));
        let watched =
            watched.find(|(position, head)| may_be(position) && begins_like(file, head).unwrap_or(false));
        if let Some((position, head)) = watched {
            return Some(hold(position, head.to_vec()));
        }
        // After a restart, when the original was cut off before it was looked at.
        let looks = |known: &Position| {
            print_before(file, known.head.len, known.head.len).is_ok_and(|found| found == Some(known.head))
        };
        let mut known = self.remembered.iter().map(|other| &other.position);
        let known = known.find(|known| may_be(known) && looks(known))?;
        Some(hold(known.clone(), Vec::new()))
    }

    /// Files that the patterns do not find but that rotation made of those they do, since they were looked at last.
    fn adopt_rotated(&mut self, found: &HashSet<FileId>, wall: Nanos, now: Duration) {
        let Some(looked_at) = self.looked_at else { return };
        let mut known: HashSet<FileId> = self.tracked.iter().map(|file| file.id).collect();
        known.extend(found.iter().chain(&self.ignored));
        let mut origins: Vec<String> = self.tracked.iter().map(|file| file.origin.clone()).collect();
        origins.extend(self.remembered.iter().map(|other| other.position.origin.clone()));
        origins.extend(self.source.include.iter().filter(|pattern| is_path(pattern)).cloned());
        origins.sort_unstable();
        origins.dedup();
        for origin in origins {
            let mut beside = rotations(&*self.files, &origin);
            beside.retain(|(path, state)| !known.contains(&state.id) && !self.is_excluded(path));
            beside.sort_by_key(|(_, state)| state.modified);
            for (path, state) in beside {
                let same = |other: &&Remembered| other.position.id.inode == state.id.inode;
                let known_len = self.remembered.iter().find(same).map(|other| other.position.offset);
                if known_len == Some(state.len) {
                    continue;
                }
                if known_len.is_some() || state.modified > looked_at.0.saturating_sub(CLOCKS_DIFFER) {
                    known.insert(state.id);
                    self.adopt(&path, Some(&origin), state, false, wall, now);
                }
            }
        }
    }
}

/// The files beside `origin` that are named like its rotations.
fn rotations(files: &dyn Watched, origin: &str) -> Vec<(String, FileState)> {
    let paths = files.find(&format!("{}*", escaped(origin)), FILES_MAX).into_iter();
    let named = paths.filter(|path| is_rotation_of(path, origin));
    named.filter_map(|path| files.state(&path).ok().map(|state| (path, state))).collect()
}

/// True when a pattern finds one path only.
fn is_path(pattern: &str) -> bool {
    !pattern.contains(['*', '?', '[', '\\', '{'])
}

/// A path as a pattern that finds only it.
fn escaped(path: &str) -> String {
    path.chars().flat_map(|c| if "*?[\\{}".contains(c) { vec!['?'] } else { vec![c] }).collect()
}

/// True when a path looks like what log rotation makes of another: digits and signs of a date behind it.
fn is_rotation_of(path: &str, origin: &str) -> bool {
    let Some(rest) = path.strip_prefix(origin).filter(|rest| !rest.is_empty()) else { return false };
    let is_stamp = rest.chars().all(|c| c.is_ascii_digit() || "-_.:T".contains(c));
    is_stamp && rest.contains(|c: char| c.is_ascii_digit()) && !rest.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests;
