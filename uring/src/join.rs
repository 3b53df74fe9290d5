//! Tasks with a value, and the small futures that every task needs: sleep, timeout, yield.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::driver::Driver;
use crate::handle::Core;
use crate::settling::Settled;
use crate::task::TaskId;
use crate::time::Instant;

struct State<T> {
    value: Option<T>,
    waker: Option<Waker>,
    /// The task is gone, with or without a value.
    ended: bool,
}

/// Waits for a task. Dropping it leaves the task running.
///
/// # Panics
/// Awaiting a task that panicked (or that [`Core::abort`] ended) panics too.
pub struct JoinHandle<T> {
    core: Core,
    task: TaskId,
    state: Rc<RefCell<State<T>>>,
}

/// Marks the end of the task, however it comes.
struct EndMark<T>(Rc<RefCell<State<T>>>);

impl<T> Drop for EndMark<T> {
    fn drop(&mut self) {
        let waker = {
            let mut state = self.0.borrow_mut();
            state.ended = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

pub(crate) fn spawn<T: 'static>(core: &Core, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    let state = Rc::new(RefCell::new(State { value: None, waker: None, ended: false }));
    let mark = EndMark(state.clone());
    let task = core.spawn(async move {
        let value = future.await;
        mark.0.borrow_mut().value = Some(value);
    });
    JoinHandle { core: core.clone(), task, state }
}

impl<T> JoinHandle<T> {
    /// Ends the task where it stands and drops it.
    pub fn abort(self) {
        self.core.abort(self.task);
    }

    /// Whether the task has ended, by itself or by a panic.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state.borrow().ended
    }

    /// The task.
    #[must_use]
    pub const fn id(&self) -> TaskId {
        self.task
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut state = self.state.borrow_mut();
        if !state.ended {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let value = state.value.take();
        drop(state);
        match value {
            Some(value) => Poll::Ready(value),
            None => panic!("the task that was waited for panicked or was aborted"),
        }
    }
}

/// The time was up first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time limit passed")]
pub struct Elapsed;

/// A timer in the core's heap, removed when dropped.
struct Sleep<'a> {
    core: &'a Core,
    at: Instant,
    key: Option<usize>,
}

impl Sleep<'_> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut timers = self.core.0.timers.borrow_mut();
        match self.key {
            Some(key) if timers.poll(key, cx.waker()) => Poll::Ready(()),
            Some(_) => Poll::Pending,
            None if self.core.now() >= self.at => Poll::Ready(()),
            None => {
                self.key = Some(timers.insert(self.at, cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.core.0.timers.borrow_mut().remove(key);
        }
    }
}

impl Core {
    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now() + duration).await;
    }

    /// Waits until `at`.
    pub async fn sleep_until(&self, at: Instant) {
        let mut sleep = Sleep { core: self, at, key: None };
        poll_fn(|cx| sleep.poll(cx)).await;
    }

    /// Waits for `future`, but no longer than `duration`; the future is dropped then, which cancels its operations.
    ///
    /// # Errors
    /// [`Elapsed`] when the time was up first.
    pub async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Result<F::Output, Elapsed> {
        let mut future = pin!(future);
        let mut sleep = Sleep { core: self, at: self.now() + duration, key: None };
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => sleep.poll(cx).map(|()| Err(Elapsed)),
        })
        .await
    }

    /// Waits until the core has nothing else to do, or has put this off for a few turns: for work that is the cheaper the
    /// later it is done, such as a send, which takes along what is added until then. A simulated core lets every other
    /// runnable task run first.
    pub async fn settled(&self) {
        if !matches!(self.0.driver, Driver::Ring(_)) {
            return self.yield_now().await;
        }
        let mut settled = Settled::new(&self.0.settling);
        poll_fn(|cx| settled.poll(cx)).await;
    }

    /// Whether other tasks of this core could run at once.
    #[must_use]
    pub fn has_others_ready(&self) -> bool {
        self.0.tasks.borrow().runnable() > 0
    }

    /// Lets every other runnable task of this core run first.
    pub async fn yield_now(&self) {
        let mut yielded = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}
