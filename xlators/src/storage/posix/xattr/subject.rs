//! The object that a fop on extended attributes is about, whether it came as a loc or as a descriptor.

use std::sync::Arc;

use kiln_uring::sys::{Stat, XattrTarget};
use kiln_uring::{Class, Errno, File, SysResult, Warmth};

use super::fill::{self, Filled};
use crate::error::FopResult;
use crate::fd::FdRef;
use crate::storage::posix::handle::gfid_name;
use crate::storage::posix::lookup::stale_errno;
use crate::storage::posix::{Attrs, Brick, Object, Posix, stripes};
use crate::types::{Gfid, Loc, Name, Xdata};

/// How the caller names it.
#[derive(Debug)]
pub enum Given {
    /// By its gfid or its name.
    Loc(Loc),
    /// By a descriptor.
    Fd(FdRef),
}

/// What is known of it before a job looks for it.
#[derive(Debug)]
enum Known {
    /// Its gfid, and its descriptor when it is a directory that this core has open.
    Gfid { cached: Option<Arc<File>>, warmth: Warmth },
    /// A client has it open.
    Open(Arc<File>),
}

/// The object, found.
#[derive(Debug)]
pub struct Subject {
    /// Who it is.
    pub gfid: Gfid,
    /// A name of it, where the caller gave one.
    pub entry: Option<(Gfid, Name)>,
    at: At,
    /// Its `stat` when it was found.
    found: Option<Stat>,
}

#[derive(Debug)]
enum At {
    Object(Object),
    Open(Arc<File>),
}

impl Subject {
    /// Where its extended attributes are.
    #[must_use]
    pub fn target<'a>(&'a self, brick: &'a Brick) -> XattrTarget<'a> {
        match &self.at {
            At::Object(object) => brick.target(object),
            At::Open(file) => XattrTarget::Fd(file.fd()),
        }
    }

    /// Its `stat`, as it is now. A descriptor of a removed directory still tells.
    ///
    /// # Errors
    /// Those of `statx(2)`.
    pub fn stat(&self, brick: &Brick) -> SysResult<Stat> {
        match &self.at {
            At::Object(object) => brick.stat_object(object),
            At::Open(file) => brick.sys.stat(file.fd()),
        }
    }

    /// Its attributes, as they are now.
    ///
    /// # Errors
    /// Those of `statx(2)` and `getxattr(2)`.
    pub fn attrs(&self, brick: &Brick) -> SysResult<Attrs> {
        brick.attrs(self.gfid, self.stat(brick)?, self.target(brick))
    }

    /// Its attributes when the job found it.
    ///
    /// # Errors
    /// Those of `statx(2)` and `getxattr(2)`.
    pub fn attrs_before(&self, brick: &Brick) -> SysResult<Attrs> {
        match self.found {
            Some(stat) => brick.attrs(self.gfid, stat, self.target(brick)),
            None => self.attrs(brick),
        }
    }

    /// Answers to what a request's xdata asks about it.
    ///
    /// # Errors
    /// Those of `statx(2)` and `getxattr(2)`.
    pub fn answer(&self, brick: &Arc<Brick>, request: &Xdata) -> SysResult<Xdata> {
        if request.is_none() {
            return Ok(Xdata::NONE);
        }
        let attrs = self.attrs(brick)?;
        let filled = Filled {
            gfid: self.gfid,
            attrs: &attrs,
            target: self.target(brick),
            warmth: Warmth::Warm,
            parent: self.entry(),
        };
        Ok(fill::answer(brick, &filled, request))
    }

    /// The open directory, when it is one.
    #[must_use]
    pub fn directory(&self) -> Option<&Arc<File>> {
        match &self.at {
            At::Object(Object::Dir(dir)) => Some(dir),
            At::Object(_) => None,
            At::Open(file) => Some(file),
        }
    }

    /// The name that the caller gave.
    #[must_use]
    pub fn entry(&self) -> Option<(Gfid, &Name)> {
        self.entry.as_ref().map(|(parent, name)| (*parent, name))
    }
}

impl Known {
    fn cached(&self) -> Option<Arc<File>> {
        match self {
            Self::Gfid { cached, .. } => cached.clone(),
            Self::Open(_) => None,
        }
    }

    /// Finds the object. A file that was unlinked while open is found where it was parked.
    fn find(self, brick: &Arc<Brick>, gfid: Gfid) -> SysResult<(At, Option<Stat>)> {
        let cached = match self {
            Self::Open(file) => return Ok((At::Open(file), None)),
            Self::Gfid { cached, .. } => cached.map(Object::Dir),
        };
        // The descriptor of a directory that was removed gives itself away by its link count.
        if let Some(dir) = cached
            && let Ok(stat) = brick.stat_object(&dir)
        {
            return Ok((At::Object(dir), Some(stat)));
        }
        let (object, stat) = match brick.object(gfid) {
            Err(Errno::NOENT) => {
                let parked = Object::Parked(gfid_name(gfid));
                let stat = brick.stat_object(&parked).map_err(stale_errno)?;
                (parked, stat)
            }
            found => found?,
        };
        Ok((At::Object(object), Some(stat)))
    }
}

impl Posix {
    async fn known(&self, given: Given) -> Result<(Gfid, Option<(Gfid, Name)>, Known), Errno> {
        self.brick.check_health()?;
        match given {
            Given::Loc(mut loc) => {
                let entry = loc.name.clone().map(|name| (loc.parent, name));
                if loc.gfid.is_null() {
                    loc.gfid = self.gfid_of_loc(loc.clone()).await?;
                }
                Ok((loc.gfid, entry, self.known_gfid(loc.gfid)))
            }
            // Nobody has opened it, and need not for this: devices and symbolic links have attributes too.
            Given::Fd(fd) if fd.is_anonymous() => Ok((fd.gfid(), None, self.known_gfid(fd.gfid()))),
            Given::Fd(fd) => Ok((fd.gfid(), None, Known::Open(self.fd_file(&fd).await?))),
        }
    }

    fn known_gfid(&self, gfid: Gfid) -> Known {
        let cached = self.cached_directory(gfid);
        let warmth = if cached.is_some() { Warmth::Warm } else { self.object_warmth(gfid) };
        Known::Gfid { cached, warmth }
    }

    /// Runs a job on the object.
    ///
    /// # Errors
    /// `ESTALE` when it is not there (any more), `EBADF` for a descriptor that is not open, and the job's own.
    pub(super) async fn on_subject<T: Send + 'static>(
        &self,
        class: Class,
        given: Given,
        job: impl FnOnce(&Arc<Brick>, &Subject) -> FopResult<T> + Send + 'static,
    ) -> FopResult<T> {
        self.perform(class, given, false, job).await
    }

    /// The same while nobody else changes the object.
    ///
    /// # Errors
    /// Those of [`Posix::on_subject`].
    pub(super) async fn on_locked_subject<T: Send + 'static>(
        &self,
        class: Class,
        given: Given,
        job: impl FnOnce(&Arc<Brick>, &Subject) -> FopResult<T> + Send + 'static,
    ) -> FopResult<T> {
        self.perform(class, given, true, job).await
    }

    async fn perform<T: Send + 'static>(
        &self,
        class: Class,
        given: Given,
        alone: bool,
        job: impl FnOnce(&Arc<Brick>, &Subject) -> FopResult<T> + Send + 'static,
    ) -> FopResult<T> {
        let (gfid, entry, known) = self.known(given).await?;
        let (class, warmth) = placed(class, &known);
        let had = known.cached();
        let job = move |brick: &Arc<Brick>| {
            let (at, found) = known.find(brick, gfid)?;
            let subject = Subject { gfid, entry, at, found };
            Ok((job(brick, &subject), subject.at))
        };
        let found = if alone {
            self.run_locked(class, warmth, Vec::new(), vec![stripes::object_key(gfid)], job).await
        } else {
            self.run(class, warmth, job).await
        };
        self.learn(gfid, had.as_ref(), found)
    }

    /// Keeps the descriptor of a directory that the job has opened.
    fn learn<T>(
        &self,
        gfid: Gfid,
        had: Option<&Arc<File>>,
        found: SysResult<(FopResult<T>, At)>,
    ) -> FopResult<T> {
        match found {
            Ok((result, at)) => {
                if let At::Object(Object::Dir(dir)) = &at
                    && !had.is_some_and(|had| Arc::ptr_eq(had, dir))
                {
                    self.keep_directory(gfid, dir);
                }
                result
            }
            Err(errno) => {
                self.drop_directory(gfid);
                Err(errno.into())
            }
        }
    }
}

/// An open file's attributes are at hand.
fn placed(class: Class, known: &Known) -> (Class, Warmth) {
    match known {
        Known::Open(_) if class == Class::MetadataRead => (Class::FdMetadata, Warmth::Warm),
        Known::Open(_) => (class, Warmth::Warm),
        Known::Gfid { warmth, .. } => (class, *warmth),
    }
}
