//! An open file of a simulated disk, and a held lock.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::NodeId;
use super::fault::{Effect, Operation};
use super::machine::{Call, Machine};
use crate::{Error, File, LockGuard, Mapping, Result, SharedStores, Stores};

/// A handle: it keeps its file alive after the last name is gone.
pub(super) struct SimFile {
    machine: Arc<Machine>,
    node: NodeId,
    path: PathBuf,
    is_writable: bool,
}

impl SimFile {
    /// The caller has counted the handle.
    pub(super) fn new(
        machine: Arc<Machine>,
        node: NodeId,
        path: PathBuf,
        is_writable: bool,
    ) -> Self {
        Self { machine, node, path, is_writable }
    }

    fn call(&self, operation: Operation, action: &'static str) -> Call<'_> {
        Call::new(operation, action, &self.path)
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.is_writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl File for SimFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> Result<u64> {
        let call = self.call(Operation::Ask, "find the length of");
        self.machine.call(call, |state, _| Ok(state.disk.inode(self.node).len()))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.machine.call(self.call(Operation::Read, "read"), |state, effect| {
            let wanted = match effect {
                Effect::Short => buffer.len() / 2,
                _ => buffer.len(),
            };
            let content = state.disk.inode(self.node).current();
            let read = content.read(offset, &mut buffer[..wanted]);
            state.bytes_read += read as u64;
            if read < wanted { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.machine.call(self.call(Operation::Write, "write"), |state, effect| {
            self.check_writable()?;
            let bytes = match effect {
                Effect::Short => &bytes[..bytes.len() / 2],
                _ => bytes,
            };
            // Where the disk is full, what fits is written: overwriting always fits.
            let limit = state.length_limit(state.disk.inode(self.node).len());
            let fitting = (bytes.len() as u64).min(limit.saturating_sub(offset)) as usize;
            let order = state.disk.next_order();
            state.disk.inode_mut(self.node).write(order, offset, &bytes[..fitting])?;
            state.bytes_written += fitting as u64;
            if fitting < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    }

    fn sync(&self) -> Result<()> {
        self.machine.call(self.call(Operation::Sync, "sync"), |state, effect| {
            state.syncs.note(&self.path);
            let inode = state.disk.inode_mut(self.node);
            match effect {
                Effect::LosePages => inode.lose_pages(),
                _ => inode.sync(),
            }
            Ok(())
        })
    }

    /// A write and a sync of the pages that it touches: a crash may come between the two. A sync that
    /// fails may lose any page of the file, as every one.
    fn write_through(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.write_at(offset, bytes)?;
        self.machine.call(self.call(Operation::Sync, "sync"), |state, effect| {
            state.syncs.note(&self.path);
            let inode = state.disk.inode_mut(self.node);
            match effect {
                Effect::LosePages => inode.lose_pages(),
                _ => inode.sync_range(offset, offset + bytes.len() as u64),
            }
            Ok(())
        })
    }

    fn set_len(&self, bytes: u64) -> Result<()> {
        self.machine.call(self.call(Operation::Write, "set the length of"), |state, _| {
            self.check_writable()?;
            let length = state.disk.inode(self.node).len();
            if bytes > length && bytes > state.length_limit(length) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let order = state.disk.next_order();
            state.disk.inode_mut(self.node).set_len(order, bytes)
        })
    }

    fn map(&self) -> Result<Mapping> {
        self.machine.call(self.call(Operation::Map, "map"), |state, _| {
            state.maps.note(&self.path);
            Ok(Mapping::held(state.disk.inode_mut(self.node).mapped()))
        })
    }

    fn is_in_memory(&self) -> bool {
        !self.machine.lock().disk.inode(self.node).is_past_cache
    }

    fn map_for_stores(&self) -> Result<Option<SharedStores>> {
        let bytes = self.machine.call(self.call(Operation::Map, "map"), |state, _| {
            self.check_writable()?;
            // At the moment of a crash nobody receives the mapping, so there is none to count.
            if !state.has_crashed {
                state.disk.inode_mut(self.node).handles += 1;
            }
            Ok(state.disk.inode(self.node).len())
        })?;
        let file = Self::new(self.machine.clone(), self.node, self.path.clone(), true);
        Ok(Some(Arc::new(SimStores { file, bytes })))
    }
}

/// A file mapped to be stored into: a store is a write that never makes the file longer.
#[derive(Debug)]
struct SimStores {
    file: SimFile,
    bytes: u64,
}

impl Stores for SimStores {
    fn store(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        if offset.saturating_add(bytes.len() as u64) > self.bytes {
            let outside = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(Error::io("store beyond the end of", &self.file.path, outside));
        }
        self.file.write_at(offset, bytes)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.machine.lock().disk.close(self.node);
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A held lock file. The lock goes with the file, not with its name.
pub(super) struct SimLock {
    machine: Arc<Machine>,
    node: NodeId,
}

impl SimLock {
    /// The caller has entered the lock, and counted a handle.
    pub(super) fn new(machine: Arc<Machine>, node: NodeId) -> Self {
        Self { machine, node }
    }
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.machine.lock();
        state.locked.remove(&self.node);
        state.disk.close(self.node);
    }
}

impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimLock").field("node", &self.node).finish_non_exhaustive()
    }
}
