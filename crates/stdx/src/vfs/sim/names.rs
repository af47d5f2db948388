//! The simulated directory tree: names as programs see them, names as a power cut leaves them, and the changes between.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::missing;
use crate::random::Random;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File(u64),
}

/// How much of what is unsynced reaches the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writeback {
    None,
    Some,
    All,
}

impl Writeback {
    pub(super) fn draw(random: &mut Random) -> Self {
        match random.below(4) {
            0 => Self::None,
            1 => Self::All,
            _ => Self::Some,
        }
    }

    pub(super) fn takes(self, random: &mut Random) -> bool {
        match self {
            Self::None => false,
            Self::Some => random.chance(1, 2),
            Self::All => true,
        }
    }
}

type Tree = BTreeMap<PathBuf, Node>;

/// A change of a name that its directory's sync has yet to make durable.
#[derive(Clone, Debug)]
enum Change {
    Put(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

impl Change {
    fn concerns_dir(&self, dir: &Path) -> bool {
        let inside = |path: &Path| path.parent() == Some(dir);
        match self {
            Self::Put(path, _) | Self::Remove(path) => inside(path),
            Self::Rename(from, to, _) => inside(from) || inside(to),
        }
    }

    /// True when this change has no say any more after `path` was moved away or removed for good.
    fn is_only_about(&self, path: &Path) -> bool {
        matches!(self, Self::Put(own, _) | Self::Remove(own) if own == path)
    }

    fn apply(&self, tree: &mut Tree) {
        match self {
            Self::Put(path, node) => {
                tree.insert(path.clone(), *node);
            }
            Self::Remove(path) => {
                tree.remove(path);
            }
            Self::Rename(from, to, node) => {
                tree.insert(from.clone(), *node);
                move_tree(tree, from, to);
            }
        }
    }
}

/// Moves `from`, and what lies under it, to `to`.
fn move_tree(tree: &mut Tree, from: &Path, to: &Path) {
    let moved: Vec<PathBuf> = tree.keys().filter(|path| path.starts_with(from)).cloned().collect();
    for path in moved {
        let Some(node) = tree.remove(&path) else { continue };
        let tail = path.strip_prefix(from).unwrap_or(Path::new(""));
        // Joining an empty tail would add a trailing slash, which is another key.
        let target = if tail.as_os_str().is_empty() { to.to_owned() } else { to.join(tail) };
        tree.insert(target, node);
    }
}

pub(super) fn is_root(path: &Path) -> bool {
    path.as_os_str().is_empty() || path == Path::new(".")
}

#[derive(Debug, Default)]
pub(super) struct Names {
    current: Tree,
    durable: Tree,
    pending: Vec<Change>,
}

impl Names {
    pub(super) fn current(&self) -> &Tree {
        &self.current
    }

    pub(super) fn get(&self, path: &Path) -> Option<Node> {
        self.current.get(path).copied()
    }

    pub(super) fn refers_to(&self, id: u64) -> bool {
        let node = Node::File(id);
        let in_pending =
            |change: &Change| matches!(change, Change::Put(_, n) | Change::Rename(_, _, n) if *n == node);
        self.current.values().any(|n| *n == node)
            || self.durable.values().any(|n| *n == node)
            || self.pending.iter().any(in_pending)
    }

    fn parent_exists(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new(""));
        match self.get(parent) {
            _ if is_root(parent) => Ok(()),
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(missing(parent)),
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    pub(super) fn create(&mut self, path: &Path, node: Node) -> io::Result<()> {
        self.parent_exists(path)?;
        if self.get(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(Change::Put(path.to_owned(), node));
        Ok(())
    }

    pub(super) fn create_dirs(&mut self, dir: &Path) -> io::Result<()> {
        let mut above: Vec<&Path> = dir.ancestors().filter(|path| !is_root(path)).collect();
        above.reverse();
        for path in above {
            match self.get(path) {
                Some(Node::Dir) => {}
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => self.change(Change::Put(path.to_owned(), Node::Dir)),
            }
        }
        Ok(())
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        if !is_root(dir) && self.get(dir) != Some(Node::Dir) {
            return Err(missing(dir));
        }
        let dir = if is_root(dir) { Path::new("") } else { dir };
        let children = self.current.keys().filter(|path| path.parent() == Some(dir));
        Ok(children.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.get(from).ok_or_else(|| missing(from))?;
        self.parent_exists(to)?;
        if from == to {
            return Ok(());
        }
        match (node, self.get(to)) {
            (_, None) | (Node::File(_), Some(Node::File(_))) => {}
            _ => return Err(io::ErrorKind::AlreadyExists.into()),
        }
        self.change(Change::Rename(from.to_owned(), to.to_owned(), node));
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        match self.get(path) {
            Some(Node::File(_)) => {
                self.change(Change::Remove(path.to_owned()));
                Ok(())
            }
            Some(Node::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(missing(path)),
        }
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        if !is_root(dir) && self.get(dir) != Some(Node::Dir) {
            return Err(missing(dir));
        }
        let dir = if is_root(dir) { Path::new("") } else { dir };
        let mut left: Vec<Change> = Vec::new();
        for change in std::mem::take(&mut self.pending) {
            if !change.concerns_dir(dir) {
                left.push(change);
                continue;
            }
            change.apply(&mut self.durable);
            // A name that is durably gone must not come back through an older change still waiting elsewhere.
            if let Change::Rename(gone, _, _) | Change::Remove(gone) = &change {
                left.retain(|older| !older.is_only_about(gone));
            }
        }
        self.pending = left;
        Ok(())
    }

    /// A power cut: any subset of the pending changes made it; a file whose directory did not is out of reach.
    pub(super) fn crash(&mut self, style: Writeback, random: &mut Random) {
        for change in std::mem::take(&mut self.pending) {
            if style.takes(random) {
                change.apply(&mut self.durable);
            }
        }
        let reachable = |tree: &Tree, path: &Path| {
            path.ancestors().skip(1).filter(|dir| !is_root(dir)).all(|dir| tree.get(dir) == Some(&Node::Dir))
        };
        let lost: Vec<PathBuf> =
            self.durable.keys().filter(|path| !reachable(&self.durable, path)).cloned().collect();
        for path in lost {
            self.durable.remove(&path);
        }
        self.current = self.durable.clone();
    }

    /// Puts a file and its directories there, durably.
    pub(super) fn install(&mut self, path: &Path, id: u64) {
        for tree in [&mut self.current, &mut self.durable] {
            for dir in path.ancestors().skip(1).filter(|dir| !is_root(dir)) {
                tree.insert(dir.to_owned(), Node::Dir);
            }
            tree.insert(path.to_owned(), Node::File(id));
        }
    }
}
