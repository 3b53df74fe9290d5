//! Helper threads of one core: where system calls run that may block or take long.
//!
//! They are pinned to the core's own CPU: they sleep in the disk most of the time, and waking a thread on the same CPU costs
//! 2–3 µs where another CPU costs 30. They make no progress while the core computes, and need not.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::sys::Sys;

/// Work for a helper. It reports its own outcome.
pub(crate) type HelperJob = Box<dyn FnOnce(&dyn Sys) + Send>;

/// The helper threads of one core.
pub(crate) struct Helpers {
    /// Bounded by the requests in flight: each job has a task that waits for it.
    queue: Option<Sender<HelperJob>>,
    threads: Vec<JoinHandle<()>>,
}

impl Helpers {
    /// Starts `n` threads (at least one) that inherit the CPU mask of the caller.
    pub(crate) fn start(n: usize, core: usize, sys: &Arc<dyn Sys>) -> io::Result<Self> {
        let (queue, jobs) = unbounded();
        let mut helpers = Self { queue: Some(queue), threads: Vec::new() };
        for index in 0..n.max(1) {
            let (jobs, sys) = (jobs.clone(), sys.clone());
            let thread = thread::Builder::new()
                .name(format!("kiln-{core}h{index}"))
                .spawn(move || work(&jobs, &*sys))?;
            helpers.threads.push(thread);
        }
        Ok(helpers)
    }

    /// Queues a job.
    pub(crate) fn submit(&self, job: HelperJob) {
        if let Some(queue) = &self.queue {
            // The threads hold the other end until this one is dropped, so this cannot fail.
            let _ = queue.send(job);
        }
    }
}

impl Drop for Helpers {
    /// Waits until all jobs are done.
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a helper thread panicked");
            }
        }
    }
}

fn work(jobs: &Receiver<HelperJob>, sys: &dyn Sys) {
    for job in jobs {
        // Jobs catch their own panics in order to report them; this keeps the thread whatever happens.
        if catch_unwind(AssertUnwindSafe(|| job(sys))).is_err() {
            tracing::error!("a helper's job panicked outside of the job itself");
        }
    }
}
