//! Owner cores: state of an object that must have a single writer lives on one core, chosen by gfid.
//!
//! A layer keeps one such state per core (a table of the locks of the objects that the core owns, say) and reaches the state
//! of an object through [`Owners`]: on the owner itself that is a plain call, from another core a message and its answer.
//! Messages of one core to another arrive in the order in which they were sent, and never overtake each other.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_uring::{Closed, Core};

use crate::handoff::handoff;
use crate::types::Gfid;

/// Tells the states of one layer from those of others; made in `prepare`, and the same on all cores.
#[derive(Debug)]
pub struct OwnerKey {
    id: u64,
    cores: usize,
}

impl OwnerKey {
    /// For a layer with an instance on each of `cores` cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), cores: cores.max(1) }
    }
}

type Address = (u64, usize);

thread_local! {
    /// The states on this thread by layer and core: a message finds its state here. (Simulated cores share a thread.)
    static STATES: RefCell<HashMap<Address, Weak<dyn Any>>> = RefCell::default();
}

fn state_at<S: 'static>(address: Address) -> Option<Rc<S>> {
    let found = STATES.with_borrow(|states| states.get(&address).and_then(Weak::upgrade))?;
    found.downcast().ok()
}

/// One core's view of a layer's states.
#[derive(Debug)]
pub struct Owners<S: 'static> {
    id: u64,
    cores: u64,
    core: Core,
    state: Rc<S>,
}

impl<S: 'static> Owners<S> {
    /// Gives `core` its state.
    #[must_use]
    pub fn new(key: &OwnerKey, core: &Core, state: S) -> Self {
        let state = Rc::new(state);
        let any: Rc<dyn Any> = Rc::clone(&state) as Rc<dyn Any>;
        STATES.with_borrow_mut(|states| states.insert((key.id, core.id()), Rc::downgrade(&any)));
        let cores = key.cores.min(core.peers().len()).max(1) as u64;
        Self { id: key.id, cores, core: core.clone(), state }
    }

    /// The core that owns `gfid`.
    #[must_use]
    pub fn owner_of(&self, gfid: Gfid) -> usize {
        // The high half of the product: all bits of the number count, also of gfids that were not drawn at random.
        let spread = gfid.ino().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((u128::from(spread) * u128::from(self.cores)) >> 64) as usize
    }

    /// Whether this core owns `gfid`.
    #[must_use]
    pub fn is_mine(&self, gfid: Gfid) -> bool {
        self.cores == 1 || self.owner_of(gfid) == self.core.id()
    }

    /// The core.
    #[must_use]
    pub const fn core(&self) -> &Core {
        &self.core
    }

    /// The state of this core.
    #[must_use]
    pub fn mine(&self) -> &S {
        &self.state
    }

    /// Runs `job` on the owner of `gfid`: now, when that is this core, otherwise soon. When the owner has stopped, its state
    /// is gone, and so is the job.
    pub fn post(&self, gfid: Gfid, job: impl FnOnce(&S, &Core) + Send + 'static) {
        if self.is_mine(gfid) {
            job(&self.state, &self.core);
        } else {
            self.send(self.owner_of(gfid), job);
        }
    }

    /// Runs `job` on the owner of `gfid` and waits for its value; no message when that is this core. The job runs even if
    /// the wait is dropped.
    ///
    /// # Errors
    /// [`Closed`] when the owner has stopped.
    pub async fn ask<T: Send + 'static>(
        &self,
        gfid: Gfid,
        job: impl FnOnce(&S, &Core) -> T + Send + 'static,
    ) -> Result<T, Closed> {
        if self.is_mine(gfid) {
            return Ok(job(&self.state, &self.core));
        }
        let (giver, taker) = handoff();
        self.send(self.owner_of(gfid), move |state: &S, core: &Core| {
            // Nobody waits any more: then nobody needs the value.
            let _ = giver.give(job(state, core));
        });
        taker.await.ok_or(Closed)
    }

    /// Runs `job` on every core: here now, elsewhere soon.
    pub fn everywhere(&self, job: impl Fn(&S, &Core) + Clone + Send + 'static) {
        for core in (0..self.cores as usize).filter(|core| *core != self.core.id()) {
            self.send(core, job.clone());
        }
        job(&self.state, &self.core);
    }

    fn send(&self, core: usize, job: impl FnOnce(&S, &Core) + Send + 'static) {
        let id = self.id;
        let Some(remote) = self.core.peers().get(core) else { return };
        // A core that has stopped has no state left to speak of.
        let _ = remote.post(move |core| {
            if let Some(state) = state_at::<S>((id, core.id())) {
                job(&state, core);
            }
        });
    }
}

impl<S: 'static> Drop for Owners<S> {
    fn drop(&mut self) {
        // At the end of a thread its variables may be gone already.
        let _ = STATES.try_with(|states| states.borrow_mut().remove(&(self.id, self.core.id())));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use kiln_uring::sim::Sim;

    use super::*;
    use crate::testing::gfid;

    #[test]
    fn every_object_has_one_owner_and_all_cores_agree() {
        let key = OwnerKey::new(4);
        let totals = Sim::new(7).run_cores(4, |core| {
            let owners = Owners::new(&key, &core, Cell::new(0_u32));
            async move {
                // All cores have their state before anyone speaks.
                core.sleep(Duration::from_millis(1)).await;
                for byte in 0..100 {
                    let (told, value) = owners
                        .ask(gfid(byte), |count, core| {
                            count.set(count.get() + 1);
                            (core.id(), count.get())
                        })
                        .await
                        .unwrap();
                    assert_eq!(told, owners.owner_of(gfid(byte)));
                    assert!(value > 0);
                }
                owners.everywhere(|count, _| count.set(count.get() + 1000));
                core.sleep(Duration::from_millis(1)).await;
                owners.mine().get()
            }
        });
        assert_eq!(totals.iter().sum::<u32>(), 400 + 16 * 1000);
        assert!(totals.iter().all(|total| *total > 4000), "{totals:?}");
    }
}
