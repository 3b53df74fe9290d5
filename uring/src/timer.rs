//! Timers of one core: a binary heap that knows where each timer sits, so that cancelling one (the common end of a
//! timeout) really removes it. No allocation once the arrays have grown.

use std::task::Waker;

use slab::Slab;

use crate::time::Instant;

struct Timer {
    at: Instant,
    /// Breaks ties: timers of one instant fire in the order in which they were set.
    order: u64,
    /// Where it sits in the heap; `usize::MAX` once fired.
    place: usize,
    waker: Waker,
}

/// Fired timers are no longer in the heap.
const FIRED: usize = usize::MAX;

/// All timers of a core.
#[derive(Default)]
pub(crate) struct Timers {
    slab: Slab<Timer>,
    heap: Vec<usize>,
    order: u64,
}

impl Timers {
    /// Sets a timer; the key stays valid until [`Timers::remove`].
    pub(crate) fn insert(&mut self, at: Instant, waker: Waker) -> usize {
        self.order += 1;
        let place = self.heap.len();
        let key = self.slab.insert(Timer { at, order: self.order, place, waker });
        self.heap.push(key);
        self.up(place);
        key
    }

    /// Whether the timer fired. Otherwise `waker` replaces the one to wake.
    pub(crate) fn poll(&mut self, key: usize, waker: &Waker) -> bool {
        let timer = &mut self.slab[key];
        if timer.place == FIRED {
            return true;
        }
        timer.waker.clone_from(waker);
        false
    }

    /// Forgets a timer, fired or not.
    pub(crate) fn remove(&mut self, key: usize) {
        let Some(timer) = self.slab.try_remove(key) else { return };
        if timer.place != FIRED {
            self.unlink(timer.place);
        }
    }

    /// When the next timer fires.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|&key| self.slab[key].at)
    }

    /// Takes the waker of one timer that is due at `now`.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<Waker> {
        let &key = self.heap.first()?;
        if self.slab[key].at > now {
            return None;
        }
        self.unlink(0);
        let timer = &mut self.slab[key];
        timer.place = FIRED;
        Some(timer.waker.clone())
    }

    fn unlink(&mut self, place: usize) {
        self.heap.swap_remove(place);
        if let Some(&moved) = self.heap.get(place) {
            self.slab[moved].place = place;
            self.down(place);
            self.up(self.slab[moved].place);
        }
    }

    fn before(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.slab[self.heap[a]], &self.slab[self.heap[b]]);
        (a.at, a.order) < (b.at, b.order)
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.slab[self.heap[a]].place = a;
        self.slab[self.heap[b]].place = b;
    }

    fn up(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if !self.before(place, parent) {
                return;
            }
            self.swap(place, parent);
            place = parent;
        }
    }

    fn down(&mut self, mut place: usize) {
        loop {
            let mut least = place;
            for child in [2 * place + 1, 2 * place + 2] {
                if child < self.heap.len() && self.before(child, least) {
                    least = child;
                }
            }
            if least == place {
                return;
            }
            self.swap(place, least);
            place = least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Set(u64),
        Cancel(usize),
        Expire(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0_u64..100).prop_map(Step::Set),
            2 => any::<usize>().prop_map(Step::Cancel),
            1 => (0_u64..100).prop_map(Step::Expire),
        ]
    }

    proptest! {
        /// Against a sorted map: the same timers fire, in the same order, and cancelled ones never do.
        #[test]
        fn fires_like_a_sorted_map(steps in prop::collection::vec(step(), 0..200)) {
            let mut timers = Timers::default();
            let mut model: BTreeMap<(u64, u64), usize> = BTreeMap::new();
            let mut fired = Vec::new();
            let mut order = 0;
            for step in steps {
                match step {
                    Step::Set(at) => {
                        order += 1;
                        let key = timers.insert(Instant::from_nanos(at), Waker::noop().clone());
                        prop_assert!(!fired.contains(&key));
                        model.insert((at, order), key);
                    }
                    Step::Cancel(which) if !model.is_empty() => {
                        let id = *model.keys().nth(which % model.len()).unwrap();
                        timers.remove(model.remove(&id).unwrap());
                    }
                    Step::Cancel(_) => {
                        if let Some(key) = fired.pop() {
                            timers.remove(key);
                        }
                    }
                    Step::Expire(now) => {
                        while let Some(_waker) = timers.expire(Instant::from_nanos(now)) {
                            let (id, key) = model.pop_first().expect("nothing fires that was not set");
                            prop_assert!(id.0 <= now);
                            prop_assert!(timers.poll(key, Waker::noop()), "the earliest is the one that fired");
                            fired.push(key);
                        }
                        prop_assert!(model.keys().next().is_none_or(|&(at, _)| at > now));
                    }
                }
                prop_assert_eq!(timers.next().map(Instant::as_nanos), model.keys().next().map(|&(at, _)| at));
                for key in model.values() {
                    prop_assert!(!timers.poll(*key, Waker::noop()));
                }
            }
        }
    }
}
