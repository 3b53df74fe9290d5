//! Arguments, from the wire's to the translator API's.

use std::ffi::CString;

use kiln_uring::Errno;
use kiln_uring::sys::OpenFlags;

use super::Job;
use crate::fd::{Fd, FdRef};
use crate::fop::request::{SetAttr, SetAttrValid};
use crate::protocol::rpc::programs::fops::ANONYMOUS_FD;
use crate::types::dict::key_from_bytes;
use crate::types::{EntrylkCmd, Flock, Gfid, Iatt, Key, LkCmd, Loc, LockOwner, LockType, Name};

/// What a C string ends with cuts it.
pub(super) fn cut(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The object of that gfid.
pub(super) fn object(gfid: Gfid) -> Result<Loc, Errno> {
    if gfid.is_null() { Err(Errno::INVAL) } else { Ok(Loc::object(gfid)) }
}

/// An entry that is to be made, removed or moved.
pub(super) fn entry(parent: Gfid, name: &[u8]) -> Result<Loc, Errno> {
    match cut(name) {
        b"." | b".." => Err(Errno::ISDIR),
        name if !parent.is_null() => Ok(Loc::entry(parent, Name::new(name)?)),
        _ => Err(Errno::INVAL),
    }
}

/// What a lookup is about: an entry when there is a name, else the object.
/// For a client whose root is `root`.
pub(super) fn looked_up(root: Gfid, gfid: Gfid, parent: Gfid, name: &[u8]) -> Result<Loc, Errno> {
    match cut(name) {
        b"" => object(gfid),
        b"." => object(parent),
        // The root is its own parent, and what is above it is not the client's.
        b".." if parent == root || parent.is_root() => object(parent),
        _ if parent.is_null() => Err(Errno::INVAL),
        b".." => Ok(Loc::entry(parent, Name::dot_dot())),
        name => Ok(Loc::known_entry(gfid, parent, Name::new(name)?)),
    }
}

/// Contents of a symbolic link.
pub(super) fn target(bytes: &[u8]) -> Result<CString, Errno> {
    CString::new(cut(bytes)).map_err(|_| Errno::INVAL)
}

/// The name of an extended attribute; `None` for all of them. `len` says only whether there is a name.
pub(super) fn xattr_name(len: u32, name: &[u8]) -> Result<Option<Key>, Errno> {
    if len == 0 { Ok(None) } else { key(name).map(Some) }
}

pub(super) fn key(name: &[u8]) -> Result<Key, Errno> {
    key_from_bytes(cut(name))
}

/// `O_*` from the wire's numbers, which are those of Linux on x86, but for `O_SYNC`, which `O_DSYNC` becomes too. Bits that
/// mean nothing to a brick are left out.
pub(super) fn open_flags(wire: u32) -> u32 {
    const TABLE: &[(u32, OpenFlags)] = &[
        (0o1, OpenFlags::WRONLY),
        (0o2, OpenFlags::RDWR),
        (0o100, OpenFlags::CREAT),
        (0o200, OpenFlags::EXCL),
        (0o1000, OpenFlags::TRUNC),
        (0o2000, OpenFlags::APPEND),
        (0o4000, OpenFlags::NONBLOCK),
        (0o10000, OpenFlags::SYNC),
        (0o40000, OpenFlags::DIRECT),
        (0o200_000, OpenFlags::DIRECTORY),
        (0o400_000, OpenFlags::NOFOLLOW),
        (0o1_000_000, OpenFlags::NOATIME),
        (0o10_000_000, OpenFlags::PATH),
    ];
    let known = TABLE.iter().filter(|(bit, _)| wire & bit != 0);
    known.fold(OpenFlags::empty(), |flags, (_, flag)| flags | *flag).bits()
}

/// The flags of an anonymous descriptor for a read or write whose caller has these.
fn anonymous_flags(raw: u32, writes: bool) -> u32 {
    let kept = OpenFlags::from_bits_retain(raw) & (OpenFlags::DIRECT | OpenFlags::SYNC | OpenFlags::DSYNC);
    let access = if writes { OpenFlags::RDWR } else { OpenFlags::empty() };
    (kept | access).bits()
}

/// `major << 32 | minor` from Linux's `dev_t`.
pub(super) const fn device(dev: u64) -> u64 {
    let major = (dev >> 8) & 0xfff | (dev >> 32) & 0xffff_f000;
    let minor = dev & 0xff | (dev >> 12) & 0xffff_ff00;
    major << 32 | (minor & 0xffff_ffff)
}

pub(super) fn set_attr(stat: &Iatt, valid: i32) -> SetAttr {
    SetAttr {
        valid: SetAttrValid::from_bits_truncate(valid.cast_unsigned()),
        prot: stat.prot,
        uid: stat.uid,
        gid: stat.gid,
        atime: stat.atime,
        mtime: stat.mtime,
        ctime: stat.ctime,
    }
}

/// A lock's kind is said twice; outside of the range counts.
pub(super) fn flock(kind: u32, mut flock: Flock, owner: &[u8]) -> Result<Flock, Errno> {
    flock.kind = match kind {
        0 => LockType::Read,
        1 => LockType::Write,
        2 => LockType::Unlock,
        _ => return Err(Errno::INVAL),
    };
    // The owner is who calls; what the range says of it is for answers.
    if !owner.is_empty() {
        flock.owner = LockOwner::new(owner);
    }
    Ok(flock)
}

pub(super) const fn lk_cmd(cmd: u32) -> Result<LkCmd, Errno> {
    Ok(match cmd {
        0 => LkCmd::Get,
        1 => LkCmd::Set,
        2 => LkCmd::SetWait,
        3 => LkCmd::Reserve,
        4 => LkCmd::ReserveWait,
        5 => LkCmd::Unreserve,
        6 => LkCmd::GetFd,
        _ => return Err(Errno::INVAL),
    })
}

/// Internal locks know fewer commands.
pub(super) const fn inodelk_cmd(cmd: u32) -> Result<LkCmd, Errno> {
    match cmd {
        0 => Ok(LkCmd::Get),
        1 => Ok(LkCmd::Set),
        2 => Ok(LkCmd::SetWait),
        _ => Err(Errno::INVAL),
    }
}

pub(super) const fn entrylk_cmd(cmd: u32) -> Result<EntrylkCmd, Errno> {
    match cmd {
        0 => Ok(EntrylkCmd::Lock),
        1 => Ok(EntrylkCmd::Unlock),
        2 => Ok(EntrylkCmd::TryLock),
        _ => Err(Errno::INVAL),
    }
}

pub(super) const fn entrylk_kind(kind: u32) -> Result<LockType, Errno> {
    match kind {
        0 => Ok(LockType::Read),
        1 => Ok(LockType::Write),
        _ => Err(Errno::INVAL),
    }
}

/// The name that an entry lock is about; `None` for all names. `len` says only whether there is one.
pub(super) fn locked_name(len: u64, name: &[u8]) -> Result<Option<Name>, Errno> {
    if len == 0 || name.is_empty() { Ok(None) } else { Name::new(cut(name)).map(Some) }
}

pub(super) fn domain(name: &[u8]) -> String {
    String::from_utf8_lossy(cut(name)).into_owned()
}

impl Job<'_> {
    /// The descriptor of a number, or one for the object when nobody has opened it.
    pub(super) fn fd(&self, number: i64, gfid: Gfid) -> Result<FdRef, Errno> {
        self.fd_for(number, gfid, 0, true)
    }

    /// The same for a read or write with these raw flags.
    pub(super) fn fd_for(&self, number: i64, gfid: Gfid, raw: u32, writes: bool) -> Result<FdRef, Errno> {
        if number == ANONYMOUS_FD {
            let gfid = object(gfid)?.gfid;
            return Ok(Fd::anonymous(gfid, anonymous_flags(raw, writes), self.credential.pid));
        }
        let number = u64::try_from(number).map_err(|_| Errno::BADF)?;
        self.ticket.connection.fds.get(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_flags() {
        assert_eq!(device(0x103), 1 << 32 | 3);
        // makedev(0x12345, 0x6789a)
        assert_eq!(device(0x0001_2000_6783_459a), 0x12345 << 32 | 0x6789a);
        assert_eq!(open_flags(0o2 | 0o100 | 0o40), (OpenFlags::RDWR | OpenFlags::CREAT).bits());
        assert_eq!(open_flags(0o10000), OpenFlags::SYNC.bits());
        assert_eq!(open_flags(0o100_000), 0);
    }

    #[test]
    fn names() {
        let parent = Gfid::from_bytes([2; 16]);
        assert_eq!(entry(parent, b"a/b"), Err(Errno::PERM));
        assert_eq!(entry(parent, b".."), Err(Errno::ISDIR));
        assert_eq!(entry(parent, b""), Err(Errno::INVAL));
        assert_eq!(entry(Gfid::NULL, b"a"), Err(Errno::INVAL));
        assert_eq!(entry(parent, b"a\0b").unwrap().name.unwrap().as_bytes(), b"a");
        assert_eq!(entry(parent, &[b'x'; 256]), Err(Errno::NAMETOOLONG));
        assert_eq!(looked_up(Gfid::ROOT, Gfid::NULL, Gfid::NULL, b""), Err(Errno::INVAL));
        assert_eq!(looked_up(Gfid::ROOT, Gfid::ROOT, Gfid::NULL, b""), Ok(Loc::object(Gfid::ROOT)));
        assert_eq!(looked_up(Gfid::ROOT, Gfid::NULL, Gfid::ROOT, b".."), Ok(Loc::object(Gfid::ROOT)));
        assert_eq!(looked_up(Gfid::ROOT, Gfid::NULL, parent, b".."), Ok(Loc::entry(parent, Name::dot_dot())));
        assert_eq!(looked_up(parent, Gfid::NULL, parent, b".."), Ok(Loc::object(parent)));
        assert_eq!(looked_up(Gfid::ROOT, Gfid::NULL, Gfid::NULL, b".."), Err(Errno::INVAL));
        assert_eq!(xattr_name(0, b"ignored"), Ok(None));
    }
}
