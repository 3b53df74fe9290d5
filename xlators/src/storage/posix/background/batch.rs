//! fsyncs that come together are served together (option `batch-fsync-mode`).
//!
//! Each core gathers its own: the first that finds nobody gathering waits `batch-fsync-delay-usec` and serves what has come
//! by then. Syncing the last file first pays on journaling file systems, whose one commit then covers the others.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use kiln_uring::{Class, Core, File, Sys, SysResult, Warmth};

use crate::storage::posix::Brick;
use crate::storage::posix::options::BatchFsyncMode;

/// One fsync that waits.
#[derive(Debug)]
struct Waiting {
    file: Arc<File>,
    data_only: bool,
    answer: Rc<Answer>,
}

#[derive(Debug, Default)]
struct Answer {
    result: Cell<Option<SysResult<()>>>,
    waker: RefCell<Option<Waker>>,
}

impl Answer {
    fn give(&self, result: SysResult<()>) {
        self.result.set(Some(result));
        let waker = self.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn wait(&self) -> SysResult<()> {
        poll_fn(|cx| match self.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                self.waker.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

/// The fsyncs that one core gathers.
#[derive(Clone, Debug, Default)]
pub struct Batch(Rc<State>);

#[derive(Debug, Default)]
struct State {
    waiting: RefCell<Vec<Waiting>>,
    serving: Cell<bool>,
}

impl Batch {
    /// Syncs `file` together with what else comes.
    ///
    /// # Errors
    /// Those of `fsync(2)` or `syncfs(2)`.
    pub async fn sync(
        &self,
        core: &Core,
        brick: &Arc<Brick>,
        file: &Arc<File>,
        data_only: bool,
    ) -> SysResult<()> {
        if brick.settings().batch_fsync_mode == BatchFsyncMode::None {
            return core.fsync(file, data_only).await;
        }
        let answer = Rc::new(Answer::default());
        let waiting = Waiting { file: Arc::clone(file), data_only, answer: Rc::clone(&answer) };
        self.0.waiting.borrow_mut().push(waiting);
        if !self.0.serving.replace(true) {
            core.spawn(serve(core.clone(), Arc::clone(brick), Rc::clone(&self.0)));
        }
        answer.wait().await
    }
}

async fn serve(core: Core, brick: Arc<Brick>, state: Rc<State>) {
    loop {
        let settings = brick.settings();
        core.sleep(settings.batch_fsync_delay).await;
        let batch = state.waiting.take();
        if batch.is_empty() {
            state.serving.set(false);
            return;
        }
        let files: Vec<_> =
            batch.iter().map(|waiting| (Arc::clone(&waiting.file), waiting.data_only)).collect();
        let mode = settings.batch_fsync_mode;
        let results = core.run(Class::Scan, Warmth::Cold, move |sys| sync_all(sys, mode, &files)).await;
        for (waiting, result) in batch.iter().zip(results) {
            waiting.answer.give(result);
        }
    }
}

/// Syncs a batch; the results are in its order.
fn sync_all(sys: &dyn Sys, mode: BatchFsyncMode, files: &[(Arc<File>, bool)]) -> Vec<SysResult<()>> {
    let fsync = |(file, data_only): &(Arc<File>, bool)| sys.fsync(file.fd(), *data_only);
    let Some((first, _)) = files.first() else { return Vec::new() };
    let whole = match mode {
        BatchFsyncMode::None | BatchFsyncMode::ReverseFsync => Ok(()),
        _ => sys.syncfs(first.fd()),
    };
    if whole.is_err() {
        return vec![whole; files.len()];
    }
    match mode {
        BatchFsyncMode::Syncfs => vec![Ok(()); files.len()],
        BatchFsyncMode::SyncfsSingleFsync => {
            // The disk's cache is flushed once more, for all of them.
            let flushed = files.last().map_or(Ok(()), fsync);
            vec![flushed; files.len()]
        }
        BatchFsyncMode::SyncfsReverseFsync | BatchFsyncMode::ReverseFsync => {
            let mut results: Vec<_> = files.iter().rev().map(fsync).collect();
            results.reverse();
            results
        }
        BatchFsyncMode::None => files.iter().map(fsync).collect(),
    }
}
