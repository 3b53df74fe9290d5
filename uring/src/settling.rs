//! Those who wait until a core has nothing else to do.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

use slab::Slab;

/// The list of a core.
#[derive(Default)]
pub(crate) struct Settling {
    waiting: RefCell<Slab<Waker>>,
    /// How often all were let go: whoever came before the last time waits no longer.
    releases: Cell<u64>,
}

impl Settling {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Lets all go who wait.
    pub(crate) fn release(&self) {
        self.releases.set(self.releases.get() + 1);
        self.waiting.borrow_mut().drain().for_each(Waker::wake);
    }
}

/// One who waits, or has not begun to. Dropping it takes it off the list.
pub(crate) struct Settled<'a> {
    settling: &'a Settling,
    /// Its place in the list, and the count of releases when it was taken.
    taken: Option<(usize, u64)>,
}

impl<'a> Settled<'a> {
    pub(crate) const fn new(settling: &'a Settling) -> Self {
        Self { settling, taken: None }
    }

    /// Ready once all were let go who waited when it was first called.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        let Settling { waiting, releases } = self.settling;
        match self.taken {
            Some((_, since)) if since != releases.get() => return Poll::Ready(()),
            Some((at, _)) => waiting.borrow_mut()[at].clone_from(cx.waker()),
            None => self.taken = Some((waiting.borrow_mut().insert(cx.waker().clone()), releases.get())),
        }
        Poll::Pending
    }
}

impl Drop for Settled<'_> {
    fn drop(&mut self) {
        if let Some((at, since)) = self.taken
            && since == self.settling.releases.get()
        {
            self.settling.waiting.borrow_mut().remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ready(place: &mut Settled<'_>) -> bool {
        place.poll(&Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn all_who_wait_are_let_go_and_none_before() {
        let settling = Settling::default();
        let (mut early, mut late) = (Settled::new(&settling), Settled::new(&settling));
        assert!(settling.is_empty());
        assert!(!is_ready(&mut early) && !is_ready(&mut early));
        assert!(!settling.is_empty());
        settling.release();
        assert!(settling.is_empty());
        assert!(is_ready(&mut early) && !is_ready(&mut late));
        drop(early);
        assert!(!settling.is_empty(), "its place is somebody else's by now");
        settling.release();
        assert!(is_ready(&mut late));
    }

    #[test]
    fn who_waits_no_longer_is_off_the_list() {
        let settling = Settling::default();
        let (mut one, mut other) = (Settled::new(&settling), Settled::new(&settling));
        assert!(!is_ready(&mut one) && !is_ready(&mut other));
        drop(one);
        assert!(!settling.is_empty());
        drop(other);
        assert!(settling.is_empty());
    }
}
