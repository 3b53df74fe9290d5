//! Requests, from bytes to values.

use std::ffi::CString;

use kiln_uring::{Buf, Errno, Timespec};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::abi::{self, fattr};
use crate::types::{Key, Name, dict::key_from_bytes};

/// Bytes of the header in front of every request.
const HEADER: usize = size_of::<abi::InHeader>();

/// Who asks what, about which node.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Header {
    opcode: u32,
    pub(in super::super) unique: u64,
    pub(in super::super) node: u64,
    pub(in super::super) uid: u32,
    pub(in super::super) gid: u32,
    pub(in super::super) pid: u32,
}

/// The rest of a request: whole from the device, or in two pieces from a slot.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Arguments<'a> {
    /// Memory that begins with the struct of the opcode, if it has one. `None`: it comes first in `rest`.
    fixed: Option<&'a [u8]>,
    rest: &'a [u8],
}

/// A request that cannot be understood, with the number of its answer where that much was legible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Malformed;

/// A time to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum When {
    Now,
    At(Timespec),
}

/// What a SETATTR request changes, and the handle that it comes through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct SetattrIn {
    pub(in super::super) handle: Option<u64>,
    pub(in super::super) mode: Option<u32>,
    pub(in super::super) uid: Option<u32>,
    pub(in super::super) gid: Option<u32>,
    pub(in super::super) size: Option<u64>,
    pub(in super::super) atime: Option<When>,
    pub(in super::super) mtime: Option<When>,
}

/// Every kind of request that is served. Numbers are the kernel's: nodes, handles, flags of open(2), `rdev` in 32 bits.
#[derive(Debug)]
pub(in super::super) enum Operation {
    Lookup { name: Name },
    Forget { count: u64 },
    BatchForget(Vec<(u64, u64)>),
    Getattr { handle: Option<u64> },
    Setattr(SetattrIn),
    Readlink,
    Symlink { name: Name, target: CString },
    Mknod { name: Name, mode: u32, rdev: u32, umask: u32 },
    Mkdir { name: Name, mode: u32, umask: u32 },
    Unlink { name: Name },
    Rmdir { name: Name },
    Rename { name: Name, new_parent: u64, new_name: Name, flags: u32 },
    Link { node: u64, name: Name },
    Open { flags: u32 },
    Create { name: Name, flags: u32, mode: u32, umask: u32 },
    Read { handle: u64, offset: u64, size: u32, flags: u32 },
    Write { handle: u64, offset: u64, flags: u32, data: Buf },
    Statfs,
    Flush { handle: u64, owner: u64 },
    Release { handle: u64 },
    Fsync { handle: u64, data_only: bool },
    Setxattr { name: Key, value: Vec<u8>, flags: u32 },
    Getxattr { name: Key, size: u32 },
    Listxattr { size: u32 },
    Removexattr { name: Key },
    Opendir,
    Readdir { handle: u64, offset: u64, size: u32, plus: bool },
    Fsyncdir { handle: u64, data_only: bool },
    Getlk { handle: u64, owner: u64, range: abi::FileLock },
    Setlk { handle: u64, owner: u64, range: abi::FileLock, wait: bool },
    Access { mask: u32 },
    Interrupt { unique: u64 },
    Destroy,
    Fallocate { handle: u64, offset: u64, len: u64, mode: u32 },
    Lseek { handle: u64, offset: u64, whence: u32 },
    CopyFileRange { from: (u64, u64), to: (u64, u64), len: u64, flags: u64 },
}

impl Header {
    /// Of a request that was read from the device, with its arguments.
    pub(in super::super) fn of_message(bytes: &[u8]) -> Result<(Self, Arguments<'_>), Malformed> {
        let header = Self::of(bytes)?;
        Ok((header, Arguments { fixed: None, rest: &bytes[HEADER..] }))
    }

    /// Of a request that came in a slot.
    pub(in super::super) fn of_slot<'a>(
        header: &[u8],
        fixed: &'a [u8],
        rest: &'a [u8],
    ) -> Result<(Self, Arguments<'a>), Malformed> {
        Ok((Self::of(header)?, Arguments { fixed: Some(fixed), rest }))
    }

    fn of(bytes: &[u8]) -> Result<Self, Malformed> {
        let (raw, _) = abi::InHeader::read_from_prefix(bytes).map_err(|_| Malformed)?;
        let abi::InHeader { opcode, unique, nodeid: node, uid, gid, pid, .. } = raw;
        Ok(Self { opcode, unique, node, uid, gid, pid })
    }

    /// What is asked.
    ///
    /// # Errors
    /// `ENOSYS` for an opcode that is not served (the kernel then does without), `EINVAL` for arguments that do not fit it,
    /// and those of names that cannot be.
    pub(in super::super) fn operation(&self, args: Arguments<'_>) -> Result<Operation, Errno> {
        let mut args = args;
        let a = &mut args;
        Ok(match self.opcode {
            abi::LOOKUP => Operation::Lookup { name: a.name()? },
            abi::FORGET => Operation::Forget { count: a.fixed::<abi::ForgetIn>()?.nlookup },
            abi::BATCH_FORGET => {
                let count = a.fixed::<abi::BatchForgetIn>()?.count as usize;
                let all = a.rest.chunks_exact(size_of::<abi::ForgetOne>()).take(count);
                let pairs = all.filter_map(|one| abi::ForgetOne::read_from_bytes(one).ok());
                Operation::BatchForget(pairs.map(|one| (one.nodeid, one.nlookup)).collect())
            }
            abi::GETATTR => {
                let abi::GetattrIn { flags, fh, .. } = a.fixed()?;
                Operation::Getattr { handle: (flags & abi::GETATTR_FH != 0).then_some(fh) }
            }
            abi::SETATTR => Operation::Setattr(SetattrIn::of(&a.fixed()?)),
            abi::READLINK => Operation::Readlink,
            abi::SYMLINK => Operation::Symlink { name: a.name()?, target: CString::from(a.string()?) },
            abi::MKNOD => {
                let abi::MknodIn { mode, rdev, umask, .. } = a.fixed()?;
                Operation::Mknod { name: a.name()?, mode, rdev, umask }
            }
            abi::MKDIR => {
                let abi::MkdirIn { mode, umask } = a.fixed()?;
                Operation::Mkdir { name: a.name()?, mode, umask }
            }
            abi::UNLINK => Operation::Unlink { name: a.name()? },
            abi::RMDIR => Operation::Rmdir { name: a.name()? },
            abi::RENAME => {
                let abi::RenameIn { newdir: new_parent } = a.fixed()?;
                Operation::Rename { name: a.name()?, new_parent, new_name: a.name()?, flags: 0 }
            }
            abi::RENAME2 => {
                let abi::Rename2In { newdir: new_parent, flags, .. } = a.fixed()?;
                Operation::Rename { name: a.name()?, new_parent, new_name: a.name()?, flags }
            }
            abi::LINK => {
                let abi::LinkIn { oldnodeid: node } = a.fixed()?;
                Operation::Link { node, name: a.name()? }
            }
            abi::OPEN => Operation::Open { flags: a.fixed::<abi::OpenIn>()?.flags },
            abi::CREATE => {
                let abi::CreateIn { flags, mode, umask, .. } = a.fixed()?;
                Operation::Create { name: a.name()?, flags, mode, umask }
            }
            abi::READ => {
                let abi::ReadIn { fh: handle, offset, size, flags, .. } = a.fixed()?;
                Operation::Read { handle, offset, size, flags }
            }
            abi::WRITE => {
                let abi::WriteIn { fh: handle, offset, size, flags, .. } = a.fixed()?;
                Operation::Write { handle, offset, flags, data: Buf::from_slice(a.bytes(size)?) }
            }
            abi::STATFS => Operation::Statfs,
            abi::FLUSH => {
                let abi::FlushIn { fh: handle, lock_owner: owner, .. } = a.fixed()?;
                Operation::Flush { handle, owner }
            }
            abi::RELEASE | abi::RELEASEDIR => Operation::Release { handle: a.fixed::<abi::ReleaseIn>()?.fh },
            abi::FSYNC | abi::FSYNCDIR => {
                let abi::FsyncIn { fh: handle, fsync_flags, .. } = a.fixed()?;
                let data_only = fsync_flags & abi::FSYNC_FDATASYNC != 0;
                match self.opcode {
                    abi::FSYNC => Operation::Fsync { handle, data_only },
                    _ => Operation::Fsyncdir { handle, data_only },
                }
            }
            abi::SETXATTR => {
                let abi::SetxattrIn { size, flags } = a.fixed()?;
                Operation::Setxattr { name: a.key()?, value: a.bytes(size)?.to_vec(), flags }
            }
            abi::GETXATTR => {
                let abi::GetxattrIn { size, .. } = a.fixed()?;
                Operation::Getxattr { name: a.key()?, size }
            }
            abi::LISTXATTR => Operation::Listxattr { size: a.fixed::<abi::GetxattrIn>()?.size },
            abi::REMOVEXATTR => Operation::Removexattr { name: a.key()? },
            abi::OPENDIR => Operation::Opendir,
            abi::READDIR | abi::READDIRPLUS => {
                let abi::ReadIn { fh: handle, offset, size, .. } = a.fixed()?;
                Operation::Readdir { handle, offset, size, plus: self.opcode == abi::READDIRPLUS }
            }
            abi::GETLK => {
                let abi::LkIn { fh: handle, owner, lk: range, .. } = a.fixed()?;
                Operation::Getlk { handle, owner, range }
            }
            abi::SETLK | abi::SETLKW => {
                let abi::LkIn { fh: handle, owner, lk: range, .. } = a.fixed()?;
                Operation::Setlk { handle, owner, range, wait: self.opcode == abi::SETLKW }
            }
            abi::ACCESS => Operation::Access { mask: a.fixed::<abi::AccessIn>()?.mask },
            abi::INTERRUPT => Operation::Interrupt { unique: a.fixed::<abi::InterruptIn>()?.unique },
            abi::DESTROY => Operation::Destroy,
            abi::FALLOCATE => {
                let abi::FallocateIn { fh: handle, offset, length: len, mode, .. } = a.fixed()?;
                Operation::Fallocate { handle, offset, len, mode }
            }
            abi::LSEEK => {
                let abi::LseekIn { fh: handle, offset, whence, .. } = a.fixed()?;
                Operation::Lseek { handle, offset, whence }
            }
            abi::COPY_FILE_RANGE => {
                let abi::CopyFileRangeIn { fh_in, off_in, fh_out, off_out, len, flags, .. } = a.fixed()?;
                Operation::CopyFileRange { from: (fh_in, off_in), to: (fh_out, off_out), len, flags }
            }
            _ => return Err(Errno::NOSYS),
        })
    }
}

impl<'a> Arguments<'a> {
    /// The struct of the opcode.
    fn fixed<T: FromBytes + KnownLayout + Immutable>(&mut self) -> Result<T, Errno> {
        match self.fixed {
            Some(fixed) => Ok(T::read_from_prefix(fixed).map_err(|_| Errno::INVAL)?.0),
            None => {
                let (value, rest) = T::read_from_prefix(self.rest).map_err(|_| Errno::INVAL)?;
                self.rest = rest;
                Ok(value)
            }
        }
    }

    /// A string that ends with NUL.
    fn string(&mut self) -> Result<&'a std::ffi::CStr, Errno> {
        let string = std::ffi::CStr::from_bytes_until_nul(self.rest).map_err(|_| Errno::INVAL)?;
        self.rest = &self.rest[string.to_bytes_with_nul().len()..];
        Ok(string)
    }

    fn name(&mut self) -> Result<Name, Errno> {
        Name::new(self.string()?.to_bytes())
    }

    fn key(&mut self) -> Result<Key, Errno> {
        key_from_bytes(self.string()?.to_bytes())
    }

    /// The next `len` bytes.
    fn bytes(&mut self, len: u32) -> Result<&'a [u8], Errno> {
        let (bytes, rest) = self.rest.split_at_checked(len as usize).ok_or(Errno::INVAL)?;
        self.rest = rest;
        Ok(bytes)
    }
}

impl SetattrIn {
    fn of(raw: &abi::RawSetattrIn) -> Self {
        let has = |bit| raw.valid & bit != 0;
        let time = |bit, now_bit, sec, nsec: u32| {
            has(bit).then(|| {
                if has(now_bit) { When::Now } else { When::At(Timespec { sec, nsec: nsec.min(999_999_999) }) }
            })
        };
        Self {
            handle: has(fattr::FH).then_some(raw.fh),
            mode: has(fattr::MODE).then_some(raw.mode),
            uid: has(fattr::UID).then_some(raw.uid),
            gid: has(fattr::GID).then_some(raw.gid),
            size: has(fattr::SIZE).then_some(raw.size),
            atime: time(fattr::ATIME, fattr::ATIME_NOW, raw.atime, raw.atimensec),
            mtime: time(fattr::MTIME, fattr::MTIME_NOW, raw.mtime, raw.mtimensec),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(opcode: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&(40 + body.len() as u32).to_ne_bytes());
        bytes.extend_from_slice(&opcode.to_ne_bytes());
        for word in [7_u64, 1] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        for word in [1000_u32, 100, 4321, 0] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend_from_slice(body);
        bytes
    }

    fn decode(opcode: u32, body: &[u8]) -> Result<Operation, Errno> {
        let bytes = message(opcode, body);
        let (header, args) = Header::of_message(&bytes).unwrap();
        assert_eq!((header.unique, header.node, header.uid, header.gid, header.pid), (7, 1, 1000, 100, 4321));
        header.operation(args)
    }

    #[test]
    fn names_and_structs_are_found_in_one_piece_and_in_two() {
        let fixed: Vec<u8> = [5_u32, 6, 7, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let whole = [&fixed[..], b"name\0"].concat();
        let check = |operation| {
            let Operation::Mknod { name, mode, rdev, umask } = operation else { panic!("{operation:?}") };
            assert_eq!((name.as_bytes(), mode, rdev, umask), (&b"name"[..], 5, 6, 7));
        };
        check(decode(abi::MKNOD, &whole).unwrap());
        let mut area = fixed;
        area.resize(128, 0xee);
        let head = message(abi::MKNOD, b"");
        let (header, args) = Header::of_slot(&head, &area, b"name\0").unwrap();
        check(header.operation(args).unwrap());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(decode(abi::LOOKUP, b"no end").unwrap_err(), Errno::INVAL);
        assert_eq!(decode(abi::READ, &[0; 39]).unwrap_err(), Errno::INVAL);
        assert_eq!(decode(4096, b"").unwrap_err(), Errno::NOSYS);
        // A write of more than there is.
        let mut write = vec![0; 40];
        write[16..20].copy_from_slice(&9_u32.to_ne_bytes());
        write.extend_from_slice(b"12345678");
        assert_eq!(decode(abi::WRITE, &write).unwrap_err(), Errno::INVAL);
        write.push(b'9');
        let Operation::Write { data, .. } = decode(abi::WRITE, &write).unwrap() else { panic!() };
        assert_eq!(&data[..], b"123456789");
        assert_eq!(Header::of_message(&[0; 39]).unwrap_err(), Malformed);
    }

    #[test]
    fn attributes_come_with_their_bits() {
        let mut raw = vec![0_u8; 88];
        let valid = fattr::MODE | fattr::ATIME | fattr::MTIME | fattr::MTIME_NOW;
        raw[0..4].copy_from_slice(&valid.to_ne_bytes());
        raw[32..40].copy_from_slice(&(-5_i64).to_ne_bytes());
        raw[56..60].copy_from_slice(&u32::MAX.to_ne_bytes());
        raw[68..72].copy_from_slice(&0o644_u32.to_ne_bytes());
        let Operation::Setattr(set) = decode(abi::SETATTR, &raw).unwrap() else { panic!() };
        let before = Timespec { sec: -5, nsec: 999_999_999 };
        let expected = SetattrIn {
            mode: Some(0o644),
            atime: Some(When::At(before)),
            mtime: Some(When::Now),
            ..SetattrIn::default()
        };
        assert_eq!(set, expected);
    }

    #[test]
    fn forgets_are_as_many_as_are_there() {
        let mut body = vec![0_u8; 8];
        body[0..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        body.extend([3_u64, 1, 4, 2].iter().flat_map(|word| word.to_ne_bytes()));
        body.extend([0; 15]);
        let Operation::BatchForget(all) = decode(abi::BATCH_FORGET, &body).unwrap() else { panic!() };
        assert_eq!(all, [(3, 1), (4, 2)]);
    }

    proptest! {
        #[test]
        fn nothing_panics(opcode in 0..60_u32, body in prop::collection::vec(any::<u8>(), 0..200), cut in 0..200_usize) {
            let _ = decode(opcode, &body);
            let head = message(opcode, b"");
            let cut = cut.min(body.len());
            let (header, args) = Header::of_slot(&head, &body[..cut], &body[cut..]).unwrap();
            let _ = header.operation(args);
        }
    }
}
