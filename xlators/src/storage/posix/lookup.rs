//! lookup, stat, access, readlink: the fops that only look.

use std::sync::Arc;

use kiln_uring::sys::XattrTarget;
use kiln_uring::{Class, Errno, File, Warmth};

use super::entry::heal;
use super::stripes::{entry_key, object_key};
use super::xattr::fill::{self, Filled};
use super::{Attrs, Brick, Object, Posix};
use crate::call::Call;
use crate::error::{FopError, FopResult};
use crate::fop::{reply, request};
use crate::keys;
use crate::types::{Gfid, Iatt, Loc, Name, Xdata};

impl Posix {
    pub(super) async fn serve_lookup(&self, _: &Call, req: request::Lookup) -> FopResult<reply::Lookup> {
        match req.loc.name {
            Some(name) => self.lookup_name(req.loc.parent, name, req.xdata).await,
            None => self.lookup_gfid(req.loc.gfid, req.xdata).await,
        }
    }

    async fn lookup_name(&self, parent: Gfid, name: Name, xdata: Xdata) -> FopResult<reply::Lookup> {
        if is_dot_glusterfs(parent, &name) {
            return Err(Errno::PERM.into());
        }
        // Above the root is what is not the brick's.
        let is_above = name.is_dot_dot();
        if is_above && parent.is_root() {
            return self.lookup_gfid(parent, xdata).await;
        }
        let dir = self.directory(parent).await?;
        let warmth = self.entry_warmth(parent, &dir, &name).await;
        let job = {
            let (dir, name) = (Arc::clone(&dir), name.clone());
            move |brick: &Arc<Brick>| lookup_entry(brick, parent, &dir, &name, warmth, xdata)
        };
        let found = self.look(parent, warmth, job).await;
        match &found {
            Ok(reply) => {
                let gfid = reply.iatt.gfid;
                if reply.iatt.is_dir() && !is_above && self.has_unchecked_handle(gfid) {
                    self.check_dir_handle(gfid, parent, dir, name).await;
                }
                self.touch_object(gfid);
            }
            Err(error) if error.errno == Errno::STALE => self.drop_directory(parent),
            Err(_) => {}
        }
        found
    }

    /// Whether this core has not looked at the handle of a directory for some time.
    fn has_unchecked_handle(&self, gfid: Gfid) -> bool {
        let checked = self.warm.borrow().is_touched(checked_key(gfid));
        !checked && !gfid.is_null() && self.directories.borrow().peek(&gfid).is_none()
    }

    /// Makes the handle of a directory lead to where the lookup has found it.
    async fn check_dir_handle(&self, gfid: Gfid, parent: Gfid, dir: Arc<File>, name: Name) {
        let (looks, its) = (self.object_warmth(gfid), name.clone());
        let fits = move |brick: &Arc<Brick>| heal::dir_handle_fits(brick, gfid, parent, &its);
        if !self.run(Class::MetadataRead, looks, fits).await {
            let job = move |brick: &Arc<Brick>| heal::set_dir_handle(brick, gfid, parent, &dir, &name);
            if let Err(errno) = self.run(Class::EntryChange, Warmth::Cold, job).await {
                tracing::warn!(%gfid, %errno, "cannot make the handle of a directory anew");
                return;
            }
        }
        self.warm.borrow_mut().mark(checked_key(gfid), self.core.now());
    }

    async fn lookup_gfid(&self, gfid: Gfid, xdata: Xdata) -> FopResult<reply::Lookup> {
        self.brick.check_health()?;
        if let Some(dir) = self.cached_directory(gfid) {
            let job = move |brick: &Arc<Brick>| lookup_open(brick, gfid, &dir, &xdata);
            let found = self.run(Class::FdMetadata, Warmth::Warm, job).await;
            if found.is_err() {
                self.drop_directory(gfid);
            }
            // Removed, or taken over by another directory: the handle knows.
            return match found {
                Err(FopError { errno: Errno::STALE, .. }) => Err(Errno::NOENT.into()),
                found => found,
            };
        }
        let warmth = self.object_warmth(gfid);
        let job = move |brick: &Arc<Brick>| lookup_object(brick, gfid, warmth, &xdata);
        let (reply, object) = self.run(Class::MetadataRead, warmth, job).await?;
        if let Object::Dir(dir) = &object {
            self.keep_directory(gfid, dir);
        }
        Ok(reply)
    }

    pub(super) async fn serve_stat(&self, _: &Call, req: request::Stat) -> FopResult<reply::Attr> {
        let gfid = self.gfid_of_loc(req.loc).await?;
        let found = self.lookup_gfid(gfid, req.xdata).await.map_err(stale)?;
        Ok(reply::Attr { iatt: found.iatt, xdata: found.xdata })
    }

    /// Whether the brick itself may: access-control has answered for the caller before. Root may all but execute a file
    /// that nobody may.
    pub(super) async fn serve_access(&self, _: &Call, req: request::Access) -> FopResult<reply::Done> {
        let gfid = self.gfid_of_loc(req.loc).await?;
        let found = self.lookup_gfid(gfid, Xdata::NONE).await.map_err(stale)?;
        let execute = req.mask & 1 != 0 && !found.iatt.is_dir() && found.iatt.prot & 0o111 == 0;
        if execute { Err(Errno::ACCESS.into()) } else { Ok(reply::Done::default()) }
    }

    pub(super) async fn serve_readlink(
        &self,
        _: &Call,
        req: request::Readlink,
    ) -> FopResult<reply::Readlink> {
        let gfid = self.gfid_of_loc(req.loc).await?;
        let object = self.object(gfid).await.map_err(stale_errno)?;
        let size = req.size as usize;
        let job = move |brick: &Arc<Brick>| -> FopResult<reply::Readlink> {
            let attrs = brick.attrs_of(gfid, &object)?;
            let Object::Other(handle) = &object else { return Err(Errno::INVAL.into()) };
            if !attrs.stat.is_symlink() {
                return Err(Errno::INVAL.into());
            }
            let mut target = brick.sys.readlink_at(brick.dot.fd(), handle.as_c_str())?;
            target.truncate(size);
            Ok(reply::Readlink { target, iatt: attrs.iatt, xdata: Xdata::NONE })
        };
        self.run(Class::MetadataRead, Warmth::Warm, job).await
    }

    /// The gfid that a loc means; by its name when the caller does not know it.
    pub(super) async fn gfid_of_loc(&self, loc: Loc) -> Result<Gfid, Errno> {
        self.brick.check_health()?;
        if !loc.gfid.is_null() {
            return Ok(loc.gfid);
        }
        let Some(name) = loc.name else { return Err(Errno::INVAL) };
        let dir = self.directory(loc.parent).await?;
        let warmth = self.entry_warmth(loc.parent, &dir, &name).await;
        let job = move |brick: &Arc<Brick>| brick.gfid_of(XattrTarget::At(dir.fd(), name.as_c_str()));
        self.look(loc.parent, warmth, job).await
    }
}

/// Key of a directory's handle in the warm set: whether it was looked at.
fn checked_key(gfid: Gfid) -> u64 {
    object_key(gfid).rotate_left(1)
}

/// An object that is not there (any more) is ESTALE to every fop but lookup.
pub(super) fn stale(mut error: FopError) -> FopError {
    error.errno = stale_errno(error.errno);
    error
}

/// See [`stale`].
pub(super) fn stale_errno(errno: Errno) -> Errno {
    if errno == Errno::NOENT { Errno::STALE } else { errno }
}

/// Whether it is the housekeeping directory, which no client may see; deeper in the tree the name is an ordinary one.
pub(super) fn is_dot_glusterfs(parent: Gfid, name: &Name) -> bool {
    parent.is_root() && name.as_c_str() == super::brick::DOT_GLUSTERFS
}

fn lookup_entry(
    brick: &Arc<Brick>,
    parent: Gfid,
    dir: &File,
    name: &Name,
    warmth: Warmth,
    xdata: Xdata,
) -> FopResult<reply::Lookup> {
    let here = XattrTarget::At(dir.fd(), name.as_c_str());
    let watch = brick.entries.watch(entry_key(parent, name.as_bytes()));
    let entry = brick.sys.stat_at(dir.fd(), name.as_c_str());
    let postparent = brick.attrs_of_fd(parent, dir)?.iatt;
    let failed = |errno: Errno| FopError::new(errno).with_postparent(postparent);
    let stat = entry.map_err(failed)?;
    // What is above has another name elsewhere, which is not watched.
    let read = if name.is_dot_dot() { brick.gfid_of(here) } else { brick.gfid_of_entry(here, &stat, &watch) };
    let gfid = match read {
        Ok(gfid) => gfid,
        Err(Errno::NODATA) if name.is_dot_dot() => return Err(failed(Errno::NODATA)),
        Err(Errno::NODATA) => match heal::adopt(brick, parent, dir, name, &stat, &xdata) {
            Ok(gfid) => gfid,
            Err(errno) => return Err(failed(errno)),
        },
        Err(Errno::IO) => {
            brick.damaged(parent, &format!("entry {name} has a trusted.gfid that is not 16 bytes"));
            return Err(failed(Errno::IO));
        }
        Err(errno) => return Err(failed(errno)),
    };
    // Fewer links than a handle and a name make: the handle is missing. (A directory's is checked when it is opened.)
    let stat = if !stat.is_dir() && stat.nlink < 2 && !gfid.is_null() {
        heal::relink(brick, gfid, parent, dir, name).map_err(failed)?;
        brick.sys.stat_at(dir.fd(), name.as_c_str()).map_err(failed)?
    } else {
        stat
    };
    let attrs = match name.is_dot_dot() {
        true => brick.attrs(gfid, stat, here),
        false => brick.attrs_of_entry(gfid, stat, here, &watch),
    }
    .map_err(failed)?;
    let named = (!name.is_dot_dot()).then_some((parent, name));
    let xdata =
        fill::answer(brick, &Filled { gfid, attrs: &attrs, target: here, warmth, parent: named }, &xdata);
    Ok(reply::Lookup { iatt: attrs.iatt, postparent, xdata })
}

fn lookup_open(brick: &Arc<Brick>, gfid: Gfid, dir: &File, xdata: &Xdata) -> FopResult<reply::Lookup> {
    let attrs = brick.attrs_of_fd(gfid, dir)?;
    Ok(nameless(brick, gfid, &attrs, XattrTarget::Fd(dir.fd()), Warmth::Warm, xdata))
}

fn lookup_object(
    brick: &Arc<Brick>,
    gfid: Gfid,
    warmth: Warmth,
    xdata: &Xdata,
) -> FopResult<(reply::Lookup, Object)> {
    let (object, stat) = match brick.object(gfid) {
        Err(Errno::NOENT) if xdata.is_set(keys::UNLINKED_LOOKUP) => {
            let parked = Object::Parked(super::handle::gfid_name(gfid));
            let stat = brick.stat_object(&parked)?;
            (parked, stat)
        }
        other => other?,
    };
    let target = brick.target(&object);
    let attrs = brick.attrs(gfid, stat, target)?;
    let reply = nameless(brick, gfid, &attrs, target, warmth, xdata);
    Ok((reply, object))
}

fn nameless(
    brick: &Arc<Brick>,
    gfid: Gfid,
    attrs: &Attrs,
    target: XattrTarget<'_>,
    warmth: Warmth,
    xdata: &Xdata,
) -> reply::Lookup {
    let xdata = fill::answer(brick, &Filled { gfid, attrs, target, warmth, parent: None }, xdata);
    reply::Lookup { iatt: attrs.iatt, postparent: Iatt::default(), xdata }
}
