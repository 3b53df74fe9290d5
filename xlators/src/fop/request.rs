//! The arguments of each fop, one struct per row of the table; each has `xdata` last.

use std::fmt;

use bitflags::bitflags;
use kiln_uring::Buf;
use kiln_uring::sys::Timespec;

use crate::fd::FdRef;
use crate::types::{ActiveLock, Dict, EntrylkCmd, Flock, Key, LkCmd, Loc, LockType, Name, Xdata};

macro_rules! define_requests {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        $(
            #[doc = $doc]
            #[derive(Debug)]
            #[allow(missing_docs, reason = "the table explains the arguments that need it")]
            pub struct $variant {
                $(pub $arg: $type,)*
                pub xdata: Xdata,
            }
        )*
    };
}

crate::for_each_fop!(define_requests);

/// What a request is about, for logs, traces and dumps.
pub trait Describe {
    /// Writes the arguments, shortly.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

macro_rules! describe_requests {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        $(
            impl Describe for $variant {
                fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    let mut list = f.debug_struct($crate::fop::Fop::$variant.name());
                    $(list.field(stringify!($arg), &self.$arg);)*
                    if !self.xdata.is_none() {
                        list.field("xdata", &self.xdata);
                    }
                    list.finish()
                }
            }
        )*
    };
}

crate::for_each_fop!(describe_requests);

bitflags! {
    /// Which fields of a [`SetAttr`] count (`GF_SET_ATTR_*`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
    pub struct SetAttrValid: u32 {
        /// Permission bits.
        const MODE = 0x1;
        /// Owner.
        const UID = 0x2;
        /// Group.
        const GID = 0x4;
        /// Size; never used by clients, ignored.
        const SIZE = 0x8;
        /// Access time.
        const ATIME = 0x10;
        /// Modification time.
        const MTIME = 0x20;
        /// Change time; only self-heal asks for it.
        const CTIME = 0x40;
        /// The access time is "now" (informative: `atime` has it).
        const ATIME_NOW = 0x80;
        /// The modification time is "now" (informative: `mtime` has it).
        const MTIME_NOW = 0x100;
    }
}

/// New attributes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SetAttr {
    /// Which of the following count.
    pub valid: SetAttrValid,
    /// 12 permission bits.
    pub prot: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Access time.
    pub atime: Timespec,
    /// Modification time.
    pub mtime: Timespec,
    /// Change time.
    pub ctime: Timespec,
}

/// What `xattrop` does with each key. Arrays are big-endian. The numbers are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum XattropOp {
    /// Element-wise addition of 32-bit integers.
    AddArray = 0,
    /// Element-wise addition of 64-bit integers.
    AddArray64 = 1,
    /// Element-wise or of 32-bit words.
    OrArray = 2,
    /// Element-wise and of 32-bit words.
    AndArray = 3,
    /// Store the new value, return the old one.
    GetAndSet = 4,
    /// Like `AddArray`, with a default for an absent or zero value: the request holds deltas, then defaults.
    AddArrayWithDefault = 5,
    /// The same with 64-bit integers.
    AddArray64WithDefault = 6,
}

impl XattropOp {
    /// From the wire's number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::AddArray,
            1 => Self::AddArray64,
            2 => Self::OrArray,
            3 => Self::AndArray,
            4 => Self::GetAndSet,
            5 => Self::AddArrayWithDefault,
            6 => Self::AddArray64WithDefault,
            _ => return None,
        })
    }
}

/// What `seek` looks for. The numbers are the wire's (`gf_seek_what_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SeekWhat {
    /// The next data.
    Data = 0,
    /// The next hole.
    Hole = 1,
}

/// A lease request (`gf_lease`).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LeaseSpec {
    /// 1 get, 2 set, 3 unlock.
    pub cmd: u32,
    /// 1 read, 2 write.
    pub kind: u32,
    /// Owner of the lease.
    pub id: [u8; 16],
    /// Flags.
    pub flags: u32,
}
