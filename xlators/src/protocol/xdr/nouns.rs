//! The nouns of the translator API on the wire.

use kiln_uring::sys::{StatFs, Timespec};

use super::{Reader, Wire, Writer, XdrError, wire_structs};
use crate::types::{Flock, Gfid, IaType, Iatt, LockOwner, LockType, Xdata};

/// `gfx_iattx` in bytes.
pub const IATT_SIZE: usize = 148;

/// What `ia_flags` says of attributes from a stock brick: all but the birth time.
const FILLED: u64 = 0x17ff;
/// The inode number among them, which an object without gfid has not.
const INO: u64 = 0x100;

impl Wire<'_> for Gfid {
    fn size(&self) -> usize {
        16
    }

    fn put(&self, to: &mut Writer<'_>) {
        let seen = to.seen(*self);
        to.raw(seen.as_bytes());
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, XdrError> {
        let gfid = from.array().map(Self::from_bytes)?;
        Ok(if gfid.is_root() { from.root } else { gfid })
    }
}

/// `opaque[16]`: the id of a lease.
impl Wire<'_> for [u8; 16] {
    fn size(&self) -> usize {
        16
    }

    fn put(&self, to: &mut Writer<'_>) {
        to.raw(self);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, XdrError> {
        from.array()
    }
}

/// `gfx_iattx`. What it has and an [`Iatt`] has not (birth time, attributes, which fields are valid, the inode number, which
/// follows from the gfid) is left out on reading.
impl Wire<'_> for Iatt {
    fn size(&self) -> usize {
        IATT_SIZE
    }

    fn put(&self, to: &mut Writer<'_>) {
        let seen = Self { gfid: to.seen(self.gfid), ..*self };
        let (flags, ino) = match (seen.kind, seen.gfid.is_null()) {
            (IaType::Invalid, _) => (0, 0),
            (_, true) => (FILLED & !INO, seen.ino()),
            (_, false) => (FILLED, seen.ino()),
        };
        let mut out = [0; IATT_SIZE];
        let mut fields = Writer::new(&mut out);
        seen.gfid.put(&mut fields);
        let longs = [flags, ino, self.dev, self.rdev, self.size, self.blocks, 0, 0];
        longs.iter().for_each(|field| field.put(&mut fields));
        let times = [self.atime, self.mtime, self.ctime, Timespec::default()];
        times.iter().for_each(|time| time.sec.put(&mut fields));
        times.iter().for_each(|time| time.nsec.put(&mut fields));
        let words = [self.nlink, self.uid, self.gid, self.blksize, self.mode()];
        words.iter().for_each(|field| field.put(&mut fields));
        to.raw(&out);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, XdrError> {
        let all = from.take(IATT_SIZE)?;
        let fields = &mut Reader::new(all);
        let gfid = Gfid::get(fields)?;
        let [_flags, _ino, dev, rdev, size, blocks, _attributes, _mask] = longs(fields)?;
        let [atime, mtime, ctime, _btime] = longs(fields)?;
        let [atime_ns, mtime_ns, ctime_ns, _btime_ns] = words(fields)?;
        let [nlink, uid, gid, blksize, mode] = words(fields)?;
        let time = |sec: u64, nsec: u32| Timespec { sec: sec.cast_signed(), nsec };
        Ok(Self {
            gfid,
            kind: IaType::from_mode(mode),
            prot: mode & 0o7777,
            nlink,
            uid,
            gid,
            dev,
            rdev,
            size,
            blocks,
            blksize,
            atime: time(atime, atime_ns),
            mtime: time(mtime, mtime_ns),
            ctime: time(ctime, ctime_ns),
        })
    }
}

fn longs<const N: usize>(from: &mut Reader<'_>) -> Result<[u64; N], XdrError> {
    let mut fields = [0; N];
    for field in &mut fields {
        *field = u64::get(from)?;
    }
    Ok(fields)
}

fn words<const N: usize>(from: &mut Reader<'_>) -> Result<[u32; N], XdrError> {
    let mut fields = [0; N];
    for field in &mut fields {
        *field = u32::get(from)?;
    }
    Ok(fields)
}

/// `gf_statfs`. The type of the file system does not travel.
impl Wire<'_> for StatFs {
    fn size(&self) -> usize {
        88
    }

    fn put(&self, to: &mut Writer<'_>) {
        let Self {
            bsize,
            frsize,
            blocks,
            bfree,
            bavail,
            files,
            ffree,
            favail,
            fsid,
            flags,
            namemax,
            kind: _,
        } = *self;
        let fields = [bsize, frsize, blocks, bfree, bavail, files, ffree, favail, fsid, flags, namemax];
        fields.iter().for_each(|field| field.put(to));
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, XdrError> {
        let [bsize, frsize, blocks, bfree, bavail, files, ffree, favail, fsid, flags, namemax] = longs(from)?;
        Ok(Self { bsize, frsize, blocks, bfree, bavail, files, ffree, favail, fsid, flags, namemax, kind: 0 })
    }
}

impl Wire<'_> for LockType {
    fn size(&self) -> usize {
        4
    }

    fn put(&self, to: &mut Writer<'_>) {
        let number: u32 = match self {
            Self::Read => 0,
            Self::Write => 1,
            Self::Unlock => 2,
        };
        number.put(to);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, XdrError> {
        match u32::get(from)? {
            0 => Ok(Self::Read),
            1 => Ok(Self::Write),
            2 => Ok(Self::Unlock),
            _ => Err(XdrError::Value),
        }
    }
}

/// `gf_proto_flock`. Ranges are absolute whatever `whence` says, so it is left out on reading.
impl Wire<'_> for Flock {
    fn size(&self) -> usize {
        28 + self.owner.as_bytes().size()
    }

    fn put(&self, to: &mut Writer<'_>) {
        self.kind.put(to);
        0_u32.put(to);
        self.start.put(to);
        self.len.put(to);
        self.pid.put(to);
        self.owner.as_bytes().put(to);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, XdrError> {
        let kind = LockType::get(from)?;
        let _whence = u32::get(from)?;
        let (start, len) = (i64::get(from)?, i64::get(from)?);
        let pid = i32::get(from)?;
        Ok(Self { kind, start, len, pid, owner: LockOwner::new(from.opaque()?) })
    }
}

wire_structs! {
    /// `gf_proto_lease`
    Lease { cmd: u32, kind: u32, id: [u8; 16], flags: u32 }
    /// `gfs3_locklist` without its link
    LockEntry<'a> { flock: Flock, client: &'a [u8], flags: u32 }
    /// `gfx_dirent` without its link
    DirEntry<'a> { ino: u64, offset: u64, len: u32, kind: u32, name: &'a [u8] }
    /// `gfx_dirplist` without its link
    DirEntryPlus<'a> { ino: u64, offset: u64, len: u32, kind: u32, name: &'a [u8], stat: Iatt, dict: Xdata }
}

#[cfg(test)]
mod tests {
    use super::super::to_vec;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_root_as_a_stock_brick_sends_it() {
        let root = Iatt { gfid: Gfid::ROOT, kind: IaType::Directory, prot: 0o755, ..Iatt::default() };
        let wire = to_vec(&root);
        assert_eq!(wire.len(), IATT_SIZE);
        assert_eq!(wire[16..32], [0, 0, 0, 0, 0, 0, 0x17, 0xff, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(wire[144..], 0o040_755_u32.to_be_bytes());
        assert!(to_vec(&Iatt::default()).iter().all(|byte| *byte == 0));
    }

    proptest! {
        #[test]
        fn attributes_round_trip(bytes: [u8; 16], mode: u32, numbers: [u64; 4], words: [u32; 4], times: [(i64, u32); 3]) {
            let [nlink, uid, gid, blksize] = words;
            let [dev, rdev, size, blocks] = numbers;
            let [atime, mtime, ctime] = times.map(|(sec, nsec)| Timespec { sec, nsec });
            let iatt = Iatt {
                gfid: Gfid::from_bytes(bytes), kind: IaType::from_mode(mode), prot: mode & 0o7777,
                nlink, uid, gid, dev, rdev, size, blocks, blksize, atime, mtime, ctime,
            };
            prop_assert_eq!(Iatt::get(&mut Reader::new(&to_vec(&iatt))).unwrap(), iatt);
        }

        #[test]
        fn locks_round_trip(start: i64, len: i64, pid: i32, owner in prop::collection::vec(any::<u8>(), 0..40)) {
            let flock = Flock { kind: LockType::Write, start, len, pid, owner: LockOwner::new(&owner) };
            let wire = to_vec(&flock);
            prop_assert_eq!(wire.len(), flock.size());
            prop_assert_eq!(Flock::get(&mut Reader::new(&wire)).unwrap(), flock);
        }
    }
}
