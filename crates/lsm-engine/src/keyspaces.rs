//! Keyspaces created, dropped and changed, each durably, while the rest of the database goes on.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lsm_manifest::ManifestEdit;

use crate::batch::DEFAULT_KEYSPACE;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::keyspace::{Keyspace, KeyspaceCore, check_name};
use crate::options::KeyspaceOptions;
use crate::recover::new_core;
use crate::shared::Shared;
use crate::spread::Spread;
use crate::view::{Tree, View};
use crate::waiter::Goal;

impl Db {
    /// The keyspace called `name`, created with the database's default options if there is none.
    ///
    /// ```
    /// # use lsm_engine::{Db, Reads};
    /// # let dir = tempfile::tempdir()?;
    /// # let db = Db::open(dir.path())?;
    /// let users = db.keyspace("users")?;
    /// users.put("1", "Ada")?;
    /// assert!(!db.contains_key("1")?, "the default keyspace is another map");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `Invalid` for a name that is empty or longer than 255 bytes, and where the keyspace has another
    /// merge operator or compaction filter than that of the default options; those of a write.
    pub fn keyspace(&self, name: &str) -> Result<Keyspace> {
        check_name(name)?;
        let shared = self.shared();
        let core = shared.open_keyspace(name, &shared.options.keyspace)?;
        let (given, may_miss) = (&shared.options.keyspace, shared.options.without_operators);
        // One that has an operator, or a filter, already needs none.
        if core.operator().is_none() {
            core.take_operator(given.merge_operator.as_ref(), may_miss)?;
        }
        if core.value_filter().is_none() {
            core.take_filter(given.compaction_filter.as_ref(), may_miss)?;
        }
        Ok(Keyspace { db: self.handle().clone(), core: Spread::new(&core) })
    }

    /// The keyspace called `name`, created with `options` if there is none. One that is there keeps
    /// the options it has; [`Keyspace::set_options`] changes them. Only its merge operator and its
    /// compaction filter have to be given each time, and are taken over where it has none.
    ///
    /// # Errors
    /// Those of [`keyspace`](Self::keyspace), and `Invalid` for an unacceptable option.
    #[allow(clippy::needless_pass_by_value)]
    pub fn keyspace_with(&self, name: &str, options: KeyspaceOptions) -> Result<Keyspace> {
        check_name(name)?;
        options.check()?;
        let shared = self.shared();
        let core = shared.open_keyspace(name, &options)?;
        let may_miss = shared.options.without_operators;
        let given = options.merge_operator.as_ref();
        if core.take_operator(given, may_miss)? && !shared.is_read_only {
            shared.set_options(&core, core.options().with_operator(given))?;
        }
        let given = options.compaction_filter.as_ref();
        if core.take_filter(given, may_miss)? && !shared.is_read_only {
            shared.set_options(&core, core.options().with_filter(given))?;
        }
        Ok(Keyspace { db: self.handle().clone(), core: Spread::new(&core) })
    }

    /// The names of all keyspaces, the default one ("default") first.
    pub fn keyspaces(&self) -> Vec<String> {
        self.shared().live_keyspaces().iter().map(|core| core.name.clone()).collect()
    }

    /// Removes a keyspace and everything in it, durably. Handles to it fail with `Invalid` from
    /// then on; scans under way end as they began.
    ///
    /// # Errors
    /// `Invalid` for the default keyspace; those of a write.
    #[allow(clippy::needless_pass_by_value)]
    pub fn drop_keyspace(&self, keyspace: Keyspace) -> Result<()> {
        self.shared().drop_keyspace(&keyspace.core)
    }
}

impl Shared {
    /// The keyspace called `name`, created durably if there is none.
    pub(crate) fn open_keyspace(
        &self,
        name: &str,
        options: &KeyspaceOptions,
    ) -> Result<Arc<KeyspaceCore>> {
        let find = || {
            let keyspaces = self.keyspaces.load();
            keyspaces.values().find(|core| core.name == name && !core.is_dropped()).cloned()
        };
        if let Some(core) = find() {
            return Ok(core);
        }
        self.check_writable()?;
        let mut manifest = self.lock_manifest()?;
        // Somebody may have created it while this thread waited for the manifest.
        if let Some(core) = find() {
            return Ok(core);
        }
        // A keyspace of this name that is being dropped is there until its drop is durable.
        while manifest.state().keyspaces.iter().any(|state| state.name == name) {
            drop(manifest);
            std::thread::sleep(Duration::from_millis(1));
            self.check_writable()?;
            if let Some(core) = find() {
                return Ok(core);
            }
            manifest = self.lock_manifest()?;
        }
        let id = manifest.state().next_keyspace_id;
        // Not `appended`: after a power cut the numbers above `durable` are given out again, and what
        // is written under them would be taken for flushed.
        let created_at = self.commit.durable();
        let edit = ManifestEdit {
            create_keyspaces: vec![(id, name.to_owned(), options.to_string(), created_at)],
            takes_operands: options.merge_operator.iter().map(|_| id).collect(),
            ..ManifestEdit::default()
        };
        // Order: the keyspace is durable before a batch can name it.
        self.append_edit(&mut manifest, edit)?;
        let state = manifest.state().keyspace(id).expect("the edit created it");
        let tree = Tree::new(Arc::clone(&state.version), None, &self.tables);
        let core = new_core(state, View::opened(self.new_memtable(0), tree))?;
        if let Some(operator) = &options.merge_operator {
            core.set_operator(operator);
        }
        self.keyspaces.rcu(|keyspaces| {
            let mut keyspaces = (**keyspaces).clone();
            keyspaces.insert(id, Arc::clone(&core));
            keyspaces
        });
        Ok(core)
    }

    /// Drops a keyspace, durably. Until that is done a crash brings it back whole.
    pub(crate) fn drop_keyspace(&self, core: &Arc<KeyspaceCore>) -> Result<()> {
        if core.id == DEFAULT_KEYSPACE {
            return Err(Error::invalid("the default keyspace cannot be dropped"));
        }
        self.check_writable()?;
        {
            let _order = self.commit.lock_order();
            if core.dropped.swap(true, Ordering::AcqRel) {
                return Err(core.dropped_error());
            }
        }
        if let Err(error) = self.drop_durably(core) {
            // It is still there, and goes on.
            core.dropped.store(false, Ordering::Release);
            return Err(error);
        }
        let view = core.view.load_full();
        view.tree.tables().for_each(|table| table.mark_replaced());
        view.tree.blobs.iter().for_each(|file| file.mark_replaced());
        self.keyspaces.rcu(|keyspaces| {
            let mut keyspaces = (**keyspaces).clone();
            keyspaces.remove(&core.id);
            keyspaces
        });
        // Handles that are left keep neither its memory nor writers elsewhere waiting.
        core.swap_view(|view| view.with_tree(Arc::clone(&view.tree), &view.sealed));
        self.compaction.forget(core.id);
        self.update_pressure();
        Ok(())
    }

    fn drop_durably(&self, core: &KeyspaceCore) -> Result<()> {
        // Order: the log is durable up to here before the drop is. Else a power cut could keep the
        // drop and lose what was written before it.
        self.commit.reach(Goal::Durable(self.commit.appended()))?;
        let mut manifest = self.lock_manifest()?;
        let edit = ManifestEdit { drop_keyspaces: vec![core.id], ..ManifestEdit::default() };
        self.append_edit(&mut manifest, edit)
    }

    /// Changes a keyspace's options, durably and live.
    pub(crate) fn set_options(
        &self,
        core: &KeyspaceCore,
        mut options: KeyspaceOptions,
    ) -> Result<()> {
        options.check()?;
        self.check_writable()?;
        let mut manifest = self.lock_manifest()?;
        if core.is_dropped() {
            return Err(core.dropped_error());
        }
        core.check_change(options.merge_operator.as_ref())?;
        options.compaction_filter = core.changed_filter(options.compaction_filter.as_ref())?;
        let edit = ManifestEdit {
            set_options: vec![(core.id, options.to_string())],
            takes_operands: options.merge_operator.iter().map(|_| core.id).collect(),
            ..ManifestEdit::default()
        };
        self.append_edit(&mut manifest, edit)?;
        let operator = options.merge_operator.clone();
        core.set_options(Arc::new(options));
        // Order: after the edit (see operator.rs).
        if let Some(operator) = &operator {
            core.set_operator(operator);
        }
        drop(manifest);
        self.update_pressure();
        self.background.wake_compaction();
        Ok(())
    }
}
