//! The tasks of one core: a slab of boxed futures, the queue of runnable ones, and their wakers.
//!
//! A waker is one machine word and owns nothing: it names the core, the slot and the slot's generation. Cloning and
//! dropping it is free. A wake on the task's own core pushes a slot number to a queue and touches no atomic; a wake from
//! anywhere else finds the core in a registry and goes through its mailbox. A waker that outlives its task names a
//! generation that is gone, and wakes nobody.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::ptr;
use std::task::{RawWaker, RawWakerVTable, Waker};

use slab::Slab;

use crate::local;

const SLOT_BITS: u32 = 24;
const GENERATION_BITS: u32 = 24;
/// Most tasks that one core can hold at once.
pub(crate) const MAX_TASKS: usize = 1 << SLOT_BITS;
const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

const _: () = assert!(usize::BITS == 64, "a waker packs core, slot and generation into one 64-bit word");

/// Names a task of one core, until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// A task's future.
pub(crate) type BoxFuture = Pin<Box<dyn Future<Output = ()>>>;

/// What the reactor is to do with a slot.
pub(crate) enum Next {
    /// Poll this future and give it back with [`Tasks::park`].
    Poll(TaskId, BoxFuture),
    /// A future that lives outside the slab (the one given to `Sim::run`).
    Root(TaskId),
}

#[derive(Debug)]
enum Body {
    /// At rest, waiting for a wake.
    Parked,
    /// Being polled right now.
    Running,
    /// Being polled, and to be dropped right after.
    Doomed,
    /// Polled by somebody else.
    Root,
}

struct Task {
    generation: u32,
    queued: bool,
    body: Body,
    future: Option<BoxFuture>,
}

/// All tasks of a core.
#[derive(Default)]
pub(crate) struct Tasks {
    slab: Slab<Task>,
    ready: VecDeque<u32>,
    generation: u32,
}

impl Tasks {
    /// Adds a task, runnable at once. `None` gives the future back: the slab is full.
    pub(crate) fn insert(&mut self, future: BoxFuture) -> Result<TaskId, BoxFuture> {
        if self.slab.len() >= MAX_TASKS {
            return Err(future);
        }
        Ok(self.add(Body::Parked, Some(future)))
    }

    /// Adds a slot for a future that its owner polls.
    pub(crate) fn insert_root(&mut self) -> TaskId {
        self.add(Body::Root, None)
    }

    fn add(&mut self, body: Body, future: Option<BoxFuture>) -> TaskId {
        self.generation = (self.generation + 1) & GENERATION_MASK;
        let generation = self.generation;
        let slot = self.slab.insert(Task { generation, queued: true, body, future });
        let slot = u32::try_from(slot).expect("the slab holds fewer than 2^24 tasks");
        self.ready.push_back(slot);
        TaskId { slot, generation }
    }

    fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        self.slab.get_mut(id.slot as usize).filter(|task| task.generation == id.generation)
    }

    /// Makes a task runnable, unless it is already or has ended.
    pub(crate) fn wake(&mut self, id: TaskId) {
        if let Some(task) = self.get_mut(id)
            && !task.queued
        {
            task.queued = true;
            self.ready.push_back(id.slot);
        }
    }

    /// Takes the runnable task at position `index` of the queue (0 is the longest waiting); `None` when it is gone.
    pub(crate) fn take(&mut self, index: usize) -> Option<Next> {
        let slot = if index == 0 { self.ready.pop_front() } else { self.ready.remove(index) }?;
        let task = self.slab.get_mut(slot as usize)?;
        if !task.queued {
            return None;
        }
        task.queued = false;
        let id = TaskId { slot, generation: task.generation };
        match task.future.take() {
            Some(future) => {
                task.body = Body::Running;
                Some(Next::Poll(id, future))
            }
            None => Some(Next::Root(id)),
        }
    }

    /// Puts back a future that is not finished; gives it back for dropping when the task was aborted meanwhile.
    pub(crate) fn park(&mut self, id: TaskId, future: BoxFuture) -> Option<BoxFuture> {
        match self.get_mut(id) {
            Some(task) if !matches!(task.body, Body::Doomed) => {
                task.body = Body::Parked;
                task.future = Some(future);
                None
            }
            _ => {
                self.remove(id);
                Some(future)
            }
        }
    }

    /// Forgets a task that ended.
    pub(crate) fn remove(&mut self, id: TaskId) {
        if self.get_mut(id).is_some() {
            self.slab.remove(id.slot as usize);
        }
    }

    /// Takes a task out for dropping. One that is running right now is dropped after its poll instead.
    pub(crate) fn abort(&mut self, id: TaskId) -> Option<BoxFuture> {
        let task = self.get_mut(id)?;
        match task.body {
            Body::Parked => {
                let future = task.future.take();
                self.slab.remove(id.slot as usize);
                future
            }
            Body::Running | Body::Doomed => {
                task.body = Body::Doomed;
                None
            }
            Body::Root => None,
        }
    }

    /// Takes all tasks at rest out for dropping.
    pub(crate) fn abort_all(&mut self) -> Vec<BoxFuture> {
        self.ready.clear();
        let all: Vec<_> = self.slab.iter_mut().filter_map(|(_, task)| task.future.take()).collect();
        self.slab.clear();
        all
    }

    /// Tasks alive.
    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Tasks that wait for their turn.
    pub(crate) fn runnable(&self) -> usize {
        self.ready.len()
    }
}

/// What a waker's word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WakeRef {
    /// The core, by its number in the process-wide registry.
    pub(crate) core: u16,
    pub(crate) task: TaskId,
}

impl WakeRef {
    fn pack(self) -> usize {
        (usize::from(self.core) << (SLOT_BITS + GENERATION_BITS))
            | ((self.task.generation as usize) << SLOT_BITS)
            | self.task.slot as usize
    }

    fn unpack(word: usize) -> Self {
        let slot = (word & (MAX_TASKS - 1)) as u32;
        let generation = ((word >> SLOT_BITS) & GENERATION_MASK as usize) as u32;
        let core = (word >> (SLOT_BITS + GENERATION_BITS)) as u16;
        Self { core, task: TaskId { slot, generation } }
    }

    /// A waker for this task.
    pub(crate) fn waker(self) -> Waker {
        let raw = RawWaker::new(ptr::without_provenance(self.pack()), &VTABLE);
        // SAFETY: the vtable's functions treat the data pointer as a plain number and never dereference it, so they are
        // sound for every value, from every thread, any number of times; clone returns the same vtable.
        unsafe { Waker::from_raw(raw) }
    }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| RawWaker::new(data, &VTABLE),
    |data| local::wake(WakeRef::unpack(data.addr())),
    |data| local::wake(WakeRef::unpack(data.addr())),
    |_| {},
);

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> BoxFuture {
        Box::pin(async {})
    }

    #[test]
    fn a_word_names_core_generation_and_slot() {
        for (core, generation, slot) in [(0, 0, 0), (u16::MAX, GENERATION_MASK, (1 << 24) - 1), (7, 9, 11)] {
            let it = WakeRef { core, task: TaskId { slot, generation } };
            assert_eq!(WakeRef::unpack(it.pack()), it);
        }
    }

    #[test]
    fn a_stale_wake_does_not_reach_the_next_owner_of_the_slot() {
        let mut tasks = Tasks::default();
        let first = tasks.insert(nothing()).ok().unwrap();
        assert!(matches!(tasks.take(0), Some(Next::Poll(id, _)) if id == first));
        tasks.remove(first);
        let second = tasks.insert(nothing()).ok().unwrap();
        assert_eq!(first.slot, second.slot);
        let Some(Next::Poll(_, future)) = tasks.take(0) else { panic!("the new task is runnable") };
        assert!(tasks.park(second, future).is_none());
        tasks.wake(first);
        assert_eq!(tasks.runnable(), 0);
        tasks.wake(second);
        tasks.wake(second);
        assert_eq!(tasks.runnable(), 1);
    }

    #[test]
    fn aborting_the_running_task_drops_it_after_its_poll() {
        let mut tasks = Tasks::default();
        let id = tasks.insert(nothing()).ok().unwrap();
        let Some(Next::Poll(_, future)) = tasks.take(0) else { panic!("runnable") };
        assert!(tasks.abort(id).is_none());
        assert!(tasks.park(id, future).is_some());
        assert_eq!(tasks.len(), 0);
    }
}
