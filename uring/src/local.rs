//! Which core runs on the present thread, and where to find the others by number.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, PoisonError, RwLock};

use slab::Slab;

use crate::handle::Inner;
use crate::mailbox::Shared;
use crate::task::WakeRef;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Inner>>> = const { RefCell::new(None) };
}

/// Every core of the process, for wakes that come from foreign threads. Locked for writing only when a core starts or ends.
static REGISTRY: RwLock<Slab<Arc<Shared>>> = RwLock::new(Slab::new());

/// Calls `f` with the core that runs on this thread; `None` on any other thread. `f` must not run foreign code.
pub(crate) fn with_current<R>(f: impl FnOnce(&Rc<Inner>) -> R) -> Option<R> {
    CURRENT.try_with(|current| current.borrow().as_ref().map(f)).ok().flatten()
}

/// Makes a core the present thread's own while the guard lives.
pub(crate) fn enter(core: &Rc<Inner>) -> Entered {
    Entered { before: CURRENT.with(|current| current.replace(Some(core.clone()))) }
}

/// Restores what was before [`enter`].
pub(crate) struct Entered {
    before: Option<Rc<Inner>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.before.take();
        let mine = CURRENT.try_with(|current| current.replace(before));
        // Dropped outside of the borrow: it may be the last owner of the core.
        drop(mine);
    }
}

/// Puts a core into the registry; `None` when 65 536 live already.
pub(crate) fn register(make: impl FnOnce(u16) -> Arc<Shared>) -> Option<Arc<Shared>> {
    let mut all = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
    let entry = all.vacant_entry();
    let number = u16::try_from(entry.key()).ok()?;
    Some(entry.insert(make(number)).clone())
}

/// Takes a core out of the registry. Wakers that still name it wake nobody.
pub(crate) fn unregister(core: &Arc<Shared>) {
    let mut all = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
    let number = usize::from(core.number);
    // The number may have a new owner already.
    let gone = all.get(number).is_some_and(|found| Arc::ptr_eq(found, core)).then(|| all.remove(number));
    drop(all);
    drop(gone);
}

/// Wakes a task from wherever the caller is.
pub(crate) fn wake(target: WakeRef) {
    let here = with_current(|core| {
        let mine = core.shared.number == target.core;
        if mine {
            core.tasks.borrow_mut().wake(target.task);
        }
        mine
    });
    if here == Some(true) {
        return;
    }
    let shared = {
        let all = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
        all.get(usize::from(target.core)).cloned()
    };
    if let Some(shared) = shared {
        shared.wake(target.task);
    }
}
