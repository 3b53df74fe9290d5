//! Locks that move: to another descriptor of the same application (a client whose graph changed), or to another brick
//! (rebalance with lock migration).

use kiln_uring::Errno;

use super::Locks;
use super::state::Holder;
use super::state::posix::Segment;
use super::state::range::Range;
use crate::call::Call;
use crate::error::FopResult;
use crate::fd::FdRef;
use crate::fop::{reply, request};
use crate::keys;
use crate::types::{ActiveLock, Dict, Gfid, LockType, Value, Xdata};

/// Flag of an active lock: it binds others in mandatory mode `optimal`.
const MANDATORY: u32 = 1;

/// The value of `trusted.glusterfs.lockinfo`: one pair in GlusterFS's flat dictionary format, the brick's name and the
/// number of the descriptor. Clients merge those of several bricks, and hand the whole to the new descriptor.
fn to_lockinfo(brick: &str, number: u64) -> Vec<u8> {
    let text = format!("{number}\0");
    let mut bytes = 1_u32.to_be_bytes().to_vec();
    bytes.extend((brick.len() as u32).to_be_bytes());
    bytes.extend((text.len() as u32).to_be_bytes());
    bytes.extend(brick.as_bytes());
    bytes.push(0);
    bytes.extend(text.as_bytes());
    bytes
}

/// The number that a lock info has for this brick.
fn from_lockinfo(mut bytes: &[u8], brick: &str) -> Result<Option<u64>, Errno> {
    fn number(bytes: &mut &[u8]) -> Option<usize> {
        let (number, rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        usize::try_from(i32::from_be_bytes(*number)).ok()
    }
    let pairs = number(&mut bytes).ok_or(Errno::INVAL)?;
    for _ in 0..pairs {
        let key_len = number(&mut bytes).ok_or(Errno::INVAL)?;
        let value_len = number(&mut bytes).ok_or(Errno::INVAL)?;
        let (key, rest) = bytes.split_at_checked(key_len).ok_or(Errno::INVAL)?;
        let (value, rest) =
            rest.get(1..).and_then(|rest| rest.split_at_checked(value_len)).ok_or(Errno::INVAL)?;
        bytes = rest;
        if key == brick.as_bytes() {
            let text = std::str::from_utf8(value).map_err(|_| Errno::INVAL)?;
            return text.trim_end_matches('\0').parse().map(Some).map_err(|_| Errno::INVAL);
        }
    }
    Ok(None)
}

impl Locks {
    fn check_internal(call: &Call) -> Result<(), Errno> {
        if call.caller().is_internal() { Ok(()) } else { Err(Errno::PERM) }
    }

    /// `fgetxattr` of the lock info.
    pub(super) async fn lockinfo(&self, call: &Call, fd: &FdRef) -> FopResult<reply::Xattrs> {
        let Some(number) = self.known_fd_number(fd) else { return Err(Errno::NODATA.into()) };
        let info = to_lockinfo(&self.brick_name(call).await, number);
        let dict = Dict::from_iter([(keys::LOCKINFO, Value::Bin(info))]);
        Ok(reply::Xattrs { dict, xdata: Xdata::NONE })
    }

    /// `fsetxattr` of the lock info: `fd` takes over the locks of the descriptor that it was read from.
    pub(super) async fn take_lockinfo(
        &self,
        call: &Call,
        fd: &FdRef,
        info: &Value,
    ) -> FopResult<reply::Done> {
        let bytes = info.as_bytes().ok_or(Errno::INVAL)?;
        let brick = self.brick_name(call).await;
        if let Some(old) = from_lockinfo(bytes, &brick)?.filter(|old| *old != 0) {
            let (new, client) = (self.fd_number(fd), call.caller().client);
            let gfid = fd.gfid();
            let moved = self.owners().ask(gfid, move |home, core| {
                home.with(core, gfid, Some(client), |object, _| object.posix.rehome(old, new, client));
            });
            moved.await.map_err(|_| super::ask::OWNER_GONE)?;
        }
        Ok(reply::Done::default())
    }

    /// `setxattr` of the migration's lock on the locks, which only GlusterFS's own clients may take.
    pub(super) async fn freeze(&self, call: &Call, gfid: Gfid) -> FopResult<reply::Done> {
        Self::check_internal(call)?;
        let client = call.caller().client;
        let frozen = self.owners().ask(gfid, move |home, core| {
            home.with(core, gfid, Some(client), |object, _| object.posix.freeze(client))
        });
        if frozen.await.map_err(|_| super::ask::OWNER_GONE)? {
            Ok(reply::Done::default())
        } else {
            Err(Errno::AGAIN.into())
        }
    }

    /// `setxattr` that ends it; `moved` when the locks are on another brick now.
    pub(super) async fn thaw(&self, call: &Call, gfid: Gfid, moved: bool) -> FopResult<reply::Done> {
        Self::check_internal(call)?;
        self.change(gfid, move |object, scene| {
            object.posix.thaw(moved, scene);
            object.settle(scene);
        })
        .await?;
        Ok(reply::Done::default())
    }

    pub(super) async fn do_getactivelk(
        &self,
        call: &Call,
        req: request::Getactivelk,
    ) -> FopResult<reply::ActiveLocks> {
        let gfid = self.object_of(call, &req.loc, false).await?;
        let locks = self.owners().ask(gfid, move |home, _| {
            let table = home.table().borrow();
            let held = table.get(gfid).map_or(&[][..], |object| object.posix.granted());
            let active = |held: &Segment| ActiveLock {
                flock: held.to_flock(),
                client: table.client_name(held.holder.client).to_owned(),
                flags: if held.mandatory { MANDATORY } else { 0 },
            };
            held.iter().map(active).collect::<Vec<_>>()
        });
        let locks = locks.await.map_err(|_| super::ask::OWNER_GONE)?;
        Ok(reply::ActiveLocks { locks, xdata: Xdata::NONE })
    }

    /// The locks are held in the name of the migrating client, as nobody else is known here by whom they could be released.
    pub(super) async fn do_setactivelk(
        &self,
        call: &Call,
        req: request::Setactivelk,
    ) -> FopResult<reply::Done> {
        let gfid = self.object_of(call, &req.loc, false).await?;
        let client = call.caller().client;
        let since = self.owners().core().now();
        let mut segments = Vec::with_capacity(req.locks.len());
        for ActiveLock { flock, flags, .. } in req.locks {
            if flock.kind == LockType::Unlock {
                return Err(Errno::INVAL.into());
            }
            segments.push(Segment {
                range: Range::of_lk(flock.start, flock.len)?,
                exclusive: flock.kind == LockType::Write,
                holder: Holder { client, owner: flock.owner },
                fd: 0,
                pid: flock.pid,
                caller: 0,
                mandatory: flags & MANDATORY != 0,
                since,
            });
        }
        let adopted = self.owners().ask(gfid, move |home, core| {
            home.with(core, gfid, Some(client), |object, _| object.posix.adopt(segments))
        });
        if adopted.await.map_err(|_| super::ask::OWNER_GONE)? {
            Ok(reply::Done::default())
        } else {
            Err(Errno::AGAIN.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_infos_are_flat_dictionaries() {
        let mut info = to_lockinfo("host:/b/", 77);
        assert_eq!(info[..12], [0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 3]);
        assert_eq!(from_lockinfo(&info, "host:/b/"), Ok(Some(77)));
        assert_eq!(from_lockinfo(&info, "host:/c/"), Ok(None));
        for end in 0..info.len() {
            assert_eq!(from_lockinfo(&info[..end], "host:/b/"), Err(Errno::INVAL), "{end}");
        }
        // Two bricks' infos merged by the client.
        let second = to_lockinfo("host:/c/", 78);
        info[3] = 2;
        info.extend(&second[4..]);
        assert_eq!(from_lockinfo(&info, "host:/c/"), Ok(Some(78)));
        assert_eq!(from_lockinfo(&[0, 0, 0, 1, 0xff, 0, 0, 0, 0, 0, 0, 1], "x"), Err(Errno::INVAL));
    }
}
