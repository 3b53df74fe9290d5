//! Answers, from values to bytes.

use std::time::Duration;

use kiln_uring::Buf;
use zerocopy::IntoBytes;

use super::abi::{
    Attr, AttrOut, FileLock, GetxattrOut, Kstatfs, LseekOut, OpenOut, OutHeader, RawEntryOut, WriteOut,
};

/// An object that the kernel counts from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct EntryOut {
    /// 0 is nobody: the name is known not to exist.
    pub(in super::super) node: u64,
    pub(in super::super) generation: u64,
    /// How long the kernel may keep the name, and the attributes.
    pub(in super::super) keep_name: Duration,
    pub(in super::super) keep_attr: Duration,
    pub(in super::super) attr: Attr,
}

impl EntryOut {
    pub(super) fn raw(&self) -> RawEntryOut {
        RawEntryOut {
            nodeid: self.node,
            generation: self.generation,
            entry_valid: self.keep_name.as_secs(),
            attr_valid: self.keep_attr.as_secs(),
            entry_valid_nsec: self.keep_name.subsec_nanos(),
            attr_valid_nsec: self.keep_attr.subsec_nanos(),
            attr: self.attr,
        }
    }
}

/// What a request is answered with when it succeeds.
#[derive(Debug)]
pub(in super::super) enum Reply {
    Empty,
    Entry(EntryOut),
    Attr {
        keep: Duration,
        attr: Attr,
    },
    Opened {
        handle: u64,
        flags: u32,
    },
    Created {
        entry: EntryOut,
        handle: u64,
        flags: u32,
    },
    Written(u32),
    /// How many bytes an attribute or the list of them has.
    XattrSize(u32),
    Offset(u64),
    Statfs(Kstatfs),
    Lock(FileLock),
    Data(Buf),
    Bytes(Vec<u8>),
}

/// The bytes of an answer's body.
#[derive(Debug)]
pub(in super::super) enum Body {
    /// Up to the longest struct: an entry and an open file.
    Struct {
        bytes: [u8; LONGEST],
        len: usize,
    },
    Data(Buf),
    Bytes(Vec<u8>),
}

const LONGEST: usize = size_of::<RawEntryOut>() + size_of::<OpenOut>();

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Struct { bytes, len } => &bytes[..*len],
            Self::Data(data) => data,
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl Body {
    fn of(parts: [&[u8]; 2]) -> Self {
        let mut bytes = [0; LONGEST];
        let mut len = 0;
        for part in parts {
            bytes[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        Self::Struct { bytes, len }
    }
}

impl Reply {
    /// The body.
    pub(in super::super) fn into_body(self) -> Body {
        let one = |part: &[u8]| Body::of([part, &[]]);
        match self {
            Self::Empty => one(&[]),
            Self::Entry(entry) => one(entry.raw().as_bytes()),
            Self::Attr { keep, attr } => {
                let (attr_valid, attr_valid_nsec) = (keep.as_secs(), keep.subsec_nanos());
                one(AttrOut { attr_valid, attr_valid_nsec, dummy: 0, attr }.as_bytes())
            }
            Self::Opened { handle, flags } => one(opened(handle, flags).as_bytes()),
            Self::Created { entry, handle, flags } => {
                Body::of([entry.raw().as_bytes(), opened(handle, flags).as_bytes()])
            }
            Self::Written(size) => one(WriteOut { size, padding: 0 }.as_bytes()),
            Self::XattrSize(size) => one(GetxattrOut { size, padding: 0 }.as_bytes()),
            Self::Offset(offset) => one(LseekOut { offset }.as_bytes()),
            Self::Statfs(statfs) => one(statfs.as_bytes()),
            Self::Lock(lock) => one(lock.as_bytes()),
            Self::Data(data) => Body::Data(data),
            Self::Bytes(bytes) => Body::Bytes(bytes),
        }
    }

    /// The header in front of a body of `len` bytes. `error` is 0 or a negative errno.
    pub(in super::super) fn header(unique: u64, error: i32, len: usize) -> [u8; size_of::<OutHeader>()] {
        let len = u32::try_from(size_of::<OutHeader>() + len).expect("no answer is longer than 16 MiB");
        let mut bytes = [0; size_of::<OutHeader>()];
        bytes.copy_from_slice(OutHeader { len, error, unique }.as_bytes());
        bytes
    }
}

const fn opened(fh: u64, open_flags: u32) -> OpenOut {
    OpenOut { fh, open_flags, backing_id: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_the_kernels_sizes() {
        let entry = EntryOut {
            node: 2,
            generation: 3,
            keep_name: Duration::from_millis(1500),
            keep_attr: Duration::ZERO,
            attr: Attr { ino: 2, size: 77, ..Attr::default() },
        };
        let len = |reply: Reply| reply.into_body().as_ref().len();
        assert_eq!(len(Reply::Entry(entry)), 128);
        assert_eq!(len(Reply::Attr { keep: Duration::ZERO, attr: entry.attr }), 104);
        assert_eq!(len(Reply::Created { entry, handle: 1, flags: 0 }), 144);
        assert_eq!(len(Reply::Opened { handle: 1, flags: 0 }), 16);
        assert_eq!(len(Reply::Statfs(Kstatfs::default())), 80);
        assert_eq!(len(Reply::Lock(FileLock::default())), 24);
        assert_eq!(len(Reply::Empty), 0);
        let body = Reply::Entry(entry).into_body();
        let body = body.as_ref();
        assert_eq!(body[16..24], 1_u64.to_ne_bytes());
        assert_eq!(body[32..36], 500_000_000_u32.to_ne_bytes());
        assert_eq!(body[48..56], 77_u64.to_ne_bytes());
    }

    #[test]
    fn a_header_counts_itself() {
        let header = Reply::header(9, -2, 0);
        assert_eq!(header[..4], 16_u32.to_ne_bytes());
        assert_eq!(header[4..8], (-2_i32).to_ne_bytes());
        assert_eq!(header[8..], 9_u64.to_ne_bytes());
    }
}
