//! One of the many that do a workload at once.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use kiln_uring::Errno;

use super::fileset::{FileSet, Opened, absent_name, entry_name};
use super::{MIX, Workload, small_files};
use crate::load::blocks::{Stamp, Verdict};
use crate::load::config::Plan;
use crate::load::distribution::{Chooser, Random};
use crate::load::kinds::Kind;
use crate::load::recorder::Recorder;
use crate::load::targets::{Done, OpError, OpenHow, Session};

/// The extended attribute that is set.
const XATTR: &std::ffi::CStr = c"user.kiln-load";
/// Bytes of its value.
const XATTR_SIZE: usize = 64;
/// A generation that is not known, because a write failed.
const UNKNOWN: u64 = u64::MAX;

/// What has been checked.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// Blocks that were read and looked at.
    pub blocks: u64,
    /// Those that were not right.
    pub wrong: u64,
    /// What the first of them was.
    pub first_wrong: Option<String>,
}

impl Checked {
    /// Takes what came of a check.
    pub fn note(&mut self, verdict: Verdict, what: impl FnOnce() -> String) {
        let Verdict::Wrong(wrong) = verdict else {
            self.blocks += u64::from(verdict == Verdict::Right);
            return;
        };
        self.blocks += 1;
        self.wrong += 1;
        self.first_wrong.get_or_insert_with(|| format!("{}: {wrong}", what()));
    }

    /// Adds what another has checked.
    pub fn add(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.wrong += other.wrong;
        if let Some(first) = other.first_wrong {
            self.first_wrong.get_or_insert(first);
        }
    }
}

/// A file that a worker has made.
#[derive(Clone, Copy, Debug)]
struct Own {
    /// The number in its name.
    name: u64,
    /// The number that its block was written with, if it has one.
    content: Option<u64>,
}

/// See the [module](self).
pub struct Worker<S: Session> {
    pub(super) session: Rc<S>,
    pub(super) opened: Rc<Opened<S>>,
    pub(super) set: Arc<FileSet<S::Node>>,
    pub(super) plan: Rc<Plan>,
    pub(super) recorder: Rc<Recorder>,
    /// Its number among all of the load.
    pub(super) number: u64,
    random: Random,
    blocks: Chooser,
    names: Chooser,
    /// Files that it has made in the work directory, oldest first.
    own: VecDeque<Own>,
    next: u64,
    /// How often each of its blocks has been written, when that is checked.
    generations: Vec<u64>,
    /// What it has checked.
    pub checked: Checked,
    /// Names that it has listed while that counted.
    pub listed: u64,
    /// Those of the operation that has just ended.
    just_listed: u64,
    /// Operations that it still has to do; `None` is any number.
    pub left: Option<u64>,
}

/// The parts of a worker that others of its session have, too.
pub struct Shared<S: Session> {
    /// Where it works.
    pub session: Rc<S>,
    /// What is open there.
    pub opened: Rc<Opened<S>>,
    /// The files.
    pub set: Arc<FileSet<S::Node>>,
    /// What is to be done.
    pub plan: Rc<Plan>,
    /// Who counts.
    pub recorder: Rc<Recorder>,
    /// How blocks are chosen, when they are not divided among workers.
    pub blocks: Chooser,
    /// How names are chosen.
    pub names: Chooser,
}

impl<S: Session> Worker<S> {
    /// Number `number` of all workers.
    pub fn new(shared: &Shared<S>, number: u64) -> Self {
        let plan = &shared.plan;
        let workers = plan.workers();
        let mut blocks = shared.blocks.clone();
        let mut generations = Vec::new();
        if plan.verify && plan.workload.needs().data {
            // Each block has one worker that reads and writes it, so its generation is known at all times.
            let share = (plan.blocks() + workers - 1 - number) / workers;
            blocks = Chooser::new(plan.distribution, share, 0);
            generations = vec![0; share as usize];
        }
        Self {
            session: Rc::clone(&shared.session),
            opened: Rc::clone(&shared.opened),
            set: Arc::clone(&shared.set),
            plan: Rc::clone(plan),
            recorder: Rc::clone(&shared.recorder),
            number,
            random: Random::part(plan.seed, number),
            blocks,
            names: shared.names.clone(),
            own: VecDeque::new(),
            next: 0,
            generations,
            checked: Checked::default(),
            listed: 0,
            just_listed: 0,
            left: plan.count.map(|count| (count + workers - 1 - number) / workers),
        }
    }

    /// Makes the files that it needs for itself.
    pub async fn prepare(&mut self) -> Done {
        let (workers, files) = (self.plan.workers(), self.plan.files);
        let count = match self.plan.workload {
            Workload::Unlink => (files + workers - 1 - self.number) / workers,
            Workload::Rename => 1,
            _ => 0,
        };
        for _ in 0..count {
            let id = self.new_id();
            let name = self.own_name(id);
            let file = self.session.create(&self.set.work.0, &name, OpenHow::default()).await?;
            self.session.close(file).await?;
            self.own.push_back(Own { name: id, content: None });
        }
        Ok(())
    }

    /// Whether there is nothing left to do.
    pub fn is_done(&self) -> bool {
        self.left == Some(0) || (self.plan.workload == Workload::Unlink && self.own.is_empty())
    }

    /// Does the next operation: which it was, and how many bytes it moved.
    pub async fn operate(&mut self) -> (Kind, Done<u64>) {
        let workload = match self.plan.workload {
            Workload::Mixed => self.draw(),
            one => one,
        };
        match workload {
            Workload::Read | Workload::Mixed => (Kind::Read, self.read().await),
            Workload::Write => (Kind::Write, self.write().await),
            Workload::ReadWrite if self.random.below(2) == 0 => (Kind::Read, self.read().await),
            Workload::ReadWrite => (Kind::Write, self.write().await),
            Workload::FsyncWrite => (Kind::FsyncWrite, self.fsync_write().await),
            Workload::Lookup => (Kind::Lookup, self.lookup().await),
            Workload::LookupMiss => (Kind::LookupMiss, self.lookup_miss().await),
            Workload::Stat => (Kind::Stat, self.stat().await),
            Workload::Create => (Kind::Create, self.create().await),
            Workload::CreateUnlink => (Kind::CreateUnlink, self.create_unlink().await),
            Workload::Unlink => (Kind::Unlink, self.unlink().await),
            Workload::Rename => (Kind::Rename, self.rename().await),
            Workload::Readdirp => (Kind::Readdirp, self.readdirp().await),
            Workload::Xattr => (Kind::Xattr, self.xattr().await),
            Workload::SmallFiles => (Kind::SmallFiles, small_files::tree(self).await),
        }
    }

    /// The next operation of the mix. What needs a file of its own makes one first.
    fn draw(&mut self) -> Workload {
        let mut at = self.random.below(100);
        for (workload, share) in MIX {
            if at < share {
                let needs_own = matches!(workload, Workload::Unlink | Workload::Rename);
                return if needs_own && self.own.is_empty() { Workload::Create } else { workload };
            }
            at -= share;
        }
        Workload::Stat
    }

    /// Counts an operation that has just ended and was meant to begin at `since`.
    pub fn count(&mut self, kind: Kind, since: u64, outcome: Result<u64, Errno>) {
        let listed = std::mem::take(&mut self.just_listed);
        if self.recorder.record(kind, since, self.recorder.now(), outcome) {
            self.listed += listed;
        }
    }

    /// Times a call that is part of an operation.
    pub(super) async fn part<T>(&self, kind: Kind, call: impl Future<Output = Done<T>>) -> Done<T> {
        // The mix counts whole operations only, which have the names of its parts.
        if self.plan.workload == Workload::Mixed {
            return call.await;
        }
        let since = self.recorder.now();
        let outcome = call.await;
        let counted = match &outcome {
            Ok(_) => Ok(0),
            Err(OpError::Errno(errno)) => Err(*errno),
            Err(OpError::Broken(_)) => return outcome,
        };
        self.recorder.record(kind, since, self.recorder.now(), counted);
        outcome
    }

    /// Which block is next: its file, what it says, and its place among those of this worker.
    fn next_block(&mut self) -> (usize, Stamp, usize) {
        let chosen = self.blocks.choose(&mut self.random);
        self.block(chosen)
    }

    fn block(&self, chosen: u64) -> (usize, Stamp, usize) {
        let generation = self.generations.get(chosen as usize).copied();
        let block = if generation.is_some() { chosen * self.plan.workers() + self.number } else { chosen };
        let per_file = self.plan.blocks_per_file();
        let (file, within) = (block / per_file, block % per_file);
        let offset = within * self.plan.block as u64;
        (file as usize, Stamp { file, offset, generation: generation.unwrap_or(0) }, chosen as usize)
    }

    async fn read(&mut self) -> Done<u64> {
        let (file, stamp, _) = self.next_block();
        let check = (self.plan.verify && stamp.generation != UNKNOWN).then_some(stamp);
        let opened = Rc::clone(&self.opened);
        let file = opened.files.get(file).ok_or(OpError::Errno(Errno::BADF))?;
        let (came, verdict) = self.session.read(file, stamp.offset, self.plan.block, check).await?;
        self.checked.note(verdict, || format!("file {} at {}", stamp.file, stamp.offset));
        // Files are never shorter than they were made.
        if came == self.plan.block { Ok(came as u64) } else { Err(OpError::Errno(Errno::IO)) }
    }

    /// Writes the next block and returns its file.
    async fn write_block(&mut self) -> Done<usize> {
        let (file, mut stamp, place) = self.next_block();
        let session = Rc::clone(&self.session);
        let opened = Rc::clone(&self.opened);
        let handle = opened.files.get(file).ok_or(OpError::Errno(Errno::BADF))?;
        if !self.plan.verify {
            session.write(handle, stamp.offset, self.plan.block, None).await?;
            return Ok(file);
        }
        stamp.generation = stamp.generation.checked_add(1).unwrap_or(1);
        let outcome = session.write(handle, stamp.offset, self.plan.block, Some(&stamp)).await;
        if let Some(generation) = self.generations.get_mut(place) {
            *generation = if outcome.is_ok() { stamp.generation } else { UNKNOWN };
        }
        outcome.map(|()| file)
    }

    async fn write(&mut self) -> Done<u64> {
        self.write_block().await?;
        Ok(self.plan.block as u64)
    }

    async fn fsync_write(&mut self) -> Done<u64> {
        let since = self.recorder.now();
        let written = self.write_block().await;
        let file = self.part_since(Kind::PartWrite, since, written)?;
        let opened = Rc::clone(&self.opened);
        let file = opened.files.get(file).ok_or(OpError::Errno(Errno::BADF))?;
        self.part(Kind::PartFsync, self.session.sync(file)).await?;
        Ok(self.plan.block as u64)
    }

    /// Counts a part that is over.
    fn part_since<T>(&self, kind: Kind, since: u64, outcome: Done<T>) -> Done<T> {
        if self.plan.workload != Workload::Mixed {
            let counted = match &outcome {
                Ok(_) => Ok(0),
                Err(OpError::Errno(errno)) => Err(*errno),
                Err(OpError::Broken(_)) => return outcome,
            };
            self.recorder.record(kind, since, self.recorder.now(), counted);
        }
        outcome
    }

    fn names_dir(&self) -> Done<&S::Node> {
        self.set.names.as_ref().ok_or(OpError::Errno(Errno::BADF))
    }

    fn next_name(&mut self) -> u64 {
        self.names.choose(&mut self.random)
    }

    async fn lookup(&mut self) -> Done<u64> {
        let name = entry_name(self.next_name());
        self.session.lookup(self.names_dir()?, &name).await?;
        Ok(0)
    }

    async fn lookup_miss(&mut self) -> Done<u64> {
        let name = absent_name(self.next_name());
        match self.session.lookup(self.names_dir()?, &name).await {
            Err(OpError::Errno(Errno::NOENT)) => Ok(0),
            Err(error) => Err(error),
            Ok(_) => Err(OpError::Errno(Errno::EXIST)),
        }
    }

    fn next_node(&mut self) -> Done<S::Node> {
        let index = self.next_name() as usize;
        self.set.nodes.get(index).cloned().ok_or(OpError::Errno(Errno::BADF))
    }

    async fn stat(&mut self) -> Done<u64> {
        let node = self.next_node()?;
        self.session.stat(&node).await?;
        Ok(0)
    }

    async fn xattr(&mut self) -> Done<u64> {
        let node = self.next_node()?;
        let value = [self.number as u8; XATTR_SIZE];
        self.part(Kind::PartSetxattr, self.session.set_xattr(&node, XATTR, &value)).await?;
        self.part(Kind::PartGetxattr, self.session.get_xattr(&node, XATTR)).await?;
        Ok(0)
    }

    async fn readdirp(&mut self) -> Done<u64> {
        let opened = Rc::clone(&self.opened);
        let listing = opened.listing.as_ref().ok_or(OpError::Errno(Errno::BADF))?;
        let names = self.session.list(listing).await?;
        // Nobody changes that directory, so that every listing has all of it.
        if names != self.plan.entries && !self.plan.reuse {
            return Err(OpError::Errno(Errno::IO));
        }
        self.just_listed += names;
        Ok(0)
    }

    pub(super) fn new_id(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn own_name(&self, id: u64) -> String {
        format!("f-{}-{id}", self.number)
    }

    /// What a file of its own holds.
    pub(super) fn own_stamp(&self, id: u64) -> Option<Stamp> {
        self.plan.verify.then_some(Stamp { file: self.number << 40 | id, offset: 0, generation: 0 })
    }

    /// Makes a file with a block, as a part of an operation.
    pub(super) async fn make(&self, dir: &S::Node, name: &str, id: u64) -> Done {
        let how = OpenHow { direct: self.plan.direct };
        let file = self.part(Kind::PartCreate, self.session.create(dir, name, how)).await?;
        let stamp = self.own_stamp(id);
        let write = self.session.write(&file, 0, self.plan.block, stamp.as_ref());
        let written = self.part(Kind::PartWrite, write).await;
        // Also after a write that failed, or the descriptor would stay.
        self.part(Kind::PartClose, self.session.close(file)).await?;
        written
    }

    async fn create(&mut self) -> Done<u64> {
        let id = self.new_id();
        let name = self.own_name(id);
        self.own.push_back(Own { name: id, content: Some(id) });
        self.make(&self.set.work.0, &name, id).await?;
        Ok(self.plan.block as u64)
    }

    async fn create_unlink(&mut self) -> Done<u64> {
        self.create().await?;
        self.unlink().await?;
        Ok(self.plan.block as u64)
    }

    async fn unlink(&mut self) -> Done<u64> {
        let own = self.own.pop_front().ok_or(OpError::Errno(Errno::NOENT))?;
        let name = self.own_name(own.name);
        let call = self.session.unlink(&self.set.work.0, &name);
        if self.plan.workload == Workload::CreateUnlink {
            self.part(Kind::PartUnlink, call).await?;
        } else {
            call.await?;
        }
        Ok(0)
    }

    async fn rename(&mut self) -> Done<u64> {
        let old = self.own.pop_front().ok_or(OpError::Errno(Errno::NOENT))?;
        let new = Own { name: self.new_id(), ..old };
        let names = (self.own_name(old.name), self.own_name(new.name));
        let outcome = self.session.rename(&self.set.work.0, &names.0, &names.1).await;
        self.own.push_back(if outcome.is_ok() { new } else { old });
        outcome.map(|()| 0)
    }

    /// Reads back what it has written and has not been removed since.
    pub async fn read_back(&mut self) -> Done {
        let (opened, session) = (Rc::clone(&self.opened), Rc::clone(&self.session));
        for chosen in 0..self.generations.len() as u64 {
            let (file, stamp, _) = self.block(chosen);
            if stamp.generation == UNKNOWN {
                continue;
            }
            let file = opened.files.get(file).ok_or(OpError::Errno(Errno::BADF))?;
            let (_, verdict) = session.read(file, stamp.offset, self.plan.block, Some(stamp)).await?;
            self.checked.note(verdict, || format!("at the end, file {} at {}", stamp.file, stamp.offset));
        }
        for Own { name, content } in self.own.clone() {
            let Some(content) = content else { continue };
            let name = self.own_name(name);
            let found = session.lookup(&self.set.work.0, &name).await?;
            let file = session.open(&found.node, OpenHow { direct: self.plan.direct }).await?;
            let (_, verdict) = session.read(&file, 0, self.plan.block, self.own_stamp(content)).await?;
            session.close(file).await?;
            self.checked.note(verdict, || format!("at the end, {name}"));
        }
        Ok(())
    }

    /// Removes what it has made.
    pub async fn clean(&mut self) -> Done {
        while let Some(own) = self.own.pop_front() {
            let name = self.own_name(own.name);
            match self.session.unlink(&self.set.work.0, &name).await {
                Ok(()) | Err(OpError::Errno(Errno::NOENT)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
