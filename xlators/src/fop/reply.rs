//! The replies of the fops. Several fops share a shape; a lookup's reply still cannot be returned for a read.

use std::ffi::CString;

use kiln_uring::Buf;
use kiln_uring::sys::StatFs;

use super::request::LeaseSpec;
use crate::types::{ActiveLock, Dict, Flock, Iatt, Xdata};

/// Attributes of the object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attr {
    /// The object.
    pub iatt: Iatt,
    /// Extra answers.
    pub xdata: Xdata,
}

/// Found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lookup {
    /// The object.
    pub iatt: Iatt,
    /// Its parent, of a named lookup; empty otherwise.
    pub postparent: Iatt,
    /// Extra answers.
    pub xdata: Xdata,
}

/// Target of a symbolic link.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readlink {
    /// The target without NUL.
    pub target: Vec<u8>,
    /// The link itself.
    pub iatt: Iatt,
    /// Extra answers.
    pub xdata: Xdata,
}

/// A new entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Made {
    /// The object.
    pub iatt: Iatt,
    /// Its parent before.
    pub preparent: Iatt,
    /// Its parent after.
    pub postparent: Iatt,
    /// Extra answers.
    pub xdata: Xdata,
}

/// An entry is gone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Removed {
    /// The parent before.
    pub preparent: Iatt,
    /// The parent after.
    pub postparent: Iatt,
    /// Extra answers.
    pub xdata: Xdata,
}

/// An entry moved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Renamed {
    /// The object, after.
    pub iatt: Iatt,
    /// Old parent before.
    pub preoldparent: Iatt,
    /// Old parent after.
    pub postoldparent: Iatt,
    /// New parent before.
    pub prenewparent: Iatt,
    /// New parent after.
    pub postnewparent: Iatt,
    /// Extra answers.
    pub xdata: Xdata,
}

/// An object changed (or was synced).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changed {
    /// Before.
    pub pre: Iatt,
    /// After.
    pub post: Iatt,
    /// Extra answers.
    pub xdata: Xdata,
}

/// Bytes were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    /// How many; may be fewer than asked.
    pub count: usize,
    /// Before.
    pub pre: Iatt,
    /// After.
    pub post: Iatt,
    /// Extra answers.
    pub xdata: Xdata,
}

/// Bytes were read.
#[derive(Debug)]
pub struct Read {
    /// The bytes; fewer than asked only at the end of the file.
    pub data: Buf,
    /// Whether they reach the end of the file (on the wire: op_errno ENOENT).
    pub eof: bool,
    /// The file.
    pub iatt: Iatt,
    /// Extra answers.
    pub xdata: Xdata,
}

/// Done, nothing to tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Done {
    /// Extra answers.
    pub xdata: Xdata,
}

/// Extended attributes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Xattrs {
    /// Names and values.
    pub dict: Dict,
    /// Extra answers.
    pub xdata: Xdata,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The name, `.` and `..` included.
    pub name: CString,
    /// Inode number: the backing one for readdir, derived from the gfid for readdirp.
    pub ino: u64,
    /// Where to resume after this entry.
    pub offset: u64,
    /// `DT_*`.
    pub kind: u8,
    /// Attributes (readdirp); empty when they could not be had, and the client then looks the name up.
    pub iatt: Iatt,
    /// Answers to the request's xdata for this entry (readdirp).
    pub xdata: Xdata,
}

/// Entries of a directory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entries {
    /// In the order of the directory.
    pub entries: Vec<Entry>,
    /// Whether nothing follows (on the wire: op_errno ENOENT).
    pub eof: bool,
    /// Extra answers.
    pub xdata: Xdata,
}

/// Space and inodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statfs {
    /// The numbers.
    pub statfs: StatFs,
    /// Extra answers.
    pub xdata: Xdata,
}

/// A lock.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lk {
    /// What was found or set.
    pub flock: Flock,
    /// Extra answers.
    pub xdata: Xdata,
}

/// Checksums of a block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rchecksum {
    /// Adler-32 with start value 0.
    pub weak: u32,
    /// SHA-256, or MD5 padded with zeros.
    pub strong: [u8; 32],
    /// Extra answers.
    pub xdata: Xdata,
}

/// Where the data or hole is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seek {
    /// Offset in bytes.
    pub offset: u64,
    /// Extra answers.
    pub xdata: Xdata,
}

/// A lease.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Leased {
    /// What was granted.
    pub lease: LeaseSpec,
    /// Extra answers.
    pub xdata: Xdata,
}

/// Locks with their clients.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActiveLocks {
    /// All of them.
    pub locks: Vec<ActiveLock>,
    /// Extra answers.
    pub xdata: Xdata,
}

/// A range was copied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Copied {
    /// Bytes copied; may be fewer than asked.
    pub count: usize,
    /// The source, after.
    pub source: Iatt,
    /// The target before.
    pub pre: Iatt,
    /// The target after.
    pub post: Iatt,
    /// Extra answers.
    pub xdata: Xdata,
}

/// What all replies have in common: the extra answers, which a translator on the way may add to.
pub trait Reply {
    /// The extra answers.
    fn xdata_mut(&mut self) -> &mut Xdata;
}

macro_rules! replies {
    ($($reply:ident)*) => {
        $(impl Reply for $reply {
            fn xdata_mut(&mut self) -> &mut Xdata {
                &mut self.xdata
            }
        })*
    };
}

replies! {
    Attr Lookup Readlink Made Removed Renamed Changed Written Read Done Xattrs Entries Statfs Lk Rchecksum Seek Leased
    ActiveLocks Copied
}
