//! Writes to one object that a core does in one turn: the client's times, which each of them moves, are stored once.
//!
//! A short write that has others behind it lets them go first before it looks at the object again. What the next write to
//! the object sees before itself is what this one left behind, and is reported as that; after the last one the times are
//! stored, the latest of all, and only then does any of them answer. So an answered write has its times on the disk, as if
//! it had been alone, and no client sees a change between two writes of its own.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use kiln_uring::{Errno, SysResult};

use super::Site;
use crate::call::CallTimes;
use crate::storage::posix::mdata::{self, Role};
use crate::storage::posix::{Attrs, Brick};
use crate::types::{Gfid, MdataTimes};

/// The objects of one core that are being written to in this turn.
#[derive(Debug, Default)]
pub(in crate::storage::posix) struct Together(RefCell<Vec<Rc<Wave>>>);

/// The writes to one object.
#[derive(Debug)]
struct Wave {
    site: Site,
    brick: Arc<Brick>,
    /// What the first write found.
    before: Attrs,
    latest: Cell<CallTimes>,
    /// The client's times after the last write.
    mdata: Cell<Option<MdataTimes>>,
    /// What each write left behind, as far as that is known.
    after: RefCell<Vec<Option<SysResult<Attrs>>>>,
    stored: Cell<bool>,
}

impl Together {
    /// What a write with these times finds: `found` is from just now, and knows nothing of the times that the wave has not
    /// stored yet.
    pub(super) fn find(&self, gfid: Gfid, times: &CallTimes, found: Attrs) -> Attrs {
        let Some(wave) = self.open(gfid, times) else { return found };
        let seen = Attrs::new(gfid, found.stat, wave.mdata.get());
        if let Some(after) = wave.after.borrow_mut().last_mut() {
            *after = Some(Ok(seen));
        }
        seen
    }

    /// Such a write is done.
    pub(super) fn join(&self, site: &Site, brick: &Arc<Brick>, before: &Attrs) -> Member<'_> {
        let wave = self.open(site.gfid, &site.times).unwrap_or_else(|| {
            let wave = Rc::new(Wave {
                site: site.clone(),
                brick: Arc::clone(brick),
                before: *before,
                latest: Cell::new(site.times),
                mdata: Cell::new(before.mdata),
                after: RefCell::default(),
                stored: Cell::new(false),
            });
            self.0.borrow_mut().push(Rc::clone(&wave));
            wave
        });
        let latest = wave.latest.get();
        wave.latest.set(CallTimes { stamp: latest.stamp.max(site.times.stamp), ..latest });
        let mdata = mdata::moved(before.mdata, &site.times, Role::Own).or(before.mdata);
        wave.mdata.set(mdata);
        let mut after = wave.after.borrow_mut();
        after.push(None);
        let place = after.len() - 1;
        drop(after);
        Member { all: self, wave, place }
    }

    fn open(&self, gfid: Gfid, times: &CallTimes) -> Option<Rc<Wave>> {
        let waves = self.0.borrow();
        let same = |wave: &&Rc<Wave>| {
            let latest = wave.latest.get();
            wave.site.gfid == gfid
                && (latest.flags, latest.only_existing) == (times.flags, times.only_existing)
        };
        waves.iter().find(same).cloned()
    }

    /// Stores the times of all writes of the wave and looks at what they left behind. Nobody joins it any more.
    fn store(&self, wave: &Rc<Wave>) {
        if wave.stored.replace(true) {
            return;
        }
        self.0.borrow_mut().retain(|other| !Rc::ptr_eq(other, wave));
        let Wave { site, brick, before, latest, after, .. } = &**wave;
        let site = Site { times: latest.get(), ..site.clone() };
        let seen = site.after(brick, before);
        if let Some(last) = after.borrow_mut().last_mut() {
            *last = Some(seen);
        }
    }
}

/// A write that is done and not answered.
pub(super) struct Member<'a> {
    all: &'a Together,
    wave: Rc<Wave>,
    place: usize,
}

impl Member<'_> {
    /// What it left behind, once the others had their turn.
    ///
    /// # Errors
    /// Those of `stat`.
    pub(super) fn after(self) -> SysResult<Attrs> {
        self.all.store(&self.wave);
        let after = self.wave.after.borrow_mut().get_mut(self.place).and_then(Option::take);
        after.unwrap_or(Err(Errno::IO))
    }
}

impl Drop for Member<'_> {
    /// Whoever is given up before its turn still has written.
    fn drop(&mut self) {
        // The list of waves has one, too.
        if Rc::strong_count(&self.wave) <= 2 {
            self.all.store(&self.wave);
        }
    }
}
