//! rename, with its flags.

use std::ffi::CString;
use std::sync::Arc;

use kiln_uring::sys::{RenameFlags, Stat, XattrFlags};
use kiln_uring::{Class, Errno, SysResult, Warmth};

use super::link::MAX_PATHS;
use super::remove::{LostName, find, forget_path, missing};
use super::{Spot, in_parent};
use crate::call::{Call, CallTimes};
use crate::error::FopResult;
use crate::fop::{reply, request};
use crate::keys;
use crate::storage::posix::gfid2path::Gfid2Path;
use crate::storage::posix::intents::Operation;
use crate::storage::posix::mdata::Role;
use crate::storage::posix::stripes::{Busy, Wait, object_key};
use crate::storage::posix::{Brick, Posix};
use crate::types::{Dict, Gfid, Iatt, Value, Xdata};

impl Posix {
    pub(in crate::storage::posix) async fn serve_rename(
        &self,
        call: &Call,
        req: request::Rename,
    ) -> FopResult<reply::Renamed> {
        let request::Rename { old, new, flags, xdata } = req;
        let flags = RenameFlags::from_bits(flags).filter(|flags| !flags.contains(RenameFlags::WHITEOUT));
        let flags = flags.ok_or(Errno::INVAL)?;
        if flags.contains(RenameFlags::NOREPLACE | RenameFlags::EXCHANGE) {
            return Err(Errno::INVAL.into());
        }
        let victim = new.gfid;
        let (old, old_warmth) = self.spot(old).await?;
        let (new, new_warmth) = self.spot(new).await?;
        let warmth = if old_warmth == Warmth::Warm { new_warmth } else { old_warmth };
        let parents = [old.parent, new.parent];
        let job = Rename { old, new, victim, flags, times: *call.times(), xdata };
        let renamed =
            self.run_waiting(Class::EntryChange, warmth, move |brick, wait| job.run(brick, wait)).await;
        let renamed = self.after(&parents, renamed)?;
        if let Some(gone) = renamed.gone {
            self.drop_directory(gone);
        }
        self.touch_object(renamed.reply.iatt.gfid);
        Ok(renamed.reply)
    }
}

/// How often a free name may turn out to be taken before the rename fails.
const APPEARANCES: usize = 16;

#[derive(Clone, Debug)]
struct Rename {
    old: Spot,
    new: Spot,
    /// The directory that the caller expects to replace; null when it does not know.
    victim: Gfid,
    flags: RenameFlags,
    times: CallTimes,
    xdata: Xdata,
}

/// What a rename did.
#[derive(Debug)]
struct Done {
    reply: reply::Renamed,
    /// The directory that it replaced.
    gone: Option<Gfid>,
}

/// One object that gets another name.
#[derive(Debug)]
struct Mover<'a> {
    gfid: Gfid,
    stat: Stat,
    from: &'a Spot,
    to: &'a Spot,
}

/// What has been made for a move, and goes when it fails.
#[derive(Debug)]
enum Prepared {
    /// Nothing: an object without a gfid.
    Nothing,
    /// A directory's next handle, under this temporary name.
    Handle(CString),
    /// A `gfid2path` of the next name; none when it could not be stored yet.
    Path(Option<Gfid2Path>),
}

impl Rename {
    fn run(&self, brick: &Arc<Brick>, wait: Wait) -> Result<FopResult<Done>, Busy> {
        let _names = brick.entries.take(&[self.old.key(), self.new.key()], wait)?;
        // Nobody takes these names away now, but who makes a name (a link, a new file) does not ask for them.
        let mut appearances = 0;
        loop {
            let (gfid, stat) = match find(brick, &self.old) {
                Ok(found) => found,
                Err(errno) => return Ok(Err(missing(brick, &self.old, errno).into())),
            };
            let victim = match find(brick, &self.new) {
                Ok(found) => Some(found),
                Err(Errno::NOENT) => None,
                Err(errno) => return Ok(Err(errno.into())),
            };
            let objects = [object_key(gfid), victim.map_or(object_key(gfid), |(gfid, _)| object_key(gfid))];
            let _objects = brick.objects.take(&objects, wait)?;
            // Links may have come and gone while we waited, the objects under the names not.
            let again = |spot: &Spot, old: Stat| {
                brick.sys.stat_at(spot.dir.fd(), spot.name.as_c_str()).unwrap_or(old)
            };
            let stat = again(&self.old, stat);
            let victim = victim.map(|(gfid, stat)| (gfid, again(&self.new, stat)));
            let done = self.run_held(brick, gfid, stat, victim);
            let taken = victim.is_none() && matches!(&done, Err(error) if error.errno == Errno::EXIST);
            if !taken || self.flags.contains(RenameFlags::NOREPLACE) || appearances == APPEARANCES {
                return Ok(done);
            }
            appearances += 1;
        }
    }

    fn run_held(
        &self,
        brick: &Arc<Brick>,
        gfid: Gfid,
        stat: Stat,
        victim: Option<(Gfid, Stat)>,
    ) -> FopResult<Done> {
        let exchange = self.flags.contains(RenameFlags::EXCHANGE);
        let before_old = brick.attrs_of_fd(self.old.parent, &self.old.dir)?;
        let before_new = brick.attrs_of_fd(self.new.parent, &self.new.dir)?;
        self.check_victim(victim)?;
        let same = victim.is_some_and(|(_, other)| (other.dev, other.ino) == (stat.dev, stat.ino));
        let mut gone = None;
        // Two names of one object: the kernel does nothing, so both keep what they have.
        if !same {
            let names = [Some(self.old.named()), Some(self.new.named())];
            let other = victim.map_or(Gfid::NULL, |(gfid, _)| gfid);
            let _intent = brick.intents.fill(Operation::Rename, [gfid, other], names);
            let mover = Mover { gfid, stat, from: &self.old, to: &self.new };
            match victim.filter(|_| exchange) {
                Some((gfid, stat)) => {
                    let back = Mover { gfid, stat, from: &self.new, to: &self.old };
                    self.move_all(brick, &[mover, back], false)?;
                }
                None => {
                    self.move_all(brick, &[mover], victim.is_some())?;
                    gone = self.settle_victim(brick, victim);
                }
            }
        }
        let iatt = self.moved_attrs(brick, gfid)?;
        let postoldparent = brick.parent_after(self.old.parent, &self.old.dir, &before_old, &self.times);
        let postnewparent = match self.old.parent == self.new.parent {
            true => postoldparent,
            false => brick.parent_after(self.new.parent, &self.new.dir, &before_new, &self.times),
        };
        let reply = reply::Renamed {
            iatt,
            preoldparent: before_old.iatt,
            postoldparent,
            prenewparent: before_new.iatt,
            postnewparent,
            xdata: self.answer(victim),
        };
        Ok(Done { reply, gone })
    }

    fn check_victim(&self, victim: Option<(Gfid, Stat)>) -> Result<(), Errno> {
        let exchange = self.flags.contains(RenameFlags::EXCHANGE);
        match victim {
            None if exchange => Err(Errno::NOENT),
            Some(_) if self.flags.contains(RenameFlags::NOREPLACE) => Err(Errno::EXIST),
            // The client would lose a directory that it knows nothing of.
            Some((gfid, stat)) if stat.is_dir() && !self.victim.is_null() && self.victim != gfid => {
                Err(Errno::EXIST)
            }
            _ => Ok(()),
        }
    }

    /// Prepares all movers, renames, and settles them; a failure before the rename leaves everything as it was.
    fn move_all(&self, brick: &Arc<Brick>, movers: &[Mover<'_>], replaces: bool) -> SysResult<()> {
        let mut prepared = Vec::with_capacity(movers.len());
        let mut failed = None;
        for mover in movers {
            match mover.prepare(brick) {
                Ok(done) => prepared.push(done),
                Err(errno) => failed = Some(errno),
            }
            if failed.is_some() {
                break;
            }
        }
        let renamed = match failed {
            Some(errno) => Err(errno),
            None => self.rename_names(brick, replaces),
        };
        if let Err(errno) = renamed {
            movers.iter().zip(prepared).for_each(|(mover, done)| mover.undo(brick, done));
            // Both names were looked at a moment ago, so it is a directory that is missing.
            return Err(in_parent(errno));
        }
        if let Err(errno) = self.place_handles(brick, movers, &prepared, replaces) {
            movers.iter().zip(prepared).for_each(|(mover, done)| mover.undo(brick, done));
            return Err(errno);
        }
        movers.iter().zip(prepared).for_each(|(mover, done)| mover.settle(brick, done));
        Ok(())
    }

    /// A name that was free and is not any more must not be replaced unseen: what has it would keep a handle without a name.
    fn rename_names(&self, brick: &Brick, replaces: bool) -> SysResult<()> {
        let rename = |flags| {
            let (old, new) = (&self.old, &self.new);
            brick.sys.rename_at(old.dir.fd(), old.name.as_c_str(), new.dir.fd(), new.name.as_c_str(), flags)
        };
        if replaces || self.flags.contains(RenameFlags::EXCHANGE) {
            return rename(self.flags);
        }
        match rename(self.flags | RenameFlags::NOREPLACE) {
            // A file system that cannot do this; or one that says so of a directory that is moved into itself.
            Err(Errno::INVAL) => rename(self.flags),
            renamed => renamed,
        }
    }

    /// The new handles of directories that have moved. When one cannot be placed, the names go back to where they were, if
    /// that is still possible.
    fn place_handles(
        &self,
        brick: &Brick,
        movers: &[Mover<'_>],
        prepared: &[Prepared],
        replaces: bool,
    ) -> SysResult<()> {
        for (index, (mover, done)) in movers.iter().zip(prepared).enumerate() {
            let Prepared::Handle(draft) = done else { continue };
            let Err(errno) = brick.place_dir_handle(mover.gfid, draft) else { continue };
            tracing::error!(gfid = %mover.gfid, %errno, "cannot replace the handle of a directory that has moved");
            if replaces {
                // What had the name is gone. The next lookup of the name makes the handle.
                brick.drop_draft(draft);
                continue;
            }
            let flags = self.flags & RenameFlags::EXCHANGE;
            let back = brick.sys.rename_at(
                self.new.dir.fd(),
                self.new.name.as_c_str(),
                self.old.dir.fd(),
                self.old.name.as_c_str(),
                if flags.is_empty() { RenameFlags::NOREPLACE } else { flags },
            );
            if back.is_err() {
                // The next lookup of the name makes the handle.
                continue;
            }
            for (mover, done) in movers[..index].iter().zip(prepared) {
                if matches!(done, Prepared::Handle(_)) {
                    brick.set_dir_handle(mover.gfid, mover.from.parent, &mover.from.name)?;
                }
            }
            return Err(errno);
        }
        Ok(())
    }

    /// What was replaced loses its handle, or waits for its last close. The gfid of a directory is returned.
    fn settle_victim(&self, brick: &Brick, victim: Option<(Gfid, Stat)>) -> Option<Gfid> {
        let (gfid, stat) = victim?;
        brick.gfids.forget(&stat);
        let (parent, name) = self.new.named();
        if stat.is_dir() {
            brick.remove_dir_handle(gfid, parent, name);
            return Some(gfid);
        }
        LostName { gfid, nlink: stat.nlink, parent, name }.settle(brick, &self.times);
        None
    }

    fn moved_attrs(&self, brick: &Brick, gfid: Gfid) -> SysResult<Iatt> {
        let target = self.new.target();
        let stat = brick.sys.stat_at(self.new.dir.fd(), self.new.name.as_c_str())?;
        let mut attrs = brick.attrs(gfid, stat, target)?;
        brick.move_times(target, &mut attrs, &self.times, Role::Own);
        Ok(attrs.iatt)
    }

    fn answer(&self, victim: Option<(Gfid, Stat)>) -> Xdata {
        let mut answer = Dict::new();
        if let Some((gfid, stat)) = victim {
            let links = Value::Uint(u64::from(Iatt::from_stat(gfid, &stat).nlink));
            if self.xdata.contains(keys::LINK_COUNT) {
                answer.set(keys::LINK_COUNT, links.clone());
            }
            if self.xdata.contains(keys::REQUEST_LINK_COUNT) {
                answer.set(keys::RESPONSE_LINK_COUNT, links);
            }
        }
        Xdata::new(answer)
    }
}

impl Mover<'_> {
    fn prepare(&self, brick: &Brick) -> SysResult<Prepared> {
        if self.gfid.is_null() {
            return Ok(Prepared::Nothing);
        }
        if self.stat.is_dir() {
            let draft = brick.draft_dir_handle(self.gfid, self.to.parent, &self.to.name)?;
            return Ok(Prepared::Handle(draft));
        }
        if !brick.settings().gfid2path || self.stat.nlink > MAX_PATHS + 1 {
            return Ok(Prepared::Path(None));
        }
        let path = Gfid2Path::new(self.to.parent, &self.to.name);
        match brick.sys.setxattr(self.from.target(), &path.key, &path.value, XattrFlags::CREATE) {
            Ok(()) => Ok(Prepared::Path(Some(path))),
            // Left by somebody: there is no such name yet, so it is ours now.
            Err(Errno::EXIST) => Ok(Prepared::Path(Some(path))),
            // No room for one more: there may be when the old one is gone.
            Err(_) => Ok(Prepared::Path(None)),
        }
    }

    fn settle(&self, brick: &Brick, prepared: Prepared) {
        match prepared {
            Prepared::Nothing | Prepared::Handle(_) => {}
            Prepared::Path(path) => {
                let target = self.to.target();
                if self.from.parent != self.to.parent {
                    if let Err(errno) = brick.count_name(target, self.to.parent) {
                        tracing::warn!(gfid = %self.gfid, %errno, "cannot keep trusted.pgfid");
                    }
                    brick.uncount_name(target, self.gfid, self.from.parent);
                }
                forget_path(brick, target, self.gfid, self.from.parent, &self.from.name);
                if path.is_some() || !brick.settings().gfid2path || self.stat.nlink > MAX_PATHS + 1 {
                    return;
                }
                let path = Gfid2Path::new(self.to.parent, &self.to.name);
                if let Err(errno) = brick.sys.setxattr(target, &path.key, &path.value, XattrFlags::empty()) {
                    tracing::warn!(gfid = %self.gfid, %errno, "cannot store the trusted.gfid2path of a new name");
                }
            }
        }
    }

    fn undo(&self, brick: &Brick, prepared: Prepared) {
        match prepared {
            Prepared::Nothing | Prepared::Path(None) => {}
            Prepared::Handle(draft) => brick.drop_draft(&draft),
            Prepared::Path(Some(path)) => {
                let _ = brick.sys.removexattr(self.from.target(), &path.key);
            }
        }
    }
}
