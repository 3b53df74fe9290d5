//! The replies of the fops. Several fops share a shape; a lookup's reply still cannot be returned for a read.
//!
//! Like the fops they stand in one table, [`for_each_reply!`](crate::for_each_reply), and whatever exists once per shape is
//! made from it. Each has `xdata` last.

use std::ffi::CString;

use kiln_uring::Buf;
use kiln_uring::sys::StatFs;

use super::request::LeaseSpec;
use crate::types::{ActiveLock, Dict, Flock, Iatt, Xdata};

/// Calls the macro `$callback` with the table of replies. With more tokens after a comma, `$callback` gets them first, in
/// brackets.
#[macro_export]
macro_rules! for_each_reply {
    ($($callback:ident)::+ $(, $($extra:tt)*)?) => {
        $($callback)::+! {
            $([$($extra)*])?
            /// Attributes of the object.
            #[derive(Clone)]
            Attr {
                /// The object.
                iatt: Iatt,
            }
            /// Found.
            #[derive(Clone)]
            Lookup {
                /// The object.
                iatt: Iatt,
                /// Its parent, of a named lookup; empty otherwise.
                postparent: Iatt,
            }
            /// Target of a symbolic link.
            #[derive(Clone)]
            Readlink {
                /// The target without NUL.
                target: Vec<u8>,
                /// The link itself.
                iatt: Iatt,
            }
            /// A new entry.
            #[derive(Clone)]
            Made {
                /// The object.
                iatt: Iatt,
                /// Its parent before.
                preparent: Iatt,
                /// Its parent after.
                postparent: Iatt,
            }
            /// An entry is gone.
            #[derive(Clone)]
            Removed {
                /// The parent before.
                preparent: Iatt,
                /// The parent after.
                postparent: Iatt,
            }
            /// An entry moved.
            #[derive(Clone)]
            Renamed {
                /// The object, after.
                iatt: Iatt,
                /// Old parent before.
                preoldparent: Iatt,
                /// Old parent after.
                postoldparent: Iatt,
                /// New parent before.
                prenewparent: Iatt,
                /// New parent after.
                postnewparent: Iatt,
            }
            /// An object changed (or was synced).
            #[derive(Clone)]
            Changed {
                /// Before.
                pre: Iatt,
                /// After.
                post: Iatt,
            }
            /// Bytes were written.
            #[derive(Clone)]
            Written {
                /// How many; may be fewer than asked.
                count: usize,
                /// Before.
                pre: Iatt,
                /// After.
                post: Iatt,
            }
            /// Bytes were read.
            Read {
                /// The bytes; fewer than asked only at the end of the file.
                data: Buf,
                /// Whether they reach the end of the file (on the wire: op_errno ENOENT).
                eof: bool,
                /// The file.
                iatt: Iatt,
            }
            /// Done, nothing to tell.
            #[derive(Clone)]
            Done {}
            /// Extended attributes.
            #[derive(Clone)]
            Xattrs {
                /// Names and values.
                dict: Dict,
            }
            /// Entries of a directory.
            #[derive(Clone)]
            Entries {
                /// In the order of the directory.
                entries: Vec<Entry>,
                /// Whether nothing follows (on the wire: op_errno ENOENT).
                eof: bool,
            }
            /// Space and inodes.
            #[derive(Clone)]
            Statfs {
                /// The numbers.
                statfs: StatFs,
            }
            /// A lock.
            #[derive(Clone)]
            Lk {
                /// What was found or set.
                flock: Flock,
            }
            /// Checksums of a block.
            #[derive(Clone)]
            Rchecksum {
                /// Adler-32 with start value 0.
                weak: u32,
                /// SHA-256, or MD5 padded with zeros.
                strong: [u8; 32],
            }
            /// Where the data or hole is.
            #[derive(Clone)]
            Seek {
                /// Offset in bytes.
                offset: u64,
            }
            /// A lease.
            #[derive(Clone)]
            Leased {
                /// What was granted.
                lease: LeaseSpec,
            }
            /// Locks with their clients.
            #[derive(Clone)]
            ActiveLocks {
                /// All of them.
                locks: Vec<ActiveLock>,
            }
            /// A range was copied.
            #[derive(Clone)]
            Copied {
                /// Bytes copied; may be fewer than asked.
                count: usize,
                /// The source, after.
                source: Iatt,
                /// The target before.
                pre: Iatt,
                /// The target after.
                post: Iatt,
            }
        }
    };
}

/// One row of the table, for those who list replies.
#[derive(Clone, Copy, Debug)]
pub struct ReplyInfo {
    /// The name, as [`FopInfo::reply`](super::FopInfo) has it.
    pub name: &'static str,
    /// Names and types of its fields, in order, without xdata.
    pub fields: &'static [(&'static str, &'static str)],
    /// Its documentation.
    pub about: &'static str,
}

macro_rules! define_replies {
    ($(#[doc = $doc:literal] $(#[derive($derive:ident)])? $reply:ident {
        $(#[doc = $field_doc:literal] $field:ident : $type:ty,)*
    })*) => {
        $(
            #[doc = $doc]
            #[derive(Debug, Default, PartialEq $(, $derive)?)]
            pub struct $reply {
                $(#[doc = $field_doc] pub $field: $type,)*
                /// Extra answers.
                pub xdata: Xdata,
            }

            impl Reply for $reply {
                fn xdata_mut(&mut self) -> &mut Xdata {
                    &mut self.xdata
                }
            }
        )*

        /// All rows.
        pub const REPLIES: &[ReplyInfo] = &[$(ReplyInfo {
            name: stringify!($reply),
            fields: &[$((stringify!($field), stringify!($type))),*],
            about: $doc,
        }),*];
    };
}

for_each_reply!(define_replies);

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

/// What all replies have in common: the extra answers, which a translator on the way may add to.
pub trait Reply {
    /// The extra answers.
    fn xdata_mut(&mut self) -> &mut Xdata;
}
