//! create, put, icreate, namelink: regular files.

use std::sync::Arc;

use kiln_uring::sys::{How, OpenFlags, XattrFlags, XattrTarget};
use kiln_uring::{AtFlags, Buf, Class, Errno, File, SysResult};

use super::dress::New;
use super::{Spot, heal, in_parent, preop, wanted_gfid, xdata_xattrs};
use crate::call::Call;
use crate::error::{FopError, FopResult};
use crate::fop::{reply, request};
use crate::keys;
use crate::storage::posix::data::fd;
use crate::storage::posix::handle::HandlePath;
use crate::storage::posix::intents::Operation;
use crate::storage::posix::{Brick, Posix};
use crate::types::{Dict, Gfid, Xdata};

impl Posix {
    pub(in crate::storage::posix) async fn serve_create(
        &self,
        call: &Call,
        req: request::Create,
    ) -> FopResult<reply::Made> {
        let request::Create { loc, flags, mode, fd, mut xdata, .. } = req;
        let gfid = wanted_gfid(&xdata)?;
        self.has_space(call, &xdata)?;
        let mode = self.brick.settings().file_mode(libc::S_IFREG | (mode & 0o7777));
        let (spot, warmth) = self.spot(loc).await?;
        let parent = spot.parent;
        if xdata.contains(keys::PREOP_PARENT_KEY) {
            let job = {
                let (spot, mut xdata) = (spot.clone(), xdata.clone());
                move |brick: &Arc<Brick>| {
                    // Only of a new file the parent matters.
                    match brick.sys.stat_at(spot.dir.fd(), spot.name.as_c_str()) {
                        Ok(_) => Ok(xdata),
                        Err(_) => {
                            preop::check(brick, &spot.dir, &mut xdata, preop::Asker::Create).map(|()| xdata)
                        }
                    }
                }
            };
            xdata = self.run(Class::MetadataRead, warmth, job).await?;
        }
        let caller = call.caller();
        let times = *call.times();
        let new = New { spot, gfid, uid: caller.uid, gid: caller.gid, mode, times, xdata };
        let job = move |brick: &Arc<Brick>| {
            let made = create(brick, &new, flags, |_| Ok(()));
            (made, new.xdata)
        };
        let (made, echo) = self.run(Class::EntryChange, warmth, job).await;
        // Disperse compares the replies of its bricks, and stock sends the request's dictionary back, come what may.
        match self.after(&[parent], made) {
            Ok((mut made, file)) => {
                let gfid = made.iatt.gfid;
                self.touch_object(gfid);
                if !fd::attach(&self.brick, &fd, Arc::new(file), gfid) {
                    return Err(Errno::BADF.into());
                }
                made.xdata = echo;
                Ok(made)
            }
            Err(error) => Err(error.with_xdata(echo)),
        }
    }

    pub(in crate::storage::posix) async fn serve_put(
        &self,
        call: &Call,
        req: request::Put,
    ) -> FopResult<reply::Made> {
        let request::Put { loc, mode, flags, data, offset, xattrs, xdata, .. } = req;
        let gfid = wanted_gfid(&xdata)?;
        self.has_space(call, &xdata)?;
        let mode = self.brick.settings().file_mode(libc::S_IFREG | (mode & 0o7777));
        let (spot, _) = self.spot(loc).await?;
        let parent = spot.parent;
        let (uid, gid) = (call.caller().uid, call.caller().gid);
        let new = New { spot, gfid, uid, gid, mode, times: *call.times(), xdata };
        let put = Put { data, offset, xattrs };
        // Contents of any size: not on the core.
        let job = move |brick: &Arc<Brick>| {
            let (mut made, file) =
                create(brick, &new, flags, |file| put.store(brick, file, XattrFlags::CREATE))?;
            if made.iatt.gfid != new.gfid {
                put.store(brick, &file, XattrFlags::empty())?;
                made.iatt = brick.attrs_of_fd(made.iatt.gfid, &file)?.iatt;
            }
            Ok(made)
        };
        let made = self.run(Class::Background, kiln_uring::Warmth::Cold, job).await;
        let made = self.after(&[parent], made)?;
        self.touch_object(made.iatt.gfid);
        Ok(made)
    }

    pub(in crate::storage::posix) async fn serve_icreate(
        &self,
        call: &Call,
        req: request::Icreate,
    ) -> FopResult<reply::Attr> {
        let request::Icreate { loc, mode, xdata } = req;
        let gfid = if loc.gfid.is_null() { wanted_gfid(&xdata)? } else { loc.gfid };
        self.has_space(call, &xdata)?;
        let (uid, gid) = (call.caller().uid, call.caller().gid);
        let mode = self.brick.settings().file_mode(libc::S_IFREG | (mode & 0o7777));
        let job = move |brick: &Arc<Brick>| icreate(brick, gfid, uid, gid, mode);
        let attr = self.run(Class::EntryChange, kiln_uring::Warmth::Cold, job).await?;
        self.touch_object(gfid);
        Ok(attr)
    }

    pub(in crate::storage::posix) async fn serve_namelink(
        &self,
        call: &Call,
        req: request::Namelink,
    ) -> FopResult<reply::Removed> {
        let request::Namelink { loc, xdata } = req;
        let gfid = if loc.gfid.is_null() { wanted_gfid(&xdata)? } else { loc.gfid };
        self.has_space(call, &xdata)?;
        let (spot, warmth) = self.spot(loc).await?;
        let parent = spot.parent;
        let times = *call.times();
        let job = move |brick: &Arc<Brick>, wait| super::link::link(brick, wait, gfid, &spot, &times, false);
        let made = self.run_waiting(Class::EntryChange, warmth, job).await;
        let made = self.after(&[parent], made)?;
        self.touch_object(gfid);
        Ok(reply::Removed { preparent: made.preparent, postparent: made.postparent, xdata: Xdata::NONE })
    }
}

/// Contents and attributes that come with a put.
#[derive(Debug)]
struct Put {
    data: Buf,
    offset: u64,
    xattrs: Dict,
}

impl Put {
    fn store(&self, brick: &Brick, file: &File, flags: XattrFlags) -> SysResult<()> {
        xdata_xattrs::store_dict(brick, XattrTarget::Fd(file.fd()), &self.xattrs, flags)?;
        let mut at = 0;
        while at < self.data.len() {
            let offset = self.offset.checked_add(at as u64).ok_or(Errno::FBIG)?;
            match brick.sys.pwrite(file.fd(), &self.data[at..], offset)? {
                0 => return Err(Errno::IO),
                written => at += written,
            }
        }
        Ok(())
    }
}

/// Makes a regular file, or opens the one that is there (with O_EXCL: EEXIST).
fn create(
    brick: &Arc<Brick>,
    new: &New,
    flags: u32,
    fill: impl Fn(&File) -> SysResult<()>,
) -> FopResult<(reply::Made, File)> {
    let asked = OpenFlags::from_bits_retain(flags);
    let spot = &new.spot;
    let before = brick.attrs_of_fd(spot.parent, &spot.dir)?;
    let intent = brick.intents.fill(Operation::Make, [new.gfid, Gfid::NULL], [Some(spot.named()), None]);
    let built = brick.build_file(new, &before, asked, fill);
    let named = built.and_then(|(file, times)| {
        let linked = brick.sys.link_fd(file.fd(), spot.dir.fd(), spot.name.as_c_str());
        linked.map(|()| (file, times)).map_err(in_parent).inspect_err(|_| brick.drop_handle(new.gfid))
    });
    drop(intent);
    let (file, times) = match named {
        Ok(made) => made,
        // The name, or the handle: a client tells the brick twice of a file that it has made already.
        Err(Errno::EXIST) if !asked.contains(OpenFlags::EXCL) => {
            return open_existing(brick, new, asked);
        }
        Err(errno) => return Err(errno.into()),
    };
    let mut stat = brick.sys.stat(file.fd())?;
    let group = new.group(&before.stat);
    if (stat.uid, stat.gid) != (new.uid, group) {
        // Mounted with `grpid`: the file system has its own ideas of groups.
        brick.sys.chown(file.fd(), new.uid, group)?;
        brick.sys.chmod(file.fd(), stat.mode & 0o7777)?;
        stat = brick.sys.stat(file.fd())?;
    }
    let iatt = Brick::made_attrs(new.gfid, &stat, times.as_ref());
    let postparent = brick.parent_after(spot.parent, &spot.dir, &before, &new.times);
    Ok((reply::Made { iatt, preparent: before.iatt, postparent, xdata: Xdata::NONE }, file))
}

/// The name is taken: opens what has it.
fn open_existing(brick: &Arc<Brick>, new: &New, asked: OpenFlags) -> FopResult<(reply::Made, File)> {
    let spot = &new.spot;
    let stat = match brick.sys.stat_at(spot.dir.fd(), spot.name.as_c_str()) {
        // Only the gfid is taken, by an object of another name.
        Err(Errno::NOENT) => return Err(Errno::EXIST.into()),
        stat => stat?,
    };
    fd::openable(stat.mode)?;
    if stat.is_dir() {
        return Err(Errno::ISDIR.into());
    }
    let kept = fd::kept_flags(asked.bits()) & (OpenFlags::APPEND | OpenFlags::TRUNC);
    let how = How::new(kept | OpenFlags::RDWR | OpenFlags::NOFOLLOW);
    let fd = brick.sys.openat2(spot.dir.fd(), spot.name.as_c_str(), how)?;
    let file = File::new(Arc::clone(&brick.sys), fd);
    let gfid = match brick.gfid_of(XattrTarget::Fd(file.fd())) {
        Err(Errno::NODATA) => heal::adopt(brick, spot.parent, &spot.dir, &spot.name, &stat, &new.xdata)?,
        gfid => gfid?,
    };
    if stat.nlink < 2 {
        heal::relink(brick, gfid, spot.parent, &spot.dir, &spot.name)?;
    }
    let parent = brick.attrs_of_fd(spot.parent, &spot.dir)?.iatt;
    let iatt = brick.attrs_of_fd(gfid, &file)?.iatt;
    Ok((reply::Made { iatt, preparent: parent, postparent: parent, xdata: Xdata::NONE }, file))
}

/// A file with a handle and no name.
fn icreate(brick: &Arc<Brick>, gfid: Gfid, uid: u32, gid: u32, mode: u32) -> FopResult<reply::Attr> {
    let _intent = brick.intents.fill(Operation::Make, [gfid, Gfid::NULL], [None, None]);
    let how = How::new(OpenFlags::RDWR | OpenFlags::CREAT | OpenFlags::EXCL).mode(mode & 0o7777);
    let fd = brick.at_handle(gfid, |dot, path| brick.sys.openat2(dot, path, how))?;
    let file = File::new(Arc::clone(&brick.sys), fd);
    let finish = || -> SysResult<_> {
        if (uid, gid) != (0, 0) {
            brick.sys.chown(file.fd(), uid, gid)?;
            brick.sys.chmod(file.fd(), mode & 0o7777)?;
        }
        brick.sys.setxattr(XattrTarget::Fd(file.fd()), keys::GFID, gfid.as_bytes(), XattrFlags::CREATE)?;
        brick.sys.stat(file.fd())
    };
    let stat = finish().inspect_err(|_| {
        let _ = brick.sys.unlink_at(brick.dot.fd(), HandlePath::new(gfid).as_c_str(), AtFlags::empty());
    })?;
    Ok(reply::Attr { iatt: Brick::made_attrs(gfid, &stat, None), xdata: Xdata::NONE })
}

/// The entry of a spot, for those who need no more than to know that there is one.
pub(super) fn exists(brick: &Brick, spot: &Spot) -> Result<bool, FopError> {
    match brick.sys.stat_at(spot.dir.fd(), spot.name.as_c_str()) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
