//! Names in directories, and which of them a power cut could take.
//!
//! A name that was added, removed or moved stays pending until its directory is synced. Pending
//! changes of all directories stand in one list, in the order in which they happened.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::disk::{Disk, Node, NodeId, ROOT};

pub(super) type Names = BTreeMap<Arc<str>, NodeId>;

/// The names in a directory: those seen now, and those on the disk.
#[derive(Clone, Default)]
pub(super) struct Directory {
    pub(super) current: Arc<Names>,
    pub(super) durable: Arc<Names>,
}

/// A name in a directory, whether taken or not.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) dir: NodeId,
    pub(super) name: Arc<str>,
}

/// A change to names that is not durable yet.
#[derive(Clone)]
pub(super) struct PendingName {
    /// Its place in the order of all changes to this disk.
    pub(super) order: u64,
    pub(super) change: NameChange,
}

#[derive(Clone)]
pub(super) enum NameChange {
    Add { at: Place, node: NodeId },
    Remove { at: Place },
    Rename { from: Place, to: Place, node: NodeId },
}

impl NameChange {
    /// The directory that the change is about: for a rename, the one of the new name.
    pub(super) fn dir(&self) -> NodeId {
        match self {
            Self::Add { at, .. } | Self::Remove { at } => at.dir,
            Self::Rename { to, .. } => to.dir,
        }
    }

    /// What gets a name by it.
    fn named(&self) -> Option<NodeId> {
        match self {
            Self::Add { node, .. } | Self::Rename { node, .. } => Some(*node),
            Self::Remove { .. } => None,
        }
    }
}

impl Disk {
    /// Makes the names in a directory durable.
    ///
    /// Of a rename from elsewhere this settles the new name only: the old one may be there too after
    /// a power cut. A rename to elsewhere takes the target directory along, for no file system loses
    /// both names.
    pub(super) fn sync_dir(&mut self, dir: NodeId) -> io::Result<()> {
        self.dir(dir)?;
        let synced = self.synced_with(dir);
        let mut still_pending = Vec::new();
        let mut something_vanished = false;
        for PendingName { order, change } in std::mem::take(&mut self.pending_names) {
            if !synced.contains(&change.dir()) {
                still_pending.push(PendingName { order, change });
                continue;
            }
            something_vanished |= match change {
                NameChange::Add { at, node } => self.settle(&at, Some(node)),
                NameChange::Remove { at } => self.settle(&at, None),
                NameChange::Rename { from, to, node } => {
                    if synced.contains(&from.dir) {
                        self.settle(&from, None);
                    } else {
                        let change = NameChange::Remove { at: from };
                        still_pending.push(PendingName { order, change });
                    }
                    self.settle(&to, Some(node))
                }
            };
        }
        self.pending_names = still_pending;
        if something_vanished {
            self.sweep();
        }
        Ok(())
    }

    /// Forgets that names in a directory are pending, as a kernel does after a failed sync: the next
    /// one has nothing to do and succeeds, and the disk has none of the changes.
    pub(super) fn lose_names(&mut self, dir: NodeId) -> io::Result<()> {
        self.dir(dir)?;
        let lost = self.synced_with(dir);
        self.pending_names.retain(|pending| !lost.contains(&pending.change.dir()));
        self.sweep();
        Ok(())
    }

    /// The directories that a sync of `dir` makes durable: itself, and where its files moved.
    fn synced_with(&self, dir: NodeId) -> BTreeSet<NodeId> {
        let mut synced = BTreeSet::from([dir]);
        loop {
            let count_before = synced.len();
            for pending in &self.pending_names {
                if let NameChange::Rename { from, to, .. } = &pending.change
                    && synced.contains(&from.dir)
                {
                    synced.insert(to.dir);
                }
            }
            if synced.len() == count_before {
                return synced;
            }
        }
    }

    /// Sets a name on the disk; says whether something may have lost its last name by it.
    fn settle(&mut self, place: &Place, node: Option<NodeId>) -> bool {
        let Some(Node::Dir(dir)) = self.nodes.get_mut(&place.dir) else { return true };
        let durable = Arc::make_mut(&mut dir.durable);
        match node {
            Some(node) => durable.insert(place.name.clone(), node).is_some(),
            None => {
                durable.remove(&place.name);
                true
            }
        }
    }

    /// Forgets files and directories that have neither a name now, nor one on the disk, nor one that
    /// is pending, nor a handle; and changes to the names in forgotten directories.
    pub(super) fn sweep(&mut self) {
        let mut reached = BTreeSet::new();
        let mut to_visit = vec![ROOT];
        while let Some(node) = to_visit.pop() {
            if reached.insert(node)
                && let Some(Node::Dir(dir)) = self.nodes.get(&node)
            {
                to_visit.extend(dir.current.values().chain(dir.durable.values()));
                let pending_here =
                    self.pending_names.iter().filter(|pending| pending.change.dir() == node);
                to_visit.extend(pending_here.filter_map(|pending| pending.change.named()));
            }
        }
        self.pending_names.retain(|pending| reached.contains(&pending.change.dir()));
        self.nodes.retain(|id, node| {
            reached.contains(id) || matches!(node, Node::File(inode) if inode.handles > 0)
        });
    }
}
