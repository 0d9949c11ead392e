//! What a power cut leaves of a simulated disk.
//!
//! What was synced is always there. Of what was not, a disk and a file system may keep anything; the
//! policies are the eight ways of choosing that have broken real databases.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::chance::Chance;
use super::content::Content;
use super::disk::{Disk, Node, NodeId, ROOT};
use super::inode::{Change, Inode, Pending};
use super::names::{Directory, NameChange, Names};

/// The unit that a disk writes, or does not, and of which the last may be torn.
const SECTOR_BYTES: u64 = 512;

/// Which of the unsynced changes a power cut keeps. What was synced is kept by every policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CrashPolicy {
    /// Nothing: no byte, no length, no name that was not synced.
    LoseUnsynced,
    /// Everything, as if the cut had come late.
    KeepEverything,
    /// The oldest changes, up to a random one that may be torn: what a disk leaves that never
    /// reorders.
    GlobalPrefix,
    /// The oldest changes of each file and of each directory, each up to a point of its own.
    FilePrefixes,
    /// Any subset of 512-byte sectors, the last one torn, with any of the lengths that the file had,
    /// and any subset of the changes to names; of a rename either name or both.
    Sectors,
    /// All lengths and names, but no data: where files grew there are zeros.
    SizesWithoutData,
    /// All names, but neither data nor lengths: a renamed file is found under its new name, empty.
    RenamesBeforeData,
    /// Everything but the deletions: removed files are back, renamed ones have both names.
    LostDeletions,
}

impl CrashPolicy {
    /// All of them, to be tried in turn.
    pub const ALL: [Self; 8] = [
        Self::LoseUnsynced,
        Self::KeepEverything,
        Self::GlobalPrefix,
        Self::FilePrefixes,
        Self::Sectors,
        Self::SizesWithoutData,
        Self::RenamesBeforeData,
        Self::LostDeletions,
    ];
}

impl fmt::Display for CrashPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LoseUnsynced => "nothing unsynced survives",
            Self::KeepEverything => "everything survives",
            Self::GlobalPrefix => "a prefix of all changes survives",
            Self::FilePrefixes => "a prefix of each file's changes survives",
            Self::Sectors => "any sectors survive",
            Self::SizesWithoutData => "sizes survive without data",
            Self::RenamesBeforeData => "renames survive before data",
            Self::LostDeletions => "deletions are lost",
        })
    }
}

impl Disk {
    /// The disk as it is found after a power cut now. The same seed finds the same disk.
    pub(super) fn crashed(&self, policy: CrashPolicy, seed: u64) -> Self {
        PowerCut::new(self, policy, seed).image()
    }
}

/// How much of a change to names survives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Nothing,
    /// Of a rename the new name, beside the old one.
    NewName,
    Whole,
}

/// One power cut: the policy and the dice that decide about each change.
struct PowerCut<'a> {
    disk: &'a Disk,
    policy: CrashPolicy,
    chance: Chance,
    /// For prefixes of the global order.
    cut: Cut,
}

/// Older changes survive, younger ones do not, and the change with this very number is torn.
#[derive(Clone, Copy)]
struct Cut(u64);

impl<'a> PowerCut<'a> {
    fn new(disk: &'a Disk, policy: CrashPolicy, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut cut = Cut(0);
        if policy == CrashPolicy::GlobalPrefix {
            let in_files = disk.files().flat_map(|inode| &inode.pending).map(|it| it.order);
            let in_names = disk.pending_names.iter().map(|pending| pending.order);
            let orders: Vec<u64> = in_files.chain(in_names).collect();
            cut = Cut::among(&orders, &mut chance);
        }
        Self { disk, policy, chance, cut }
    }

    fn image(mut self) -> Disk {
        let disk = self.disk;
        let mut dirs = self.kept_names();
        let mut nodes = BTreeMap::new();
        let mut to_visit = vec![ROOT];
        while let Some(id) = to_visit.pop() {
            // Invariant: no directory has two names. Of those that a lost deletion would leave it, the
            // first one met counts, and it is taken out of `dirs` when its turn comes.
            let Some(mut names) = dirs.remove(&id) else { continue };
            let mut lost = Vec::new();
            for (name, child) in names.iter() {
                match disk.nodes.get(child) {
                    Some(Node::File(inode)) => {
                        let kept = nodes.entry(*child).or_insert_with(|| self.kept_file(inode));
                        if let Node::File(kept) = kept {
                            kept.names += 1;
                        }
                    }
                    Some(Node::Dir(_)) if dirs.contains_key(child) && !to_visit.contains(child) => {
                        to_visit.push(*child);
                    }
                    _ => lost.push(name.clone()),
                }
            }
            for name in lost {
                Arc::make_mut(&mut names).remove(&name);
            }
            nodes.insert(id, Node::Dir(Directory { current: names.clone(), durable: names }));
        }
        Disk::durably(nodes, disk)
    }

    // --- names ---

    /// The names that each directory has on the disk.
    fn kept_names(&mut self) -> BTreeMap<NodeId, Arc<Names>> {
        let disk = self.disk;
        let mut dirs = BTreeMap::new();
        for (id, node) in &disk.nodes {
            if let Node::Dir(dir) = node {
                dirs.insert(*id, dir.durable.clone());
            }
        }
        let mut cuts = BTreeMap::new();
        for pending in &disk.pending_names {
            let kept = self.kept_name(pending.order, &pending.change, &mut cuts);
            let mut set = |dir: NodeId, name: &Arc<str>, node: Option<NodeId>| {
                let Some(names) = dirs.get_mut(&dir).map(Arc::make_mut) else { return };
                match node {
                    Some(node) => names.insert(name.clone(), node),
                    None => names.remove(name),
                };
            };
            match &pending.change {
                _ if kept == Kept::Nothing => {}
                NameChange::Add { at, node } => set(at.dir, &at.name, Some(*node)),
                NameChange::Remove { at } => set(at.dir, &at.name, None),
                NameChange::Rename { from, to, node } => {
                    if kept == Kept::Whole {
                        set(from.dir, &from.name, None);
                    }
                    set(to.dir, &to.name, Some(*node));
                }
            }
        }
        dirs
    }

    fn kept_name(
        &mut self,
        order: u64,
        change: &NameChange,
        cuts: &mut BTreeMap<NodeId, Cut>,
    ) -> Kept {
        match self.policy {
            CrashPolicy::LoseUnsynced => Kept::Nothing,
            CrashPolicy::KeepEverything
            | CrashPolicy::SizesWithoutData
            | CrashPolicy::RenamesBeforeData => Kept::Whole,
            CrashPolicy::GlobalPrefix => self.cut.of_name(order, change, &mut self.chance),
            CrashPolicy::FilePrefixes => {
                let dir = change.dir();
                let cut = *cuts.entry(dir).or_insert_with(|| {
                    let pending = &self.disk.pending_names;
                    let here = pending.iter().filter(|pending| pending.change.dir() == dir);
                    let orders: Vec<u64> = here.map(|pending| pending.order).collect();
                    Cut::among(&orders, &mut self.chance)
                });
                cut.of_name(order, change, &mut self.chance)
            }
            CrashPolicy::Sectors => match (change, self.chance.below(3)) {
                (NameChange::Rename { .. }, 0) => Kept::NewName,
                (_, 0 | 1) => Kept::Whole,
                _ => Kept::Nothing,
            },
            CrashPolicy::LostDeletions => match change {
                NameChange::Add { .. } => Kept::Whole,
                NameChange::Remove { .. } => Kept::Nothing,
                NameChange::Rename { .. } => Kept::NewName,
            },
        }
    }

    // --- bytes ---

    fn kept_file(&mut self, inode: &Inode) -> Node {
        let mut kept = Inode::durably(self.kept_content(inode));
        kept.share_mapped(inode);
        Node::File(kept)
    }

    fn kept_content(&mut self, inode: &Inode) -> Content {
        if inode.pending.is_empty() {
            return inode.durable.clone();
        }
        match self.policy {
            CrashPolicy::LoseUnsynced | CrashPolicy::RenamesBeforeData => inode.durable.clone(),
            CrashPolicy::KeepEverything | CrashPolicy::LostDeletions => {
                self.prefix(inode, Cut(u64::MAX))
            }
            CrashPolicy::GlobalPrefix => self.prefix(inode, self.cut),
            CrashPolicy::FilePrefixes => {
                let orders: Vec<u64> = inode.pending.iter().map(|pending| pending.order).collect();
                let cut = Cut::among(&orders, &mut self.chance);
                self.prefix(inode, cut)
            }
            CrashPolicy::Sectors => self.sectors(inode),
            CrashPolicy::SizesWithoutData => sizes_without_data(inode),
        }
    }

    /// The changes before the cut, and the first bytes of a write at it.
    fn prefix(&mut self, inode: &Inode, cut: Cut) -> Content {
        let mut content = inode.durable.clone();
        for pending in inode.pending.iter().take_while(|pending| pending.order <= cut.0) {
            match &pending.change {
                Change::Write { offset, bytes } if pending.order == cut.0 => {
                    content.write(*offset, self.torn(bytes));
                }
                Change::Write { offset, bytes } => content.write(*offset, bytes),
                Change::SetLen(bytes) if pending.order < cut.0 => content.set_len(*bytes),
                Change::SetLen(_) => {}
            }
        }
        content
    }

    /// Each sector of each write, or not; then one of the lengths that the file had meanwhile.
    fn sectors(&mut self, inode: &Inode) -> Content {
        let mut content = inode.durable.clone();
        let mut length = content.len();
        let mut lengths = vec![length];
        let is_write = |pending: &Pending| matches!(pending.change, Change::Write { .. });
        let last_write = inode.pending.iter().rposition(is_write);
        for (index, pending) in inode.pending.iter().enumerate() {
            match &pending.change {
                Change::Write { offset, bytes } => {
                    let end = offset + bytes.len() as u64;
                    for (sector, piece) in sectors_of(*offset, bytes) {
                        let is_last =
                            last_write == Some(index) && sector + piece.len() as u64 == end;
                        if is_last {
                            content.write(sector, self.torn(piece));
                        } else if self.chance.coin() {
                            content.write(sector, piece);
                        }
                    }
                    length = length.max(end);
                }
                Change::SetLen(bytes) => {
                    if self.chance.coin() {
                        content.set_len(*bytes);
                    }
                    length = *bytes;
                }
            }
            lengths.push(length);
        }
        content.set_len(lengths[self.chance.below(lengths.len() as u64) as usize]);
        content
    }

    /// The first so many of these bytes: as often none or all as any number in between.
    fn torn<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let kept = match self.chance.below(4) {
            0 => 0,
            1 => bytes.len(),
            _ => self.chance.below(bytes.len() as u64 + 1) as usize,
        };
        &bytes[..kept]
    }
}

impl Cut {
    /// A random cut of changes with these numbers: at any of them, or after the last.
    fn among(orders: &[u64], chance: &mut Chance) -> Self {
        let index = chance.below(orders.len() as u64 + 1) as usize;
        Self(orders.get(index).copied().unwrap_or(u64::MAX))
    }

    fn of_name(self, order: u64, change: &NameChange, chance: &mut Chance) -> Kept {
        match change {
            _ if order < self.0 => Kept::Whole,
            NameChange::Rename { .. } if order == self.0 && chance.coin() => Kept::NewName,
            _ => Kept::Nothing,
        }
    }
}

/// The file as long as it became, with zeros for every byte that it did not have before.
fn sizes_without_data(inode: &Inode) -> Content {
    let mut content = inode.durable.clone();
    for pending in &inode.pending {
        match &pending.change {
            Change::Write { offset, bytes } => {
                content.set_len(content.len().max(offset + bytes.len() as u64));
            }
            Change::SetLen(bytes) => content.set_len(*bytes),
        }
    }
    content
}

/// Cuts a write at the borders of the disk's sectors.
fn sectors_of(offset: u64, bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut position = offset;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let to_border = (SECTOR_BYTES - position % SECTOR_BYTES) as usize;
        let (piece, after) = rest.split_at(to_border.min(rest.len()));
        let sector = position;
        position += piece.len() as u64;
        rest = after;
        Some((sector, piece))
    })
}
