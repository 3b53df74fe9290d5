//! The single steps of a core, the same under the real reactor and in a simulation: run one task, take one message, fire
//! the timers that are due. A panic ends here.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::handle::{Core, Inner};
use crate::mailbox::Message;
use crate::task::{BoxFuture, Next, TaskId, WakeRef};
use crate::time::Instant;

/// What became of a turn.
pub(crate) enum Ran {
    /// A task was polled, or had ended before its turn came.
    Task,
    /// This slot's future lives outside; its owner must poll it.
    Root(TaskId),
}

/// The text of a panic.
fn text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is no text")
}

impl Inner {
    fn report(&self, what: &str, panic: Box<dyn Any + Send>) {
        self.panics.set(self.panics.get() + 1);
        tracing::error!(core = self.shared.id, "{what} panicked and was dropped: {}", text(&*panic));
        // A payload may panic once more when dropped; it is leaked rather than trusted.
        std::mem::forget(panic);
    }

    /// Names a task of this core for a waker.
    pub(crate) fn wake_ref(&self, task: TaskId) -> WakeRef {
        WakeRef { core: self.shared.number, task }
    }

    /// Polls the runnable task at position `index` of the queue.
    pub(crate) fn run_task(&self, index: usize) -> Ran {
        let next = self.tasks.borrow_mut().take(index);
        let (id, mut future) = match next {
            None => return Ran::Task,
            Some(Next::Root(id)) => return Ran::Root(id),
            Some(Next::Poll(id, future)) => (id, future),
        };
        let waker = self.wake_ref(id).waker();
        let mut cx = Context::from_waker(&waker);
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut cx))) {
            Ok(Poll::Pending) => {
                let doomed = self.tasks.borrow_mut().park(id, future);
                if let Some(doomed) = doomed {
                    self.discard(doomed);
                }
            }
            Ok(Poll::Ready(())) => {
                self.tasks.borrow_mut().remove(id);
                self.discard(future);
            }
            Err(panic) => {
                self.tasks.borrow_mut().remove(id);
                self.report("a task", panic);
                self.discard(future);
            }
        }
        Ran::Task
    }

    /// Drops a future; its destructors may panic.
    pub(crate) fn discard(&self, future: BoxFuture) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(future))) {
            self.report("the end of a task", panic);
        }
    }

    /// Drops every task, those too that the dropping starts; how many there were.
    pub(crate) fn drop_tasks(&self) -> usize {
        let mut dropped = 0;
        // Bounded, in case destructors start tasks for ever.
        for _ in 0..16 {
            let futures = self.tasks.borrow_mut().abort_all();
            if futures.is_empty() {
                break;
            }
            dropped += futures.len();
            for future in futures {
                self.discard(future);
            }
        }
        dropped
    }

    /// Takes one message from the mailboxes.
    pub(crate) fn take_message(self: &Rc<Self>, first: usize) -> bool {
        match self.mail.receive(&self.shared, first) {
            None => return false,
            Some(Message::Wake(task)) => self.tasks.borrow_mut().wake(task),
            Some(Message::Job(job)) => {
                let core = Core(self.clone());
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job(&core))) {
                    self.report("a posted job", panic);
                }
            }
        }
        true
    }

    /// Wakes those whose time has come.
    pub(crate) fn fire_timers(&self, now: Instant) -> usize {
        let mut fired = 0;
        loop {
            let Some(waker) = self.timers.borrow_mut().expire(now) else { return fired };
            waker.wake();
            fired += 1;
        }
    }
}
