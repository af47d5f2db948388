//! A disk in memory that behaves as badly as disks do, and the same way again for the same seed.
//!
//! [`SimVfs`] keeps two pictures: what running programs see (the page cache and the current names) and what would be
//! there after a power cut. A sync moves things from the first to the second; [`SimVfs::crash`] throws the first away
//! after letting an arbitrary part of it reach the disk: single 512-byte sectors in any order, the old or the new
//! length, any subset of the names changed since their directory was synced. Between operations the disk may also
//! write back dirty sectors on its own, as a kernel does, so bytes that were overwritten before any sync can be what
//! survives.
//!
//! Faults: the k-th operation of a class fails ([`SimVfs::fail_at`]) or any one does with some probability
//! ([`SimVfs::set_fault_rate`]); a failed write leaves a prefix; a failed sync drops the dirty state of pages whose
//! bytes never reached the disk, so that the next sync succeeds and lies (what ext4 does); the disk can be full
//! ([`SimVfs::set_capacity`]) and bits can rot ([`SimVfs::flip_bit`]). The process may die in the middle of whatever it
//! does ([`SimVfs::die_at`]).
//!
//! Lacking: permissions, symbolic links, sparse-file holes in the length sense, and any notion of time.

mod names;
mod node;

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{File, LockGuard, Vfs, check_relative};
use crate::random::Random;
use names::{Names, Node, Writeback};
use node::Inode;

/// The unit that a power cut writes or does not write as a whole.
pub const SECTOR_LEN: usize = 512;

/// Operations remembered for a failure message.
const REMEMBERED_OPERATIONS: usize = 256;

/// Kinds of operations, for choosing which of them fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpClass {
    /// Every operation of the classes below.
    Any,
    /// Creating or opening a file, creating a directory, taking a lock.
    Open,
    /// Reading a file, its length, a directory's names, whether a path exists.
    Read,
    /// Writing bytes.
    Write,
    /// Changing the length or reserving blocks.
    Resize,
    /// Syncing a file.
    Sync,
    /// Syncing a directory.
    SyncDir,
    /// Renaming, linking.
    Rename,
    /// Removing.
    Remove,
}

/// A simulated disk as one boot of the machine sees it. Clones share the disk.
///
/// [`SimVfs::crash`] and [`SimVfs::kill`] return the disk for the next boot; this handle, its clones, its files and its
/// locks then answer every operation with an error.
#[derive(Clone, Debug)]
pub struct SimVfs {
    disk: Arc<Mutex<Disk>>,
    boot: u64,
}

#[derive(Debug)]
struct Fault {
    class: OpClass,
    at: u64,
    kind: io::ErrorKind,
}

#[derive(Debug)]
struct FaultRate {
    class: OpClass,
    numerator: u64,
    denominator: u64,
    kind: io::ErrorKind,
}

#[derive(Debug)]
struct Disk {
    boot: u64,
    random: Random,
    names: Names,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    locks: BTreeMap<PathBuf, u64>,
    next_lock: u64,
    capacity: Option<u64>,
    faults: Vec<Fault>,
    rates: Vec<FaultRate>,
    counts: BTreeMap<OpClass, u64>,
    faults_hit: u64,
    /// The operation, counted over all classes, in which the process dies.
    dies_at: Option<u64>,
    trace: u64,
    recent: VecDeque<String>,
}

impl SimVfs {
    /// An empty disk without faults. Everything random about it follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let disk = Disk {
            boot: 0,
            random: Random::seeded(seed),
            names: Names::default(),
            inodes: BTreeMap::new(),
            next_inode: 0,
            locks: BTreeMap::new(),
            next_lock: 0,
            capacity: None,
            faults: Vec::new(),
            rates: Vec::new(),
            counts: BTreeMap::new(),
            faults_hit: 0,
            dies_at: None,
            trace: FNV_OFFSET,
            recent: VecDeque::new(),
        };
        Self { disk: Arc::new(Mutex::new(disk)), boot: 0 }
    }

    /// Cuts the power and boots again: unsynced bytes, lengths and names survive in part, as the seed has it.
    #[must_use = "the old handle is dead; go on with the returned one"]
    pub fn crash(&self) -> Self {
        let mut disk = self.state();
        let style = Writeback::draw(&mut disk.random);
        let Disk { random, names, inodes, .. } = &mut *disk;
        names.crash(style, random);
        inodes.retain(|id, _| names.refers_to(*id));
        for inode in inodes.values_mut() {
            inode.crash(style, random);
        }
        self.reboot(disk, "crash")
    }

    /// Kills the process but not the machine: what was written stays readable, though still unsynced; locks fall.
    #[must_use = "the old handle is dead; go on with the returned one"]
    pub fn kill(&self) -> Self {
        self.reboot(self.state(), "kill")
    }

    fn reboot(&self, mut disk: MutexGuard<'_, Disk>, how: &str) -> Self {
        disk.locks.clear();
        disk.dies_at = None;
        disk.boot += 1;
        let boot = disk.boot;
        disk.note(format!("{how} -> boot {boot}"));
        Self { disk: Arc::clone(&self.disk), boot }
    }

    /// Makes the `k`-th operation of `class` from now on (the next one is the first) fail with `kind`.
    pub fn fail_at(&self, class: OpClass, k: u64, kind: io::ErrorKind) {
        let mut disk = self.state();
        let at = disk.counts.get(&class).copied().unwrap_or(0) + k;
        disk.faults.push(Fault { class, at, kind });
    }

    /// Lets the process die in the `k`-th operation from now on (the next one is the first): a write may leave a prefix,
    /// any other operation does nothing, and whatever the program still tries fails without a trace, until
    /// [`SimVfs::kill`] or [`SimVfs::crash`] gives the disk to the next one. Unlike after a fault, nothing is tidied up.
    pub fn die_at(&self, k: u64) {
        let mut disk = self.state();
        disk.dies_at = Some(disk.counts.get(&OpClass::Any).copied().unwrap_or(0) + k);
    }

    /// Makes any operation of `class` fail with `kind` with probability `numerator / denominator`.
    pub fn set_fault_rate(&self, class: OpClass, numerator: u64, denominator: u64, kind: io::ErrorKind) {
        self.state().rates.push(FaultRate { class, numerator, denominator, kind });
    }

    /// Ends all faults that were planned. The capacity stays.
    pub fn clear_faults(&self) {
        let mut disk = self.state();
        disk.faults.clear();
        disk.rates.clear();
    }

    /// How many operations were made to fail since the disk was made.
    #[must_use]
    pub fn faults_hit(&self) -> u64 {
        self.state().faults_hit
    }

    /// How many operations of a class were tried since the disk was made.
    #[must_use]
    pub fn operations(&self, class: OpClass) -> u64 {
        self.state().counts.get(&class).copied().unwrap_or(0)
    }

    /// Limits the bytes that all files together may take; `None` lifts the limit. A write that hits it leaves the
    /// prefix that fitted and fails with `StorageFull`.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Flips one bit of a file, counted from its first byte, in the cache and on the disk. Fails outside the file.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> io::Result<()> {
        let mut disk = self.state();
        disk.note(format!("flip {} {bit}", path.display()));
        disk.inode_at(path)?.flip_bit(bit)
    }

    /// The bytes of a file as programs see them, past all faults.
    pub fn contents(&self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(self.state().inode_at(path)?.cached().to_vec())
    }

    /// Puts a file and the directories above it onto the disk, durably and past all faults and limits.
    pub fn install(&self, path: &Path, bytes: &[u8]) {
        let mut disk = self.state();
        let id = disk.new_inode();
        disk.inodes.insert(id, Inode::durable(bytes));
        disk.names.install(path, id);
        disk.note(format!("install {} {}", path.display(), bytes.len()));
    }

    /// Every path and what is in it as programs see it now: directories as `None`, sorted.
    #[must_use]
    pub fn tree(&self) -> Vec<(PathBuf, Option<Vec<u8>>)> {
        let disk = self.state();
        let bytes_of = |node: &Node| match node {
            Node::Dir => None,
            Node::File(id) => disk.inodes.get(id).map(|inode| inode.cached().to_vec()),
        };
        disk.names.current().iter().map(|(path, node)| (path.clone(), bytes_of(node))).collect()
    }

    /// A hash over every operation so far and its result. Equal seeds and equal programs give equal hashes.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.state().trace
    }

    /// A hash over what programs see on the disk now.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        self.tree().iter().fold(FNV_OFFSET, |hash, (path, bytes)| {
            let hash = fnv(hash, path.to_string_lossy().as_bytes());
            bytes.as_ref().map_or(hash, |bytes| fnv(fnv(hash, &bytes.len().to_le_bytes()), bytes))
        })
    }

    /// The last operations, oldest first, for a failure message.
    #[must_use]
    pub fn recent_operations(&self) -> Vec<String> {
        self.state().recent.iter().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, Disk> {
        // A test that panics while holding the lock must still be able to print the trace.
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk, if this handle's boot still runs.
    fn live(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.state();
        if disk.boot == self.boot { Ok(disk) } else { Err(io::Error::other("the machine has crashed since")) }
    }

    /// Runs one operation: counts it, lets a planned fault strike, records the outcome.
    fn run<T>(
        &self,
        class: OpClass,
        describe: impl FnOnce() -> String,
        operation: impl FnOnce(&mut Disk, Option<io::ErrorKind>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut disk = self.live()?;
        let mut fault = disk.strike(class);
        match disk.progress_of_death() {
            Ordering::Less => {}
            Ordering::Equal if class == OpClass::Write => fault = Some(io::ErrorKind::Interrupted),
            Ordering::Equal | Ordering::Greater => return Err(io::Error::other("the process has died")),
        }
        let result = operation(&mut disk, fault);
        let outcome = result.as_ref().err().map_or("ok".to_owned(), |error| format!("{:?}", error.kind()));
        disk.note(format!("{} -> {outcome}", describe()));
        result
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn struck<T>(kind: io::ErrorKind) -> io::Result<T> {
    Err(io::Error::new(kind, "simulated fault"))
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} does not exist", path.display()))
}

impl Disk {
    fn note(&mut self, operation: String) {
        self.trace = fnv(self.trace, operation.as_bytes());
        if self.recent.len() == REMEMBERED_OPERATIONS {
            self.recent.pop_front();
        }
        self.recent.push_back(operation);
    }

    /// Counts an operation and says whether, and how, it has to fail.
    fn strike(&mut self, class: OpClass) -> Option<io::ErrorKind> {
        for counted in [OpClass::Any, class] {
            *self.counts.entry(counted).or_default() += 1;
        }
        let concerns = |chosen: OpClass| chosen == OpClass::Any || chosen == class;
        let counts = &self.counts;
        let due = |fault: &Fault| concerns(fault.class) && counts.get(&fault.class) == Some(&fault.at);
        let planned = self.faults.iter().find(|fault| due(fault)).map(|fault| fault.kind);
        let random = &mut self.random;
        let mut drawn = self.rates.iter().filter(|rate| concerns(rate.class));
        let kind = planned
            .or_else(|| drawn.find(|r| random.chance(r.numerator, r.denominator)).map(|rate| rate.kind));
        self.faults_hit += u64::from(kind.is_some());
        kind
    }

    /// Where the operation that was just counted stands to the one in which the process dies.
    fn progress_of_death(&self) -> Ordering {
        let now = self.counts.get(&OpClass::Any).copied().unwrap_or(0);
        self.dies_at.map_or(Ordering::Less, |at| now.cmp(&at))
    }

    fn new_inode(&mut self) -> u64 {
        self.next_inode += 1;
        self.next_inode
    }

    fn inode_at(&mut self, path: &Path) -> io::Result<&mut Inode> {
        match self.names.get(path) {
            Some(Node::File(id)) => self.inodes.get_mut(&id).ok_or_else(|| missing(path)),
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(missing(path)),
        }
    }

    fn free(&self) -> u64 {
        let used: u64 = self.inodes.values().map(Inode::used_bytes).sum();
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(used))
    }

    /// Lets the kernel write back some dirty sectors of its own accord.
    fn write_back_some(&mut self, id: u64) {
        if self.random.chance(1, 4)
            && let Some(inode) = self.inodes.get_mut(&id)
        {
            inode.write_back(Writeback::Some, &mut self.random);
        }
    }

    /// Forgets files that have no name any more, neither now nor after a crash. Open handles to them die early, which
    /// no caller of ours relies on.
    fn collect(&mut self) {
        let names = &self.names;
        self.inodes.retain(|id, _| names.refers_to(*id));
    }
}

impl Vfs for SimVfs {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let path = check_relative(path)?;
        let id = self.run(
            OpClass::Open,
            || format!("create {}", path.display()),
            |disk, fault| {
                if let Some(kind) = fault {
                    return struck(kind);
                }
                let id = disk.new_inode();
                disk.names.create(path, Node::File(id))?;
                disk.inodes.insert(id, Inode::default());
                Ok(id)
            },
        )?;
        Ok(Arc::new(SimFile { vfs: self.clone(), id, path: path.to_owned() }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let path = check_relative(path)?;
        let id = self.run(
            OpClass::Open,
            || format!("open {}", path.display()),
            |disk, fault| match (fault, disk.names.get(path)) {
                (Some(kind), _) => struck(kind),
                (None, Some(Node::File(id))) => Ok(id),
                (None, Some(Node::Dir)) => Err(io::ErrorKind::IsADirectory.into()),
                (None, None) => Err(missing(path)),
            },
        )?;
        Ok(Arc::new(SimFile { vfs: self.clone(), id, path: path.to_owned() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let dir = check_relative(dir)?;
        self.run(
            OpClass::Read,
            || format!("list {}", dir.display()),
            |disk, fault| match fault {
                Some(kind) => struck(kind),
                None => disk.names.list(dir),
            },
        )
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let dir = check_relative(dir)?;
        self.run(
            OpClass::Open,
            || format!("mkdir {}", dir.display()),
            |disk, fault| match fault {
                Some(kind) => struck(kind),
                None => disk.names.create_dirs(dir),
            },
        )
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (check_relative(from)?, check_relative(to)?);
        self.run(
            OpClass::Rename,
            || format!("rename {} {}", from.display(), to.display()),
            |disk, fault| match fault {
                Some(kind) => struck(kind),
                None => {
                    disk.names.rename(from, to)?;
                    disk.collect();
                    Ok(())
                }
            },
        )
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (check_relative(from)?, check_relative(to)?);
        self.run(
            OpClass::Rename,
            || format!("link {} {}", from.display(), to.display()),
            |disk, fault| match (fault, disk.names.get(from)) {
                (Some(kind), _) => struck(kind),
                (None, Some(node @ Node::File(_))) => disk.names.create(to, node),
                (None, Some(Node::Dir)) => Err(io::ErrorKind::IsADirectory.into()),
                (None, None) => Err(missing(from)),
            },
        )
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let path = check_relative(path)?;
        self.run(
            OpClass::Remove,
            || format!("remove {}", path.display()),
            |disk, fault| match fault {
                Some(kind) => struck(kind),
                None => {
                    disk.names.remove_file(path)?;
                    disk.collect();
                    Ok(())
                }
            },
        )
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = check_relative(dir)?;
        self.run(
            OpClass::SyncDir,
            || format!("syncdir {}", dir.display()),
            |disk, fault| match fault {
                Some(kind) => struck(kind),
                None => {
                    disk.names.sync_dir(dir)?;
                    disk.collect();
                    Ok(())
                }
            },
        )
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let path = check_relative(path)?;
        self.run(
            OpClass::Read,
            || format!("exists {}", path.display()),
            |disk, fault| match fault {
                Some(kind) => struck(kind),
                None => Ok(names::is_root(path) || disk.names.get(path).is_some()),
            },
        )
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn LockGuard>> {
        let path = check_relative(path)?;
        let number = self.run(
            OpClass::Open,
            || format!("lock {}", path.display()),
            |disk, fault| {
                if let Some(kind) = fault {
                    return struck(kind);
                }
                if disk.locks.contains_key(path) {
                    return Err(super::held_elsewhere(path));
                }
                if disk.names.get(path).is_none() {
                    let id = disk.new_inode();
                    disk.names.create(path, Node::File(id))?;
                    disk.inodes.insert(id, Inode::default());
                }
                disk.next_lock += 1;
                disk.locks.insert(path.to_owned(), disk.next_lock);
                Ok(disk.next_lock)
            },
        )?;
        Ok(Box::new(SimLock { vfs: self.clone(), path: path.to_owned(), number }))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.live()?.free())
    }
}

struct SimLock {
    vfs: SimVfs,
    path: PathBuf,
    number: u64,
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = self.vfs.state();
        // After a crash someone else may hold a lock of this name.
        if disk.locks.get(&self.path) == Some(&self.number) {
            disk.locks.remove(&self.path);
        }
    }
}

struct SimFile {
    vfs: SimVfs,
    id: u64,
    path: PathBuf,
}

impl SimFile {
    fn run<T>(
        &self,
        class: OpClass,
        what: &str,
        operation: impl FnOnce(&mut Disk, Option<io::ErrorKind>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.vfs.run(class, || format!("{what} {}", self.path.display()), operation)
    }

    fn inode<'a>(&self, disk: &'a mut Disk) -> io::Result<&'a mut Inode> {
        disk.inodes.get_mut(&self.id).ok_or_else(|| missing(&self.path))
    }
}

impl File for SimFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let what = format!("read {}@{offset}", buf.len());
        self.run(OpClass::Read, &what, |disk, fault| match fault {
            Some(kind) => struck(kind),
            None => self.inode(disk)?.read(buf, offset),
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let what = format!("write {}@{offset} #{:016x}", bytes.len(), fnv(FNV_OFFSET, bytes));
        self.run(OpClass::Write, &what, |disk, fault| {
            let free = disk.free();
            let reach = if fault.is_some() { disk.random.below(bytes.len() as u64 + 1) } else { u64::MAX };
            let offered = bytes.get(..reach.min(bytes.len() as u64) as usize).unwrap_or(bytes);
            let written = self.inode(disk)?.write(offered, offset, free);
            disk.write_back_some(self.id);
            match fault {
                Some(kind) => struck(kind),
                None if written < bytes.len() => Err(io::ErrorKind::StorageFull.into()),
                None => Ok(()),
            }
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.run(OpClass::Read, "len", |disk, fault| match fault {
            Some(kind) => struck(kind),
            None => Ok(self.inode(disk)?.cached().len() as u64),
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.run(OpClass::Resize, &format!("setlen {len}"), |disk, fault| match fault {
            Some(kind) => struck(kind),
            None => {
                self.inode(disk)?.set_len(len);
                Ok(())
            }
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.run(OpClass::Resize, &format!("allocate {len}"), |disk, fault| {
            if let Some(kind) = fault {
                return struck(kind);
            }
            let free = disk.free();
            if self.inode(disk)?.allocate(len, free) {
                Ok(())
            } else {
                Err(io::ErrorKind::StorageFull.into())
            }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.run(OpClass::Sync, "sync", |disk, fault| {
            let Disk { random, inodes, .. } = disk;
            let inode = inodes.get_mut(&self.id).ok_or_else(|| missing(&self.path))?;
            match fault {
                Some(kind) => {
                    inode.fail_sync(random);
                    struck(kind)
                }
                None => {
                    inode.write_back(Writeback::All, random);
                    Ok(())
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
