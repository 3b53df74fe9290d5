//! Fops that locks can hold up: reads and writes where locks are mandatory, and removals of objects that others work on.

use kiln_uring::Errno;
use kiln_uring::sys::OpenFlags;

use super::options::Mandatory;
use super::state::object::{Io, Kind, Want};
use super::state::range::Range;
use super::{Locks, holder};
use crate::call::Call;
use crate::error::FopResult;
use crate::fd::{Fd, FdRef};
use crate::fop::request;
use crate::keys;
use crate::types::{Gfid, IaType, Iatt, Loc, Xdata};

/// A removal under way; the object hears of its end however it ends.
pub(super) struct Removal<'a> {
    locks: &'a Locks,
    gfid: Gfid,
}

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        self.locks.change_later(self.gfid, |object, scene| object.removed(scene));
    }
}

/// Set-group-id without execution by the group: the mark of files whose locks bind (mode `file`).
const fn is_marked(iatt: &Iatt) -> bool {
    iatt.prot & 0o2000 != 0 && iatt.prot & 0o010 == 0
}

impl Locks {
    /// Whether locks of the object may hold up who reads or writes it.
    pub(super) fn minds_io(&self, call: &Call, gfid: Gfid) -> bool {
        let config = self.config();
        config.mandatory != Mandatory::Off
            && !call.caller().is_internal()
            && (config.fences || self.presence().may_have(gfid, Kind::Posix))
    }

    /// Whether the file is marked so that only holders of locks may read and write it.
    pub(super) async fn is_fenced(&self, call: &Call, fd: &FdRef) -> FopResult<bool> {
        if !self.config().fences {
            return Ok(false);
        }
        let name = Some(keys::ENFORCE_MANDATORY_LOCK.into());
        let req = request::Fgetxattr { fd: fd.clone(), name, xdata: Xdata::NONE };
        match self.next.fgetxattr(call, req).await {
            Ok(_) => Ok(true),
            Err(error) if error.errno == Errno::NODATA => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Marks may only be set and removed where they mean something.
    pub(super) fn refuses_mark(&self, is_mark: bool) -> bool {
        is_mark && !self.config().fences
    }

    /// Whether locks bind on the file; `iatt` fetches its attributes when they decide.
    async fn binds(&self, iatt: impl Future<Output = FopResult<Iatt>>) -> FopResult<bool> {
        match self.config().mandatory {
            Mandatory::Off => Ok(false),
            Mandatory::File => Ok(is_marked(&iatt.await?)),
            Mandatory::Forced | Mandatory::Optimal => Ok(true),
        }
    }

    async fn fstat(&self, call: &Call, fd: &FdRef) -> FopResult<Iatt> {
        let req = request::Fstat { fd: fd.clone(), xdata: Xdata::NONE };
        Ok(self.next.fstat(call, req).await?.iatt)
    }

    async fn stat(&self, call: &Call, loc: &Loc) -> FopResult<Iatt> {
        Ok(self.next.stat(call, request::Stat { loc: loc.clone(), xdata: Xdata::NONE }).await?.iatt)
    }

    fn io(&self, call: &Call, range: Range, writes: bool) -> Io {
        let only_mandatory = self.config().mandatory == Mandatory::Optimal;
        Io { holder: holder(call), range, writes, only_mandatory, fenced: None }
    }

    async fn pass(&self, gfid: Gfid, io: Io, wait: bool) -> FopResult<()> {
        self.acquire(gfid, |_| Want::Io(io), wait).await
    }

    /// Waits until nobody's lock forbids the read or write; with `O_NONBLOCK` it fails with `EAGAIN` instead.
    pub(super) async fn pass_io(
        &self,
        call: &Call,
        fd: &FdRef,
        start: u64,
        len: u64,
        writes: bool,
    ) -> FopResult<()> {
        let Some(range) = Range::of_io(start, len) else { return Ok(()) };
        if self.is_fenced(call, fd).await? {
            let fenced = Some(if writes { Errno::BUSY } else { Errno::AGAIN });
            return self.pass(fd.gfid(), Io { fenced, ..self.io(call, range, writes) }, false).await;
        }
        if !self.binds(self.fstat(call, fd)).await? {
            return Ok(());
        }
        let wait = !is_nonblocking(fd);
        self.pass(fd.gfid(), self.io(call, range, writes), wait).await
    }

    /// Fails with `EAGAIN` when somebody's lock forbids to set the file's length.
    pub(super) async fn pass_truncate(
        &self,
        call: &Call,
        gfid: Gfid,
        at: Result<&FdRef, &Loc>,
        length: u64,
    ) -> FopResult<()> {
        let nobodys = || Fd::anonymous(gfid, OpenFlags::empty().bits(), call.caller().pid);
        if self.is_fenced(call, &at.map_or_else(|_| nobodys(), Clone::clone)).await? {
            let range = Range { start: length.min(Range::LAST), end: Range::LAST };
            let io = Io { fenced: Some(Errno::AGAIN), ..self.io(call, range, true) };
            return self.pass(gfid, io, false).await;
        }
        let iatt = match at {
            Ok(fd) => self.fstat(call, fd).await?,
            Err(loc) => self.stat(call, loc).await?,
        };
        if !self.binds(std::future::ready(Ok(iatt))).await? {
            return Ok(());
        }
        let (start, end) = (length.min(iatt.size), length.max(iatt.size));
        match Range::of_io(start, end - start) {
            Some(range) => self.pass(gfid, self.io(call, range, true), false).await,
            None => Ok(()),
        }
    }

    /// An open that cuts the file fails with `EAGAIN` when there is any lock that binds, even the caller's own.
    pub(super) async fn pass_open(&self, call: &Call, loc: &Loc, gfid: Gfid, flags: u32) -> FopResult<()> {
        let cuts = OpenFlags::from_bits_retain(flags).contains(OpenFlags::TRUNC);
        if !cuts || !self.binds(self.stat(call, loc)).await? {
            return Ok(());
        }
        let only_mandatory = self.config().mandatory == Mandatory::Optimal;
        let locked = self
            .change(gfid, move |object, _| {
                object.posix.granted().iter().any(|held| held.mandatory || !only_mandatory)
            })
            .await?;
        if locked { Err(Errno::AGAIN.into()) } else { Ok(()) }
    }

    /// Whether somebody's inodelk may hold up a removal.
    pub(super) fn minds_removal(&self, call: &Call) -> bool {
        call.caller().pid >= 0 && self.presence().any(Kind::Inode)
    }

    /// Waits until no other client has an inodelk on the object at `loc`; nobody gets a new one until the result is dropped.
    /// `None` when there is no object, or it is none that clients lock.
    pub(super) async fn begin_removal(&self, call: &Call, loc: &Loc) -> FopResult<Option<Removal<'_>>> {
        let found = self.next.lookup(call, request::Lookup { loc: loc.clone(), xdata: Xdata::NONE }).await;
        // Whatever is wrong with it, the fop itself will tell.
        let Ok(found) = found else { return Ok(None) };
        if found.iatt.kind == IaType::Invalid || found.iatt.gfid.is_null() {
            return Ok(None);
        }
        let gfid = found.iatt.gfid;
        let client = call.caller().client;
        self.acquire(gfid, |_| Want::Remove(client), true).await?;
        Ok(Some(Removal { locks: self, gfid }))
    }
}

fn is_nonblocking(fd: &Fd) -> bool {
    OpenFlags::from_bits_retain(fd.flags()).contains(OpenFlags::NONBLOCK)
}
