//! A simulated disk: files and directories, and what calls do to them.
//!
//! Plain data, without locks, faults or counters: those belong to the machine around it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use super::inode::Inode;
use super::names::{Directory, NameChange, PendingName, Place};

pub(super) type NodeId = u64;

pub(super) const ROOT: NodeId = 0;

/// Everything on one disk. Maps are ordered, so that the same calls always lead to the same disk.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    /// Changes to names that no sync of their directory has made durable, oldest first.
    pub(super) pending_names: Vec<PendingName>,
    next_node: NodeId,
    next_order: u64,
}

#[derive(Clone)]
pub(super) enum Node {
    File(Inode),
    Dir(Directory),
}

impl Disk {
    /// An empty root directory.
    pub(super) fn new() -> Self {
        let nodes = BTreeMap::from([(ROOT, Node::Dir(Directory::default()))]);
        Self { nodes, pending_names: Vec::new(), next_node: ROOT + 1, next_order: 0 }
    }

    /// These files and directories, all of them durable; new nodes are numbered after `elder`'s.
    pub(super) fn durably(nodes: BTreeMap<NodeId, Node>, elder: &Self) -> Self {
        Self { nodes, pending_names: Vec::new(), next_node: elder.next_node, next_order: 0 }
    }

    /// The disk as the next process finds it: nobody has a file open.
    pub(super) fn killed(&self) -> Self {
        let mut disk = self.clone();
        for node in disk.nodes.values_mut() {
            if let Node::File(inode) = node {
                inode.handles = 0;
            }
        }
        disk.sweep();
        disk
    }

    // --- finding ---

    /// The file or directory that has this name.
    pub(super) fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = ROOT;
        for name in names_of(path) {
            node = *self.dir(node)?.current.get(&*name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    pub(super) fn find_file(&self, path: &Path) -> io::Result<NodeId> {
        let node = self.find(path)?;
        if self.is_dir(node) { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(node) }
    }

    pub(super) fn is_dir(&self, node: NodeId) -> bool {
        matches!(self.nodes.get(&node), Some(Node::Dir(_)))
    }

    pub(super) fn dir(&self, node: NodeId) -> io::Result<&Directory> {
        match self.nodes.get(&node) {
            Some(Node::Dir(dir)) => Ok(dir),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The file behind a handle or a name.
    pub(super) fn inode(&self, node: NodeId) -> &Inode {
        match self.nodes.get(&node) {
            Some(Node::File(inode)) => inode,
            _ => unreachable!("node {node} is a file while it has a handle or was just found"),
        }
    }

    pub(super) fn inode_mut(&mut self, node: NodeId) -> &mut Inode {
        match self.nodes.get_mut(&node) {
            Some(Node::File(inode)) => inode,
            _ => unreachable!("node {node} is a file while it has a handle or was just found"),
        }
    }

    /// Gives back one handle.
    pub(super) fn close(&mut self, node: NodeId) {
        let inode = self.inode_mut(node);
        inode.handles -= 1;
        if inode.handles == 0 && inode.names == 0 {
            self.sweep();
        }
    }

    /// Bytes of all files that have a name or a handle.
    pub(super) fn used_bytes(&self) -> u64 {
        let is_used = |inode: &&Inode| inode.names > 0 || inode.handles > 0;
        self.files().filter(is_used).map(Inode::len).sum()
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &Inode> {
        self.nodes.values().filter_map(|node| match node {
            Node::File(inode) => Some(inode),
            Node::Dir(_) => None,
        })
    }

    /// Where a name is, or would be: its directory is there.
    fn place(&self, path: &Path) -> io::Result<Place> {
        let mut names = names_of(path);
        // The root itself has no place.
        let name = names.pop().ok_or(io::ErrorKind::InvalidInput)?;
        let mut dir = ROOT;
        for parent in names {
            dir = *self.dir(dir)?.current.get(&*parent).ok_or(io::ErrorKind::NotFound)?;
        }
        self.dir(dir)?;
        Ok(Place { dir, name: name.into() })
    }

    fn at(&self, place: &Place) -> Option<NodeId> {
        self.dir(place.dir).ok()?.current.get(&place.name).copied()
    }

    // --- changing names ---

    /// Creates an empty file.
    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<NodeId> {
        let place = self.place(path)?;
        if self.at(&place).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(self.add(place, Node::File(Inode::default())))
    }

    /// Creates a directory and those above it.
    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let names = names_of(path);
        let mut dir = ROOT;
        for (depth, name) in names.iter().enumerate() {
            let place = Place { dir, name: name.as_str().into() };
            dir = match self.at(&place) {
                Some(node) if self.is_dir(node) => node,
                Some(_) if depth + 1 == names.len() => {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                Some(_) => return Err(io::ErrorKind::NotADirectory.into()),
                None => self.add(place, Node::Dir(Directory::default())),
            };
        }
        Ok(())
    }

    pub(super) fn hard_link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        let place = self.place(to)?;
        if self.at(&place).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if self.is_dir(node) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.link(&place, node);
        self.note(NameChange::Add { at: place, node });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        let node = self.at(&from).ok_or(io::ErrorKind::NotFound)?;
        if self.is_dir(node) && self.is_within(to.dir, node) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match self.at(&to) {
            // The target holds the source, so it is not empty, whatever the source is.
            Some(replaced) if self.is_within(from.dir, replaced) => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            // Two names of one file: POSIX keeps both.
            Some(replaced) if replaced == node => return Ok(()),
            Some(replaced) => match (self.is_dir(node), self.is_dir(replaced)) {
                (false, true) => return Err(io::ErrorKind::IsADirectory.into()),
                (true, false) => return Err(io::ErrorKind::NotADirectory.into()),
                (true, true) if !self.dir(replaced)?.current.is_empty() => {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                _ => {}
            },
            None => {}
        }
        self.unlink(&from);
        self.link(&to, node);
        self.note(NameChange::Rename { from, to, node });
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let place = self.place(path)?;
        let node = self.at(&place).ok_or(io::ErrorKind::NotFound)?;
        if self.is_dir(node) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        self.remove(place);
        Ok(())
    }

    /// Removes a directory, what is in it first.
    pub(super) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let node = self.find(path)?;
        self.dir(node)?;
        let place = self.place(path)?;
        self.empty(node)?;
        self.remove(place);
        Ok(())
    }

    fn empty(&mut self, dir: NodeId) -> io::Result<()> {
        for (name, node) in self.dir(dir)?.current.clone().iter() {
            if self.is_dir(*node) {
                self.empty(*node)?;
            }
            self.remove(Place { dir, name: name.clone() });
        }
        Ok(())
    }

    fn add(&mut self, at: Place, node: Node) -> NodeId {
        let id = self.next_node;
        self.next_node += 1;
        self.nodes.insert(id, node);
        self.link(&at, id);
        self.note(NameChange::Add { at, node: id });
        id
    }

    fn remove(&mut self, at: Place) {
        self.unlink(&at);
        self.note(NameChange::Remove { at });
    }

    fn link(&mut self, place: &Place, node: NodeId) {
        if let Some(Node::Dir(dir)) = self.nodes.get_mut(&place.dir) {
            let replaced = Arc::make_mut(&mut dir.current).insert(place.name.clone(), node);
            self.count_name(node, 1);
            replaced.into_iter().for_each(|replaced| self.count_name(replaced, -1));
        }
    }

    fn unlink(&mut self, place: &Place) {
        if let Some(Node::Dir(dir)) = self.nodes.get_mut(&place.dir) {
            let removed = Arc::make_mut(&mut dir.current).remove(&place.name);
            removed.into_iter().for_each(|removed| self.count_name(removed, -1));
        }
    }

    fn count_name(&mut self, node: NodeId, difference: i32) {
        if let Some(Node::File(inode)) = self.nodes.get_mut(&node) {
            inode.names = inode.names.saturating_add_signed(difference);
        }
    }

    fn note(&mut self, change: NameChange) {
        let order = self.next_order();
        self.pending_names.push(PendingName { order, change });
    }

    /// The next place in the order of all changes.
    pub(super) fn next_order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order
    }

    /// Whether `dir` is `above` or below it.
    fn is_within(&self, dir: NodeId, above: NodeId) -> bool {
        let Ok(directory) = self.dir(above) else { return false };
        dir == above || directory.current.values().any(|child| self.is_within(dir, *child))
    }
}

/// The names along a path. The working directory and the root are the same directory here.
fn names_of(path: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
            Component::ParentDir => drop(names.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    names
}

/// A path without ".", ".." and the root: the form in which names are counted and matched.
pub(super) fn normal(path: &Path) -> String {
    names_of(path).join("/")
}
