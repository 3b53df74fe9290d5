//! The files that a load works on: made before, removed afterwards.
//!
//! ```text
//! kiln-load-PID/         kiln-load with --keep or --reuse
//!   data/file-0          --files of --file-size
//!   names/entry-0        --entries empty files
//!   work/f-0-0           what workers make: WORKER-NUMBER
//! ```

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_uring::Errno;

use crate::load::blocks::Stamp;
use crate::load::config::Plan;
use crate::load::targets::{Done, OpError, OpenHow, Session};

/// Operations at once while the set is made and removed.
const WIDTH: u64 = 64;
/// Bytes of one write while it is made.
const CHUNK: u64 = 1 << 20;

const DATA: &str = "data";
const NAMES: &str = "names";

/// Where everything is, for all threads.
pub struct FileSet<N> {
    /// The directory in the root, and its name.
    pub top: (N, String),
    /// The directory for what workers make, and its name.
    pub work: (N, String),
    /// The directory with data, if there is one, and its files.
    pub data: Option<(N, Vec<N>)>,
    /// The directory of names, if there is one.
    pub names: Option<N>,
    /// What is in it, if that is needed.
    pub nodes: Vec<N>,
}

/// The name of a file with data.
fn file_name(index: u64) -> String {
    format!("file-{index}")
}

/// The name of an entry.
pub fn entry_name(index: u64) -> String {
    format!("entry-{index}")
}

/// A name that is not there.
pub fn absent_name(index: u64) -> String {
    format!("absent-{index}")
}

/// Runs `each` for all numbers below `count`, several at once, and counts in `progress` how many are done.
async fn pipelined<F, R>(count: u64, progress: &Arc<AtomicU64>, each: F) -> Done
where
    F: Fn(u64) -> R + 'static,
    R: Future<Output = Done> + 'static,
{
    let (next, each) = (Rc::new(Cell::new(0)), Rc::new(each));
    let tasks: Vec<_> = (0..count.min(WIDTH))
        .map(|_| {
            let (next, each, progress) = (Rc::clone(&next), Rc::clone(&each), Arc::clone(progress));
            tokio_uring::spawn(async move {
                loop {
                    let index: u64 = next.get();
                    if index >= count {
                        return Ok(());
                    }
                    next.set(index + 1);
                    if let Err(error) = each(index).await {
                        // Nobody begins another one.
                        next.set(count);
                        return Err(error);
                    }
                    progress.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut outcome = Ok(());
    for task in tasks {
        outcome = outcome.and(task.await.unwrap_or(Err(OpError::Errno(Errno::CANCELED))));
    }
    outcome
}

/// A directory that may be there already.
async fn directory<S: Session>(session: &S, dir: &S::Node, name: &str, may_be: bool) -> Done<S::Node> {
    match session.make_dir(dir, name).await {
        Err(OpError::Errno(Errno::EXIST)) if may_be => Ok(session.lookup(dir, name).await?.node),
        other => other,
    }
}

/// Success of what was there, or not there, already.
fn unless(errno: Errno, outcome: Done) -> Done {
    match outcome {
        Err(OpError::Errno(found)) if found == errno => Ok(()),
        other => other,
    }
}

/// How many steps [`FileSet::prepare`] has, for a progress bar.
pub fn steps(plan: &Plan) -> u64 {
    let needs = plan.workload.needs();
    let chunks = if needs.data { plan.files * plan.file_size.div_ceil(chunk(plan)) } else { 0 };
    let names = if needs.names { plan.entries } else { 0 };
    chunks + names + if needs.nodes { plan.entries } else { 0 }
}

/// Bytes of one write of preparation: a number of blocks.
fn chunk(plan: &Plan) -> u64 {
    let block = plan.block as u64;
    // Stamps are those of blocks.
    if plan.verify { block } else { (CHUNK / block * block).max(block) }
}

impl<N: Clone + Send + Sync + 'static> FileSet<N> {
    /// Makes what the plan needs, or takes what is left of an earlier one.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub async fn prepare<S>(session: &Rc<S>, plan: &Plan, progress: &Arc<AtomicU64>) -> Result<Self, String>
    where
        S: Session<Node = N>,
    {
        let (root, pid) = (session.root(), std::process::id());
        let stays = plan.keep || plan.reuse;
        let name = if stays { "kiln-load".to_owned() } else { format!("kiln-load-{pid}") };
        let top = directory(&**session, &root, &name, plan.reuse).await.map_err(|error| match error {
            OpError::Errno(Errno::EXIST) => {
                format!("{name} is there already: --reuse takes what --keep left; otherwise remove it")
            }
            error => format!("the directory {name} cannot be made: {error}"),
        })?;
        let work = if plan.reuse { format!("work-{pid}") } else { "work".to_owned() };
        let made = async |name: &str| {
            let dir = directory(&**session, &top, name, plan.reuse).await;
            dir.map_err(|error| format!("the directory {name} cannot be made: {error}"))
        };
        let needs = plan.workload.needs();
        let mut this = Self {
            work: (made(&work).await?, work),
            data: None,
            names: None,
            nodes: Vec::new(),
            top: (top.clone(), name),
        };
        if needs.data {
            let dir = made(DATA).await?;
            let files = data(session, plan, &dir, progress).await;
            this.data =
                Some((dir, files.map_err(|error| format!("a file of data cannot be made: {error}"))?));
        }
        if needs.names {
            let dir = made(NAMES).await?;
            names(session, plan, &dir, progress)
                .await
                .map_err(|error| format!("a name cannot be made: {error}"))?;
            if needs.nodes {
                this.nodes = nodes(session, plan.entries, &dir, progress)
                    .await
                    .map_err(|error| format!("a name cannot be looked up: {error}"))?;
            }
            this.names = Some(dir);
        }
        Ok(this)
    }

    /// Removes everything but what is to stay. What workers made in `work` is gone already.
    pub async fn remove<S>(&self, session: &Rc<S>, plan: &Plan, progress: &Arc<AtomicU64>) -> Done
    where
        S: Session<Node = N>,
    {
        if plan.reuse || !plan.keep {
            unless(Errno::NOENT, session.remove_dir(&self.top.0, &self.work.1).await)?;
        }
        if plan.keep || plan.reuse {
            return Ok(());
        }
        let away = async |dir: &N, of: fn(u64) -> String, count: u64, name: &str| {
            let (session_, dir) = (Rc::clone(session), dir.clone());
            pipelined(count, progress, move |index| {
                let (session, dir) = (Rc::clone(&session_), dir.clone());
                async move { unless(Errno::NOENT, session.unlink(&dir, &of(index)).await) }
            })
            .await?;
            session.remove_dir(&self.top.0, name).await
        };
        if let Some((dir, files)) = &self.data {
            away(dir, file_name, files.len() as u64, DATA).await?;
        }
        if let Some(dir) = &self.names {
            away(dir, entry_name, plan.entries, NAMES).await?;
        }
        session.remove_dir(&session.root(), &self.top.1).await
    }
}

async fn data<S: Session>(
    session: &Rc<S>,
    plan: &Plan,
    dir: &S::Node,
    progress: &Arc<AtomicU64>,
) -> Done<Vec<S::Node>> {
    let (mut files, chunk) = (Vec::new(), chunk(plan));
    for index in 0..plan.files {
        let name = file_name(index);
        let file = match session.create(dir, &name, OpenHow::default()).await {
            Err(OpError::Errno(Errno::EXIST)) if plan.reuse => {
                let found = session.lookup(dir, &name).await?;
                if found.size >= plan.file_size && !plan.verify {
                    progress.fetch_add(plan.file_size.div_ceil(chunk), Ordering::Relaxed);
                    files.push(found.node);
                    continue;
                }
                session.open(&found.node, OpenHow::default()).await?
            }
            other => other?,
        };
        let file = Rc::new(file);
        let (writer, size, verify) = ((Rc::clone(session), Rc::clone(&file)), plan.file_size, plan.verify);
        pipelined(size.div_ceil(chunk), progress, move |number| {
            let (session, file) = writer.clone();
            async move {
                let offset = number * chunk;
                let stamp = Stamp { file: index, offset, generation: 0 };
                let len = chunk.min(size - offset) as usize;
                session.write(&file, offset, len, verify.then_some(&stamp)).await
            }
        })
        .await?;
        if let Ok(file) = Rc::try_unwrap(file) {
            session.close(file).await?;
        }
        files.push(session.lookup(dir, &name).await?.node);
    }
    Ok(files)
}

async fn names<S: Session>(session: &Rc<S>, plan: &Plan, dir: &S::Node, progress: &Arc<AtomicU64>) -> Done {
    let (session, dir, reuse) = (Rc::clone(session), dir.clone(), plan.reuse);
    pipelined(plan.entries, progress, move |index| {
        let (session, dir) = (Rc::clone(&session), dir.clone());
        async move {
            match session.create(&dir, &entry_name(index), OpenHow::default()).await {
                Ok(file) => session.close(file).await,
                Err(OpError::Errno(Errno::EXIST)) if reuse => Ok(()),
                Err(error) => Err(error),
            }
        }
    })
    .await
}

async fn nodes<S: Session>(
    session: &Rc<S>,
    entries: u64,
    dir: &S::Node,
    progress: &Arc<AtomicU64>,
) -> Done<Vec<S::Node>> {
    let found: Rc<Vec<Cell<Option<S::Node>>>> = Rc::new((0..entries).map(|_| Cell::new(None)).collect());
    let (to, session, dir) = (Rc::clone(&found), Rc::clone(session), dir.clone());
    pipelined(entries, progress, move |index| {
        let (to, session, dir) = (Rc::clone(&to), Rc::clone(&session), dir.clone());
        async move {
            let node = session.lookup(&dir, &entry_name(index)).await?.node;
            if let Some(place) = to.get(index as usize) {
                place.set(Some(node));
            }
            Ok(())
        }
    })
    .await?;
    Ok(found.iter().filter_map(Cell::take).collect())
}

/// What one session has open.
pub struct Opened<S: Session> {
    /// The files with data.
    pub files: Vec<S::File>,
    /// The directory of names.
    pub listing: Option<S::Listing>,
}

impl<S: Session> Opened<S> {
    /// Opens what the plan needs.
    pub async fn open(session: &S, set: &FileSet<S::Node>, plan: &Plan) -> Done<Self> {
        let mut this = Self { files: Vec::new(), listing: None };
        for node in set.data.iter().flat_map(|(_, files)| files) {
            this.files.push(session.open(node, OpenHow { direct: plan.direct }).await?);
        }
        let lists = plan.workload.needs().listing;
        if let Some(names) = set.names.as_ref().filter(|_| lists) {
            this.listing = Some(session.open_dir(names).await?);
        }
        Ok(this)
    }

    /// Closes it.
    pub async fn close(self, session: &S) -> Done {
        for file in self.files {
            session.close(file).await?;
        }
        match self.listing {
            Some(listing) => session.close_dir(listing).await,
            None => Ok(()),
        }
    }
}
