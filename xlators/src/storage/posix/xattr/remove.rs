//! removexattr, fremovexattr.

use std::sync::Arc;

use kiln_uring::{Class, Errno};

use super::names;
use super::set::iatts;
use super::subject::{Given, Subject};
use crate::call::Call;
use crate::error::FopResult;
use crate::fop::{reply, request};
use crate::keys;
use crate::storage::posix::mdata::Role;
use crate::storage::posix::{Brick, Posix};
use crate::types::{Key, Xdata};

impl Posix {
    pub(in crate::storage::posix) async fn serve_removexattr(
        &self,
        call: &Call,
        req: request::Removexattr,
    ) -> FopResult<reply::Done> {
        self.remove_xattr(call, Given::Loc(req.loc), req.name, req.xdata).await
    }

    pub(in crate::storage::posix) async fn serve_fremovexattr(
        &self,
        call: &Call,
        req: request::Fremovexattr,
    ) -> FopResult<reply::Done> {
        self.remove_xattr(call, Given::Fd(req.fd), req.name, req.xdata).await
    }

    async fn remove_xattr(
        &self,
        call: &Call,
        given: Given,
        name: Key,
        xdata: Xdata,
    ) -> FopResult<reply::Done> {
        let times = *call.times();
        let pid = call.caller().pid;
        let removal = Removal::of(name, &xdata, pid)?;
        let job = move |brick: &Arc<Brick>, of: &Subject| {
            let before = of.attrs_before(brick)?;
            removal.perform(brick, of)?;
            let mut after = of.attrs(brick)?;
            brick.move_times(of.target(brick), &mut after, &times, Role::Own);
            Ok(reply::Done { xdata: iatts(&before, &after).into() })
        };
        self.on_locked_subject(Class::AttrChange, given, job).await
    }
}

enum Removal {
    One(Key),
    /// An empty name with keys in xdata: all of those that are there, as self-heal wants it.
    Bulk(Vec<Key>),
}

impl Removal {
    fn of(name: Key, xdata: &Xdata, pid: i32) -> Result<Self, Errno> {
        match xdata.dict() {
            Some(dict) if name.is_empty() => {
                let mut keys = Vec::with_capacity(dict.len());
                for (key, _) in dict.iter() {
                    match names::check_remove(key, pid) {
                        Ok(()) => keys.push(Key::Owned(key.to_owned())),
                        Err(Errno::NODATA) => {}
                        Err(errno) => return Err(errno),
                    }
                }
                Ok(Self::Bulk(keys))
            }
            _ => names::check_remove(&name, pid).map(|()| Self::One(name)),
        }
    }

    fn perform(&self, brick: &Brick, of: &Subject) -> Result<(), Errno> {
        let names = match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Bulk(names) => names,
        };
        let removed = self.remove(brick, of);
        if names.iter().any(|name| name.as_ref() == keys::MDATA) {
            brick.times.hold(of.gfid).forget();
        }
        removed
    }

    fn remove(&self, brick: &Brick, of: &Subject) -> Result<(), Errno> {
        let target = of.target(brick);
        match self {
            Self::One(name) => brick.sys.removexattr(target, name),
            Self::Bulk(names) => {
                for name in names {
                    match brick.sys.removexattr(target, name) {
                        // Removing one may take others along: an access list its mask, say.
                        Ok(()) | Err(Errno::NODATA) => {}
                        Err(errno) => return Err(errno),
                    }
                }
                Ok(())
            }
        }
    }
}
