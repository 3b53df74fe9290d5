//! What the brick does when nobody asks: batched fsyncs, checks of its health and of its space, and the emptying of
//! `landfill/`.
//!
//! The periodic ones run on core 0 only, their system calls on its helper threads. Each asks for its interval anew, so that a
//! reconfigured one counts within a few seconds.

pub mod batch;
pub mod health;
pub mod janitor;
mod space;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use kiln_uring::{Core, TaskId};

use super::Brick;
use super::check::scrub;

/// Longest sleep in one piece: a changed interval is noticed after this.
const SLICE: Duration = Duration::from_secs(5);

/// The periodic tasks of one instance.
#[derive(Debug, Default)]
pub struct Background(RefCell<Vec<TaskId>>);

impl Background {
    /// Starts them, if this is the core for it.
    pub fn start(&self, core: &Core, brick: &Arc<Brick>) {
        if core.id() != 0 || !self.0.borrow().is_empty() {
            return;
        }
        let mut tasks = vec![
            core.spawn(space::run(core.clone(), Arc::clone(brick))),
            core.spawn(health::run(core.clone(), Arc::clone(brick))),
            core.spawn(janitor::run(core.clone(), Arc::clone(brick))),
        ];
        if !brick.intents.is_trusted() {
            tasks.push(core.spawn(scrub::run(core.clone(), Arc::clone(brick))));
        }
        self.0.borrow_mut().extend(tasks);
    }

    /// Ends them; what a helper thread does at the moment it finishes.
    pub fn stop(&self, core: &Core) {
        let tasks = self.0.take();
        tasks.into_iter().for_each(|task| core.abort(task));
    }
}

/// Waits for an interval that may change meanwhile; zero is for ever. False when the core shuts down first.
async fn wait(core: &Core, interval: impl Fn() -> Duration) -> bool {
    let start = core.now();
    loop {
        let interval = interval();
        let left = interval.saturating_sub(core.now() - start);
        if left.is_zero() && !interval.is_zero() {
            return true;
        }
        let slice = if interval.is_zero() { SLICE } else { left.min(SLICE) };
        if !sleep(core, slice).await {
            return false;
        }
    }
}

/// Sleeps; false when the core shuts down first.
pub(super) async fn sleep(core: &Core, time: Duration) -> bool {
    let mut over = pin!(core.sleep(time));
    let mut stop = pin!(core.shutdown_requested());
    poll_fn(|cx| match stop.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(false),
        Poll::Pending => over.as_mut().poll(cx).map(|()| true),
    })
    .await
}
