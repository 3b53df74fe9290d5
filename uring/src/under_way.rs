//! Which of a core's helper jobs have not ended yet.
//!
//! A job runs to its end even if nobody waits for it any more, so whoever gives a wait up may have to know when nothing of it
//! can happen any more. Jobs belong to *eras*: each holds its era for as long as it runs, and each era holds the one after it,
//! so an era is gone exactly when its own jobs and all jobs before them have ended.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock, Weak};

/// What the jobs of one stretch of time hold.
#[derive(Debug, Default)]
pub(crate) struct Era {
    next: OnceLock<Arc<Self>>,
}

impl Drop for Era {
    /// One after the other: after a long wait for one job there may be very many.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut era) = next.and_then(Arc::into_inner) {
            next = era.next.take();
        }
    }
}

/// The era of the jobs that begin now.
#[derive(Debug, Default)]
pub(crate) struct Eras(RefCell<Arc<Era>>);

impl Eras {
    /// For a job, until it has ended.
    pub(crate) fn join(&self) -> Arc<Era> {
        Arc::clone(&self.0.borrow())
    }

    /// Ends the era.
    pub(crate) fn turn(&self) -> UnderWay {
        if Arc::strong_count(&self.0.borrow()) == 1 {
            // Neither a job of its own holds it, nor an era before it.
            return UnderWay(Weak::new());
        }
        let next = Arc::new(Era::default());
        let old = self.0.replace(Arc::clone(&next));
        let ended = Arc::downgrade(&old);
        // It is the first that follows this one: an era ends once.
        let _ = old.next.set(next);
        UnderWay(ended)
    }
}

/// The helper jobs that were under way at some moment; see [`Core::under_way`](crate::Core::under_way).
#[derive(Clone, Debug)]
pub struct UnderWay(Weak<Era>);

impl UnderWay {
    /// Whether all of them have ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.strong_count() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_era_is_over_when_its_jobs_and_all_before_have_ended() {
        let eras = Eras::default();
        assert!(eras.turn().is_over(), "nothing was under way");
        let (first, second) = (eras.join(), eras.join());
        let early = eras.turn();
        let third = eras.join();
        let late = eras.turn();
        let after = eras.join();
        drop(third);
        assert!(!early.is_over() && !late.is_over(), "the first jobs still run");
        drop(first);
        assert!(!early.is_over() && !late.is_over());
        drop(second);
        assert!(early.is_over() && late.is_over());
        drop(after);
        assert!(eras.turn().is_over());
    }

    #[test]
    fn a_job_may_outlast_very_many_eras() {
        let eras = Eras::default();
        let job = eras.join();
        let all: Vec<UnderWay> = (0..300_000).map(|_| eras.turn()).collect();
        assert!(all.iter().all(|era| !era.is_over()));
        drop(job);
        assert!(all.iter().all(UnderWay::is_over));
    }
}
