//! The objects of the test leaf.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kiln_uring::Errno;

use crate::call::Caller;
use crate::fop::Fop;
use crate::keys;
use crate::types::{Dict, Gfid, IaType, Iatt, Loc, Name, Value, Xdata};

/// An object of the test leaf.
#[derive(Clone, Debug, Default)]
pub struct Object {
    /// Its attributes.
    pub iatt: Iatt,
    /// Its extended attributes.
    pub xattrs: Dict,
}

/// A fop that reached the leaf.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Which.
    pub fop: Fop,
    /// Its arguments, as [`crate::fop::request::Describe`] tells them.
    pub text: String,
    /// Who asked.
    pub caller: Caller,
}

#[derive(Debug, Default)]
struct State {
    objects: HashMap<Gfid, Object>,
    entries: HashMap<(Gfid, Name), Gfid>,
    seen: Vec<Seen>,
    failures: HashMap<Fop, Errno>,
    delays: HashMap<Fop, Duration>,
    made: u8,
}

/// What the leaf keeps and has seen. All of it can be looked at and changed while the graph runs.
#[derive(Debug, Default)]
pub struct Brick(Mutex<State>);

impl Brick {
    /// A brick with a root directory of mode 0755 that belongs to root.
    #[must_use]
    pub fn new() -> Self {
        let brick = Self::default();
        brick.put(Gfid::ROOT, IaType::Directory, 0o755, 0, 0);
        brick
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Places an object without a name.
    pub fn put(&self, gfid: Gfid, kind: IaType, prot: u32, uid: u32, gid: u32) {
        let iatt = Iatt { gfid, kind, prot, nlink: 1, uid, gid, ..Iatt::default() };
        self.state().objects.insert(gfid, Object { iatt, xattrs: Dict::new() });
    }

    /// Gives an object a name.
    ///
    /// # Panics
    /// When `name` is no name.
    pub fn name(&self, gfid: Gfid, parent: Gfid, name: &str) {
        let name = Name::new(name.as_bytes()).expect("a test's name is a name");
        self.state().entries.insert((parent, name), gfid);
    }

    /// Sets an extended attribute of an object.
    ///
    /// # Panics
    /// When there is no such object.
    pub fn set_xattr(&self, gfid: Gfid, key: &'static std::ffi::CStr, value: Vec<u8>) {
        let mut state = self.state();
        let object = state.objects.get_mut(&gfid).expect("the object is there");
        object.xattrs.set(key, Value::Bin(value));
    }

    /// A copy of an object.
    #[must_use]
    pub fn object(&self, gfid: Gfid) -> Option<Object> {
        self.state().objects.get(&gfid).cloned()
    }

    /// A copy of the object at `loc`.
    ///
    /// # Errors
    /// `ENOENT` for an entry that is not there, `ESTALE` for an object that is not.
    pub fn find(&self, loc: &Loc) -> Result<Object, Errno> {
        let state = self.state();
        let gfid = match &loc.name {
            Some(name) => *state.entries.get(&(loc.parent, name.clone())).ok_or(Errno::NOENT)?,
            None => loc.gfid,
        };
        state.objects.get(&gfid).cloned().ok_or(Errno::STALE)
    }

    /// From now on this fop fails.
    pub fn fail(&self, fop: Fop, errno: Errno) {
        self.state().failures.insert(fop, errno);
    }

    /// From now on this fop takes that long.
    pub fn delay(&self, fop: Fop, delay: Duration) {
        self.state().delays.insert(fop, delay);
    }

    /// What reached the leaf, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// The fops that reached the leaf, in order, and forgets them.
    pub fn take_fops(&self) -> Vec<Fop> {
        self.state().seen.drain(..).map(|seen| seen.fop).collect()
    }

    pub(super) fn note(&self, seen: Seen) -> (Option<Duration>, Option<Errno>) {
        let mut state = self.state();
        let planned = (state.delays.get(&seen.fop).copied(), state.failures.get(&seen.fop).copied());
        state.seen.push(seen);
        planned
    }

    /// What posix answers to a request's xdata: the extended attributes that it names.
    pub(super) fn fill(object: &Object, asked: &Xdata) -> Xdata {
        let Some(asked) = asked.dict() else { return Xdata::NONE };
        let mut answer = object.xattrs.clone();
        answer.retain(|key, _| asked.contains(key));
        answer.into()
    }

    /// Makes an object as a create fop does.
    pub(super) fn make(&self, loc: &Loc, mode: u32, caller: &Caller, xdata: &Xdata) -> Result<Iatt, Errno> {
        let name = loc.name.clone().ok_or(Errno::INVAL)?;
        let mut state = self.state();
        if !state.objects.contains_key(&loc.parent) {
            return Err(Errno::STALE);
        }
        if state.entries.contains_key(&(loc.parent, name.clone())) {
            return Err(Errno::EXIST);
        }
        state.made += 1;
        let gfid = Gfid::from_bytes([0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, state.made]);
        let kind = IaType::from_mode(mode);
        let iatt = Iatt {
            gfid,
            kind,
            prot: mode & 0o7777,
            nlink: 1,
            uid: caller.uid,
            gid: caller.gid,
            ..Iatt::default()
        };
        let mut xattrs = xdata.dict().cloned().unwrap_or_default();
        xattrs.retain(|key, _| key == keys::ACL_ACCESS || key == keys::ACL_DEFAULT);
        state.objects.insert(gfid, Object { iatt, xattrs });
        state.entries.insert((loc.parent, name), gfid);
        Ok(iatt)
    }
}
