//! The rule of each fop, and the facts that it needs.

use std::ffi::CStr;

use kiln_uring::Errno;
use kiln_uring::sys::{OpenFlags, RenameFlags};

use super::PosixAcl;
use super::acl::{Acl, Perm, mode_permits};
use crate::call::Call;
use crate::error::FopResult;
use crate::fd::FdRef;
use crate::fop::request;
use crate::fop::request::{SetAttr, SetAttrValid};
use crate::keys;
use crate::types::{Dict, Gfid, Iatt, Key, Loc, Value, Xdata};

/// Text forms of both ACLs, which posix turns into the binary ones.
const ACL_TEXTS: [&CStr; 2] = [c"glusterfs.posix.acl", c"glusterfs.posix.default_acl"];

const STICKY: u32 = 0o1000;
const SETGID: u32 = 0o2000;

/// The kernel's mark of an open for execution, which travels in the flags (`FMODE_EXEC`).
const OPEN_EXEC: u32 = 0x20;

/// What is known of an object.
pub(super) struct Facts {
    /// Attributes.
    pub iatt: Iatt,
    access: Option<Acl>,
    default: Option<Acl>,
}

impl Facts {
    fn new(iatt: Iatt, xdata: &Xdata) -> FopResult<Self> {
        let acl = |key| xdata.get(key).map_or(Ok(None), |value| stored_acl(iatt.gfid, value));
        Ok(Self { iatt, access: acl(keys::ACL_ACCESS)?, default: acl(keys::ACL_DEFAULT)? })
    }

    fn permits(&self, call: &Call, want: Perm) -> bool {
        match &self.access {
            Some(acl) => acl.permits(call.caller(), &self.iatt, want),
            None => mode_permits(call.caller(), &self.iatt, want),
        }
    }

    /// EACCES unless the caller may do all of `want`.
    pub(super) fn require(&self, call: &Call, want: Perm) -> FopResult<()> {
        if self.permits(call, want) {
            return Ok(());
        }
        let caller = call.caller();
        tracing::debug!(
            gfid = %self.iatt.gfid, uid = caller.uid, gid = caller.gid, ?want, owner = self.iatt.uid, group = self.iatt.gid,
            mode = format_args!("{:04o}", self.iatt.prot), fop = %call.fop(), "permission denied",
        );
        Err(Errno::ACCESS.into())
    }

    fn is_owned_by(&self, call: &Call) -> bool {
        self.iatt.uid == call.caller().uid
    }

    /// EPERM unless the caller owns the object.
    fn require_owner(&self, call: &Call) -> FopResult<()> {
        if self.is_owned_by(call) { Ok(()) } else { Err(Errno::PERM.into()) }
    }

    /// Whether the sticky bit of this directory keeps the caller from removing objects of others.
    fn is_sticky_for(&self, call: &Call) -> bool {
        self.iatt.prot & STICKY != 0 && !self.is_owned_by(call)
    }
}

/// An ACL as the storage layer gave it. One that does not decode was damaged on the brick: EIO to whoever needs it.
fn stored_acl(gfid: Gfid, value: &Value) -> FopResult<Option<Acl>> {
    Acl::decode(value.as_bytes().unwrap_or_default()).map_err(|error| {
        tracing::error!(%gfid, %error, "the object's ACL on the brick is damaged");
        Errno::IO.into()
    })
}

fn acl_request() -> Xdata {
    Dict::from_iter([(keys::ACL_ACCESS, Value::Int(0)), (keys::ACL_DEFAULT, Value::Int(0))]).into()
}

/// What an open with these flags asks for.
pub(super) fn wanted_by_open(flags: u32) -> Perm {
    let open = OpenFlags::from_bits_retain(flags);
    let access = if open.contains(OpenFlags::WRONLY | OpenFlags::RDWR) {
        // Linux: both bits ask for both rights.
        Perm::R | Perm::W
    } else if open.contains(OpenFlags::WRONLY) {
        Perm::W
    } else if open.contains(OpenFlags::RDWR) {
        Perm::R | Perm::W
    } else if flags & OPEN_EXEC != 0 {
        Perm::X
    } else {
        Perm::R
    };
    if open.intersects(OpenFlags::TRUNC | OpenFlags::APPEND) { access | Perm::W } else { access }
}

fn is_acl_key(key: &CStr) -> bool {
    key == keys::ACL_ACCESS || key == keys::ACL_DEFAULT || ACL_TEXTS.contains(&key)
}

impl PosixAcl {
    /// Asks the layer below about the object at `loc`.
    pub(super) async fn facts(&self, call: &Call, loc: Loc) -> FopResult<Facts> {
        let attr = self.next.stat(call, request::Stat { loc, xdata: acl_request() }).await?;
        Facts::new(attr.iatt, &attr.xdata)
    }

    async fn facts_of_fd(&self, call: &Call, fd: &FdRef) -> FopResult<Facts> {
        let attr = self.next.fstat(call, request::Fstat { fd: fd.clone(), xdata: acl_request() }).await?;
        Facts::new(attr.iatt, &attr.xdata)
    }

    /// The directory `parent`, where the caller must be allowed to change entries.
    async fn writable_parent(&self, call: &Call, parent: Gfid) -> FopResult<Facts> {
        let facts = self.facts(call, Loc::object(parent)).await?;
        facts.require(call, Perm::W | Perm::X)?;
        Ok(facts)
    }

    /// Checks that the caller may make the entry `loc`, and returns its parent's default ACL, which matters for every
    /// caller. Exempt ones cost one question less: only that ACL.
    pub(super) async fn may_add_entry(&self, call: &Call, loc: &Loc) -> FopResult<Option<Acl>> {
        if !self.is_exempt(call) {
            return Ok(self.writable_parent(call, loc.parent).await?.default);
        }
        let name = Some(Key::from(keys::ACL_DEFAULT));
        let req = request::Getxattr { loc: Loc::object(loc.parent), name, xdata: Xdata::NONE };
        match self.next.getxattr(call, req).await {
            Ok(answer) => {
                answer.dict.get(keys::ACL_DEFAULT).map_or(Ok(None), |value| stored_acl(loc.parent, value))
            }
            Err(error) if matches!(error.errno, Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Checks the sticky bit of `parent` for the entry or object `loc`.
    async fn check_sticky(&self, call: &Call, parent: &Facts, loc: &Loc) -> FopResult<()> {
        if !parent.is_sticky_for(call) {
            return Ok(());
        }
        let victim = self.facts(call, loc.clone()).await?;
        if victim.is_owned_by(call) { Ok(()) } else { Err(Errno::ACCESS.into()) }
    }

    async fn check_removal(&self, call: &Call, loc: &Loc) -> FopResult<()> {
        let parent = self.writable_parent(call, loc.parent).await?;
        self.check_sticky(call, &parent, loc).await
    }

    async fn require(&self, call: &Call, loc: &Loc, want: Perm) -> FopResult<()> {
        self.facts(call, loc.clone()).await?.require(call, want)
    }

    pub(super) async fn check_lookup(&self, call: &Call, req: &mut request::Lookup) -> FopResult<()> {
        if req.loc.name.is_none() {
            return Ok(());
        }
        self.require(call, &Loc::object(req.loc.parent), Perm::X).await
    }

    pub(super) async fn check_access(&self, call: &Call, req: request::Access) -> FopResult<()> {
        let want = u8::try_from(req.mask).ok().and_then(Perm::from_bits).ok_or(Errno::INVAL)?;
        self.require(call, &req.loc, want).await
    }

    pub(super) async fn check_open(&self, call: &Call, req: &mut request::Open) -> FopResult<()> {
        self.require(call, &req.loc, wanted_by_open(req.flags)).await
    }

    pub(super) async fn check_opendir(&self, call: &Call, req: &mut request::Opendir) -> FopResult<()> {
        self.require(call, &req.loc, Perm::R).await
    }

    pub(super) async fn check_readdir(&self, call: &Call, req: &mut request::Readdir) -> FopResult<()> {
        self.check_listing(call, &req.fd).await
    }

    pub(super) async fn check_readdirp(&self, call: &Call, req: &mut request::Readdirp) -> FopResult<()> {
        self.check_listing(call, &req.fd).await
    }

    /// A descriptor from opendir was checked there, and keeps its right; an anonymous one was not.
    async fn check_listing(&self, call: &Call, fd: &FdRef) -> FopResult<()> {
        if !fd.is_anonymous() {
            return Ok(());
        }
        self.facts_of_fd(call, fd).await?.require(call, Perm::R)
    }

    pub(super) async fn check_truncate(&self, call: &Call, req: &mut request::Truncate) -> FopResult<()> {
        self.require(call, &req.loc, Perm::W).await
    }

    pub(super) async fn check_symlink(&self, call: &Call, req: &mut request::Symlink) -> FopResult<()> {
        self.writable_parent(call, req.loc.parent).await.map(drop)
    }

    pub(super) async fn check_namelink(&self, call: &Call, req: &mut request::Namelink) -> FopResult<()> {
        self.writable_parent(call, req.loc.parent).await.map(drop)
    }

    pub(super) async fn check_unlink(&self, call: &Call, req: &mut request::Unlink) -> FopResult<()> {
        self.check_removal(call, &req.loc).await
    }

    pub(super) async fn check_rmdir(&self, call: &Call, req: &mut request::Rmdir) -> FopResult<()> {
        self.check_removal(call, &req.loc).await
    }

    pub(super) async fn check_rename(&self, call: &Call, req: &mut request::Rename) -> FopResult<()> {
        let (old, new) = (&req.old, &req.new);
        let old_parent = self.writable_parent(call, old.parent).await?;
        self.check_sticky(call, &old_parent, old).await?;
        let moves = old.parent != new.parent;
        let other_parent = if moves { Some(self.writable_parent(call, new.parent).await?) } else { None };
        match self.check_sticky(call, other_parent.as_ref().unwrap_or(&old_parent), new).await {
            Err(error) if error.errno == Errno::NOENT => {}
            checked => checked?,
        }
        if moves {
            self.check_move(call, old).await?;
            if RenameFlags::from_bits_retain(req.flags).contains(RenameFlags::EXCHANGE) {
                self.check_move(call, new).await?;
            }
        }
        Ok(())
    }

    /// A directory that gets another parent is written to: its `..` changes.
    async fn check_move(&self, call: &Call, loc: &Loc) -> FopResult<()> {
        let moved = self.facts(call, loc.clone()).await?;
        if moved.iatt.is_dir() { moved.require(call, Perm::W) } else { Ok(()) }
    }

    pub(super) async fn check_link(&self, call: &Call, req: &mut request::Link) -> FopResult<()> {
        let parent = self.writable_parent(call, req.new.parent).await?;
        self.check_sticky(call, &parent, &req.old).await
    }

    pub(super) async fn check_setattr(&self, call: &Call, req: &mut request::Setattr) -> FopResult<()> {
        let facts = self.facts(call, req.loc.clone()).await?;
        check_attributes(call, &facts, &mut req.attr)
    }

    pub(super) async fn check_fsetattr(&self, call: &Call, req: &mut request::Fsetattr) -> FopResult<()> {
        let facts = self.facts_of_fd(call, &req.fd).await?;
        check_attributes(call, &facts, &mut req.attr)
    }

    pub(super) async fn check_getxattr(&self, call: &Call, req: &mut request::Getxattr) -> FopResult<()> {
        if req.name.as_deref().is_some_and(is_acl_key) {
            return Ok(());
        }
        self.require(call, &req.loc, Perm::R).await
    }

    pub(super) async fn check_setxattr(&self, call: &Call, req: &mut request::Setxattr) -> FopResult<()> {
        let facts = self.facts(call, req.loc.clone()).await?;
        check_xattrs(call, &facts, &req.dict)
    }

    pub(super) async fn check_fsetxattr(&self, call: &Call, req: &mut request::Fsetxattr) -> FopResult<()> {
        let facts = self.facts_of_fd(call, &req.fd).await?;
        check_xattrs(call, &facts, &req.dict)
    }

    pub(super) async fn check_removexattr(
        &self,
        call: &Call,
        req: &mut request::Removexattr,
    ) -> FopResult<()> {
        let facts = self.facts(call, req.loc.clone()).await?;
        check_xattr_name(call, &facts, &req.name)
    }

    pub(super) async fn check_fremovexattr(
        &self,
        call: &Call,
        req: &mut request::Fremovexattr,
    ) -> FopResult<()> {
        let facts = self.facts_of_fd(call, &req.fd).await?;
        check_xattr_name(call, &facts, &req.name)
    }
}

/// chmod(2), chown(2), utimensat(2) for those who are not root. A mode loses its set-group-id bit when the caller is not in
/// the object's group.
fn check_attributes(call: &Call, facts: &Facts, attr: &mut SetAttr) -> FopResult<()> {
    let caller = call.caller();
    let valid = attr.valid;
    if valid.contains(SetAttrValid::MODE) {
        facts.require_owner(call)?;
        if !caller.in_group(facts.iatt.gid) {
            attr.prot &= !SETGID;
        }
    }
    if valid.contains(SetAttrValid::UID) {
        facts.require_owner(call)?;
        if attr.uid != facts.iatt.uid {
            return Err(Errno::PERM.into());
        }
    }
    if valid.contains(SetAttrValid::GID) {
        facts.require_owner(call)?;
        if attr.gid != facts.iatt.gid && !caller.in_group(attr.gid) {
            return Err(Errno::PERM.into());
        }
    }
    if valid.intersects(SetAttrValid::ATIME | SetAttrValid::MTIME | SetAttrValid::CTIME)
        && !facts.is_owned_by(call)
    {
        let now = |time, now| !valid.contains(time) || valid.contains(now);
        let only_now = now(SetAttrValid::ATIME, SetAttrValid::ATIME_NOW)
            && now(SetAttrValid::MTIME, SetAttrValid::MTIME_NOW)
            && !valid.contains(SetAttrValid::CTIME);
        if !only_now {
            return Err(Errno::PERM.into());
        }
        facts.require(call, Perm::W)?;
    }
    Ok(())
}

fn check_xattr_name(call: &Call, facts: &Facts, key: &CStr) -> FopResult<()> {
    if is_acl_key(key) { facts.require_owner(call) } else { facts.require(call, Perm::W) }
}

fn check_xattrs(call: &Call, facts: &Facts, dict: &Dict) -> FopResult<()> {
    for (key, value) in dict.iter() {
        check_xattr_name(call, facts, key)?;
        if key == keys::ACL_ACCESS || key == keys::ACL_DEFAULT {
            Acl::decode(value.as_bytes().unwrap_or_default()).map_err(|_| Errno::INVAL)?;
        }
    }
    Ok(())
}
