//! Open descriptors, shared by all cores: a front door makes one, every layer may hang state on it, and the table that
//! the client's numbers index is bounded.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use kiln_uring::Errno;
use slab::Slab;

use crate::graph::LayerId;
use crate::types::Gfid;

/// State that a layer hangs on a descriptor; whichever core serves the next fop finds it there.
pub type FdContext = Arc<dyn Any + Send + Sync>;

/// An open file or directory.
pub struct Fd {
    /// Drawn when somebody asks first.
    id: OnceLock<u64>,
    gfid: OnceLock<Gfid>,
    flags: u32,
    directory: bool,
    anonymous: bool,
    pid: i32,
    /// The storage layer's state, apart from the others because every data fop needs it.
    storage: OnceLock<FdContext>,
    contexts: Mutex<Vec<(LayerId, FdContext)>>,
}

/// A shared descriptor.
pub type FdRef = Arc<Fd>;

impl Fd {
    /// A descriptor that `open` or `create` is about to fill. `gfid` is null when only the reply will tell it; `flags` are
    /// the client's `O_*`.
    #[must_use]
    pub fn file(gfid: Gfid, flags: u32, pid: i32) -> FdRef {
        Self::build(gfid, flags, false, false, pid)
    }

    /// A descriptor that `opendir` is about to fill.
    #[must_use]
    pub fn directory(gfid: Gfid, pid: i32) -> FdRef {
        Self::build(gfid, 0, true, false, pid)
    }

    /// A descriptor that nobody opened: the storage layer opens the object when a fop comes (GlusterFS's fd number -2).
    #[must_use]
    pub fn anonymous(gfid: Gfid, flags: u32, pid: i32) -> FdRef {
        Self::build(gfid, flags, false, true, pid)
    }

    fn build(gfid: Gfid, flags: u32, directory: bool, anonymous: bool, pid: i32) -> FdRef {
        let fd = Self {
            id: OnceLock::new(),
            gfid: OnceLock::new(),
            flags,
            directory,
            anonymous,
            pid,
            storage: OnceLock::new(),
            contexts: Mutex::new(Vec::new()),
        };
        if !gfid.is_null() {
            fd.bind(gfid);
        }
        Arc::new(fd)
    }

    /// A number that no other descriptor of this process ever has.
    #[must_use]
    pub fn id(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        *self.id.get_or_init(|| NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The object; null until `create` told it.
    #[must_use]
    pub fn gfid(&self) -> Gfid {
        self.gfid.get().copied().unwrap_or(Gfid::NULL)
    }

    /// Tells which object it is. The first call counts: a descriptor never changes its object.
    pub fn bind(&self, gfid: Gfid) {
        let _ = self.gfid.set(gfid);
    }

    /// `O_*` flags of the open.
    #[must_use]
    pub const fn flags(&self) -> u32 {
        self.flags
    }

    /// Whether it came from `opendir`.
    #[must_use]
    pub const fn is_directory(&self) -> bool {
        self.directory
    }

    /// Whether nobody opened it.
    #[must_use]
    pub const fn is_anonymous(&self) -> bool {
        self.anonymous
    }

    /// The process that opened it, informational; negative for internal clients.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// The storage layer's state.
    #[must_use]
    pub fn storage<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.storage.get()?.downcast_ref()
    }

    /// Hangs the storage layer's state on it; false when there was one already, which then stays.
    pub fn set_storage<T: Any + Send + Sync>(&self, state: Arc<T>) -> bool {
        self.storage.set(state).is_ok()
    }

    /// The state that `layer` has hung on it.
    #[must_use]
    pub fn context<T: Any + Send + Sync>(&self, layer: LayerId) -> Option<Arc<T>> {
        let contexts = self.contexts();
        let (_, context) = contexts.iter().find(|(owner, _)| *owner == layer)?;
        Arc::clone(context).downcast().ok()
    }

    /// Hangs the state of `layer` on it, replacing what it had.
    pub fn set_context<T: Any + Send + Sync>(&self, layer: LayerId, context: Arc<T>) {
        let mut contexts = self.contexts();
        contexts.retain(|(owner, _)| *owner != layer);
        contexts.push((layer, context));
    }

    /// The state that `layer` has hung on it, or else what `make` makes, which hangs there then. Of several cores that call
    /// it at once all get the same.
    pub fn context_or<T: Any + Send + Sync>(&self, layer: LayerId, make: impl FnOnce() -> T) -> Arc<T> {
        let mut contexts = self.contexts();
        let at = contexts.iter().position(|(owner, _)| *owner == layer);
        if let Some(known) = at.and_then(|at| Arc::clone(&contexts[at].1).downcast().ok()) {
            return known;
        }
        let made = Arc::new(make());
        contexts.retain(|(owner, _)| *owner != layer);
        contexts.push((layer, Arc::clone(&made) as FdContext));
        made
    }

    fn contexts(&self) -> MutexGuard<'_, Vec<(LayerId, FdContext)>> {
        self.contexts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.anonymous, self.directory) {
            (true, _) => "anonymous",
            (false, true) => "dir",
            (false, false) => "file",
        };
        write!(f, "<{what} fd of {} flags {:#o}>", self.gfid(), self.flags)
    }
}

/// The descriptors of one client, by the number the client knows. Bounded: a client that opens without ever closing gets
/// EMFILE, and memory does not grow.
#[derive(Debug)]
pub struct FdTable {
    slots: Mutex<Slab<FdRef>>,
    limit: usize,
}

impl FdTable {
    /// A table for at most `limit` descriptors.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { slots: Mutex::new(Slab::new()), limit }
    }

    /// Gives `fd` a number.
    ///
    /// # Errors
    /// `EMFILE` when the table is full.
    pub fn insert(&self, fd: FdRef) -> Result<u64, Errno> {
        let mut slots = self.slots();
        if slots.len() >= self.limit {
            return Err(Errno::MFILE);
        }
        Ok(slots.insert(fd) as u64)
    }

    /// The descriptor of that number.
    ///
    /// # Errors
    /// `EBADF` for a number that was never given out or is closed.
    pub fn get(&self, number: u64) -> Result<FdRef, Errno> {
        let index = usize::try_from(number).map_err(|_| Errno::BADF)?;
        self.slots().get(index).cloned().ok_or(Errno::BADF)
    }

    /// Takes the descriptor out.
    pub fn remove(&self, number: u64) -> Option<FdRef> {
        self.slots().try_remove(usize::try_from(number).ok()?)
    }

    /// Takes all descriptors out: their client is gone.
    #[must_use]
    pub fn drain(&self) -> Vec<FdRef> {
        self.slots().drain().collect()
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots().len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most that may be open.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    fn slots(&self) -> MutexGuard<'_, Slab<FdRef>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_bounded_and_forgets() {
        let table = FdTable::new(2);
        let first = table.insert(Fd::file(Gfid::ROOT, 0, 1)).unwrap();
        table.insert(Fd::directory(Gfid::ROOT, 1)).unwrap();
        assert_eq!(table.insert(Fd::file(Gfid::ROOT, 0, 1)).unwrap_err(), Errno::MFILE);
        assert!(table.remove(first).is_some());
        assert_eq!(table.get(first).unwrap_err(), Errno::BADF);
        assert_eq!(table.get(u64::MAX).unwrap_err(), Errno::BADF);
        assert_eq!(table.drain().len(), 1);
        assert!(table.is_empty());
    }

    #[test]
    fn every_descriptor_has_its_own_number() {
        let (first, second) = (Fd::file(Gfid::ROOT, 0, 1), Fd::file(Gfid::ROOT, 0, 1));
        assert_eq!(second.id(), second.id());
        assert_ne!(first.id(), second.id());
    }

    #[test]
    fn state_belongs_to_its_layer_and_the_object_never_changes() {
        let fd = Fd::file(Gfid::NULL, 0, 1);
        fd.bind(Gfid::ROOT);
        fd.bind(Gfid::from_bytes([7; 16]));
        assert_eq!(fd.gfid(), Gfid::ROOT);
        fd.set_context(LayerId(1), Arc::new(5_u32));
        assert_eq!(fd.context::<u32>(LayerId(1)).as_deref(), Some(&5));
        assert!(fd.context::<u32>(LayerId(2)).is_none());
        assert_eq!(*fd.context_or(LayerId(1), || 6_u32), 5);
        assert_eq!(*fd.context_or(LayerId(2), || 7_u32), 7);
        assert_eq!(fd.context::<u32>(LayerId(2)).as_deref(), Some(&7));
        assert!(fd.set_storage(Arc::new("first")) && !fd.set_storage(Arc::new("second")));
        assert_eq!(fd.storage::<&str>(), Some(&"first"));
    }
}
