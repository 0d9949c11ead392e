//! The calls of the file system trait, on the simulated disk.

use std::path::Path;
use std::sync::Arc;

use super::SimFs;
use super::disk::Node;
use super::fault::{Effect, Operation};
use super::file::{SimFile, SimLock};
use super::machine::Call;
use crate::error::SYNC_DIR;
use crate::{DirEntry, Error, Fs, LockOutcome, OpenMode, Result, SharedFile};

/// The room on a disk without a limit: large, but sums of it do not overflow.
const UNLIMITED_BYTES: u64 = 1 << 40;

impl SimFs {
    fn open_file(&self, path: &Path, mode: OpenMode, is_direct: bool) -> Result<SharedFile> {
        let (operation, action) = match mode {
            OpenMode::CreateNew => (Operation::Create, "create"),
            OpenMode::Read | OpenMode::ReadWrite => (Operation::Open, "open"),
        };
        let node = self.machine.call(Call::new(operation, action, path), |state, _| {
            state.opens.note(path);
            let node = match mode {
                OpenMode::CreateNew => {
                    let node = state.disk.create_file(path)?;
                    state.disk.inode_mut(node).is_past_cache = is_direct;
                    node
                }
                OpenMode::Read | OpenMode::ReadWrite => state.disk.find_file(path)?,
            };
            // At the moment of a crash nobody receives the handle, so there is none to count.
            if !state.has_crashed {
                state.disk.inode_mut(node).handles += 1;
            }
            Ok(node)
        })?;
        let is_writable = mode != OpenMode::Read;
        Ok(Arc::new(SimFile::new(self.machine.clone(), node, path.to_owned(), is_writable)))
    }
}

impl Fs for SimFs {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<SharedFile> {
        self.open_file(path, mode, false)
    }

    fn open_direct(&self, path: &Path, mode: OpenMode) -> Result<SharedFile> {
        self.open_file(path, mode, true)
    }

    fn list(&self, dir: &Path) -> Result<Vec<DirEntry>> {
        self.machine.call(Call::new(Operation::List, "list", dir), |state, _| {
            let names = &state.disk.dir(state.disk.find(dir)?)?.current;
            let entry = |(name, node): (&Arc<str>, _)| match state.disk.nodes.get(node) {
                Some(Node::File(inode)) => {
                    DirEntry { name: name.to_string(), bytes: inode.len(), is_dir: false }
                }
                _ => DirEntry { name: name.to_string(), bytes: 0, is_dir: true },
            };
            Ok(names.iter().map(entry).collect())
        })
    }

    fn exists(&self, path: &Path) -> Result<bool> {
        self.machine.call(Call::new(Operation::Ask, "look for", path), |state, _| {
            match state.disk.find(path) {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    fn create_dir_all(&self, dir: &Path) -> Result<()> {
        let call = Call::new(Operation::Create, "create", dir);
        self.machine.call(call, |state, _| state.disk.create_dir_all(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let call = Call { other_path: Some(to), ..Call::new(Operation::Rename, "rename", from) };
        self.machine.call(call, |state, _| state.disk.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        let call = Call::new(Operation::Remove, "remove", path);
        self.machine.call(call, |state, _| state.disk.remove_file(path))
    }

    fn remove_dir_all(&self, dir: &Path) -> Result<()> {
        let call = Call::new(Operation::Remove, "remove", dir);
        self.machine.call(call, |state, _| state.disk.remove_dir_all(dir))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        let call = Call { other_path: Some(to), ..Call::new(Operation::Link, "link", from) };
        self.machine.call(call, |state, _| state.disk.hard_link(from, to))
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        let call = Call::new(Operation::DirSync, SYNC_DIR, dir);
        let opened = self.machine.call(call, |state, effect| {
            let synced = state.disk.find(dir).and_then(|node| match effect {
                Effect::LosePages => state.disk.lose_names(node),
                _ => state.disk.sync_dir(node),
            });
            // What fails is to open the directory: one that is there can always be synced.
            Ok(synced)
        })?;
        opened.map_err(|source| Error::io("open", dir, source))
    }

    fn try_lock(&self, path: &Path, holder: &str) -> Result<LockOutcome> {
        let call = Call::new(Operation::Lock, "lock", path);
        let taken = self.machine.call(call, |state, _| {
            let node = match state.disk.find_file(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    state.disk.create_file(path)?
                }
                found => found?,
            };
            if state.locked.contains(&node) {
                let text = state.disk.inode(node).current().to_vec();
                return Ok(Err(LockOutcome::held_by(&text)));
            }
            let orders = [state.disk.next_order(), state.disk.next_order()];
            let inode = state.disk.inode_mut(node);
            inode.set_len(orders[0], 0)?;
            inode.write(orders[1], 0, holder.as_bytes())?;
            if !state.has_crashed {
                inode.handles += 1;
                state.locked.insert(node);
            }
            Ok(Ok(node))
        })?;
        Ok(match taken {
            Ok(node) => LockOutcome::Acquired(Box::new(SimLock::new(self.machine.clone(), node))),
            Err(held_by_another) => held_by_another,
        })
    }

    fn available_bytes(&self, dir: &Path) -> Result<u64> {
        let call = Call::new(Operation::Ask, "find the free space of", dir);
        self.machine.call(call, |state, _| {
            state.disk.find(dir)?;
            let limit = state.limit_bytes.unwrap_or(UNLIMITED_BYTES);
            Ok(limit.saturating_sub(state.disk.used_bytes()))
        })
    }
}
