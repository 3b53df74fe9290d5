//! GlusterFS Callback: calls of the server, which no client ever answers.

use kiln_uring::sys::Timespec;

use crate::protocol::xdr::{Reader, Wire, Writer, XdrError, wire_structs};
use crate::types::{Flock, Gfid, IaType, Iatt};

/// Number of the program.
pub const PROGRAM: u32 = 52_743_234;
/// Its version.
pub const VERSION: u32 = 1;

/// The volfile has changed.
pub const FETCHSPEC: u32 = 1;
/// An object or its attributes changed.
pub const CACHE_INVALIDATION: u32 = 5;
/// A brick behind the connection serves (again).
pub const CHILD_UP: u32 = 6;
/// It does not.
pub const CHILD_DOWN: u32 = 7;
/// A lease is wanted back.
pub const RECALL_LEASE: u32 = 8;
/// Somebody waits for an inode lock.
pub const INODELK_CONTENTION: u32 = 10;
/// Somebody waits for an entry lock.
pub const ENTRYLK_CONTENTION: u32 = 11;

/// The attributes of the 3.x protocol: seconds of 32 bits, no flags.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OldIatt(pub Iatt);

impl Wire<'_> for OldIatt {
    fn size(&self) -> usize {
        100
    }

    fn put(&self, to: &mut Writer<'_>) {
        let iatt = &self.0;
        iatt.gfid.put(to);
        (if iatt.gfid.is_null() { 0 } else { iatt.ino() }).put(to);
        iatt.dev.put(to);
        [iatt.mode(), iatt.nlink, iatt.uid, iatt.gid].iter().for_each(|word| word.put(to));
        iatt.rdev.put(to);
        iatt.size.put(to);
        iatt.blksize.put(to);
        iatt.blocks.put(to);
        for time in [iatt.atime, iatt.mtime, iatt.ctime] {
            (time.sec as u32).put(to);
            time.nsec.put(to);
        }
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, XdrError> {
        let gfid = Gfid::get(from)?;
        let _ino = u64::get(from)?;
        let dev = Wire::get(from)?;
        let mode = u32::get(from)?;
        let mut iatt = Iatt {
            gfid,
            kind: IaType::from_mode(mode),
            prot: mode & 0o7777,
            dev,
            nlink: Wire::get(from)?,
            uid: Wire::get(from)?,
            gid: Wire::get(from)?,
            rdev: Wire::get(from)?,
            size: Wire::get(from)?,
            blksize: Wire::get(from)?,
            blocks: Wire::get(from)?,
            ..Iatt::default()
        };
        for time in [&mut iatt.atime, &mut iatt.mtime, &mut iatt.ctime] {
            *time = Timespec { sec: i64::from(u32::get(from)?), nsec: Wire::get(from)? };
        }
        Ok(Self(iatt))
    }
}

wire_structs! {
    /// `gfs3_cbk_cache_invalidation_req`; the gfid is text
    CacheInvalidation<'a> {
        gfid: &'a [u8], event_type: u32, flags: u32, expire_time_attr: u32,
        stat: OldIatt, parent_stat: OldIatt, oldparent_stat: OldIatt, xdata: &'a [u8],
    }
    /// `gfs3_recall_lease_req`
    RecallLease<'a> { gfid: Gfid, lease_type: u32, tid: [u8; 16], xdata: &'a [u8] }
    /// `gfs4_inodelk_contention_req`
    InodelkContention<'a> { gfid: Gfid, flock: Flock, pid: u32, domain: &'a [u8], xdata: &'a [u8] }
    /// `gfs4_entrylk_contention_req`
    EntrylkContention<'a> { gfid: Gfid, kind: u32, pid: u32, name: &'a [u8], domain: &'a [u8], xdata: &'a [u8] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::xdr::to_vec;

    #[test]
    fn invalidations_round_trip() {
        let stat =
            OldIatt(Iatt { gfid: Gfid::ROOT, kind: IaType::Directory, size: 5, nlink: 3, ..Iatt::default() });
        let sent = CacheInvalidation {
            gfid: b"00000000-0000-0000-0000-000000000001",
            event_type: 1,
            flags: 0x18,
            expire_time_attr: 60,
            stat,
            parent_stat: OldIatt::default(),
            oldparent_stat: OldIatt::default(),
            xdata: b"",
        };
        let wire = to_vec(&sent);
        assert_eq!(wire.len(), 40 + 12 + 300 + 4);
        assert_eq!(CacheInvalidation::get(&mut Reader::new(&wire)).unwrap(), sent);
    }
}
