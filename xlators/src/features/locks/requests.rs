//! The lock fops.

use kiln_uring::{Errno, Instant};

use super::state::domain::{Bytes, Entry, Lock};
use super::state::object::{Kind, Want};
use super::state::posix::Segment;
use super::state::range::Range;
use super::{Locks, holder};
use crate::call::Call;
use crate::error::FopResult;
use crate::fd::{Fd, FdRef};
use crate::fop::{reply, request};
use crate::keys;
use crate::types::{Dict, EntrylkCmd, Flock, Gfid, LkCmd, Loc, LockType, Name, Value, Xdata};

/// What an inodelk on this first byte, to the end of the file, means: the object's metadata, which has a domain of its own.
const METADATA_START: i64 = i64::MAX - 1;
const METADATA_SUFFIX: &str = ":metadata";

/// Hung on descriptors that have had locks: their number, which nobody can guess.
#[derive(Debug)]
struct FdNumber(u64);

impl Locks {
    /// The number of a descriptor, given to it when it has none. Anonymous descriptors, which nobody releases, have 0.
    pub(super) fn fd_number(&self, fd: &Fd) -> u64 {
        if fd.is_anonymous() {
            return 0;
        }
        fd.context_or(self.layer, || FdNumber(self.owners().core().random_u64().max(1))).0
    }

    pub(super) fn known_fd_number(&self, fd: &Fd) -> Option<u64> {
        fd.context::<FdNumber>(self.layer).map(|number| number.0)
    }

    /// Clients that are new enough must say who locks.
    fn check_owner(call: &Call) -> Result<(), Errno> {
        let owner = call.caller().lock_owner.as_bytes();
        if owner.iter().all(|byte| *byte == 0) { Err(Errno::INVAL) } else { Ok(()) }
    }

    /// Remembers, for dumps, what the client calls itself.
    fn note_client(&self, call: &Call, gfid: Gfid, xdata: &mut Xdata) {
        let Some(name) = xdata.remove(keys::CONNECTION_ID) else { return };
        let client = call.caller().client;
        if name.as_str().is_some_and(|name| !name.is_empty()) {
            self.owners().post(gfid, move |home, _| {
                home.table().borrow_mut().name_client(client, name.as_str().unwrap_or_default());
            });
        }
    }

    fn trace(&self, call: &Call, gfid: Gfid, what: &dyn std::fmt::Debug) {
        if self.config().trace {
            let (client, owner) = (call.caller().client, &call.caller().lock_owner);
            tracing::info!(fop = %call.fop(), %gfid, client, ?owner, "{what:?}");
        }
    }

    fn now(&self) -> Instant {
        self.owners().core().now()
    }

    pub(super) async fn do_lk(&self, call: &Call, mut req: request::Lk) -> FopResult<reply::Lk> {
        Self::check_owner(call)?;
        let gfid = self.object_of_fd(call, &req.fd, req.flock.kind == LockType::Unlock).await?;
        let range = Range::of_lk(req.flock.start, req.flock.len)?;
        self.note_client(call, gfid, &mut req.xdata);
        self.trace(call, gfid, &(req.cmd, &req.flock));
        let segment = Segment {
            range,
            exclusive: req.flock.kind == LockType::Write,
            holder: holder(call),
            fd: self.fd_number(&req.fd),
            pid: req.flock.pid,
            caller: call.caller().pid,
            mandatory: req.xdata.get(keys::LK_MODE).and_then(Value::as_i64).is_some_and(|mode| mode == 1),
            since: self.now(),
        };
        let sets = matches!(req.cmd, LkCmd::Set | LkCmd::SetWait) && req.flock.kind != LockType::Unlock;
        if sets && self.is_fenced(call, &req.fd).await? {
            self.change(gfid, move |object, scene| object.seize(segment, scene)).await?;
            return Ok(reply::Lk { flock: req.flock, xdata: Xdata::NONE });
        }
        let flock = self.lk(gfid, req.cmd, req.flock, segment).await?;
        Ok(reply::Lk { flock, xdata: Xdata::NONE })
    }

    async fn lk(&self, gfid: Gfid, cmd: LkCmd, mut asked: Flock, segment: Segment) -> FopResult<Flock> {
        match cmd {
            LkCmd::Get => {
                if !self.presence().may_have(gfid, Kind::Posix) {
                    asked.kind = LockType::Unlock;
                    return Ok(asked);
                }
                let found = self
                    .change(gfid, move |object, _| object.posix.conflict(&segment).map(Segment::to_flock));
                Ok(found.await?.unwrap_or(Flock { kind: LockType::Unlock, ..asked }))
            }
            LkCmd::Set | LkCmd::SetWait if asked.kind == LockType::Unlock => {
                let still = self.change(gfid, move |object, scene| {
                    object.posix.unlock(&segment.holder, segment.range, scene);
                    object.settle(scene);
                    object.posix.has_fd(segment.fd)
                });
                // GlusterFS tells by the kind whether the descriptor has other locks.
                let kind = if still.await? { LockType::Read } else { LockType::Unlock };
                Ok(Flock { kind, ..asked })
            }
            LkCmd::Set | LkCmd::SetWait => {
                self.acquire(gfid, |_| Want::Posix(segment), cmd == LkCmd::SetWait).await?;
                Ok(asked)
            }
            LkCmd::Reserve | LkCmd::ReserveWait => {
                self.acquire(gfid, |_| Want::Reserve(segment), cmd == LkCmd::ReserveWait).await?;
                Ok(asked)
            }
            LkCmd::Unreserve => {
                self.change(gfid, move |object, scene| {
                    object.posix.unreserve(&segment.holder, segment.range, scene);
                })
                .await?;
                Ok(asked)
            }
            LkCmd::GetFd => {
                let next = self.change(gfid, move |object, _| object.posix.next_of_fd(segment.fd)).await?;
                Ok(next.unwrap_or(Flock { kind: LockType::Unlock, ..asked }))
            }
        }
    }

    /// The object of a lock by location, which must exist.
    async fn resolve(&self, call: &Call, loc: Loc, xdata: Xdata) -> FopResult<Gfid> {
        let found = self.next.lookup(call, request::Lookup { loc, xdata }).await;
        let gone = |errno| if errno == Errno::NOENT { Errno::STALE } else { errno };
        found.map(|found| found.iatt.gfid).map_err(|error| gone(error.errno).into())
    }

    /// The object whose lock is asked for or, when `unlocks`, released: a holder may release also when it is gone.
    pub(super) async fn object_of(&self, call: &Call, loc: &Loc, unlocks: bool) -> FopResult<Gfid> {
        if unlocks && !loc.gfid.is_null() {
            return Ok(loc.gfid);
        }
        let by_gfid = Loc::object(loc.gfid);
        self.resolve(call, if loc.gfid.is_null() { loc.clone() } else { by_gfid }, Xdata::NONE).await
    }

    /// The same through a descriptor; one that nobody opened may name anything.
    async fn object_of_fd(&self, call: &Call, fd: &Fd, unlocks: bool) -> FopResult<Gfid> {
        if fd.is_anonymous() && !unlocks {
            // Also one that was unlinked and is open elsewhere.
            let xdata = Xdata::new(Dict::from_iter([(keys::UNLINKED_LOOKUP, Value::Int(1))]));
            return self.resolve(call, Loc::object(fd.gfid()), xdata).await;
        }
        Ok(fd.gfid())
    }

    pub(super) async fn do_inodelk(&self, call: &Call, req: request::Inodelk) -> FopResult<reply::Done> {
        let gfid = self.object_of(call, &req.loc, req.flock.kind == LockType::Unlock).await?;
        self.inode_lock(call, gfid, req.domain, req.cmd, req.flock, req.xdata).await
    }

    pub(super) async fn do_finodelk(&self, call: &Call, req: request::Finodelk) -> FopResult<reply::Done> {
        let gfid = self.object_of_fd(call, &req.fd, req.flock.kind == LockType::Unlock).await?;
        self.inode_lock(call, gfid, req.domain, req.cmd, req.flock, req.xdata).await
    }

    async fn inode_lock(
        &self,
        call: &Call,
        gfid: Gfid,
        mut domain: String,
        cmd: LkCmd,
        flock: Flock,
        mut xdata: Xdata,
    ) -> FopResult<reply::Done> {
        Self::check_owner(call)?;
        let range = Range::of_inodelk(flock.start, flock.len)?;
        let wait = match cmd {
            LkCmd::Set => false,
            LkCmd::SetWait => true,
            _ => return Err(Errno::OPNOTSUPP.into()),
        };
        if (flock.start, flock.len) == (METADATA_START, 0) && !domain.ends_with(METADATA_SUFFIX) {
            domain.push_str(METADATA_SUFFIX);
        }
        self.note_client(call, gfid, &mut xdata);
        self.trace(call, gfid, &(&domain, cmd, &flock));
        let target = Bytes { range, exclusive: flock.kind == LockType::Write };
        let holder = holder(call);
        if flock.kind == LockType::Unlock {
            if self.loses_unlock() {
                return Ok(reply::Done::default());
            }
            let found = self
                .change(gfid, move |object, scene| object.unlock_inode(&domain, &holder, &target, scene))
                .await?;
            return done_if(found);
        }
        let (pid, since) = (call.caller().pid, self.now());
        let want =
            |ticket| Want::Inode(domain.into(), Lock { ticket, holder, pid, target, since, told: None });
        self.acquire(gfid, want, wait).await?;
        Ok(reply::Done::default())
    }

    pub(super) async fn do_entrylk(&self, call: &Call, req: request::Entrylk) -> FopResult<reply::Done> {
        let gfid = self.object_of(call, &req.loc, req.cmd == EntrylkCmd::Unlock).await?;
        self.entry_lock(call, gfid, req.domain, req.name, req.cmd, req.kind, req.xdata).await
    }

    pub(super) async fn do_fentrylk(&self, call: &Call, req: request::Fentrylk) -> FopResult<reply::Done> {
        let gfid = self.object_of_fd(call, &req.fd, req.cmd == EntrylkCmd::Unlock).await?;
        self.entry_lock(call, gfid, req.domain, req.name, req.cmd, req.kind, req.xdata).await
    }

    #[allow(clippy::too_many_arguments, reason = "they are the fop's")]
    async fn entry_lock(
        &self,
        call: &Call,
        gfid: Gfid,
        domain: String,
        name: Option<Name>,
        cmd: EntrylkCmd,
        kind: LockType,
        mut xdata: Xdata,
    ) -> FopResult<reply::Done> {
        Self::check_owner(call)?;
        self.note_client(call, gfid, &mut xdata);
        self.trace(call, gfid, &(&domain, &name, cmd, kind));
        let target = Entry { name, kind };
        let holder = holder(call);
        if cmd == EntrylkCmd::Unlock {
            if self.loses_unlock() {
                return Ok(reply::Done::default());
            }
            let found = self
                .change(gfid, move |object, scene| object.unlock_entry(&domain, &holder, &target, scene))
                .await?;
            return done_if(found);
        }
        let (pid, since) = (call.caller().pid, self.now());
        let want =
            |ticket| Want::Entry(domain.into(), Lock { ticket, holder, pid, target, since, told: None });
        self.acquire(gfid, want, cmd == EntrylkCmd::Lock).await?;
        Ok(reply::Done::default())
    }

    /// Option `monkey-unlocking`.
    fn loses_unlock(&self) -> bool {
        let lost = self.config().monkey && self.owners().core().random_u64().is_multiple_of(100);
        if lost {
            tracing::info!("monkey-unlocking: a release is lost");
        }
        lost
    }

    /// A process closes the file: its POSIX locks go. Without an owner, all of the descriptor do.
    pub(super) async fn flush_locks(&self, call: &Call, fd: &FdRef) -> FopResult<()> {
        let gfid = fd.gfid();
        if !self.presence().may_have(gfid, Kind::Posix) {
            return Ok(());
        }
        let number = self.known_fd_number(fd).unwrap_or(0);
        let holder = Some(holder(call)).filter(|holder| !holder.owner.as_bytes().is_empty());
        if holder.is_none() && number == 0 {
            return Ok(());
        }
        self.change(gfid, move |object, scene| {
            object.posix.flush(holder.as_ref(), number, scene);
            object.settle(scene);
        })
        .await
    }

    /// A descriptor is closed for good.
    pub(super) fn release_locks(&self, fd: &FdRef) {
        if let Some(number) = self.known_fd_number(fd) {
            self.change_later(fd.gfid(), move |object, scene| {
                object.posix.drop_fd(number, scene);
                object.settle(scene);
            });
        }
    }

    /// Whether the layer has anything to do with a flush.
    pub(super) fn minds_flush(&self, fd: &Fd) -> bool {
        self.presence().may_have(fd.gfid(), Kind::Posix)
    }
}

fn done_if(found: bool) -> FopResult<reply::Done> {
    if found { Ok(reply::Done::default()) } else { Err(Errno::INVAL.into()) }
}
